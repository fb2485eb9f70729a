/* The last line of a process comes out, or is given up, in bounded time: also when another thread's line waits for a reader. */
#include "anyclass/log.h"
#include "tests/tap.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *write_for_ever(void *unused)
{
    for (;;)
        ac_log(AC_LOG_INFO, "a line that nobody reads");
    return unused;
}

/* A process whose stderr is a pipe; `full`: nobody reads, and a thread hangs in a line. Its exit code, and the seconds it took. */
static int last_line_of_child(bool full, char *text, size_t bytes, double *took_s)
{
    int ends[2], code = -1;
    double start_s = ac_now_s();
    if (pipe(ends) != 0)
        return -1;
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        dup2(ends[1], STDERR_FILENO);
        if (full) {
            pthread_create(&thread, NULL, write_for_ever, NULL);
            nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
        }
        ac_log_last("%s", "the end");
        _exit(7);
    }
    close(ends[1]);
    double until_s = start_s + 20;
    while (waitpid(child, &code, WNOHANG) == 0 && ac_now_s() < until_s)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    *took_s = ac_now_s() - start_s;
    if (*took_s >= 20) {
        kill(child, SIGKILL);
        waitpid(child, &code, 0);
    }
    ssize_t n = read(ends[0], text, bytes - 1);
    text[n > 0 ? n : 0] = 0;
    close(ends[0]);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

int main(void)
{
    char text[256];
    double took_s;
    ac_log_init("anyclass-test", 3, 4, AC_LOG_ERROR, false);
    TAP_OK(last_line_of_child(false, text, sizeof text, &took_s) == 7 && strcmp(text, "anyclass-test: [3] error: the end\n") == 0,
           "the last line is there, from any rank");
    ac_log_init("anyclass-test", 0, 1, AC_LOG_INFO, false);
    int code = last_line_of_child(true, text, sizeof text, &took_s);
    TAP_OK(code == 7 && took_s > 0.3 && took_s < 10, "a line that hangs holds up nobody's end: %.1f s", took_s);
    return tap_done();
}
