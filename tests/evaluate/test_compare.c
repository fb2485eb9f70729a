/* `compare A B` as a function: every allocation and every write may fail, and whatever happens no memory is left and no
 * file is half there. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "evaluate/evaluate.h"
#include "tests/tap.h"
#include <fcntl.h>
#include <unistd.h>

enum { MOST_CALLS = 2000 };

static const char a_text[] = "Filename,a,b\nx.png,0.5,0.25\ny.png,0.25,0.75\nz.png,0.375,0.5\n";
static const char b_text[] = "Filename,a,b\nz.png,0.25,0.5\nx.png,0.75,0.25\ny.png,0.5,0.75\n";
static const char labels_text[] = "name,a,b\nx.png,1,0\ny.png,1,1\nz.png,0,0\n";

static bool write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    return file && fputs(text, file) >= 0 && fclose(file) == 0;
}

static int run(void)
{
    static char words[][24] = {"anyclass-evaluate",
                               "compare",
                               "a.rank0.csv",
                               "b.csv",
                               "--labels",
                               "labels.csv",
                               "--n_bootstrap",
                               "20",
                               "--output",
                               "ab.json",
                               "--table",
                               "ab.csv",
                               "ab.md",
                               "--log_level",
                               "error",
                               "--watchdog_s",
                               "0"};
    /* without the watchdog, whose thread would take some of the failures */
    enum { N = sizeof words / sizeof *words };
    char *argv[N + 1] = {NULL};
    for (int i = 0; i < N; i++)
        argv[i] = words[i];
    fflush(stdout);
    int tap = dup(STDOUT_FILENO), nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDOUT_FILENO);
    int code = ac_evaluate_run(MPI_COMM_SELF, N, argv);
    fflush(stdout);
    dup2(tap, STDOUT_FILENO);
    close(tap);
    close(nowhere);
    return code;
}

static void remove_outputs(void)
{
    remove("ab.json");
    remove("ab.csv");
    remove("ab.md");
}

/* Fail the 1st, 2nd, ... call until a run passes untouched. */
static void test_failures(const char *what, void (*fail_at)(uint64_t n))
{
    uint64_t n_live = ac_alloc_get_stats().n_live, n = 0;
    size_t n_wrong = 0, n_left = 0, n_part = 0;
    int code = 4;
    while (code != 0 && ++n < MOST_CALLS) {
        remove_outputs();
        fail_at(n);
        code = run();
        fail_at(0);
        n_wrong += code != 4 && code != 0;
        n_left += ac_alloc_get_stats().n_live != n_live;
        n_part += ac_path_exists("ab.json.part") || ac_path_exists("ab.csv.part") || ac_path_exists("ab.md.part");
    }
    TAP_OK(code == 0 && n > 5, "%d %s", (int)n - 1, what);
    TAP_OK(n_wrong == 0, "each that fails ends the run with exit code 4 (%zu do not)", n_wrong);
    TAP_OK(n_left == 0 && n_part == 0, "and leaves no memory (%zu do) and no .part (%zu do)", n_left, n_part);
}

int main(int argc, char **argv)
{
    char folder[AC_PATH_BYTES];
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &(int){0});
    bool ready = tap_folder(folder) && chdir(folder) == 0 && write_text("a.rank0.csv", a_text) &&
                 write_text("b.csv", b_text) && write_text("labels.csv", labels_text);
    TAP_OK(ready, "inputs in %s", folder);
    TAP_OK(freopen("/dev/null", "w", stderr) != NULL, "errors are wanted and not shown");
    int code = run();
    TAP_OK(code == 0 && ac_path_exists("ab.json") && ac_path_exists("ab.csv") && ac_path_exists("ab.md"),
           "all outputs are there");
    test_failures("allocations", ac_alloc_fail_at);
    test_failures("operations on files", ac_file_fail_at);
    MPI_Finalize();
    TAP_OK(chdir("/") == 0, "done");
    tap_remove(folder);
    return tap_done();
}
