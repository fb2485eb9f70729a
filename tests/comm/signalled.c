/* One of the programs (first argument: train, infer, preprocess, evaluate) with a signal at a place that is the same in each run: before the AT-th call to MPI_Allreduce
 * or MPI_Bcast (HOW=mpi), or before the AT-th system call that changes a file in FOLDER (HOW=signal; HOW=signals: and before each behind it). HOW=count prints how
 * many there are, and with TRACE a line on stderr before each MPI call. SIGNAL: 10 unless given; AFTER: a second one, before the next MPI call. Only rank RANK gets them, and says so. Run by signals.t of each program. */
#define _GNU_SOURCE
#include "tests/checkpoint/failing_calls.h"
#include "anyclass/program.h"
#include "anyclass/stop.h"
#include "evaluate/evaluate.h"
#include "infer/infer.h"
#include "preprocess/preprocess.h"
#include "train/train.h"
#include <stdlib.h>

static long mpi_at, mpi_n, n_begun; /* steps, and batches of validation, that were begun behind the signal */
static int number, after;
static bool disturbed, traced, is_sent;

static int from_environment(const char *name, int fallback)
{
    const char *value = getenv(name);
    return value ? atoi(value) : fallback;
}

static void send(int which)
{
    static const char text[] = "signal sent\n";
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    is_sent = true;
    raise(which);
}

static void count_call(void)
{
    if (!disturbed)
        return;
    mpi_n++;
    if (traced)
        dprintf(STDERR_FILENO, "MPI call %ld\n", mpi_n);
    if (mpi_n == mpi_at)
        send(number);
    if (mpi_n == mpi_at + 1 && after)
        send(after);
}

int MPI_Allreduce(const void *in, void *out, int n, MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
    n_begun += is_sent && n == 2 && type == MPI_INT && op == MPI_MAX; /* the call that begins one: did a rank fail, or get a signal? */
    count_call();
    return PMPI_Allreduce(in, out, n, type, op, comm);
}

int MPI_Bcast(void *bytes, int n, MPI_Datatype type, int root, MPI_Comm comm)
{
    count_call();
    return PMPI_Bcast(bytes, n, type, root, comm);
}

static int run(MPI_Comm comm, int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(MPI_Comm, int, char **);
    } programs[] = {{"train", ac_train_run}, {"infer", ac_infer_run}, {"preprocess", ac_preprocess_run}, {"evaluate", ac_evaluate_run}};
    const char *how = getenv("HOW"), *folder = getenv("FOLDER");
    int rank, code = 2;
    MPI_Comm_rank(comm, &rank);
    disturbed = how && rank == from_environment("RANK", 0);
    number = from_environment("SIGNAL", SIGUSR1);
    after = from_environment("AFTER", 0);
    traced = getenv("TRACE") != NULL;
    snprintf(failing_folder, sizeof failing_folder, "%s", folder ? folder : "/nowhere");
    if (disturbed && strcmp(how, "mpi") == 0)
        mpi_at = from_environment("AT", 0);
    else if (disturbed)
        failing_at = from_environment("AT", 0);
    if (disturbed && strcmp(how, "mpi") != 0)
        failing_how = strcmp(how, "signals") == 0 ? FAILING_SIGNALS : strcmp(how, "signal") == 0 ? FAILING_SIGNAL : FAILING_COUNT;
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
        if (argc > 1 && strcmp(argv[1], programs[i].name) == 0)
            code = programs[i].run(comm, argc - 1, argv + 1);
    if (failing_how == FAILING_COUNT)
        printf("%ld calls, %ld of MPI\n", failing_n, mpi_n);
    failing_how = FAILING_OFF;
    if (is_sent)
        fprintf(stderr, "begun behind the signal: %ld\n", n_begun);
    return code;
}

int main(int argc, char **argv)
{
    ac_stop_catch();
    return ac_main(argc, argv, run);
}
