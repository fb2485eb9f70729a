/* One rank has no memory at its n-th request, or rank 0 a full disk at its n-th operation on a file: every rank ends
 * with exit code 4, none waits for ever, no memory is left. Usage: mpirun -n 1 or 3 failing_ranks; the checks are rank
 * 0's. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "evaluate/evaluate.h"
#include "tests/tap.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_CALLS = 20000, MOST_WORDS = 40 };

static const char a_text[] = "Filename,a,b\nx.png,0.5,0.25\ny.png,0.25,0.75\nz.png,0.375,0.5\n";
static const char b_text[] = "Filename,b,a\nz.png,0.25,0.5\nx.png,0.75,0.25\n\"y.png\",0.5,0.75\n";
static const char labels_text[] = "name,a,b\nx.png,1,0\ny.png,1,1\nz.png,0,0\n";
static const char weights_text[] = "class,weight\na,1\nb,0.5\n";

static const char sweep_text[] = "index,version,learning_rate,seed,command\n0,s-000,0.1,1,train\n1,s-001,0.1,2,train\n";

typedef struct face { /* of the program: everything at once */
    const char *name;
    size_t step; /* only every step-th call fails */
    const char *words[MOST_WORDS];
} face;

static const face faces[] = {
    {"tuned on Val, tables, plots of thresholds",
     1,
     {"anyclass-evaluate",
      "--scores",
      "a.csv",
      "b.csv",
      "--labels",
      "labels.csv",
      "--split",
      "Test",
      "--max_fbeta",
      "--val_scores",
      "b.csv",
      "a.csv",
      "--val_labels",
      "labels.csv",
      "--multi_threshold",
      "--label_weights",
      "weights.csv",
      "--table",
      "t.csv",
      "t.md",
      "--output",
      "out",
      "--log_level",
      "error",
      "--watchdog_s",
      "0"}},
    {"a report",
     29,
     {"anyclass-evaluate", "--scores", "a.csv", "b.csv", "--labels", "labels.csv", "--max_fbeta", "--tune_over",
      "scores", "--report", "r.html", "--plots", "plots", "--output", "out", "--log_level", "error", "--watchdog_s",
      "0"}},
    {"a sweep", /* of two seeds */
     1,
     {"anyclass-evaluate", "--results_output", "r", "--sweep", "sweep.csv", "--best", "val_f1", "--labels", "labels.csv", "--table", "s.csv", "s.md",
      "--log_level", "error", "--watchdog_s", "0"}},
    {"compare",
     1,
     {"anyclass-evaluate", "compare", "a.csv", "b.csv", "--labels", "labels.csv", "--n_bootstrap", "20", "--output",
      "ab.json", "--table", "ab.tex", "--log_level", "error", "--watchdog_s", "0"}},
};

static bool write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    return file && fputs(text, file) >= 0 && fclose(file) == 0;
}

static bool make_sweep(void)
{
    return mkdir("r", 0777) == 0 && mkdir("r/version_s-000", 0777) == 0 && mkdir("r/version_s-001", 0777) == 0 && write_text("sweep.csv", sweep_text) &&
           write_text("r/version_s-000/n_last_val_sigmoid.csv", a_text) && write_text("r/version_s-001/n_last_val_sigmoid.csv", b_text);
}

static int run(const face *of)
{
    char *argv[MOST_WORDS + 1] = {NULL}, words[MOST_WORDS][24];
    int n = 0;
    for (; of->words[n]; n++) {
        snprintf(words[n], sizeof words[n], "%s", of->words[n]);
        argv[n] = words[n];
    }
    fflush(stdout);
    int tap = dup(STDOUT_FILENO), nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDOUT_FILENO);
    int code = ac_evaluate_run(MPI_COMM_WORLD, n, argv);
    fflush(stdout);
    dup2(tap, STDOUT_FILENO);
    close(tap);
    close(nowhere);
    return code;
}

static void test_face(const face *of, const char *what, void (*fail_at)(uint64_t n), int failing, int rank,
                      bool several)
{
    long n_wrong = 0, n = 1,
         step =
             (long)of->step * (several ? 13 : 1); /* processes that wait for each other are slow where cores are few */
    bool done = false;
    for (; !done && n < MOST_CALLS; n += step) {
        uint64_t n_live = ac_alloc_get_stats().n_live;
        if (rank == failing)
            fail_at((uint64_t)n);
        int code = run(of), lowest, highest;
        fail_at(0);
        int mine[2] = {code, -code}, all[2];
        MPI_Allreduce(mine, all, 2, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
        highest = all[0];
        lowest = -all[1];
        int left = ac_alloc_get_stats().n_live != n_live, any_left;
        MPI_Allreduce(&left, &any_left, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
        n_wrong += lowest != highest || (highest != 0 && highest != 4) || any_left;
        done = highest == 0;
    }
    if (rank == 0)
        TAP_OK(done && n > step && n_wrong == 0,
               "%s: %ld %s of rank %d: exit code 4 everywhere, no memory left (%ld wrong)", of->name, n, what, failing,
               n_wrong);
}

int main(int argc, char **argv)
{
    int rank, size;
    char folder[AC_PATH_BYTES] = "";
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &(int){0});
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (rank == 0)
        TAP_OK(tap_folder(folder) && chdir(folder) == 0 && write_text("a.csv", a_text) && write_text("b.csv", b_text) &&
                   write_text("labels.csv", labels_text) && write_text("weights.csv", weights_text) && make_sweep(),
               "inputs");
    MPI_Bcast(folder, sizeof folder, MPI_BYTE, 0, MPI_COMM_WORLD);
    if (chdir(folder) != 0 || !freopen("/dev/null", "w", stderr))
        MPI_Abort(MPI_COMM_WORLD, 2);
    for (size_t i = 0; i < sizeof faces / sizeof *faces; i++) {
        for (int failing = 0; failing<size; failing += size> 1 ? size - 1 : 1)
            test_face(&faces[i], "requests for memory", ac_alloc_fail_at, failing, rank, size > 1);
        test_face(&faces[i], "operations on files", ac_file_fail_at, 0, rank, size > 1);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0)
        tap_remove(folder);
    int failed = rank == 0 ? tap_done() : 0;
    MPI_Bcast(&failed, 1, MPI_INT, 0, MPI_COMM_WORLD);
    MPI_Finalize();
    return failed;
}
