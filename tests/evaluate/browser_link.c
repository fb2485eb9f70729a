/* The DevTools protocol over --remote-debugging-pipe: JSON messages that end with a zero byte. */
#include "tests/evaluate/browser.h"
#include "anyclass/alloc.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWER_MS = 30000 };

static void run_child(const char *program, const char *profile, int input, int output)
{
    char data[4200];
    int in = fcntl(input, F_DUPFD, 10), out = fcntl(output, F_DUPFD, 10);
    dup2(in, 3);
    dup2(out, 4);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    snprintf(data, sizeof data, "--user-data-dir=%s", profile);
    execlp(program, program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
           "--hide-scrollbars", "--disable-background-networking", "--remote-debugging-pipe", data, (char *)NULL);
    _exit(127);
}

ac_status browser_start(browser *b, const char *program)
{
    ac_status status = AC_OK;
    int to[2], from[2];
    ac_json_value *answer = NULL;
    const char *text;
    snprintf(b->profile, sizeof b->profile, "%s/anyclass-chromium-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(b->profile) || pipe(to) != 0 || pipe(from) != 0)
        return ac_error_errno("pipes to %s", program);
    signal(SIGPIPE, SIG_IGN);
    b->child = fork();
    if (b->child == 0) {
        setpgid(0, 0);
        run_child(program, b->profile, to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    b->to = to[1];
    b->from = from[0];
    ac_json *call = browser_call(b, "Target.createTarget");
    ac_json_string(call, "url", "about:blank");
    AC_TRY(browser_send(b, call, &answer));
    AC_TRY(ac_json_read_string(ac_json_get(ac_json_get(answer, "result"), "targetId"), "targetId", &text));
    call = browser_call(b, "Target.attachToTarget");
    ac_json_string(call, "targetId", text);
    ac_json_bool(call, "flatten", true);
    ac_json_release(answer);
    AC_TRY(browser_send(b, call, &answer));
    AC_TRY(ac_json_read_string(ac_json_get(ac_json_get(answer, "result"), "sessionId"), "sessionId", &text));
    snprintf(b->session, sizeof b->session, "%s", text);
    AC_TRY(browser_do(b, "Page.enable"));
    AC_TRY(browser_do(b, "Runtime.enable"));
    AC_TRY(browser_do(b, "Log.enable"));
    AC_TRY(browser_do(b, "Network.enable"));
out:
    ac_json_release(answer);
    return status;
}

void browser_stop(browser *b)
{
    char command[4200];
    if (b->child > 0) {
        kill(-b->child, SIGKILL);
        waitpid(b->child, NULL, 0);
        close(b->to);
        close(b->from);
    }
    ac_free(b->buffer);
    snprintf(command, sizeof command, "rm -rf '%s'", b->profile);
    if (b->profile[0] && system(command) != 0)
        fprintf(stderr, "cannot remove %s\n", b->profile);
}

ac_json *browser_call(browser *b, const char *method)
{
    ac_json *call = NULL;
    if (ac_json_create(&call) != AC_OK)
        return NULL;
    ac_json_begin_object(call, NULL);
    ac_json_int(call, "id", ++b->last_id);
    ac_json_string(call, "method", method);
    if (b->session[0])
        ac_json_string(call, "sessionId", b->session);
    ac_json_begin_object(call, "params");
    return call;
}

static void complain(browser *b, const char *what, const ac_json_value *value)
{
    const char *text = "";
    size_t n = strlen(b->complaints);
    if (value && ac_json_read_string(value, what, &text) != AC_OK)
        text = "?";
    snprintf(b->complaints + n, sizeof b->complaints - n, "%s: %.300s; ", what, text);
}

static const char *string_of(const ac_json_value *value)
{
    const char *text = "";
    return value && ac_json_read_string(value, "text", &text) == AC_OK ? text : "";
}

static void take_event(browser *b, const char *method, const ac_json_value *params)
{
    if (strcmp(method, "Page.loadEventFired") == 0)
        b->loaded = true;
    else if (strcmp(method, "Runtime.exceptionThrown") == 0) {
        const ac_json_value *details = ac_json_get(params, "exceptionDetails"),
                            *exception = ac_json_get(details, "exception");
        complain(b, "exception", exception ? ac_json_get(exception, "description") : ac_json_get(details, "text"));
    } else if (strcmp(method, "Runtime.consoleAPICalled") == 0) {
        const char *type = string_of(ac_json_get(params, "type"));
        if (strcmp(type, "error") == 0 || strcmp(type, "warning") == 0 || strcmp(type, "assert") == 0)
            complain(b, "console", ac_json_get(ac_json_at(ac_json_get(params, "args"), 0), "value"));
    } else if (strcmp(method, "Log.entryAdded") == 0) {
        const ac_json_value *entry = ac_json_get(params, "entry");
        const char *level = string_of(ac_json_get(entry, "level"));
        if (strcmp(level, "error") == 0 || strcmp(level, "warning") == 0)
            complain(b, "log", ac_json_get(entry, "text"));
    } else if (strcmp(method, "Network.requestWillBeSent") == 0) {
        const ac_json_value *url = ac_json_get(ac_json_get(params, "request"), "url");
        const char *text = string_of(url);
        if (b->page && strcmp(text, b->page) == 0)
            b->n_requests++;
        else if (strncmp(text, "data:", 5) != 0)
            complain(b, "request", url);
    }
}

/* The next whole message. */
static ac_status receive(browser *b, ac_json_value **out)
{
    ac_status status = AC_OK;
    char *end;
    while (b->n_buffered == 0 || !(end = memchr(b->buffer, 0, b->n_buffered))) {
        struct pollfd wait = {.fd = b->from, .events = POLLIN};
        AC_TRY(ac_reserve(&b->buffer, &b->capacity, b->n_buffered + 65536, 1));
        if (poll(&wait, 1, ANSWER_MS) <= 0)
            AC_TRY(ac_error(AC_ERR_IO, "the browser says nothing"));
        ssize_t n = read(b->from, b->buffer + b->n_buffered, b->capacity - b->n_buffered);
        if (n <= 0)
            AC_TRY(ac_error(AC_ERR_IO, "the browser has gone"));
        b->n_buffered += (size_t)n;
    }
    size_t n = (size_t)(end - b->buffer);
    status = ac_json_parse("the browser's message", b->buffer, n, out);
    memmove(b->buffer, end + 1, b->n_buffered - n - 1);
    b->n_buffered -= n + 1;
out:
    return status;
}

/* Take events until the answer `id` is there; id 0: until the page is loaded. */
static ac_status wait_for(browser *b, int64_t id, ac_json_value **answer)
{
    ac_status status = AC_OK;
    for (;;) {
        ac_json_value *message = NULL;
        int64_t got = 0;
        AC_TRY(receive(b, &message));
        const ac_json_value *method = ac_json_get(message, "method");
        if (method)
            take_event(b, string_of(method), ac_json_get(message, "params"));
        else if (ac_json_read_int(ac_json_get(message, "id"), "id", &got) == AC_OK && got == id) {
            const ac_json_value *error = ac_json_get(message, "error");
            if (error)
                status = ac_error(AC_ERR_DATA, "the browser: %s", string_of(ac_json_get(error, "message")));
            *answer = message;
            return status;
        }
        ac_json_release(message);
        if (id == 0 && b->loaded)
            return AC_OK;
    }
out:
    return status;
}

ac_status browser_send(browser *b, ac_json *call, ac_json_value **answer)
{
    ac_status status = AC_OK;
    const char *text;
    size_t n, done = 0;
    ac_json_value *message = NULL;
    if (answer)
        *answer = NULL;
    ac_json_end_object(call);
    ac_json_end_object(call);
    AC_TRY(ac_json_text(call, &text, &n));
    for (n++; done < n;) { /* with the zero byte */
        ssize_t written = write(b->to, text + done, n - done);
        if (written < 0 && errno != EINTR)
            AC_TRY(ac_error_errno("to the browser"));
        done += written > 0 ? (size_t)written : 0;
    }
    AC_TRY(wait_for(b, b->last_id, &message));
    if (answer) {
        *answer = message;
        message = NULL;
    }
out:
    ac_json_destroy(call);
    ac_json_release(message);
    return status;
}

ac_status browser_do(browser *b, const char *method)
{
    return browser_send(b, browser_call(b, method), NULL);
}

ac_status browser_ask(browser *b, const char *expression, char *text, size_t n)
{
    ac_status status = AC_OK;
    ac_json_value *answer = NULL;
    ac_json *call = browser_call(b, "Runtime.evaluate");
    ac_json_string(call, "expression", expression);
    ac_json_bool(call, "returnByValue", true);
    ac_json_bool(call, "awaitPromise", true);
    text[0] = '\0';
    AC_TRY(browser_send(b, call, &answer));
    const ac_json_value *result = ac_json_get(answer, "result"), *failed = ac_json_get(result, "exceptionDetails");
    if (failed)
        AC_TRY(
            ac_error(AC_ERR_DATA, "%.200s", string_of(ac_json_get(ac_json_get(failed, "exception"), "description"))));
    snprintf(text, n, "%s", string_of(ac_json_get(ac_json_get(result, "result"), "value")));
out:
    ac_json_release(answer);
    return status;
}

ac_status browser_load(browser *b)
{
    ac_status status = AC_OK;
    ac_json_value *ignored = NULL;
    ac_json *call = browser_call(b, "Page.navigate");
    ac_json_string(call, "url", b->page);
    b->loaded = false;
    AC_TRY(browser_send(b, call, NULL));
    if (!b->loaded)
        AC_TRY(wait_for(b, 0, &ignored));
out:
    return status;
}

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

ac_status browser_save(const ac_json_value *answer, const char *path, size_t *n_bytes)
{
    FILE *file = path ? fopen(path, "wb") : NULL;
    const char *text = string_of(ac_json_get(ac_json_get(answer, "result"), "data"));
    unsigned bits = 0, group = 0;
    if (path && !file)
        return ac_error_errno("%s", path);
    *n_bytes = 0;
    for (int digit; (digit = digit_of(*text)) >= 0; text++) {
        group = group << 6 | (unsigned)digit;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            if (file)
                fputc((int)(group >> bits & 255), file);
            ++*n_bytes;
        }
    }
    return file && fclose(file) != 0 ? ac_error_errno("%s", path) : AC_OK;
}
