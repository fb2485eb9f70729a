/* A program that works in steps with a barrier each, for watchdog.t. One rank may get stuck. Each rank leaves its process id in
 * the folder once all of them work. */
#include "anyclass/log.h"
#include "anyclass/program.h"
#include <stdio.h>
#include <time.h>
#include <unistd.h>

typedef struct config {
    ac_common_config common;
    const char *folder;
    int64_t steps, rank;
    int at_end;
} config;

enum { END_WELL, END_STUCK, END_DEADLOCK, END_ERROR, END_LATE, END_SLOW_RANK };

#define O(field) .offset = offsetof(config, field)
static const ac_option options[] = {
    {.group = "Test", .name = "folder", .type = AC_OPTION_STRING, O(folder), .required = true, .help = "For process ids."},
    {.name = "steps", .type = AC_OPTION_INT, O(steps), .fallback = "10", .min = 0, .max = 1e6, .help = "Before the end; a step takes 20 ms."},
    {.name = "rank", .type = AC_OPTION_INT, O(rank), .fallback = "0", .min = 0, .max = 1000, .help = "The one that is special."},
    {.name = "at_end", .type = AC_OPTION_CHOICE, O(at_end), .fallback = "well", .choices = "well|stuck|deadlock|error|late|slow", .help = "How it ends."},
    AC_COMMON_OPTIONS(config),
};
static const ac_program program = {.name = "anyclass-steps", .summary = "Test.", .usage = "", .options = options,
                                   .n_options = sizeof options / sizeof *options, .config_bytes = sizeof(config)};

static void rest(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)(1e9 * (seconds - (double)(time_t)seconds))};
    while (nanosleep(&t, &t) != 0)
        ;
}

static ac_status leave_pid(const ac_run *run, const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/pid.%d", folder, run->rank);
    FILE *file = fopen(path, "w");
    if (!file)
        return ac_error_errno("%s", path);
    fprintf(file, "%d\n", (int)getpid());
    fclose(file);
    return AC_OK;
}

static ac_status meet(ac_run *run, const char *phase, int64_t step)
{
    ac_watchdog_at(run->watchdog, phase, step, true);
    return ac_comm_check(MPI_Barrier(run->comm), "MPI_Barrier");
}

static ac_status end(ac_run *run, const config *c)
{
    ac_status status = AC_OK;
    bool special = run->rank == c->rank;
    int nothing = 0;
    switch (c->at_end) {
    case END_STUCK:
        ac_watchdog_at(run->watchdog, "reading images", c->steps, false);
        if (special)
            rest(3600);
        AC_TRY(meet(run, "training step", c->steps));
        break;
    case END_DEADLOCK:
        ac_watchdog_at(run->watchdog, "validation", -1, true);
        AC_TRY(ac_comm_check(MPI_Recv(&nothing, 1, MPI_INT, (run->rank + 1) % run->size, 77, run->comm, MPI_STATUS_IGNORE), "MPI_Recv"));
        break;
    case END_ERROR:
        status = ac_error(AC_ERR_DATA, "made to fail");
        break;
    case END_LATE: /* work that takes long and says so, at the very end */
        ac_watchdog_at(run->watchdog, NULL, -1, false);
        rest(special ? 1.5 : 0);
        break;
    case END_SLOW_RANK: /* longer than any limit in all, but never without a report */
        for (int i = 0; special && i < 15; i++) {
            ac_watchdog_at(run->watchdog, "writing", i, false);
            rest(0.3);
        }
        AC_TRY(meet(run, "training step", c->steps));
        break;
    default:
        break;
    }
out:
    return status;
}

static int work(MPI_Comm comm, int argc, char **argv)
{
    ac_run run;
    config c;
    ac_status status = ac_run_begin(&run, comm, &program, argc, argv, &c, NULL);
    if (status != AC_OK || !run.go)
        return ac_run_end(&run, &program, status);
    for (int64_t step = 0; step < c.steps; step++) {
        ac_watchdog_at(run.watchdog, "training step", step, false);
        rest(0.02);
        AC_TRY(meet(&run, "training step", step));
        if (step == 20)
            AC_TRY(leave_pid(&run, c.folder));
    }
    AC_TRY(end(&run, &c));
out:
    return ac_run_end(&run, &program, status);
}

int main(int argc, char **argv)
{
    return ac_main(argc, argv, work);
}
