/* The table of traffic.h: a function per operator and pass, kernel by kernel as the .cu files launch them. */
#include "bench/paper/traffic.h"
#include "anyclass/ops.h"

typedef struct scene { /* one node in one pass */
    const ac_plan *plan;
    const ac_graph *graph;
    const ac_node *node;      /* the operator whose kernel runs */
    const ac_node *last;      /* whose output it writes: `node`, or the norm it applies */
    const plan_node *mine;
    bool remade;              /* recompute() instead of forward() */
    double x, y, element;     /* bytes of input 0, of the output, of an activation */
    double parts;             /* bytes of all parts of the output's gradient that backward reads */
    bool narrow;              /* activations are of two bytes */
} scene;

static double value_bytes(const scene *s, ac_value value)
{
    return (double)ac_shape_bytes(ac_graph_shape(s->graph, value));
}

static double elements(const scene *s, ac_value value)
{
    return (double)ac_shape_elements(ac_graph_shape(s->graph, value));
}

static double weight_elements(const scene *s)
{
    return (double)ac_shape_elements(&s->graph->param[s->node->param[0]].shape);
}

static double last_dim(const scene *s, ac_value value)
{
    const ac_shape *shape = ac_graph_shape(s->graph, value);
    return (double)shape->dim[shape->n_dims - 1];
}

static double forward_flops(const scene *s)
{
    return s->node->op->flops ? s->node->op->flops(s->graph, s->node) : 0;
}

static void add(traffic *t, const char *what, traffic_unit unit, double flops, double bytes, int n_launches)
{
    if (t->n < TRAFFIC_MOST)
        t->launch[t->n++] = (traffic_launch){what, flops, bytes, unit, n_launches};
}

static void pass_over(traffic *t, const char *what, double bytes)
{
    add(t, what, TRAFFIC_VECTOR, 0, bytes, 1);
}

static bool wants_dx(const scene *s, int k)
{
    return s->mine->dinput[k] != AC_NO_BUFFER;
}

/* Bytes of writing input 0's gradient, which may be added to what is there. */
static double dx_bytes(const scene *s)
{
    return !wants_dx(s, 0) ? 0 : s->x * (s->mine->adds_dinput ? 2 : 1);
}

static bool has_residual(const scene *s)
{
    return s->node->n_inputs > 1;
}

/* ---- products and convolutions ---- */

static double weight_bytes(const scene *s)
{
    return weight_elements(s) * s->element;
}

/* x [rows, in], dy [rows, out] */
static void product_backward(const scene *s, traffic *t, bool bias, double x, double dy)
{
    double flops = forward_flops(s);
    add(t, "product, dW", TRAFFIC_TENSOR, flops, x + dy + weight_elements(s) * 4, 1);
    if (bias)
        add(t, "column sums", TRAFFIC_VECTOR, 0, dy, 2);
    if (!wants_dx(s, 0))
        return;
    add(t, "product, dx", TRAFFIC_TENSOR, flops, dy + weight_bytes(s) + dx_bytes(s), 1);
}

static bool is_product(const ac_conv2d_attribute *a)
{
    return a->kernel_px == 1 && a->stride_px == 1 && a->padding_px == 0 && a->groups == 1;
}

/* As has_windows() of conv2d.cu. */
static bool is_windows(const scene *s, const ac_conv2d_attribute *a)
{
    return a->kernel_px > 1 && a->stride_px == a->kernel_px && a->padding_px == 0 && a->groups == 1 && !s->graph->value[s->node->input[0]].needs_gradient;
}

static bool is_depthwise(const scene *s, const ac_conv2d_attribute *a)
{
    return a->groups > 1 && a->groups == (int)last_dim(s, s->node->input[0]) && a->out_channels == a->groups;
}

/* As cuda_conv_dweight_takes(). */
static bool own_dweight(const scene *s, const ac_conv2d_attribute *a)
{
    double in = last_dim(s, s->node->input[0]);
    return s->narrow && a->groups == 1 && (int)in % 4 == 0 && a->out_channels % 4 == 0 && in * (double)a->out_channels <= 512 * 256;
}

static void conv2d_forward(const scene *s, traffic *t)
{
    const ac_conv2d_attribute *a = (const void *)s->node->attribute;
    double flops = forward_flops(s);
    if (is_depthwise(s, a)) {
        pass_over(t, "weights turned", weight_elements(s) * 8);
        add(t, "depthwise", TRAFFIC_VECTOR, flops, s->x + s->y, 1);
        return;
    }
    if (is_windows(s, a))
        pass_over(t, "windows", 2 * s->x);
    add(t, "convolution", TRAFFIC_TENSOR, flops, s->x + weight_bytes(s) + s->y, 1);
    if (a->bias && !is_product(a) && !is_windows(s, a))
        pass_over(t, "bias", 2 * s->y);
}

static void conv2d_backward(const scene *s, traffic *t)
{
    const ac_conv2d_attribute *a = (const void *)s->node->attribute;
    double flops = forward_flops(s), weights = weight_elements(s);
    if (is_windows(s, a))
        pass_over(t, "windows", 2 * s->x);
    if (is_product(a) || is_windows(s, a)) {
        product_backward(s, t, a->bias, s->x, s->parts);
        return;
    }
    if (is_depthwise(s, a)) {
        add(t, "depthwise, dW", TRAFFIC_VECTOR, flops, s->x + s->parts, 2);
    } else if (own_dweight(s, a)) {
        add(t, "own dW", TRAFFIC_TENSOR, flops, s->x + s->parts + weights * 4, 2);
    } else {
        add(t, "cuDNN dW", TRAFFIC_TENSOR, flops, s->x + s->parts + weights * s->element, 1);
        if (s->narrow)
            pass_over(t, "gradient to float", weights * 6);
    }
    if (a->bias)
        add(t, "column sums", TRAFFIC_VECTOR, 0, s->parts, 2);
    if (!wants_dx(s, 0))
        return;
    if (is_depthwise(s, a)) {
        pass_over(t, "weights turned", weights * 8);
        add(t, "depthwise, dx", TRAFFIC_VECTOR, flops, s->parts + dx_bytes(s), 1);
        return;
    }
    add(t, "convolution, dx", TRAFFIC_TENSOR, flops, s->parts + weight_bytes(s) + dx_bytes(s), 1);
}

static bool is_mixed(const scene *s)
{
    return ac_graph_shape(s->graph, s->node->input[0])->dtype != ac_graph_shape(s->graph, s->node->output[0])->dtype;
}

static void linear_forward(const scene *s, traffic *t)
{
    const ac_linear_attribute *a = (const void *)s->node->attribute;
    bool tanh_or_gelu = a->activation != AC_ACTIVATION_NONE;
    if (s->remade) {
        pass_over(t, "GELU", 2 * s->y);
        return;
    }
    if (is_mixed(s))
        pass_over(t, "input converted", s->x * 3);
    if (is_mixed(s))
        pass_over(t, "weights rounded", weight_elements(s) * 8);
    add(t, "product", is_mixed(s) ? TRAFFIC_VECTOR : TRAFFIC_TENSOR, forward_flops(s), s->x + weight_bytes(s) + s->y * (has_residual(s) ? 2 : 1), 1);
    if (tanh_or_gelu)
        pass_over(t, "activation", 2 * s->y);
}

static void linear_backward(const scene *s, traffic *t)
{
    const ac_linear_attribute *a = (const void *)s->node->attribute;
    bool slope = a->activation != AC_ACTIVATION_NONE;
    if (is_mixed(s))
        pass_over(t, "input converted", s->x * 3);
    if (slope || s->parts > s->y)
        pass_over(t, "slope", s->parts + s->y + (slope ? s->y : 0));
    product_backward(s, t, a->bias, s->x, s->y);
    if (is_mixed(s))
        pass_over(t, "gradient converted", s->x * 3);
}

/* ---- attention ---- */

static void attention_forward(const scene *s, traffic *t)
{
    add(t, "attention", s->narrow ? TRAFFIC_TENSOR : TRAFFIC_VECTOR, forward_flops(s), s->x + s->y, 1);
}

/* Five products of the size of forward's two: logits again, dp, and three gradients. */
static void attention_backward(const scene *s, traffic *t)
{
    const ac_attention_attribute *a = (const void *)s->node->attribute;
    add(t, "attention", s->narrow ? TRAFFIC_TENSOR : TRAFFIC_VECTOR, 2.5 * forward_flops(s), s->x + s->y + s->parts + s->x,
        a->kind == AC_ATTENTION_GLOBAL ? 1 : 2);
}

/* ---- norms ---- */

static void batch_norm_forward(const scene *s, traffic *t)
{
    if (s->plan->training && !s->remade)
        add(t, "statistics", TRAFFIC_VECTOR, 0, s->x, 2);
    pass_over(t, "apply", s->x + s->y + (has_residual(s) ? s->y : 0));
}

static void batch_norm_backward(const scene *s, traffic *t)
{
    const ac_batch_norm_attribute *a = (const void *)s->node->attribute;
    bool reads_y = has_residual(s) && a->activation != AC_ACTIVATION_NONE;
    double read = s->x + s->parts + (reads_y ? s->y : 0);
    add(t, "sums", TRAFFIC_VECTOR, 0, read, 2);
    pass_over(t, "gradient", read + dx_bytes(s) + (has_residual(s) && wants_dx(s, 1) ? s->y : 0));
}

static void layer_norm_forward(const scene *s, traffic *t)
{
    pass_over(t, "rows", s->x + s->y);
}

static void layer_norm_backward(const scene *s, traffic *t)
{
    add(t, "rows", TRAFFIC_VECTOR, 0, s->x + s->parts + dx_bytes(s), 3);
}

static void squeeze_excite_forward(const scene *s, traffic *t)
{
    add(t, "sums and gate", TRAFFIC_VECTOR, 0, s->x, 4);
    pass_over(t, "apply", s->x + s->y + (has_residual(s) ? s->y : 0));
}

static void squeeze_excite_backward(const scene *s, traffic *t)
{
    const ac_squeeze_excite_attribute *a = (const void *)s->node->attribute;
    double seen = a->outer == AC_ACTIVATION_RELU ? s->y : 0;
    add(t, "sums and gate", TRAFFIC_VECTOR, 0, s->x + s->parts + seen, 5);
    pass_over(t, "gradient", s->parts + seen + dx_bytes(s) + (has_residual(s) && wants_dx(s, 1) ? s->y : 0));
}

/* ---- passes ---- */

static void move_forward(const scene *s, traffic *t)
{
    double bytes = s->x + s->y;
    if (s->node->op == &ac_op_add)
        bytes += s->y;
    if (s->node->op == &ac_op_max_pool && s->plan->training)
        bytes += elements(s, s->node->output[0]);
    if (s->node->op == &ac_op_first_token)
        bytes = 2 * s->y;
    pass_over(t, "pass", bytes);
}

static void move_backward(const scene *s, traffic *t)
{
    double bytes = s->parts + dx_bytes(s);
    if (s->node->op == &ac_op_max_pool)
        bytes += elements(s, s->node->output[0]);
    if (s->node->op == &ac_op_first_token && s->mine->adds_dinput)
        bytes = s->parts + 2 * s->y;
    if (wants_dx(s, 0) || s->node->op == &ac_op_tokens)
        pass_over(t, "pass", bytes);
}

static void loss(const scene *s, traffic *t)
{
    pass_over(t, "loss", s->x);
}

static const struct row {
    const ac_op *op;
    void (*pass[2])(const scene *, traffic *);
} rows[] = {
    {&ac_op_image_input, {move_forward, move_backward}},
    {&ac_op_conv2d, {conv2d_forward, conv2d_backward}},
    {&ac_op_batch_norm, {batch_norm_forward, batch_norm_backward}},
    {&ac_op_max_pool, {move_forward, move_backward}},
    {&ac_op_avg_pool, {move_forward, move_backward}},
    {&ac_op_global_avg_pool, {move_forward, move_backward}},
    {&ac_op_blur_pool, {move_forward, move_backward}},
    {&ac_op_space_to_depth, {move_forward, move_backward}},
    {&ac_op_linear, {linear_forward, linear_backward}},
    {&ac_op_layer_norm, {layer_norm_forward, layer_norm_backward}},
    {&ac_op_attention, {attention_forward, attention_backward}},
    {&ac_op_squeeze_excite, {squeeze_excite_forward, squeeze_excite_backward}},
    {&ac_op_add, {move_forward, move_backward}},
    {&ac_op_dropout, {move_forward, move_backward}},
    {&ac_op_tokens, {move_forward, move_backward}},
    {&ac_op_first_token, {move_forward, move_backward}},
    {&ac_op_any_class_loss, {loss, loss}},
};

static scene scene_of(const ac_plan *plan, int i)
{
    const plan_node *mine = &plan->node[i];
    scene s = {.plan = plan, .graph = plan->graph, .last = &plan->graph->node[i], .mine = mine};
    s.node = mine->takes == AC_NO_NODE ? s.last : &plan->graph->node[mine->takes];
    s.x = value_bytes(&s, s.node->input[0]);
    s.y = value_bytes(&s, s.last->output[0]);
    s.element = (double)ac_dtype_bytes(plan->graph->activation_dtype);
    s.narrow = s.element < 4;
    return s;
}

static void run_row(const scene *s, traffic_pass pass, traffic *out)
{
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        if (rows[r].op == s->node->op)
            rows[r].pass[pass](s, out);
}

void traffic_of_node(const ac_plan *plan, int i, traffic_pass pass, traffic *out)
{
    const plan_node *mine = &plan->node[i];
    out->n = 0;
    if (!mine->kernel || (pass == TRAFFIC_BACKWARD && !mine->has_backward))
        return;
    scene s = scene_of(plan, i);
    if (pass == TRAFFIC_FORWARD) {
        run_row(&s, pass, out);
        if (s.node != s.last && s.last->n_inputs > 1) /* the norm's residual, read where the result goes */
            out->launch[out->n - 1].bytes += s.y;
        return;
    }
    const plan_value *y = &plan->value[s.last->output[0]];
    int read = (mine->kernel->flags & AC_KERNEL_SUMS_DOUTPUT) && !plan_passes(plan, i) ? AC_MAX_DOUT : 1;
    for (int k = read; k < y->n_parts; k++)
        pass_over(out, "sum of parts", 3 * s.y);
    s.parts = s.y * (y->n_parts < read ? y->n_parts : read);
    if (mine->remakes != AC_NO_NODE) {
        scene other = scene_of(plan, mine->remakes);
        other.remade = true;
        run_row(&other, TRAFFIC_FORWARD, out);
    }
    run_row(&s, pass, out);
}

void traffic_of_mirror(const ac_params *params, traffic *out)
{
    out->n = 0;
    if (params->mirror)
        pass_over(out, "parameters in two bytes", 6 * (double)params->n_values);
}

void traffic_of_update(const ac_params *params, int n_moments, traffic *out)
{
    double n = (double)params->n_values;
    out->n = 0;
    add(out, "norm", TRAFFIC_VECTOR, 0, 4 * n, 2);
    pass_over(out, "update", n * (n_moments == 1 ? 20 : 28));
}
