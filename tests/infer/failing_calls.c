/* anyclass-infer with the AT-th system call that changes a file in FOLDER made to fail (HOW=error), to stop half way
 * (HOW=short) or to kill the process (HOW=kill); HOW=count prints how many there were. LIMIT=n: no file may grow beyond
 * n bytes. Same options; run by calls.t and errors.t, on one rank. */
#define _GNU_SOURCE
#include "tests/checkpoint/failing_calls.h"
#include "anyclass/program.h"
#include "infer/infer.h"
#include <stdlib.h>
#include <sys/resource.h>

static int run(MPI_Comm comm, int argc, char **argv)
{
    const char *how = getenv("HOW"), *at = getenv("AT"), *folder = getenv("FOLDER");
    snprintf(failing_folder, sizeof failing_folder, "%s", folder ? folder : "/nowhere");
    failing_at = at ? atol(at) : 0;
    failing_errno = ENOSPC;
    failing_how = !how                        ? FAILING_OFF
                  : strcmp(how, "kill") == 0  ? FAILING_KILL
                  : strcmp(how, "error") == 0 ? FAILING_ERROR
                  : strcmp(how, "short") == 0 ? FAILING_SHORT
                                              : FAILING_COUNT;
    if (getenv("LIMIT")) { /* not before: MPI has larger files of its own */
        rlim_t most = (rlim_t)atol(getenv("LIMIT"));
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){most, most});
    }
    int code = ac_infer_run(comm, argc, argv);
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
