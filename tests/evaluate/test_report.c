/* The report when memory or the disk ends: the run fails with exit code 4, no memory is left, and no file that is not whole. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "evaluate/evaluate.h"
#include "tests/tap.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_ALLOCATIONS = 40000, MOST_FILE_STEPS = 2000 };

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
    static char arguments[][24] = {"anyclass-evaluate", "--results_output", "results", "--labels", "labels.csv", "--log_dir", "logs", "--report", "out/page.html", "--plots", "out/plots", "--log_level", "error"};
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

static size_t fail_each(const char *what, void (*fail_at)(uint64_t), size_t most, size_t step)
{
    uint64_t n_live = ac_alloc_get_stats().n_live;
    size_t n_wrong = 0, n_left = 0, n_half = 0, n = 1;
    int code;
    do {
        fail_at(n);
        code = run();
        fail_at(0);
        n_wrong += code != 4 && code != 0;
        n_left += ac_alloc_get_stats().n_live != n_live;
        n_half += !nothing_half();
        n += step;
    } while (code != 0 && n < most);
    TAP_OK(code == 0, "%s: %zu of them", what, n - step);
    TAP_OK(n_wrong == 0, "each that fails ends the run with exit code 4 (%zu do not)", n_wrong);
    TAP_OK(n_left == 0, "and leaves no memory (%zu do)", n_left);
    TAP_OK(n_half == 0, "and no file that is not whole (%zu do)", n_half);
    return n;
}

int main(int argc, char **argv)
{
    char folder[AC_PATH_BYTES];
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &(int){0});
    bool ready = tap_folder(folder) && chdir(folder) == 0 && system("mkdir -p results/version_v logs/version_v out") == 0 &&
                 write_text("results/version_v/m_val_f1_val_sigmoid.csv", scores_text) && write_text("labels.csv", labels_text) &&
                 write_text("logs/version_v/metrics.csv", metrics_text);
    TAP_OK(ready, "inputs in %s", folder);
    TAP_OK(freopen("/dev/null", "w", stderr) != NULL, "errors are wanted and not shown");
    TAP_OK(run() == 0 && ac_path_exists("out/page.html") && ac_path_exists("out/plots/version_v/m_val_f1_val_metrics.svg"), "a report");
    fail_each("allocations", ac_alloc_fail_at, MOST_ALLOCATIONS, 23);
    fail_each("file operations", ac_file_fail_at, MOST_FILE_STEPS, 3);
    TAP_OK(chdir("/") == 0, "done");
    tap_remove(folder);
    MPI_Finalize();
    return tap_done();
}
