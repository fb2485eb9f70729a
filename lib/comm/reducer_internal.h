/* Inside of the gradient sum: buckets on their way (reducer_bucket.c), sums of doubles (reducer_round.c), values in a
 * device's memory (reducer_device.c), and who drives them (reducer.c). */
#ifndef ANYCLASS_REDUCER_INTERNAL_H
#define ANYCLASS_REDUCER_INTERNAL_H

#include "anyclass/comm.h"
#include <pthread.h>
#include <stdatomic.h>

enum { AC_TAG_ROUND = 0, AC_TAG_BUCKET = 1 }; /* a bucket's place p has the tags 1 + 2p and 2 + 2p */

/* One bucket under way. Each rank owns a slice of it. With each peer go two chains of messages:
 * lane 0 sends our part of the peer's slice, then receives the slice's sum;
 * lane 1 receives the peer's part of our slice, then, when all parts are here and added, sends our slice's sum. */
typedef struct bucket {
    size_t first, n;
    int n_missing; /* parts of our slice that are still to come */
    int n_chains;  /* not at their end; 0: the place is free */
    float *parts;  /* [size - 1, our slice] in the order of ranks */
} bucket;

typedef struct exchange {
    MPI_Comm comm;
    int rank, size;
    float *values;
    bucket *place;         /* [n_places] */
    int n_places;
    MPI_Request *request;  /* [n_places, size, 2 lanes] */
    int *index;            /* of the requests that are done */
    unsigned char *second; /* as request: that chain is at its second message */
    float *parts;
    int n_under_way;       /* buckets */
    uint64_t sent_bytes, n_buckets;
    ac_status (*summed)(void *context, size_t first, size_t n); /* NULL, or called when values[first .. first + n) are sums and belong to MPI no more */
    void *context;
} exchange;

/** Memory for buckets of up to `bucket` floats. Not collective. */
AC_NODISCARD ac_status ac_exchange_init(exchange *e, MPI_Comm comm, float *values, size_t bucket_floats);
void ac_exchange_release(exchange *e);
/** Start values[first .. first + n) when a place is free. @param[out] started  false: none is. */
AC_NODISCARD ac_status ac_exchange_start(exchange *e, size_t first, size_t n, bool *started);
/** Let MPI move data and go on with what has come. No MPI call when nothing is under way.
 * @param[out] moved  something was done */
AC_NODISCARD ac_status ac_exchange_advance(exchange *e, bool *moved);

typedef enum round_state { ROUND_IDLE, ROUND_GATHER, ROUND_SENT_UP, ROUND_RECEIVE, ROUND_SPREAD, ROUND_DONE } round_state;

enum { ROUND_HEAD = 3 }; /* what is summed, lowest rank at its end of a step, lowest rank in a sum */

typedef struct round_of_sums {
    MPI_Comm comm;
    int rank, size;
    round_state state;
    int mask;         /* distance to the child that is next */
    bool open;        /* request is under way */
    MPI_Request request;
    size_t n;
    bool finish;
    double mine[ROUND_HEAD + AC_REDUCER_SUM_MAX], theirs[ROUND_HEAD + AC_REDUCER_SUM_MAX];
    uint64_t sent_bytes;
} round_of_sums;

/** One sum over all ranks begins: up a binomial tree, down again. */
void ac_round_begin(round_of_sums *r, const double *values, size_t n, bool finish);
/** One step further, without waiting. @param[out] moved  something was done */
AC_NODISCARD ac_status ac_round_advance(round_of_sums *r, bool *moved);
/** After ROUND_DONE: the sum, into values[n].
 * @param[out] again  this rank finishes, another one was in a sum: one more round is to come
 * @return AC_OK; AC_ERR_SYNC when the ranks do not sum the same */
AC_NODISCARD ac_status ac_round_end(round_of_sums *r, double *values, bool *again);

typedef struct arrival { /* what a copy from the device tells when it is done */
    void (*announce)(void *reducer, size_t n_ready);
    void *reducer;
    size_t n_ready;
} arrival;

/* Values in the memory of a device that has a queue; all zero: they are in host memory. */
typedef struct device_side {
    ac_device *device;
    const ac_queue *queue;
    bool group;            /* the devices sum among themselves */
    atomic_bool gave_up;   /* nothing is asked of the device any more */
    float *values, *host;  /* [n] on the device; [n] where MPI finds them, NULL for a group */
    size_t n, bucket;
    ac_step_state *state;
    size_t n_asked, n_announced; /* of this pass: floats in buckets that are on their way, floats that are final */
    arrival *arrival;      /* [n_buckets] */
    int64_t *clock;        /* device memory [2]: when backward ended, time spent waiting behind it */
} device_side;

enum { AC_WAY_BYTES = 256 };

/** Decide how values are summed, and join the group if it is the devices that do. Collective; the same on all ranks but for `d` itself.
 *  @param[out] way  in words */
AC_NODISCARD ac_status ac_device_side_choose(device_side *d, MPI_Comm comm, const ac_reducer_place *place, char way[AC_WAY_BYTES]);
/** Memory, for buckets of `bucket_floats`. Not collective. */
AC_NODISCARD ac_status ac_device_side_init(device_side *d, const ac_reducer_place *place, size_t bucket_floats, void (*announce)(void *reducer, size_t n_ready),
                                           void *reducer);
/** Waits for the device. */
void ac_device_side_release(device_side *d);
/** Ask the device for what ac_reducer_ready() promises. */
AC_NODISCARD ac_status ac_device_side_ready(device_side *d, size_t n_ready);
/** Sums go back to the device: exchange.summed. */
ac_status ac_device_side_take_back(void *side, size_t first, size_t n);
/** All are back: what is asked for from here on sees them. */
AC_NODISCARD ac_status ac_device_side_finish(device_side *d);
/** Seconds that the device waited. Waits for it. */
double ac_device_side_exposed_s(const device_side *d);

#endif
