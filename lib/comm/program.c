/* The frame of every program. */
#include "anyclass/program.h"
#include "anyclass/log.h"
#include "anyclass/stop.h"
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

enum { GRACE_US = 500000, FINALIZE_S = 60 };

/* A launcher sends SIGTERM to all ranks as soon as one has died. A program without a handler of its own lives on for a moment,
 * so that the watchdog can say which one. */
static void term_later(int signal_number)
{
    const struct itimerval moment = {.it_value.tv_usec = GRACE_US};
    (void)signal_number;
    setitimer(ITIMER_REAL, &moment, NULL);
}

static void term_now(int signal_number)
{
    (void)signal_number;
    signal(SIGTERM, SIG_DFL);
    raise(SIGTERM);
}

static void delay_term(bool on)
{
    struct sigaction now;
    struct sigaction ours = {.sa_handler = on ? term_later : SIG_DFL, .sa_flags = SA_RESTART};
    struct sigaction alarm_action = {.sa_handler = on ? term_now : SIG_DFL};
    if (sigaction(SIGTERM, NULL, &now) != 0 || now.sa_handler != (on ? SIG_DFL : term_later))
        return;
    sigaction(SIGALRM, &alarm_action, NULL);
    sigaction(SIGTERM, &ours, NULL);
}

static void say_verdict(void *context, ac_status status, const char *text)
{
    (void)context;
    (void)status;
    signal(SIGTERM, SIG_IGN); /* the first rank to end makes the launcher send it to the others, which are about to end themselves */
    if (text)
        ac_log_last("%s", text);
}

static void end_process(void *context, ac_status status)
{
    (void)context;
    _exit(ac_status_exit_code(status));
}

static ac_status start_watchdog(ac_run *run, double limit_s)
{
    ac_status status = AC_OK;
    const ac_watchdog_config config = {.limit_s = limit_s, .verdict = say_verdict, .end = end_process};
    if (limit_s <= 0)
        return AC_OK;
    AC_TRY(ac_watchdog_start(run->comm, &config, &run->watchdog));
    if (run->size > 1)
        delay_term(true);
out:
    return status;
}

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
    if (run->go)
        AC_TRY(start_watchdog(run, (double)common->watchdog_s));
out:
    return status;
}

/* How long it took to stop, from the first signal to the first rank: what a job's time limit must leave. */
static void add_time(MPI_Comm comm)
{
    double since_s = ac_stop_since_s();
    char text[AC_ERROR_TEXT_BYTES];
    snprintf(text, sizeof text, "%s", ac_error_text());
    if (MPI_Allreduce(MPI_IN_PLACE, &since_s, 1, MPI_DOUBLE, MPI_MAX, comm) == MPI_SUCCESS)
        ac_error(AC_ERR_SIGNAL, "%s (%.1f s after the signal)", text, since_s);
}

int ac_run_end(ac_run *run, const ac_program *program, ac_status status)
{
    (void)program;
    /* before the communicator exists every rank fails alike, and rank 0 speaks for all */
    if (run->comm != MPI_COMM_NULL) {
        ac_watchdog_at(run->watchdog, "the end of the program", -1, true);
        status = ac_comm_agree(run->comm, status);
        if (status == AC_ERR_SIGNAL)
            add_time(run->comm);
        ac_watchdog_stop(run->watchdog);
        run->watchdog = NULL;
        delay_term(false);
        MPI_Comm_free(&run->comm);
    }
    if (status != AC_OK && run->rank == 0)
        ac_log(AC_LOG_ERROR, "%s", ac_error_text());
    ac_options_destroy(run->options);
    run->options = NULL;
    return ac_status_exit_code(status);
}

/* All work is done and safe, but MPI's own end needs all ranks, and the watchdog is no longer there. */
static void finalize_hangs(int signal_number)
{
    static const char text[] = "error: MPI does not end: another rank died after its work was done; what was written is complete\n";
    (void)signal_number;
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(7); /* as AC_ERR_WATCHDOG */
}

int ac_main(int argc, char **argv, int (*run)(MPI_Comm, int, char **))
{
    int level, code;
    signal(SIGPIPE, SIG_IGN); /* a reader of the log that ends is no reason to end */
    signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes then shows as a failed write, like a full disk */
    if (MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &level) != MPI_SUCCESS)
        return ac_status_exit_code(AC_ERR_SYNC);
    code = run(MPI_COMM_WORLD, argc, argv);
    signal(SIGALRM, finalize_hangs);
    alarm(FINALIZE_S);
    MPI_Finalize();
    alarm(0);
    return code;
}
