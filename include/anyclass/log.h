/* Log lines and the progress line on stderr, and answers to questions (--help) on stdout. The only place in the library that writes to a terminal.
 * One process-wide state (rank, level), set once by the program. */
#ifndef ANYCLASS_LOG_H
#define ANYCLASS_LOG_H

#include "anyclass/status.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum ac_log_level { AC_LOG_ERROR, AC_LOG_WARN, AC_LOG_INFO, AC_LOG_DEBUG } ac_log_level;

/** Set up the log. Not collective. Lines below `level` are dropped; on ranks other than 0 everything but errors is
 * dropped unless `all_ranks`. With size > 1 a line from rank r > 0 carries "[r]". */
void ac_log_init(const char *program, int rank, int size, ac_log_level level, bool all_ranks);

/** One line to stderr, written with a single write so that ranks do not mix. Thread-safe. */
void ac_log(ac_log_level level, const char *format, ...) AC_PRINTF(2, 3);

/** A line for every rank, whatever `all_ranks` says: errors that only one rank knows. */
void ac_log_here(ac_log_level level, const char *format, ...) AC_PRINTF(2, 3);

/** The last line of a process that ends now, from whatever thread, on the rank that calls. Waits at most about a second for another
 * thread's line or for room in a pipe, so that nothing can hold up the end. */
void ac_log_last(const char *format, ...) AC_PRINTF(1, 2);

/** Text that the user asked for, to stdout, on the rank that calls. AC_ERR_IO when it cannot be written. */
AC_NODISCARD ac_status ac_log_answer(const char *text);

/** True when lines of `level` would be written by this rank. */
bool ac_log_enabled(ac_log_level level);

/* A line that shows how far a long loop is: share, rate, time left. On a terminal it is rewritten in place at most ten
 * times a second; elsewhere a new line comes every 30 seconds, so that batch logs stay short. Rank 0 only. */
typedef struct ac_progress {
    const char *label;
    const char *unit;
    uint64_t total;
    uint64_t done;
    double start_s;
    double last_shown_s;
    bool on_terminal;
    bool enabled;
} ac_progress;

/** Start. `label`, `unit` (plural: "images") are borrowed for the life of the line; total 0 = unknown. */
void ac_progress_begin(ac_progress *progress, const char *label, const char *unit, uint64_t total);
/** Set how much is done, with an optional note ("loss 0.31") that may be NULL. */
void ac_progress_update(ac_progress *progress, uint64_t done, const char *note);
/** Clear the line; logs "label: N unit in T s (R unit/s)". */
void ac_progress_end(ac_progress *progress);

/** Monotonic clock in seconds. */
double ac_now_s(void);

#endif
