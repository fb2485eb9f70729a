/* The network around a model: normalised input in front, loss behind. */
#include "anyclass/model.h"
#include <stdio.h>
#include <string.h>

static ac_status check_options(const ac_network_options *o)
{
    int least = o->model->min_image_px, multiple = o->model->image_multiple_px;
    if (o->image_size_px < least || o->image_size_px % multiple) {
        char suitable[48] = "";
        if (multiple > 1)
            snprintf(suitable, sizeof suitable, " and a multiple of %d", multiple);
        return ac_error(AC_ERR_USAGE, "%s needs images of at least %d pixels%s, these have %d", o->model->name, least, suitable, o->image_size_px);
    }
    if (o->n_classes < 1 || o->batch < 1)
        return ac_error(AC_ERR_USAGE, "a network needs at least one class and one image per step");
    return AC_OK;
}

static void add_loss(const ac_network_options *o, ac_network *network)
{
    ac_graph *graph = network->graph;
    int64_t n = o->batch, m = o->n_classes;
    network->targets = ac_graph_input(graph, "targets", &(ac_shape){2, {n, m}, AC_U8});
    network->class_weights = ac_graph_input(graph, "class_weights", &(ac_shape){1, {m + 1}, AC_F64});
    network->inverse_denominator = ac_graph_input(graph, "inverse_denominator", &(ac_shape){1, {1}, AC_F64});
    network->loss = ac_add_any_class_loss(graph, "loss", network->logits, network->targets, network->class_weights,
                                          network->inverse_denominator, &o->loss);
}

ac_status ac_network_build(const ac_network_options *o, ac_network *out)
{
    ac_status status = AC_OK;
    memset(out, 0, sizeof *out);
    AC_TRY(check_options(o));
    AC_TRY(ac_graph_create(o->activation_dtype, &out->graph));
    ac_graph *graph = out->graph;
    graph->sync_bn = o->sync_bn;
    int64_t side = o->image_size_px;
    ac_image_input_attribute input = {.flip = o->training && o->flip, .seed = o->seed};
    memcpy(input.mean, o->mean, sizeof input.mean);
    memcpy(input.std, o->std, sizeof input.std);
    if (o->training)
        input.augment = o->augment;
    out->images = ac_graph_input(graph, "images", &(ac_shape){4, {o->batch, side, side, 3}, AC_U8});
    out->keys = ac_graph_input(graph, "keys", &(ac_shape){1, {o->batch}, AC_I64});
    ac_value x = ac_add_image_input(graph, "input", out->images, out->keys, &input);
    ac_model_input in = {.images = x, .n_classes = o->n_classes, .keys = o->training ? out->keys : AC_NO_VALUE, .seed = o->seed,
                         .dropout = o->dropout, .stochastic_depth = o->stochastic_depth};
    out->logits = o->model->build(o->model, graph, &in);
    ac_graph_result(graph, out->logits);
    out->targets = out->class_weights = out->inverse_denominator = out->loss = AC_NO_VALUE;
    if (o->training)
        add_loss(o, out);
    AC_TRY(ac_graph_finish(graph));
out:
    if (status != AC_OK)
        ac_network_release(out);
    return status;
}

void ac_network_release(ac_network *network)
{
    ac_graph_destroy(network->graph);
    network->graph = NULL;
}
