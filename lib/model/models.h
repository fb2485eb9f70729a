/* What the families share: names of layers, and the branches that end in a residual. */
#ifndef ANYCLASS_LIB_MODELS_H
#define ANYCLASS_LIB_MODELS_H

#include "anyclass/model.h"

/* A family's file defines the rows of its models. */
#define AC_DECLARE_MODEL(name) extern const ac_model ac_model_##name;
AC_MODELS(AC_DECLARE_MODEL)
#undef AC_DECLARE_MODEL

typedef struct ac_layer_name { /* names the layers of one block: "layer1.0" + ".conv1" */
    char base[64], full[AC_NAME_BYTES];
} ac_layer_name;

/** "{base}.{suffix}", valid until the next call with this name. */
const char *ac_layer_name_get(ac_layer_name *name, const char *suffix);

typedef struct ac_model_builder { /* a model under construction */
    ac_graph *graph;
    const ac_model_input *in;
    uint32_t n_drops;       /* places so far where something is dropped at random */
    float stochastic_depth; /* probability at the last block, the model's own or the input's; 0 without keys */
} ac_model_builder;

/** A builder at its first layer; `own_stochastic_depth` is what the model has when the input asks for none. */
ac_model_builder ac_model_builder_begin(ac_graph *graph, const ac_model_input *in, float own_stochastic_depth);
/** Drop elements of x as the input says; x itself where nothing is dropped. */
ac_value ac_model_add_dropout(ac_model_builder *b, const char *name, ac_value x);
/** residual + x, where x is dropped per image with probability `depth`. */
ac_value ac_model_add_residual(ac_model_builder *b, const char *name, ac_value x, ac_value residual, float depth);
/** residual + linear(x), one operator where nothing is dropped; else elements of linear(x) are dropped (`dropout`), and per image all
 * of it with probability `depth`. */
typedef struct ac_model_branch {
    ac_linear_attribute linear;
    bool dropout;
    float depth;
} ac_model_branch;
ac_value ac_model_add_branch(ac_model_builder *b, const char *name, ac_value x, ac_value residual, const ac_model_branch *branch);

#endif
