/* Test Anything Protocol for our C tests: one line per check, a plan at the end. Header only. */
#ifndef ANYCLASS_TESTS_TAP_H
#define ANYCLASS_TESTS_TAP_H

#include "anyclass/file.h"
#include "anyclass/status.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static int tap_n_run, tap_n_failed;

AC_PRINTF(4, 5)
static inline bool tap_check(bool good, const char *file, int line, const char *format, ...)
{
    va_list args;
    tap_n_run++;
    printf("%s %d - ", good ? "ok" : "not ok", tap_n_run);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    if (!good) {
        tap_n_failed++;
        printf("# failed at %s:%d; last error: %s\n", file, line, ac_error_text());
    }
    fflush(stdout);
    return good;
}

/* TAP_OK(condition, "what %s", ...): the text is needed */
#define TAP_OK(condition, ...) tap_check((condition), __FILE__, __LINE__, __VA_ARGS__)
/* a call that must return AC_OK */
#define TAP_CALL(call) tap_check((call) == AC_OK, __FILE__, __LINE__, "%s", #call)
#define TAP_SKIP(why) (tap_n_run++, printf("ok %d # SKIP %s\n", tap_n_run, (why)))

/* return tap_done() from main */
static inline int tap_done(void)
{
    printf("1..%d\n", tap_n_run);
    return tap_n_failed ? 1 : 0;
}

/* A fresh folder below TMPDIR, or the system's own, into `path` [AC_PATH_BYTES]; false and a failed check when there is none. */
static inline bool tap_folder(char *path)
{
    const char *parent = getenv("TMPDIR");
    snprintf(path, AC_PATH_BYTES, "%s/anyclass-XXXXXX", parent && *parent ? parent : P_tmpdir);
    return tap_check(mkdtemp(path) != NULL, __FILE__, __LINE__, "a folder to write in");
}

/* Remove such a folder with all that is in it. */
static inline void tap_remove(const char *path)
{
    char command[AC_PATH_BYTES + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    tap_check(system(command) == 0, __FILE__, __LINE__, "the folder is removed");
}

/* folder of the shared inputs ("../shared" unless ANYCLASS_SHARED says otherwise), or NULL when it is absent */
static inline const char *tap_shared(void)
{
    const char *folder = getenv("ANYCLASS_SHARED");
    if (!folder)
        folder = "../shared";
    FILE *probe = fopen(folder, "r");
    if (!probe)
        return NULL;
    fclose(probe);
    return folder;
}

#endif
