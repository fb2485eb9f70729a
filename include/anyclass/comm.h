/* What the programs need of MPI beyond plain calls: agreement on failures, and the gradient sum in buckets.
 * All functions are collective over `comm` unless said otherwise. MPI_ERRORS_RETURN must be set (ac_comm_begin does). */
#ifndef ANYCLASS_COMM_H
#define ANYCLASS_COMM_H

#include "anyclass/status.h"
#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Duplicate `parent` into a communicator of the program's own with MPI_ERRORS_RETURN, and check the thread level
 * (MPI_THREAD_FUNNELED or more) and, inside a Slurm job step, that the MPI size is SLURM_NTASKS (AC_ERR_USAGE).
 * Release with MPI_Comm_free. */
AC_NODISCARD ac_status ac_comm_begin(MPI_Comm parent, MPI_Comm *comm);

/** Make all ranks take the same decision after a step that can fail on one of them: returns the status of the lowest
 * rank that failed, on every rank; the other ranks get its text with "rank R: " in front. Returns AC_OK when all are. */
AC_NODISCARD ac_status ac_comm_agree(MPI_Comm comm, ac_status mine);

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

/** Concatenate every rank's bytes, in rank order, on all ranks.
 * @param[out] all   owned by the caller (ac_free); may be NULL on no rank
 * @param[out] n_all total bytes; @param[out] offsets  [size + 1] byte offsets per rank, caller's memory, may be NULL */
AC_NODISCARD ac_status ac_comm_gather_all(MPI_Comm comm, const void *bytes, size_t n_bytes, void **all, size_t *n_all, size_t *offsets);

/** True on every rank when all ranks hold the same bytes (compared by hash). */
AC_NODISCARD ac_status ac_comm_same(MPI_Comm comm, const void *bytes, size_t n_bytes, bool *same);

/* Sum of the gradient arena over ranks, bucket by bucket, started while backward still runs. The arena fills from its
 * start (parameters lie in reverse order of use), so a bucket is ready once `n_ready` passes its end. With one rank it
 * does nothing. The order of summation depends on the number of ranks only. */
typedef struct ac_reducer ac_reducer;

/** @param values        host memory [n], summed in place; borrowed until destroyed
 *  @param bucket_bytes  0 = 25 MiB. */
AC_NODISCARD ac_status ac_reducer_create(MPI_Comm comm, float *values, size_t n, size_t bucket_bytes, ac_reducer **out);
/** NULL is allowed. Not collective; no bucket may be under way. */
void ac_reducer_destroy(ac_reducer *reducer);
/** A new step begins: nothing is ready. */
void ac_reducer_begin(ac_reducer *reducer);
/** values[0 .. n_ready) are final on this rank; starts every bucket that is complete. Same sequence on all ranks. */
AC_NODISCARD ac_status ac_reducer_ready(ac_reducer *reducer, size_t n_ready);
/** Start what is left, wait for all. Afterwards values[] holds the sums. `exposed_s` (may be NULL): time spent waiting. */
AC_NODISCARD ac_status ac_reducer_finish(ac_reducer *reducer, double *exposed_s);

#endif
