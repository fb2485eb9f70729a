/* Status codes and error text. Leaves printing to the programs and log.h.
 *
 * Every fallible function returns an ac_status. The sentence that explains a failure is recorded once, where it
 * happened, in storage of the calling thread; a program prints it and exits with ac_status_exit_code(). */
#ifndef ANYCLASS_STATUS_H
#define ANYCLASS_STATUS_H

#if defined(__GNUC__)
#define AC_NODISCARD __attribute__((warn_unused_result))
#define AC_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define AC_NODISCARD
#define AC_PRINTF(fmt, args)
#endif

/* name, exit code of a program that ends with it, word used in messages */
#define AC_STATUS_LIST(X)                                                                                             \
    X(AC_OK, 0, "done")                                                                                               \
    X(AC_ERR_USAGE, 2, "usage")             /* wrong option or combination of options */                              \
    X(AC_ERR_RANGE, 2, "out of range")      /* an argument passes the end of something */                             \
    X(AC_ERR_UNSUPPORTED, 2, "unsupported") /* right as a request, not available in this build or on this machine */  \
    X(AC_ERR_DATA, 3, "bad data")           /* an input file is damaged or does not fit */                            \
    X(AC_ERR_IO, 4, "input/output")         /* disk full, permission, missing file, lock */                           \
    X(AC_ERR_MEMORY, 4, "memory")           /* an allocation failed */                                                \
    X(AC_ERR_NUMERIC, 5, "numeric")         /* not a number where one is needed */                                    \
    X(AC_ERR_SYNC, 6, "ranks out of step")  /* ranks disagree, or one left */                                         \
    X(AC_ERR_WATCHDOG, 7, "watchdog")       /* no progress for too long */                                            \
    X(AC_ERR_SIGNAL, 75, "stopped by a signal") /* state is saved, run again to go on */

typedef enum ac_status {
#define AC_STATUS_ENUM(name, code, word) name,
    AC_STATUS_LIST(AC_STATUS_ENUM)
#undef AC_STATUS_ENUM
    AC_N_STATUS
} ac_status;

enum { AC_ERROR_TEXT_BYTES = 1024 };

/** Exit code of a program that ends with `status` (SPEC: 0, 2 .. 7, 75). Not collective. */
int ac_status_exit_code(ac_status status);

/** Short name of `status`, static storage. Not collective. */
const char *ac_status_word(ac_status status);

/** Record why the calling thread fails and return `status`, so that `return ac_error(AC_ERR_IO, ...)` reads well.
 * Replaces what was recorded before. Cut at AC_ERROR_TEXT_BYTES - 1. One line, no final newline: control characters
 * (a name out of a file may hold them) become '?'. Not collective. */
ac_status ac_error(ac_status status, const char *format, ...) AC_PRINTF(2, 3);

/** Like ac_error(), with ": " and the text of `errno` added; ENOMEM becomes AC_ERR_MEMORY, everything else AC_ERR_IO. */
ac_status ac_error_errno(const char *format, ...) AC_PRINTF(1, 2);

/** Put "<text>: " in front of the recorded text (file, line, sample, ...) and return `status`. Not collective. */
ac_status ac_error_in(ac_status status, const char *format, ...) AC_PRINTF(2, 3);

/** Text recorded by the calling thread; "" if none. Valid until the next ac_error*() of this thread. */
const char *ac_error_text(void);

/** Forget the calling thread's text. */
void ac_error_clear(void);

/** Leave the function through its `out:` label when `call` fails; needs `ac_status status` and `out:` in scope. */
#define AC_TRY(call)                                                                                                  \
    do {                                                                                                              \
        status = (call);                                                                                              \
        if (status != AC_OK)                                                                                          \
            goto out;                                                                                                 \
    } while (0)

#endif
