/* ac_evaluate_run() as a function: every allocation may fail, and whatever happens no memory is left. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "evaluate/evaluate.h"
#include "tests/tap.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_ALLOCATIONS = 2000 };

static const char scores_text[] = "Filename,a,b\nx.png,0.5,0.25\ny.png,0.25,0.75\nz.png,0.375,0.5\n";
static const char short_text[] = "Filename,a,b\nx.png,0.5,0.25\ny.png,0.25,0.75\n";
static const char bad_text[] = "Filename,a,b\nx.png,0.5,0.25\ny.png,0.25,?\nz.png,0.375,0.5\n";
static const char labels_text[] = "name,a,b\nx.png,1,0\ny.png,1,1\nz.png,0,0\n";

static bool write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    return file && fputs(text, file) >= 0 && fclose(file) == 0;
}

static int run(const char *scores)
{
    static char program[] = "anyclass-evaluate", scores_option[] = "--scores", labels_option[] = "--labels";
    static char labels[] = "labels.csv", level_option[] = "--log_level", level[] = "error";
    /* without the watchdog, whose thread would take some of the failures */
    static char watchdog_option[] = "--watchdog_s", none[] = "0";
    char path[64];
    char *argv[] = {program, scores_option,   path, labels_option, labels, level_option,
                    level,   watchdog_option, none, NULL};
    snprintf(path, sizeof path, "%s", scores);
    return ac_evaluate_run(MPI_COMM_SELF, 9, argv);
}

static void test_one(const char *scores, int want)
{
    uint64_t n_live = ac_alloc_get_stats().n_live;
    int code = run(scores);
    TAP_OK(code == want, "%s: exit code %d", scores, code);
    TAP_OK(ac_alloc_get_stats().n_live == n_live, "%s: no memory is left", scores);
}

/* Fail the 1st, 2nd, ... request until a run passes untouched. */
static void test_allocations(void)
{
    uint64_t n_live = ac_alloc_get_stats().n_live;
    size_t n_wrong = 0, n_left = 0, n = 0;
    int code = 4;
    while (code != 0 && ++n < MOST_ALLOCATIONS) {
        remove("val_metrics.json");
        ac_alloc_fail_at(n);
        code = run("val_sigmoid.csv");
        ac_alloc_fail_at(0);
        n_wrong += code != 4 && code != 0;
        n_left += ac_alloc_get_stats().n_live != n_live;
    }
    TAP_OK(code == 0 && n > 20, "%zu allocations", n - 1);
    TAP_OK(n_wrong == 0, "each that fails ends the run with exit code 4 (%zu do not)", n_wrong);
    TAP_OK(n_left == 0, "and leaves no memory (%zu do)", n_left);
}

int main(int argc, char **argv)
{
    char folder[AC_PATH_BYTES];
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &(int){0});
    bool ready = tap_folder(folder) && chdir(folder) == 0 && write_text("val_sigmoid.csv", scores_text) &&
                 write_text("short_sigmoid.csv", short_text) && write_text("bad_sigmoid.csv", bad_text) &&
                 write_text("labels.csv", labels_text);
    TAP_OK(ready, "inputs in %s", folder);
    TAP_OK(freopen("/dev/null", "w", stderr) != NULL, "errors are wanted and not shown");
    test_one("val_sigmoid.csv", 0);
    TAP_OK(ac_path_exists("val_metrics.json"), "the JSON is there");
    test_one("short_sigmoid.csv", 3);
    test_one("bad_sigmoid.csv", 3);
    test_one("nowhere.csv", 4);
    test_allocations();
    for (const char *name = "val_sigmoid.csv\0short_sigmoid.csv\0bad_sigmoid.csv\0labels.csv\0val_metrics.json\0";
         *name; name += strlen(name) + 1)
        remove(name);
    TAP_OK(chdir("/") == 0 && rmdir(folder) == 0, "nothing else was written");
    MPI_Finalize();
    return tap_done();
}
