/* The flag that signals set. */
#include "anyclass/stop.h"
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

static const int stop_signals[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
enum { N_STOP_SIGNALS = sizeof stop_signals / sizeof *stop_signals };

/* the process's signals are one for all its threads, and so is this */
static volatile sig_atomic_t signalled;
static struct sigaction before[N_STOP_SIGNALS];
static bool caught;
static struct timespec first; /* written before the flag, once */

static double seconds_since(const struct timespec *then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - then->tv_sec) + 1e-9 * (double)(now.tv_nsec - then->tv_nsec);
}

static void on_signal(int number)
{
    if (!signalled)
        clock_gettime(CLOCK_MONOTONIC, &first);
    signalled = number;
}

void ac_stop_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    if (caught)
        return;
    sigemptyset(&action.sa_mask);
    signalled = 0;
    for (int i = 0; i < N_STOP_SIGNALS; i++) {
        action.sa_flags = stop_signals[i] == SIGINT ? SA_RESTART | SA_RESETHAND : SA_RESTART;
        sigaction(stop_signals[i], &action, &before[i]);
    }
    caught = true;
}

void ac_stop_release(void)
{
    for (int i = 0; i < N_STOP_SIGNALS && caught; i++)
        sigaction(stop_signals[i], &before[i], NULL);
    caught = false;
}

int ac_stop_signal(void)
{
    return (int)signalled;
}

double ac_stop_since_s(void)
{
    return signalled ? seconds_since(&first) : 0;
}
