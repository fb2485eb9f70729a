/* Models by name, and the whole network around one: pixels in, logits and loss out. A model is a table of layers that
 * appends operators to a graph; it knows no device. Not collective. */
#ifndef ANYCLASS_MODEL_H
#define ANYCLASS_MODEL_H

#include "anyclass/graph.h"
#include "anyclass/loss.h"
#include "anyclass/ops.h"

/* Every model, in the order in which help texts name them. ROW(name) of each; `const ac_model ac_model_NAME` is its row. */
#define AC_MODELS(ROW)                                                                                                                               \
    ROW(resnet18) ROW(resnet34) ROW(resnet50) ROW(resnet101) ROW(resnet152)                                                                          \
    ROW(tresnet_m) ROW(tresnet_l) ROW(tresnet_xl)                                                                                                    \
    ROW(vit_b_16) ROW(vit_b_32) ROW(vit_l_16) ROW(vit_l_32)                                                                                          \
    ROW(maxvit_t) ROW(maxvit_s)

typedef struct ac_model_input { /* what a model is built on */
    ac_value images;         /* f32 or the activations' type, normalised [N, S, S, 3] */
    int64_t n_classes;
    ac_value keys;           /* int64 [N] sample keys; AC_NO_VALUE: nothing is dropped at random */
    uint64_t seed;           /* of what is dropped */
    float dropout;           /* probability, where torchvision's model has dropout (ViT, MaxViT's mlp); needs keys */
    float stochastic_depth;  /* probability at the last block (MaxViT); < 0: the model's own */
} ac_model_input;

/* Bits of ac_model.drops: what a model can drop at random while it trains. */
#define AC_DROPS_ELEMENTS 1u /* dropout */
#define AC_DROPS_BRANCHES 2u /* stochastic depth */

typedef struct ac_model { /* one row of the registry */
    const char *name;          /* "resnet50" */
    int min_image_px;          /* smallest side the architecture allows */
    int image_multiple_px;     /* the side must be a multiple of this */
    unsigned drops;            /* AC_DROPS_* */
    const void *table;         /* the family's layer table */
    /** Append the network from images to logits [N, n_classes]. */
    ac_value (*build)(const struct ac_model *model, ac_graph *graph, const ac_model_input *in);
} ac_model;

/** Row by name; NULL if there is none. */
const ac_model *ac_model_find(const char *name);
/** "resnet18|resnet50|...": an option's choices. Static storage. */
const char *ac_model_names(void);
/** i-th row, NULL behind the last. */
const ac_model *ac_model_at(size_t i);

typedef struct ac_network_options {
    const ac_model *model;
    int64_t batch;             /* images of one step on this rank */
    int image_size_px;
    int64_t n_classes;
    float mean[3], std[3];
    bool training;             /* with targets and loss; false: logits only */
    bool flip;                 /* random mirror images (training) */
    ac_augment augment;        /* (training) */
    bool sync_bn;
    uint64_t seed;             /* of the augmentation and of what is dropped at random (training) */
    float dropout, stochastic_depth; /* (training) as ac_model_input */
    ac_loss_config loss;
    ac_dtype activation_dtype; /* AC_F32 */
} ac_network_options;

typedef struct ac_network {    /* a graph and its ends */
    ac_graph *graph;
    ac_value images;              /* input, uint8 [N, S, S, 3] */
    ac_value keys;                /* input, int64 [N] sample keys */
    ac_value targets;             /* input, uint8 [N, M]; AC_NO_VALUE without training */
    ac_value class_weights;       /* input, f64 [M + 1]; same */
    ac_value inverse_denominator; /* input, f64 [1]; same */
    ac_value logits;              /* result, f32 [N, M] */
    ac_value loss;                /* result, f64 [1]; AC_NO_VALUE without training */
} ac_network;

/** Build the network; AC_ERR_USAGE when the image size does not suit the model, AC_ERR_RANGE naming layer and reason.
 * Release with ac_network_release() after success. */
AC_NODISCARD ac_status ac_network_build(const ac_network_options *options, ac_network *out);
/** Safe on a zeroed struct, which is what it leaves. */
void ac_network_release(ac_network *network);

#endif
