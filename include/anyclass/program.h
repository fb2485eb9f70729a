/* How every program begins and ends: options, log, communicator, one line for a failure, the exit code. */
#ifndef ANYCLASS_PROGRAM_H
#define ANYCLASS_PROGRAM_H

#include "anyclass/comm.h"
#include "anyclass/option.h"
#include "anyclass/watchdog.h"

typedef struct ac_run { /* one run of a program */
    MPI_Comm comm;      /* its own, MPI_ERRORS_RETURN */
    int rank, size;
    int n_local;        /* ranks on this machine, this one counted */
    ac_options *options;
    ac_watchdog *watchdog; /* NULL with --watchdog_s 0: report with ac_watchdog_at() what may hang, or takes long while others wait */
    bool go;            /* false: --help, --version or --dump_config was answered, nothing is left to do */
} ac_run;

/** Parse, set up log and communicator; answers --help and its like on stdout of rank 0. `config` begins with an
 * ac_common_config. Starts the watchdog: from here on the process ends with exit code 6 or 7 and one line when another rank
 * dies, stops or hangs. Collective over `parent`. End with ac_run_end() whatever it returns. */
AC_NODISCARD ac_status ac_run_begin(ac_run *run, MPI_Comm parent, const ac_program *program, int argc, char **argv, void *config,
                                    ac_string_list *positional);
/** Say on stderr why `status` is not AC_OK (rank 0, after agreement), release what ac_run_begin made.
 * @return the exit code. Collective. */
int ac_run_end(ac_run *run, const ac_program *program, ac_status status);

/** MPI_Init_thread (MPI_THREAD_SERIALIZED wanted), `run`, MPI_Finalize: all that a main() does. */
int ac_main(int argc, char **argv, int (*run)(MPI_Comm, int, char **));

#endif
