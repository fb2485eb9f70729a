/* add (with stochastic depth) and dropout by their definitions. */
#include "anyclass/drop_formula.h"
#include "backend/ref/ref.h"

static int64_t elements_of_image(const ac_call *call)
{
    return ac_shape_elements(ref_out(call)) / ref_out(call)->dim[0];
}

/* Factor of image n's branch. */
static double branch_scale(const ac_call *call, int64_t n)
{
    const ac_drop_attribute *a = (const void *)call->node->attribute;
    return a->probability > 0 ? (double)ac_stochastic_depth_scale(a->seed, ((const int64_t *)call->input[2])[n], a->layer, a->probability) : 1;
}

static ac_status forward_add(const ac_call *call)
{
    int64_t each = elements_of_image(call);
    for (int64_t i = 0; i < ac_shape_elements(ref_out(call)); i++) {
        double s = branch_scale(call, i / each);
        ref_set_output(call, i, ref_input(call, 1, i) + (s != 0 ? s * ref_input(call, 0, i) : 0));
    }
    return AC_OK;
}

/* The residual's gradient is y's: the plan passes it on. */
static ac_status backward_add(const ac_call *call)
{
    int64_t each = elements_of_image(call);
    for (int64_t i = 0; call->dinput[0] && i < ac_shape_elements(ref_out(call)); i++) {
        double s = branch_scale(call, i / each);
        ref_set_dinput(call, 0, i, s != 0 ? s * ref_dout(call, i) : 0);
    }
    return AC_OK;
}

const ac_kernel ac_ref_add = {.op = &ac_op_add, .flags = AC_KERNEL_SUMS_DOUTPUT, .forward = forward_add, .backward = backward_add};

/* Factor of element e of image n. */
static double element_scale(const ac_call *call, int64_t n, int64_t e)
{
    const ac_drop_attribute *a = (const void *)call->node->attribute;
    ac_philox words = ac_dropout_block(a->seed, ((const int64_t *)call->input[1])[n], a->layer, (uint32_t)(e / 4));
    return (double)ac_drop_scale(words.word[e % 4], a->probability);
}

static ac_status forward_dropout(const ac_call *call)
{
    int64_t each = elements_of_image(call);
    for (int64_t i = 0; i < ac_shape_elements(ref_out(call)); i++) {
        double s = element_scale(call, i / each, i % each);
        ref_set_output(call, i, s != 0 ? s * ref_input(call, 0, i) : 0);
    }
    return AC_OK;
}

static ac_status backward_dropout(const ac_call *call)
{
    int64_t each = elements_of_image(call);
    for (int64_t i = 0; call->dinput[0] && i < ac_shape_elements(ref_out(call)); i++) {
        double s = element_scale(call, i / each, i % each);
        ref_set_dinput(call, 0, i, s != 0 ? s * ref_dout(call, i) : 0);
    }
    return AC_OK;
}

const ac_kernel ac_ref_dropout = {.op = &ac_op_dropout, .flags = AC_KERNEL_SUMS_DOUTPUT, .forward = forward_dropout, .backward = backward_dropout};
