/* image_input: uint8 pixels to augmented, normalised activations. */
#include "anyclass/augment_formula.h"
#include "nn/op/op.h"

static ac_status check_augment(const ac_augment *a, const ac_shape *image)
{
    if (a->kind != AC_AUGMENT_NONE && a->kind != AC_AUGMENT_COLOUR && a->kind != AC_AUGMENT_ROTATION)
        return ac_error(AC_ERR_RANGE, "there is no augmentation of kind %d", a->kind);
    /* written so that NaN is refused */
    if (!(a->brightness >= 0 && a->brightness <= AC_MAX_JITTER && a->contrast >= 0 && a->contrast <= AC_MAX_JITTER && a->saturation >= 0 &&
          a->saturation <= AC_MAX_JITTER))
        return ac_error(AC_ERR_RANGE, "brightness, contrast and saturation may vary by 0 to %d", AC_MAX_JITTER);
    if (!(a->hue >= 0 && a->hue <= 0.5f))
        return ac_error(AC_ERR_RANGE, "hue may vary by 0 to 0.5 turns");
    if (!(a->rotation_degrees >= 0 && a->rotation_degrees <= 180))
        return ac_error(AC_ERR_RANGE, "an image may be rotated by 0 to 180 degrees");
    if (a->kind == AC_AUGMENT_ROTATION && (image->dim[1] > AC_ROTATION_MAX_PX || image->dim[2] > AC_ROTATION_MAX_PX))
        return ac_error(AC_ERR_RANGE, "images beyond %d pixels cannot be rotated", AC_ROTATION_MAX_PX);
    return AC_OK;
}

static ac_status infer(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    AC_TRY(ac_op_expect_dims(graph, node, 0, 4));
    AC_TRY(ac_op_expect_dims(graph, node, 1, 1));
    const ac_shape *image = ac_graph_shape(graph, node->input[0]), *key = ac_graph_shape(graph, node->input[1]);
    if (image->dtype != AC_U8 || image->dim[3] != 3 || key->dtype != AC_I64 || key->dim[0] != image->dim[0])
        return ac_error(AC_ERR_RANGE, "needs uint8 [N, H, W, 3] and int64 keys [N]");
    const ac_image_input_attribute *attribute = (const void *)node->attribute;
    for (int c = 0; c < 3; c++)
        if (!(attribute->std[c] > 0))
            return ac_error(AC_ERR_RANGE, "standard deviations must be above 0");
    AC_TRY(check_augment(&attribute->augment, image));
    AC_TRY(ac_graph_set_output(graph, node, 0, ac_op_activation_shape(graph, *image)));
out:
    return status;
}

const ac_op ac_op_image_input = {
    .name = "image_input",
    .attribute_bytes = sizeof(ac_image_input_attribute),
    .min_inputs = 2,
    .max_inputs = 2,
    .infer = infer,
    .keep = ac_op_keep_nothing,
};

ac_value ac_add_image_input(ac_graph *graph, const char *name, ac_value images, ac_value keys, const ac_image_input_attribute *attribute)
{
    ac_value inputs[] = {images, keys};
    return ac_graph_append(graph, &ac_op_image_input, name, inputs, 2, attribute);
}
