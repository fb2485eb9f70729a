/* What the programs need of MPI beyond plain calls: agreement on failures, and the gradient sum in buckets.
 * All functions are collective over `comm` unless said otherwise. MPI_ERRORS_RETURN must be set (ac_comm_begin does). */
#ifndef ANYCLASS_COMM_H
#define ANYCLASS_COMM_H

#include "anyclass/backend.h"
#include "anyclass/status.h"
#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Duplicate `parent` into a communicator of the program's own with MPI_ERRORS_RETURN, and check the thread level
 * (MPI_THREAD_FUNNELED or more) and, inside a Slurm job, that the MPI size is rank 0's SLURM_NTASKS (AC_ERR_USAGE).
 * Release with MPI_Comm_free; after an error it is MPI_COMM_NULL. */
AC_NODISCARD ac_status ac_comm_begin(MPI_Comm parent, MPI_Comm *comm);

/** Make all ranks take the same decision after a step that can fail on one of them: returns the status of the lowest
 * rank that failed, on every rank; the other ranks get its text with "rank R: " in front. Returns AC_OK when all are.
 * AC_ERR_SYNC, which may only say that another rank left, counts when no rank has another reason. */
AC_NODISCARD ac_status ac_comm_agree(MPI_Comm comm, ac_status mine);

/** Where all ranks can stop together: AC_ERR_SIGNAL on all of them when any got a signal (stop.h), with the text "stopped by signal N: <what>". */
AC_NODISCARD ac_status ac_comm_check_stop(MPI_Comm comm, const char *what);

/** Turn an MPI error code into AC_ERR_SYNC with MPI's text; AC_OK for MPI_SUCCESS. Not collective. */
AC_NODISCARD ac_status ac_comm_check(int mpi_error, const char *what);

/** Ranks of `comm` on this machine, the caller counted. */
AC_NODISCARD ac_status ac_comm_count_local(MPI_Comm comm, int *n_ranks);

/** Size of an int count for MPI, refused with AC_ERR_RANGE when it does not fit. Not collective. */
AC_NODISCARD ac_status ac_comm_count(size_t n, int *out);

/** The slice [first, first + n) of `total` items that `rank` of `size` gets: contiguous, sizes differ by one at most,
 * the larger ones first. Not collective. */
void ac_comm_slice(int64_t total, int rank, int size, int64_t *first, int64_t *n);

/** Broadcast bytes of any length from rank 0 (pieces below 2^30 bytes). */
AC_NODISCARD ac_status ac_comm_broadcast(MPI_Comm comm, void *bytes, size_t n_bytes);

/** The same for memory of a device: `arena` [n_bytes] of rank 0's into the others'. */
AC_NODISCARD ac_status ac_comm_broadcast_arena(MPI_Comm comm, ac_device *device, void *arena, size_t n_bytes);

/** Concatenate every rank's bytes, in rank order, on all ranks.
 * @param[out] all   owned by the caller (ac_free); may be NULL on no rank
 * @param[out] n_all total bytes; @param[out] offsets  [size + 1] byte offsets per rank, caller's memory, may be NULL */
AC_NODISCARD ac_status ac_comm_gather_all(MPI_Comm comm, const void *bytes, size_t n_bytes, void **all, size_t *n_all, size_t *offsets);

/** True on every rank when all ranks hold the same bytes (compared by hash). */
AC_NODISCARD ac_status ac_comm_same(MPI_Comm comm, const void *bytes, size_t n_bytes, bool *same);

/* Sum of the gradient arena over ranks, bucket by bucket, by a thread of the reducer's own while backward still runs. The
 * arena fills from its start (parameters lie in reverse order of use), so a bucket is ready once `n_ready` passes its end.
 *
 * Order of summation. A value is added up by one rank, in the order of ranks, in double, rounded to float once, and sent to
 * all: the bits are the same on every rank and depend on the number of ranks alone, not on bucket size, timing or MPI.
 * ac_reducer_sum() adds doubles pairwise in the order of ranks: (0 + 1) + (2 + 3) and so on.
 *
 * Threads. One thread uses a reducer. Between begin and finish that thread makes no MPI call but through the reducer; the
 * reducer's thread makes none outside, so MPI_THREAD_SERIALIZED is enough. With less there is no thread, and data moves
 * only inside the calls below. With one rank nothing is done at all.
 *
 * Values in a device's memory. When every rank has a device of its own and all have the library for it (NCCL), the devices sum among
 * themselves, behind what backward asked for and before what comes behind ac_reducer_ready(r, n): ac_reducer_on_device(). The bits are the same on every
 * rank; they depend on the number of ranks and on the algorithm that the library chooses. Otherwise buckets are copied to host memory as
 * backward completes them, summed there in the order above, and copied back. In both cases what ac_reducer_ready() asks of the device may be
 * recorded (step.h): replays then need only begin, and finish where sums are not the device's. */
typedef struct ac_reducer ac_reducer;

typedef struct ac_reducer_place { /* where values lie */
    ac_device *device;    /* borrowed; one without a queue has them in host memory */
    float *values;        /* the device's memory [n], summed in place; borrowed */
    size_t n;
    ac_step_state *state; /* on the device; its loss is summed too where sums are the device's. NULL: none */
} ac_reducer_place;

typedef struct ac_reducer_stats { /* since ac_reducer_create */
    bool threaded;      /* data moves while the caller computes */
    double exposed_s;   /* spent in ac_reducer_finish; on a device, measured by its own clock: from the end of backward to the last sum */
    double sum_s;       /* spent in ac_reducer_sum */
    double busy_s;      /* with at least one bucket under way, slower ranks' delay counted: busy_s - exposed_s was hidden */
    uint64_t sent_bytes;
    uint64_t n_steps, n_buckets, n_sums; /* that are done */
} ac_reducer_stats;

/** Collective.
 *  @param values        host memory [n], summed in place; borrowed until destroyed
 *  @param bucket_bytes  0 = 1 MiB per rank, at most 25 MiB. Two to eight buckets are under way at a time: they take up to
 *                       32 MiB, or two buckets.
 *  @return AC_OK; AC_ERR_MEMORY, AC_ERR_RANGE on this rank alone (agree); AC_ERR_SYNC when MPI fails. */
AC_NODISCARD ac_status ac_reducer_create(MPI_Comm comm, float *values, size_t n, size_t bucket_bytes, ac_reducer **out);
/** The same for values that may lie in a device's memory, and decide how they are summed. Devices without a queue: as ac_reducer_create().
 *  ANYCLASS_GPU_SUMS=mpi in the environment of any rank: through host memory in any case. */
AC_NODISCARD ac_status ac_reducer_create_on(MPI_Comm comm, const ac_reducer_place *place, size_t bucket_bytes, ac_reducer **out);
/** "NCCL 2.27.3 over 8 GPUs": how values are summed, and why so; valid as long as the reducer. Not collective. */
const char *ac_reducer_way(const ac_reducer *reducer);
/** Sums are the device's: once all is announced with ac_reducer_ready() the update can be asked for at once, and ac_reducer_finish() has
 * nothing to do. The same on all ranks. Not collective. */
bool ac_reducer_on_device(const ac_reducer *reducer);
/** NULL is allowed. Collective as MPI_Comm_free is; no bucket may be under way. */
void ac_reducer_destroy(ac_reducer *reducer);
/** A new step begins: nothing is ready. Not collective. */
void ac_reducer_begin(ac_reducer *reducer);
/** values[0 .. n_ready) are final on this rank, on a device: will be when it has done what was asked for; complete buckets are started.
 * Does not wait. Not collective: ranks may announce in different steps, but where sums are the device's. Each call names more than
 * the one before; on a device one that does not begins anew, as a step does whose recording failed.
 * @return AC_OK; AC_ERR_SYNC with MPI's text, from the thread too; the device's. */
AC_NODISCARD ac_status ac_reducer_ready(ac_reducer *reducer, size_t n_ready);
/** Start what is left, wait for all. Afterwards values[] holds the sums. Collective.
 * @param[out] exposed_s  seconds spent waiting; may be NULL
 * @return AC_OK; AC_ERR_SYNC with MPI's text, from the thread too: values[] is then undefined, only destroy is left. */
AC_NODISCARD ac_status ac_reducer_finish(ac_reducer *reducer, double *exposed_s);
/** ac_reducer_finish() and a sum of `n` <= AC_REDUCER_SUM_MAX doubles (the loss, ranks that failed) in its shadow. */
AC_NODISCARD ac_status ac_reducer_finish_sum(ac_reducer *reducer, double *values, size_t n, double *exposed_s);
enum { AC_REDUCER_SUM_MAX = 4096 };
/** Sum doubles over ranks, inside a step while buckets are under way, or outside. Collective, in the same order on all ranks.
 * A rank that fails inside a step skips its sums and finishes: the others' next sum then returns AC_ERR_SYNC and names it, and
 * they finish too. @return AC_OK; AC_ERR_SYNC: values[] is then undefined. */
AC_NODISCARD ac_status ac_reducer_sum(ac_reducer *reducer, double *values, size_t n);
/** This rank cannot complete its step, or has learned that another one cannot. On a device: what it still owes the others is sent as it
 * lies, so that they get through ac_reducer_finish(); sums that are the device's are ended, and fail from here on. Not collective. */
void ac_reducer_give_up(ac_reducer *reducer);
/** Waits for the device where values are in its memory. Not collective. */
void ac_reducer_get_stats(ac_reducer *reducer, ac_reducer_stats *stats);

#endif
