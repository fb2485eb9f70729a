/* The oracle's kernel rows. */
#ifndef ANYCLASS_LIB_REF_H
#define ANYCLASS_LIB_REF_H

#include "anyclass/augment_formula.h"
#include "anyclass/bf16.h"
#include "anyclass/f16.h"
#include "anyclass/ops.h"
#include "backend/backends.h"

extern const ac_kernel ac_ref_image_input, ac_ref_conv2d, ac_ref_batch_norm, ac_ref_max_pool, ac_ref_avg_pool,
    ac_ref_global_avg_pool, ac_ref_blur_pool, ac_ref_space_to_depth, ac_ref_squeeze_excite, ac_ref_linear, ac_ref_attention,
    ac_ref_any_class_loss;
extern const ac_kernel ac_ref_layer_norm, ac_ref_add, ac_ref_dropout, ac_ref_tokens, ac_ref_first_token;

/** Pillow's hue, saturation, value of a colour, by its definition; and back. */
void ref_hsv_from_rgb(const uint8_t rgb[3], uint8_t hsv[3]);
void ref_rgb_from_hsv(const uint8_t hsv[3], uint8_t rgb[3]);
/** The colour steps of a draw over an image of `n` pixels, in place. */
void ref_change_colours(const ac_colour_draw *draw, uint8_t *pixel, int64_t n);
/** An image [height, width, 3] rotated, from -> to. */
void ref_rotate(const ac_rotation *rotation, const uint8_t *from, uint8_t *to, int height, int width);

static inline const ac_shape *ref_in(const ac_call *call, int i)
{
    return &call->graph->value[call->node->input[i]].shape;
}

static inline const ac_shape *ref_out(const ac_call *call)
{
    return &call->graph->value[call->node->output[0]].shape;
}

/* Element i of an array of float, bf16 or f16. */
static inline double ref_get(ac_dtype dtype, const void *values, int64_t i)
{
    if (dtype == AC_BF16)
        return (double)ac_float_from_bf16(((const uint16_t *)values)[i]);
    return (double)(dtype == AC_F16 ? ac_float_from_f16(((const uint16_t *)values)[i]) : ((const float *)values)[i]);
}

static inline void ref_set(ac_dtype dtype, void *values, int64_t i, double value)
{
    if (dtype == AC_BF16)
        ((uint16_t *)values)[i] = ac_bf16_from_float((float)value);
    else if (dtype == AC_F16)
        ((uint16_t *)values)[i] = ac_f16_from_float((float)value);
    else
        ((float *)values)[i] = (float)value;
}

/* The value as an element of this type would hold it. */
static inline double ref_stored(ac_dtype dtype, double value)
{
    float element;
    ref_set(dtype, &element, 0, value);
    return ref_get(dtype, &element, 0);
}

static inline double ref_input(const ac_call *call, int k, int64_t i)
{
    return ref_get(ref_in(call, k)->dtype, call->input[k], i);
}

static inline void ref_set_output(const ac_call *call, int64_t i, double value)
{
    ref_set(ref_out(call)->dtype, call->output[0], i, value);
}

static inline void ref_set_dinput(const ac_call *call, int k, int64_t i, double value)
{
    ref_set(ref_in(call, k)->dtype, call->dinput[k], i, value);
}

/* Element i of a MATRIX parameter, which is read in the type of input 0. */
static inline double ref_matrix(const ac_call *call, int64_t i)
{
    return ref_stored(ref_in(call, 0)->dtype, (double)((const float *)call->param[0])[i]);
}

/* Gradient of output element i: the sum of its parts. */
static inline double ref_dout(const ac_call *call, int64_t i)
{
    double sum = 0;
    for (int k = 0; k < call->n_doutput; k++)
        sum += ref_get(ref_out(call)->dtype, call->doutput[k], i);
    return sum;
}

#endif
