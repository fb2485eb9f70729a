/* The frame of every program. */
#include "anyclass/program.h"
#include "anyclass/log.h"
#include <signal.h>

ac_status ac_run_begin(ac_run *run, MPI_Comm parent, const ac_program *program, int argc, char **argv, void *config, ac_string_list *positional)
{
    ac_status status = AC_OK;
    ac_option_action action = AC_ACTION_RUN;
    *run = (ac_run){.comm = MPI_COMM_NULL, .size = 1, .n_local = 1};
    if (MPI_Comm_rank(parent, &run->rank) != MPI_SUCCESS || MPI_Comm_size(parent, &run->size) != MPI_SUCCESS)
        return ac_error(AC_ERR_SYNC, "the communicator cannot be used");
    ac_log_init(program->name, run->rank, run->size, AC_LOG_INFO, false);
    status = ac_comm_begin(parent, &run->comm);
    if (status != AC_OK)
        return status;
    AC_TRY(ac_comm_count_local(run->comm, &run->n_local));
    status = ac_options_parse(program, argc, argv, config, positional, &action, &run->options);
    AC_TRY(ac_comm_agree(run->comm, status));
    const ac_common_config *common = config;
    ac_log_init(program->name, run->rank, run->size, (ac_log_level)common->log_level, common->log_all_ranks);
    run->go = action == AC_ACTION_RUN;
    AC_TRY(ac_comm_agree(run->comm, run->rank == 0 ? ac_options_answer(program, action, config) : AC_OK));
out:
    return status;
}

int ac_run_end(ac_run *run, const ac_program *program, ac_status status)
{
    (void)program;
    /* before the communicator exists every rank fails alike, and rank 0 speaks for all */
    if (run->comm != MPI_COMM_NULL) {
        status = ac_comm_agree(run->comm, status);
        MPI_Comm_free(&run->comm);
    }
    if (status != AC_OK && run->rank == 0)
        ac_log(AC_LOG_ERROR, "%s", ac_error_text());
    ac_options_destroy(run->options);
    run->options = NULL;
    return ac_status_exit_code(status);
}

int ac_main(int argc, char **argv, int (*run)(MPI_Comm, int, char **))
{
    int level, code;
    signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes then shows as a failed write, like a full disk */
    if (MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &level) != MPI_SUCCESS)
        return ac_status_exit_code(AC_ERR_SYNC);
    code = run(MPI_COMM_WORLD, argc, argv);
    MPI_Finalize();
    return code;
}
