/* Inside of the plan, shared by plan.c (build and run), plan_memory.c (lifetimes and places) and plan_guard.c. */
#ifndef ANYCLASS_LIB_NN_PLAN_INTERNAL_H
#define ANYCLASS_LIB_NN_PLAN_INTERNAL_H

#include "anyclass/plan.h"

enum { AC_NO_BUFFER = -1, AC_NO_NODE = -1, AC_MAX_PARTS = 8 };

/* A piece of the arena with a lifetime. Times: forward of node i is i, its backward 2 n - 1 - i. */
typedef struct plan_buffer {
    size_t bytes;    /* a multiple of AC_ALIGN_BYTES */
    size_t used;     /* what its owner asked for */
    int first, last; /* times of first write and last use, both included */
    int same_as;     /* shares the memory of that buffer; AC_NO_BUFFER: has its own */
    size_t offset;   /* in the arena, once placed */
} plan_buffer;

typedef struct plan_value {
    int buffer;
    int again;                /* where the backwards that read it find it, made once more; AC_NO_BUFFER: where it was */
    int n_parts;              /* gradient parts, one per consumer */
    int part[AC_MAX_PARTS];   /* their buffers, the first written first */
} plan_value;

typedef struct plan_node {
    const ac_kernel *kernel;  /* NULL: nothing to run, done_by another */
    int takes, done_by;       /* a batch norm that is applied by the node in front of it, and that node; AC_NO_NODE: none */
    ac_kernel_plan made;
    int saved[AC_MAX_SAVED];  /* buffers */
    int workspace[2];         /* of forward, of backward */
    int dinput[AC_MAX_INPUTS];/* gradient parts this node writes */
    bool adds_dinput;         /* dinput 0 is a part that another node has written */
    int remakes;              /* the node whose output is made again right before this one's backward; AC_NO_NODE */
    bool has_backward;
    size_t prepared;          /* offset in plan->prepared */
    size_t n_ready;           /* gradient elements final after its backward; 0: no parameters */
    ac_call call[3];          /* forward, backward, recompute: ready to run once bound */
} plan_node;

struct ac_plan {
    const ac_graph *graph;
    ac_params *params;
    ac_device *device;
    bool training;
    plan_node *node;
    plan_value *value;
    plan_buffer *buffer;
    size_t n_buffers, buffer_capacity;
    ac_plan_memory memory;
    unsigned char *arena;
    bool owns_arena;
    size_t prepared_at;        /* in the arena, behind all buffers */
    unsigned char *prepared;   /* of memory.prepared_bytes */
    uint64_t prepared_version; /* of the parameters it was made from */
    bool guarded; /* the arena holds guard words */
    ac_plan_hooks hooks;
    bool profiling;
    double *forward_s, *backward_s;
};

/** Which batch norms are applied by the node in front of them: sets `takes` and `done_by`, and `kernel` of all nodes. */
AC_NODISCARD ac_status plan_find_norms(ac_plan *plan);

/** Values that node i reads when it runs; none if another node does its work. Returns their number. */
int plan_inputs(const ac_plan *plan, int i, ac_value out[2 * AC_MAX_INPUTS]);

/** Lifetimes of everything, then a place for each; fills plan->value, plan->buffer and plan->memory. */
AC_NODISCARD ac_status plan_place_all(ac_plan *plan);

/** What is prepared from parameters comes behind all buffers, for good. */
void plan_place_prepared(ac_plan *plan);

/** Instead of the places given so far, one of its own for every buffer with room for guard words behind it; the arena
 * grows (plan->memory.arena_bytes). Before the plan is bound. */
void plan_place_apart(ac_plan *plan);

/** Whether the gradient of an input of node i is that of its output: the parts of that are then added up first. */
bool plan_passes(const ac_plan *plan, int i);

/** Buffer that really holds the memory of `buffer`. */
int plan_root(const ac_plan *plan, int buffer);

static inline int plan_backward_time(const ac_plan *plan, int node)
{
    return 2 * (int)plan->graph->n_nodes - 1 - node;
}

/** Would the next forward make anything of the parameters anew? Such a pass is not like the others. */
bool plan_prepares(const ac_plan *plan);
/** Device memory of a result; the plan is bound. */
const void *plan_address(const ac_plan *plan, ac_value value);

#endif
