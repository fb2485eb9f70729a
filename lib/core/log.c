/* Log lines and the progress line: the only place in the library that writes to stderr, and to stdout what was asked for. */
#include "anyclass/log.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = AC_ERROR_TEXT_BYTES + 256 };

/* set once by the program, before threads start; the lock serves the progress line alone */
static struct {
    char program[64];
    int rank, size;
    ac_log_level level;
    bool all_ranks;
    bool line_open; /* a progress line stands on the terminal */
    pthread_mutex_t lock;
} state = {.size = 1, .level = AC_LOG_INFO, .lock = PTHREAD_MUTEX_INITIALIZER};

double ac_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void ac_log_init(const char *program, int rank, int size, ac_log_level level, bool all_ranks)
{
    snprintf(state.program, sizeof state.program, "%s", program);
    state.rank = rank;
    state.size = size;
    state.level = level;
    state.all_ranks = all_ranks;
}

bool ac_log_enabled(ac_log_level level)
{
    return level <= state.level && (state.rank == 0 || state.all_ranks || level == AC_LOG_ERROR);
}

static bool write_all(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, text, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        text += done;
        n -= (size_t)done;
    }
    return true;
}

ac_status ac_log_answer(const char *text)
{
    return write_all(STDOUT_FILENO, text, strlen(text)) ? AC_OK : ac_error_errno("standard output");
}

/* What cannot be written to stderr can be told nowhere. */
static void say(const char *text, size_t n)
{
    (void)write_all(STDERR_FILENO, text, n);
}

/* One line as it is written: [bytes] with its newline. @return its length */
static size_t format_line(ac_log_level level, const char *format, va_list args, char *line, size_t bytes)
{
    static const char *const word[] = {"error: ", "warning: ", "", "debug: "};
    char rank[16] = "";
    if (state.size > 1 && (state.rank > 0 || state.all_ranks))
        snprintf(rank, sizeof rank, "[%d] ", state.rank);
    int n = snprintf(line, bytes, "%s%s: %s%s", state.line_open ? "\r\033[K" : "", state.program, rank, word[level]);
    int more = vsnprintf(line + n, bytes - (size_t)n - 1, format, args);
    size_t length = (size_t)n + (more < 0 ? 0 : (size_t)more);
    length = length > bytes - 2 ? bytes - 2 : length;
    line[length++] = '\n';
    return length;
}

static void write_line(ac_log_level level, const char *format, va_list args)
{
    char line[LINE_BYTES];
    pthread_mutex_lock(&state.lock);
    size_t length = format_line(level, format, args, line, sizeof line);
    state.line_open = false;
    say(line, length);
    pthread_mutex_unlock(&state.lock);
}

void ac_log_last(const char *format, ...)
{
    char line[LINE_BYTES];
    struct timespec until;
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    va_list args;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 500000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    /* whoever holds the lock for so long waits for a terminal or pipe that takes nothing */
    bool held = pthread_mutex_timedlock(&state.lock, &until) == 0;
    va_start(args, format);
    size_t length = format_line(AC_LOG_ERROR, format, args, line, sizeof line);
    va_end(args);
    if (poll(&out, 1, held ? 500 : 0) > 0)
        say(line, length);
    if (held)
        pthread_mutex_unlock(&state.lock);
}

void ac_log(ac_log_level level, const char *format, ...)
{
    va_list args;
    if (!ac_log_enabled(level))
        return;
    va_start(args, format);
    write_line(level, format, args);
    va_end(args);
}

void ac_log_here(ac_log_level level, const char *format, ...)
{
    va_list args;
    if (level > state.level)
        return;
    va_start(args, format);
    write_line(level, format, args);
    va_end(args);
}

void ac_progress_begin(ac_progress *p, const char *label, const char *unit, uint64_t total)
{
    *p = (ac_progress){.label = label, .unit = unit, .total = total, .start_s = ac_now_s()};
    p->last_shown_s = p->start_s;
    p->on_terminal = isatty(STDERR_FILENO) == 1;
    p->enabled = state.rank == 0 && state.level >= AC_LOG_INFO;
}

static void format_duration(double s, char out[32])
{
    if (s >= 3600)
        snprintf(out, 32, "%d:%02d h", (int)(s / 3600), (int)(s / 60) % 60);
    else if (s >= 60)
        snprintf(out, 32, "%d:%02d min", (int)(s / 60), (int)s % 60);
    else
        snprintf(out, 32, "%.0f s", s);
}

void ac_progress_update(ac_progress *p, uint64_t done, const char *note)
{
    double now = ac_now_s(), elapsed = now - p->start_s;
    char text[256], left[32] = "?";
    p->done = done;
    if (!p->enabled || now - p->last_shown_s < (p->on_terminal ? 0.1 : 30.0))
        return;
    p->last_shown_s = now;
    double rate = elapsed > 0 ? (double)done / elapsed : 0;
    if (rate > 0 && p->total >= done)
        format_duration((double)(p->total - done) / rate, left);
    snprintf(text, sizeof text, "%s %llu/%llu %s, %.1f %s/s, %s left%s%s", p->label, (unsigned long long)done,
             (unsigned long long)p->total, p->unit, rate, p->unit, left, note ? ", " : "", note ? note : "");
    if (!p->on_terminal) {
        ac_log(AC_LOG_INFO, "%s", text);
        return;
    }
    char line[384];
    int n = snprintf(line, sizeof line, "\r\033[K%s: %s", state.program, text);
    pthread_mutex_lock(&state.lock);
    state.line_open = true;
    say(line, (size_t)n);
    pthread_mutex_unlock(&state.lock);
}

void ac_progress_end(ac_progress *p)
{
    double elapsed = ac_now_s() - p->start_s;
    char took[32];
    format_duration(elapsed, took);
    ac_log(AC_LOG_INFO, "%s: %llu %s in %s (%.1f %s/s)", p->label, (unsigned long long)p->done, p->unit, took,
           elapsed > 0 ? (double)p->done / elapsed : 0.0, p->unit);
}
