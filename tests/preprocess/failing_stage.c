/* anyclass-preprocess with the AT-th system call that changes a file in FOLDER made to fail (HOW=error), to stop half way (HOW=short), to kill the process
 * (HOW=kill), or with SIGUSR1 coming before it (HOW=signal); HOW=count prints how many there were. Only rank RANK is disturbed. Same options; run by
 * stage.t. */
#define _GNU_SOURCE
#include "tests/checkpoint/failing_calls.h"
#include "anyclass/program.h"
#include "preprocess/preprocess.h"
#include <stdlib.h>

static int run(MPI_Comm comm, int argc, char **argv)
{
    static const char *const ways[] = {"off", "count", "error", "short", "kill", "signal", "signals"};
    const char *how = getenv("HOW"), *at = getenv("AT"), *folder = getenv("FOLDER"), *only = getenv("RANK");
    int rank;
    MPI_Comm_rank(comm, &rank);
    snprintf(failing_folder, sizeof failing_folder, "%s", folder ? folder : "/nowhere");
    failing_at = at ? atol(at) : 0;
    failing_errno = ENOSPC;
    for (int k = FAILING_COUNT; k <= FAILING_SIGNALS; k++)
        if (how && strcmp(how, ways[k]) == 0 && rank == (only ? atoi(only) : 0))
            failing_how = (failing_way)k;
    int code = ac_preprocess_run(comm, argc, argv);
    failing_way was = failing_how;
    failing_how = FAILING_OFF;
    if (was == FAILING_COUNT)
        printf("%ld calls\n", failing_n);
    else if (failing_name)
        printf("failed: %s\n", failing_name);
    return code;
}

int main(int argc, char **argv)
{
    return ac_main(argc, argv, run);
}
