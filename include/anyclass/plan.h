/* The plan: a graph made ready to run on one device. Decides once what backward keeps, when each activation and
 * gradient lives, and where it lies in ONE arena; afterwards a step allocates nothing and its peak memory is known.
 * Not collective (but see ac_plan_hooks). One thread at a time. */
#ifndef ANYCLASS_PLAN_H
#define ANYCLASS_PLAN_H

#include "anyclass/backend.h"
#include "anyclass/graph.h"
#include "anyclass/params.h"

typedef struct ac_plan ac_plan;

typedef struct ac_plan_hooks {
    /** Called in backward after each node that has parameters: gradient[0 .. n_ready) of the parameter arena is final. */
    ac_status (*gradient_ready)(void *context, size_t n_ready);
    void *gradient_context;
    ac_sum_function *sum_over_ranks; /* for --sync_bn; NULL = off */
    void *sum_context;
} ac_plan_hooks;

typedef struct ac_plan_memory {
    size_t arena_bytes;      /* activations, gradients of activations, saved tensors, workspace */
    size_t workspace_bytes;  /* part of it */
    size_t sum_of_all_bytes; /* what the same buffers would take without sharing */
    size_t param_bytes;      /* values + gradients + statistics */
    size_t prepared_bytes;   /* part of it: what kernels made of the parameters for inference */
} ac_plan_memory;

/** Plan `graph` for `params` (made from a graph with the same parameters). Both are borrowed until the plan is destroyed.
 * @param training  forward keeps what backward needs; false: forward only, running statistics. Then a batch norm that alone
 *                  reads a convolution is applied by it, where the backend can: exact but for rounding.
 * @return AC_ERR_UNSUPPORTED naming node and operator that the device cannot run. */
AC_NODISCARD ac_status ac_plan_create(const ac_graph *graph, ac_params *params, bool training, ac_plan **out);
/** NULL is allowed. Before its parameters and graph. */
void ac_plan_destroy(ac_plan *plan);
/** Known as soon as the plan is made. */
ac_plan_memory ac_plan_get_memory(const ac_plan *plan);
/** Give the plan its arena: device memory of at least arena_bytes, borrowed. Several plans may share one, if the steps
 * of one are over before those of the other begin; what was prepared from parameters lies there too, so a plan for inference may
 * go on after another one's steps only when parameters have changed since it last ran (a training step changes them). NULL: the plan allocates and owns one. Must come before the first step. */
AC_NODISCARD ac_status ac_plan_bind(ac_plan *plan, void *arena);
/** For tests: bind the plan to an arena of its own in which no two buffers share bytes over time (kernels that work in
 * place still do), all of it filled with 0xFF: a NaN for whoever reads before writing, guard words behind each buffer.
 * Instead of ac_plan_bind(): AC_ERR_RANGE on a plan that is bound. */
AC_NODISCARD ac_status ac_plan_bind_guarded(ac_plan *plan);
/** AC_ERR_RANGE naming the buffer behind whose end something was written; AC_OK when all guard words are whole. Needs
 * ac_plan_bind_guarded(). */
AC_NODISCARD ac_status ac_plan_check_guards(ac_plan *plan);
/** From the next step on; `hooks` is copied, what its members point to is borrowed. */
void ac_plan_set_hooks(ac_plan *plan, const ac_plan_hooks *hooks);

/** Copy host bytes into a graph input / a result (or a value kept by the step) back to the host. */
AC_NODISCARD ac_status ac_plan_write(ac_plan *plan, ac_value value, const void *host, size_t n_bytes);
AC_NODISCARD ac_status ac_plan_read(ac_plan *plan, ac_value value, void *host, size_t n_bytes);

/** Run every operator once, on what ac_plan_write() left. Needs an arena (AC_ERR_RANGE); else the status of the kernel
 * that failed, its text naming node and operator. */
AC_NODISCARD ac_status ac_plan_forward(ac_plan *plan);
/** After a forward: gradients of all parameters. `accumulate` adds to what the gradient arena holds. */
AC_NODISCARD ac_status ac_plan_backward(ac_plan *plan, bool accumulate);

/** For tests: gradient of a value whose memory is kept (graph inputs and results), after backward; same layout as the
 * value. AC_ERR_RANGE when it has none. */
AC_NODISCARD ac_status ac_plan_read_gradient(ac_plan *plan, ac_value value, void *host, size_t n_bytes);

/** Time per node of all steps since the last call with reset, in seconds [n_nodes]; switched on by ac_plan_profile(). */
void ac_plan_profile(ac_plan *plan, bool on);
void ac_plan_profile_read(const ac_plan *plan, const double **forward_s, const double **backward_s);

#endif
