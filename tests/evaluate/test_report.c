/* The report when memory or the disk ends: the run fails with exit code 4, no memory is left, and no file that is not
 * whole. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "evaluate/evaluate.h"
#include "tests/tap.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_FILE_STEPS = 100 };

static const char scores_text[] = "Filename,a,b\nx.png,0.5,0.25\ny.png,0.25,0.75\nz.png,0.375,0.5\n";
static const char labels_text[] = "name,a,b\nx.png,1,0\ny.png,1,1\nz.png,0,0\n";
static const char metrics_text[] = "epoch,step,learning_rate,train_loss,val_loss,val_bce,val_ap,val_f1,val_f2\n"
                                   "0,5,0.1,2,1,0.5,0.5,nan,0.4\n0,8,0.1,1.5,,,,,\n1,10,0.1,1,0.5,0.25,0.75,0.5,0.6\n";

static bool write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    return file && fputs(text, file) >= 0 && fclose(file) == 0;
}

static int run(void)
{
    fflush(stdout);
    static char arguments[][24] = {"anyclass-evaluate",
                                   "--results_output",
                                   "results",
                                   "--labels",
                                   "labels.csv",
                                   "--log_dir",
                                   "logs",
                                   "--report",
                                   "out/page.html",
                                   "--plots",
                                   "out/plots",
                                   "--log_level",
                                   "error",
                                   "--watchdog_s",
                                   "0"};
    char *argv[sizeof arguments / sizeof *arguments + 1] = {NULL};
    int n = (int)(sizeof arguments / sizeof *arguments);
    for (int i = 0; i < n; i++)
        argv[i] = arguments[i];
    return ac_evaluate_run(MPI_COMM_SELF, n, argv);
}

static bool nothing_half(void)
{
    return system("test -z \"$(find out results -name '*.part')\"") == 0;
}

/* Fail every step-th of `most`; without the watchdog, whose thread might be the one that asks. */
static void fail_each(const char *what, void (*fail_at)(uint64_t), size_t most, size_t step)
{
    uint64_t n_live = ac_alloc_get_stats().n_live;
    size_t n_wrong = 0, n_passed = 0, n_left = 0, n_half = 0, n_run = 0;
    for (size_t n = 1; n <= most; n += step, n_run++) {
        fail_at(n);
        int code = run();
        fail_at(0);
        n_wrong += code != 4 && code != 0;
        n_passed += code == 0;
        n_left += ac_alloc_get_stats().n_live != n_live;
        n_half += !nothing_half();
    }
    TAP_OK(n_wrong == 0 && n_passed == 0,
           "%zu of %zu %s fail, each ends the run with exit code 4 (%zu: another one, %zu: none)", n_run, most, what,
           n_wrong, n_passed);
    TAP_OK(n_left == 0, "and leaves no memory (%zu do)", n_left);
    TAP_OK(n_half == 0, "and no file that is not whole (%zu do)", n_half);
}

int main(int argc, char **argv)
{
    char folder[AC_PATH_BYTES];
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &(int){0});
    bool ready = tap_folder(folder) && chdir(folder) == 0 &&
                 system("mkdir -p results/version_v logs/version_v out") == 0 &&
                 write_text("results/version_v/m_val_f1_val_sigmoid.csv", scores_text) &&
                 write_text("labels.csv", labels_text) && write_text("logs/version_v/metrics.csv", metrics_text);
    TAP_OK(ready, "inputs in %s", folder);
    TAP_OK(freopen("/dev/null", "w", stderr) != NULL, "errors are wanted and not shown");
    TAP_OK(run() == 0 && ac_path_exists("out/page.html") &&
               ac_path_exists("out/plots/version_v/m_val_f1_val_metrics.svg"),
           "a report");
    uint64_t n_calls = ac_alloc_get_stats().n_calls;
    TAP_OK(run() == 0, "the same again");
    n_calls = ac_alloc_get_stats().n_calls - n_calls;
    TAP_OK(n_calls > 300, "%zu allocations", (size_t)n_calls);
    fail_each("allocations", ac_alloc_fail_at, (size_t)n_calls, 13);
    fail_each("file operations", ac_file_fail_at, N_FILE_STEPS, 3);
    TAP_OK(chdir("/") == 0, "done");
    tap_remove(folder);
    MPI_Finalize();
    return tap_done();
}
