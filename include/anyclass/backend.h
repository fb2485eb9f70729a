/* What a backend is: memory, a few whole-arena passes, and one kernel row per operator. The plan (plan.h) calls it;
 * nothing else does. Adding an operator to a backend is one file and one row. Not collective.
 *
 * ref: plain loops, the oracle. cpu: oneDNN, own SIMD, OpenMP. cuda: cuDNN, cuBLASLt, own kernels. Each backend's rows are its own table; a backend that
 * lacks a row makes ac_plan_create() fail with the operator's name. */
#ifndef ANYCLASS_BACKEND_H
#define ANYCLASS_BACKEND_H

#include "anyclass/graph.h"
#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ac_backend ac_backend;
typedef struct ac_kernel ac_kernel;

typedef struct ac_device { /* one open device; the first member of each backend's own struct */
    const ac_backend *backend;
} ac_device;

enum { AC_MAX_DOUT = 3 };

/** Add values[n] (double, host memory) over all ranks in place; given to operators that need whole-batch statistics. */
typedef ac_status ac_sum_function(void *context, double *values, size_t n);

/* One call of a kernel. Pointers are device memory inside the arenas, the same in every step (a step can be captured
 * and replayed). NULL: absent, or not wanted. */
typedef struct ac_call {
    ac_device *device;
    const ac_graph *graph;
    const ac_node *node;
    void *state;                               /* what plan() made */
    bool training;                             /* forward: make `saved`, update running statistics */
    bool accumulate;                           /* backward: add to param_gradient instead of writing */
    const void *input[AC_MAX_INPUTS];
    void *output[AC_MAX_OUTPUTS];              /* backward: as kept by forward */
    const void *param[AC_MAX_NODE_PARAMS];     /* buffers are written through (float *) in a training forward */
    const void *mirror[AC_MAX_NODE_PARAMS];    /* the same in the activations' type of two bytes; NULL: there is none */
    float *param_gradient[AC_MAX_NODE_PARAMS]; /* backward; NULL for buffers */
    void *saved[AC_MAX_SAVED];
    const void *doutput[AC_MAX_DOUT];          /* backward: parts of the gradient of output 0; the sum of all counts */
    int n_doutput;                             /* 1, or more for kernels with AC_KERNEL_SUMS_DOUTPUT; 0 for the loss */
    void *dinput[AC_MAX_INPUTS];               /* backward: to be written */
    bool add_dinput;                           /* dinput 0 holds a part of the gradient: add to it (AC_KERNEL_ADDS_DINPUT) */
    void *workspace;                           /* of the size plan() asked for, shared by all nodes */
    const double *loss_scale;                  /* backward of the loss: what its gradient is multiplied by */
    void *prepared;                            /* of the size plan() asked for, filled by prepare(), kept; plans for inference */
    const ac_node *norm;                       /* to be applied to the result; NULL: none (AC_KERNEL_TAKES_NORM) */
    const void *norm_param[AC_MAX_NODE_PARAMS];
    ac_sum_function *sum_over_ranks;           /* NULL: this rank alone */
    void *sum_context;
} ac_call;

enum {
    AC_KERNEL_SUMS_DOUTPUT = 1,     /* backward reads up to AC_MAX_DOUT gradient parts; otherwise the plan adds them first */
    AC_KERNEL_INPLACE_FORWARD = 2,  /* output 0 may be the memory of input 0 (when the plan knows nobody needs it) */
    AC_KERNEL_INPLACE_BACKWARD = 4, /* dinput 0 may be the memory of doutput 0 */
    /* In plans for inference, forward can apply the batch norm behind it to its result: `norm` is that node, output 0 is that
     * node's output and, if it has a residual, holds the residual when forward begins. */
    AC_KERNEL_TAKES_NORM = 8,
    /* backward can add to dinput 0 instead of writing it (add_dinput): the gradient of a residual stream is then one buffer
     * that goes through the network. */
    AC_KERNEL_ADDS_DINPUT = 16,
    /* recompute reads saved tensors and parameters, no input: it serves where the input is itself made again, later. */
    AC_KERNEL_RECOMPUTES_FROM_SAVED = 32
};

typedef struct ac_kernel_plan { /* filled by ac_kernel.plan, all zero before but `norm` */
    const ac_node *norm;    /* what forward has to apply to its result; NULL: nothing */
    void *state;            /* primitives, tables; released by ac_kernel.release */
    size_t workspace_bytes; /* most that forward, backward or prepare needs */
    size_t prepared_bytes;  /* inference: what prepare() makes of the parameters */
    bool keeps_output;      /* recompute() is not for this node: output 0 is kept as without it */
} ac_kernel_plan;

struct ac_kernel {
    const ac_op *op;
    unsigned flags;
    /** Check support for these shapes, create primitives, ask for workspace. `wants_dinput` bit i: dinput i will be asked
     * for. May be NULL (no state). AC_ERR_UNSUPPORTED with a reason. */
    ac_status (*plan)(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants_dinput,
                      ac_kernel_plan *out);
    void (*release)(void *state); /* may be NULL */
    ac_status (*forward)(const ac_call *call);
    ac_status (*backward)(const ac_call *call); /* NULL: no gradient */
    /** Make call->prepared from the parameters: right before the first forward of a plan for inference and before the first
     * after parameters changed. NULL: never. */
    ac_status (*prepare)(const ac_call *call);
    /** Write output 0 once more, bit for bit, from what backward reads, and change nothing else. With it the plan drops an output that
     * only backwards still need, and has it made again for them. NULL: it is kept. `output` and `saved` are set as for backward. */
    ac_status (*recompute)(const ac_call *call);
};

/* What a training step changes beside the arenas, in device memory: there a step needs nothing from the host. */
typedef struct ac_step_state {
    double learning_rate;  /* of the next update; written by the host */
    double loss;           /* J of the step, its micro-batches added */
    double gradient_norm;  /* of the last step, before clipping, the loss scale taken out */
    double loss_scale;     /* the gradients in the arena are multiplied by it: 1, or in 16-mixed a power of two */
    int64_t n_updates;     /* made so far */
    int64_t n_even;        /* updates since the scale changed */
    int64_t n_skipped;     /* steps without an update, because gradients overflowed in 16-mixed */
    int64_t failure;       /* ac_step_failure; once it is set no step changes anything any more */
} ac_step_state;

typedef enum ac_step_failure { AC_STEP_GOOD, AC_STEP_NOT_FINITE, AC_STEP_TOO_LARGE, AC_STEP_SCALE_VANISHED } ac_step_failure;

typedef struct ac_optimizer_update { /* one pass over a whole arena; formulas in optimizer_formula.h */
    int kind;               /* ac_optimizer_kind */
    size_t n;
    float *value;
    const float *gradient;
    float *moment[2];       /* sgd: momentum; adamW: first and second moment */
    double weight_decay, momentum, beta1, beta2, epsilon, max_norm;
    bool dynamic_scale;     /* 16-mixed: an overflow skips the step and halves the loss scale */
    ac_step_state *state;   /* device memory */
} ac_optimizer_update;

typedef struct ac_recording ac_recording; /* work that a device can do again at once, as it was asked for: a CUDA graph */

enum { AC_QUEUE_MARKS = 4, AC_GROUP_ID_BYTES = 128, AC_DEVICE_ID_BYTES = 96 };

/* What a device adds that works behind the caller's back, in the order in which it is asked. One thread asks; the functions marked
 * "any thread" may be called by another one at the same time. */
typedef struct ac_queue {
    /** Host memory that copies go to and from without a detour; zeroed. */
    ac_status (*allocate_host)(ac_device *device, size_t n_bytes, void **out);
    void (*release_host)(ac_device *device, void *block);
    /** Behind everything asked for so far: copy into memory from allocate_host(). */
    ac_status (*fetch)(ac_device *device, void *host, const void *from, size_t n_bytes);
    /** Remember this place as mark 0 .. AC_QUEUE_MARKS - 1, and wait until everything asked for before it is done. */
    ac_status (*mark)(ac_device *device, int mark);
    ac_status (*wait)(ac_device *device, int mark);

    /** What is asked for from here to record_end() is not done but recorded. Waiting, allocating and copying from or to the
     * host, but by fetch and stage_out, fail meanwhile. */
    ac_status (*record_begin)(ac_device *device);
    /** @param[out] out  the recording; NULL after a failure, with the device as it was before record_begin() */
    ac_status (*record_end)(ac_device *device, ac_recording **out);
    ac_status (*replay)(ac_device *device, ac_recording *recording);
    void (*release_recording)(ac_device *device, ac_recording *recording);

    /** Which piece of hardware this is: the same text in two processes when they share it, and never otherwise. */
    void (*identify)(const ac_device *device, char out[AC_DEVICE_ID_BYTES]);
    /** clock[0] = now or, with `stop`, clock[1] += now - clock[0]; nanoseconds, when the device gets there. Can be recorded.
     * @param clock  device memory [2] */
    ac_status (*tick)(ac_device *device, int64_t *clock, bool stop);

    /* Sums over ranks through host memory, on queues of their own beside the first. */
    /** Behind everything asked for so far: copy n floats to memory from allocate_host(), then call arrived(context), from some thread and
     * without access to the device. Can be recorded: each replay copies and calls. A recording that holds one needs a stage_join() behind it. */
    ac_status (*stage_out)(ac_device *device, float *host, const float *from, size_t n, void (*arrived)(void *context), void *context);
    /** Any thread: copy back, at once. `host` must stay as it is until the next stage_join() is behind a wait(). */
    ac_status (*stage_in)(ac_device *device, float *to, const float *host, size_t n);
    /** What is asked for from here on comes behind everything on those queues; in a recording, behind what was recorded on them. */
    ac_status (*stage_join)(ac_device *device);

    /* Sums over ranks by the device's own library (NCCL), on such a queue too; stage_join() waits for them. One group per device. */
    /** "NCCL 2.27.3": the library that would do it. AC_ERR_UNSUPPORTED where there is none, with the reason. */
    ac_status (*group_library)(ac_device *device, char *out, size_t capacity);
    /** A new group's name, made by one rank and given to all. */
    ac_status (*group_id)(ac_device *device, unsigned char id[AC_GROUP_ID_BYTES]);
    /** Collective over the group: no two of its ranks on one device. AC_ERR_SYNC with the library's words. */
    ac_status (*group_join)(ac_device *device, const unsigned char id[AC_GROUP_ID_BYTES], int rank, int size);
    /** Behind everything asked for so far: the sum over the group, in place. The same calls in the same order on all ranks. Can be recorded. */
    ac_status (*group_sum)(ac_device *device, float *values, size_t n);
    ac_status (*group_sum_double)(ac_device *device, double *values, size_t n);
    /** This rank, or another one, cannot go on: end what is under way, on this rank alone. Sums fail from here on, and values that were being
     * summed are undefined. Returns at once; recordings that hold sums may still be there. Nothing happens without a group. */
    void (*group_abort)(ac_device *device);
    /** Wait for the last sums and end the group, behind the recordings that hold sums; close() does it too. */
    void (*group_leave)(ac_device *device);
} ac_queue;

struct ac_backend {
    const char *name; /* "ref", "cpu", "cuda" */
    const ac_kernel *const *kernels;
    size_t n_kernels;
    /** @param n_threads 0 = all that the process may use */
    ac_status (*open)(int n_threads, ac_device **out);
    void (*close)(ac_device *device);
    /** One line: processor, instruction set, library version, threads. */
    void (*describe)(const ac_device *device, char *out, size_t capacity);
    /** Can graphs whose activations are of this type run here? AC_F32 always; AC_BF16 is the precision bf16-mixed, AC_F16 16-mixed.
     * AC_ERR_UNSUPPORTED with the reason: what the processor lacks. */
    ac_status (*check_precision)(const ac_device *device, ac_dtype activations);
    ac_status (*allocate)(ac_device *device, size_t n_bytes, void **out); /* zeroed, 64-byte aligned or better */
    void (*release)(ac_device *device, void *block);
    ac_status (*upload)(ac_device *device, void *to, const void *from_host, size_t n_bytes);
    ac_status (*download)(ac_device *device, void *to_host, const void *from, size_t n_bytes);
    ac_status (*zero)(ac_device *device, void *block, size_t n_bytes);
    /** to[i] = from[i] in a type of two bytes: all parameters at once, as its kernels read them in mixed precision (ac_call.mirror). NULL: they make what they need
     * of the parameters themselves. */
    ac_status (*mirror)(ac_device *device, ac_dtype type, void *to, const float *from, size_t n);
    /** to[i] += from[i], n elements of `dtype`. */
    ac_status (*add)(ac_device *device, ac_dtype dtype, void *to, const void *from, size_t n);
    /** state->loss = loss, or, unless `first`, += loss; both in device memory. */
    ac_status (*add_loss)(ac_device *device, ac_step_state *state, const double *loss, bool first);
    /** The norm, in an order that depends on n alone; what ac_optimizer_decide() makes of it; the update. */
    ac_status (*optimizer_step)(ac_device *device, const ac_optimizer_update *update);
    /** Wait until all that was asked for is done; NULL where calls return when it is. For who measures time. */
    ac_status (*synchronize)(ac_device *device);
    /** Let products of floats round their operands to tf32 from now on; NULL: the device has no tf32. */
    ac_status (*allow_tf32)(ac_device *device);
    const ac_queue *queue; /* NULL: calls return when their work is done */
};

/** Open the device that --device names: "cuda", "cpu", "ref", or "auto", the GPU if this build and this machine have one, else the CPU with a line in the log.
 * AC_ERR_USAGE for a name that this build lacks, otherwise open()'s. */
AC_NODISCARD ac_status ac_backend_open(const char *name, int n_threads, ac_device **out);
/** Backend by name; NULL if this build has none of that name. */
const ac_backend *ac_backend_find(const char *name);
/** "cpu|ref": names in this build, as an option's choices. */
const char *ac_backend_names(void);
/** Row of `op` in `backend`, or NULL. */
const ac_kernel *ac_backend_kernel(const ac_backend *backend, const ac_op *op);

#endif
