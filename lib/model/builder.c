/* What the families' builders share: names, and what is dropped at random. Which layers a model has is in its family's file. */
#include "model/models.h"
#include <stdio.h>

const char *ac_layer_name_get(ac_layer_name *name, const char *suffix)
{
    snprintf(name->full, sizeof name->full, "%s.%s", name->base, suffix);
    return name->full;
}

ac_model_builder ac_model_builder_begin(ac_graph *graph, const ac_model_input *in, float own_stochastic_depth)
{
    float depth = in->stochastic_depth < 0 ? own_stochastic_depth : in->stochastic_depth;
    return (ac_model_builder){.graph = graph, .in = in, .stochastic_depth = in->keys == AC_NO_VALUE ? 0 : depth};
}

static ac_drop_attribute next_drop(ac_model_builder *b, float probability)
{
    return (ac_drop_attribute){.probability = probability, .layer = b->n_drops++, .seed = b->in->seed};
}

static bool has_dropout(const ac_model_builder *b)
{
    return b->in->dropout > 0 && b->in->keys != AC_NO_VALUE;
}

static const char *behind(ac_layer_name *out, const char *name, const char *suffix)
{
    snprintf(out->full, sizeof out->full, "%s.%s", name, suffix);
    return out->full;
}

ac_value ac_model_add_dropout(ac_model_builder *b, const char *name, ac_value x)
{
    if (!has_dropout(b))
        return x;
    ac_drop_attribute drop = next_drop(b, b->in->dropout);
    return ac_add_dropout(b->graph, name, x, b->in->keys, &drop);
}

ac_value ac_model_add_residual(ac_model_builder *b, const char *name, ac_value x, ac_value residual, float depth)
{
    ac_drop_attribute drop = {0};
    if (depth > 0)
        drop = next_drop(b, depth);
    return ac_add_add(b->graph, name, x, residual, depth > 0 ? b->in->keys : AC_NO_VALUE, &drop);
}

ac_value ac_model_add_branch(ac_model_builder *b, const char *name, ac_value x, ac_value residual, const ac_model_branch *branch)
{
    bool dropout = branch->dropout && has_dropout(b);
    ac_layer_name full;
    if (!dropout && branch->depth <= 0)
        return ac_add_linear_residual(b->graph, name, x, residual, &branch->linear);
    ac_value y = ac_add_linear(b->graph, name, x, &branch->linear);
    if (dropout)
        y = ac_model_add_dropout(b, behind(&full, name, "dropout"), y);
    return ac_model_add_residual(b, behind(&full, name, "add"), y, residual, branch->depth);
}
