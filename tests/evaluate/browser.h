/* A headless Chromium on the other end of a pipe, spoken to in the DevTools protocol. For tests only. */
#ifndef ANYCLASS_TESTS_BROWSER_H
#define ANYCLASS_TESTS_BROWSER_H

#include "anyclass/json.h"
#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct browser {
    pid_t child;
    int to, from; /* its descriptors 3 and 4 */
    char *buffer; /* what was received and is no whole message yet */
    size_t n_buffered, capacity;
    int64_t last_id;
    char session[128];
    char profile[4096];     /* folder of its own */
    const char *page;       /* the only address that may be asked for */
    char complaints[16384]; /* console errors and warnings, exceptions, requests that should not be */
    size_t n_requests;      /* for the page itself */
    bool loaded;
} browser;

/** Start `program` and open an empty page. AC_ERR_IO when it does not answer. Stop it in any case. */
AC_NODISCARD ac_status browser_start(browser *b, const char *program);
void browser_stop(browser *b);

/* A call: begin, add members to the object that is open, send. */
ac_json *browser_call(browser *b, const char *method);
/** Send, release the call and wait for its answer (NULL: not wanted), which the caller releases. AC_ERR_DATA for an
 * error. */
AC_NODISCARD ac_status browser_send(browser *b, ac_json *call, ac_json_value **answer);
/** A call without parameters. */
AC_NODISCARD ac_status browser_do(browser *b, const char *method);
/** Evaluate an expression that gives a text, into text[n]. AC_ERR_DATA for an exception. */
AC_NODISCARD ac_status browser_ask(browser *b, const char *expression, char *text, size_t n);
/** Load b->page anew and wait for it. */
AC_NODISCARD ac_status browser_load(browser *b);
/** Save member "data" of an answer, which is in base64. */
AC_NODISCARD ac_status browser_save(const ac_json_value *answer, const char *path, size_t *n_bytes);

#endif
