/* Status words and the error text of the calling thread. */
#include "anyclass/status.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char error_text[AC_ERROR_TEXT_BYTES];

static const struct {
    int exit_code;
    const char *word;
} table[] = {
#define ROW(name, code, word) {code, word},
    AC_STATUS_LIST(ROW)
#undef ROW
};

int ac_status_exit_code(ac_status status)
{
    return table[status].exit_code;
}

const char *ac_status_word(ac_status status)
{
    return table[status].word;
}

ac_status ac_error(ac_status status, const char *format, ...)
{
    /* the arguments may contain the old text */
    char text[AC_ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *at = text; *at; at++) /* a text from a file must not break the line, or steer a terminal */
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            *at = '?';
    memcpy(error_text, text, sizeof text);
    return status;
}

ac_status ac_error_errno(const char *format, ...)
{
    int cause = errno;
    char text[AC_ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return ac_error(cause == ENOMEM ? AC_ERR_MEMORY : AC_ERR_IO, "%.800s: %s", text, strerror(cause));
}

ac_status ac_error_in(ac_status status, const char *format, ...)
{
    char text[AC_ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return ac_error(status, "%s: %s", text, error_text);
}

const char *ac_error_text(void)
{
    return error_text;
}

void ac_error_clear(void)
{
    error_text[0] = 0;
}
