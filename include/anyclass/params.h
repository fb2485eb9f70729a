/* All parameters of a graph: one flat float arena on the device in reverse order of use, gradients in a second of the
 * same layout, running statistics in a third. PyTorch's names and layouts appear only in get and set. */
#ifndef ANYCLASS_PARAMS_H
#define ANYCLASS_PARAMS_H

#include "anyclass/backend.h"
#include "anyclass/graph.h"
#include "anyclass/hash.h"

enum { AC_PARAM_ALIGN = 16 }; /* floats between starts of parameters; the padding stays 0 */

typedef struct ac_params {
    ac_device *device;     /* borrowed */
    ac_param_info *info;   /* [n_params], as in the graph; owned */
    size_t *offset;        /* [n_params] first element, in `value`/`gradient` or, for buffers, in `buffer` */
    size_t n_params;
    size_t n_values;       /* floats in value and gradient, padding included */
    size_t n_buffers;      /* floats in buffer */
    size_t n_trainable;    /* scalars that are trained, as PyTorch counts them */
    float *value, *gradient, *buffer; /* device memory, owned */
    void *mirror;          /* device memory, owned: `value` in the graph's type of two bytes, as of the last forward; NULL where there is none */
    ac_dtype mirror_type;
    uint64_t mirror_version;
    ac_step_state *state;  /* device memory, owned; with gradients only. Theirs is the loss scale in it */
    uint64_t version;      /* grows with every change of values or buffers: ac_params_changed() */
} ac_params;

/** Lay out and allocate for `graph`; zeroed. */
AC_NODISCARD ac_status ac_params_create(ac_device *device, const ac_graph *graph, bool with_gradient, ac_params **out);
/** NULL is allowed. After every plan and optimiser made from them, before the device. */
void ac_params_destroy(ac_params *params);
/** Draw the initial values: element e (PyTorch order) of parameter p is a function of (seed, AC_STREAM_INIT, p, e). */
AC_NODISCARD ac_status ac_params_init(ac_params *params, uint64_t seed);
/** Index by PyTorch name, or -1. */
int ac_params_find(const ac_params *params, const char *name);
/** Copy parameter p out of / into an arena with the layout of `value` (buffers: of `buffer`); host memory in PyTorch's
 * layout, ac_shape_elements(&info[p].shape) floats. `arena` NULL = the parameter itself; gradients and optimiser
 * moments are reached by naming theirs. */
AC_NODISCARD ac_status ac_params_get(const ac_params *params, int p, const float *arena, float *host);
/** The reverse of ac_params_get(). */
AC_NODISCARD ac_status ac_params_set(ac_params *params, int p, float *arena, const float *host);
/** The same without an allocation, for who does it with all of them. @param scratch as many floats as the parameter has */
AC_NODISCARD ac_status ac_params_get_with(const ac_params *params, int p, const float *arena, float *scratch, float *host);
AC_NODISCARD ac_status ac_params_set_with(ac_params *params, int p, float *arena, float *scratch, const float *host);
/** Tell that values or buffers changed, so that plans for inference prepare them anew. Everything in this library does; whoever
 * writes into the arenas directly has to. */
void ac_params_changed(ac_params *params);
/** Hash of values, and of buffers unless `values_alone`: equal on every rank or something is wrong (buffers: with --sync_bn, or after a broadcast). */
AC_NODISCARD ac_status ac_params_hash(const ac_params *params, bool values_alone, ac_hash *out);

#endif
