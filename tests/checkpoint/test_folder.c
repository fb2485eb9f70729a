/* A training's folder: a small training is killed at every call that changes a file, or has it fail, then continues;
 * the files must be those of a training that was left alone. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "anyclass/log.h"
#include "hdf5/hdf5_util.h"
#include "tests/checkpoint/failing_calls.h"
#include "tests/checkpoint/holder.h"
#include "tests/tap.h"
#include <dirent.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STRIDE = 7 }; /* a process takes ten times as long to begin */
#else
enum { STRIDE = 1 };
#endif
enum { N_EPOCHS = 3, N_STEPS = 2, STOPPED = 1, MAX_FILES = 32 };

/* A row an epoch: improving, worse, equal (which keeps the earlier), never a number, infinite at first. */
static const double metrics[N_EPOCHS][AC_N_TRACKED] = {
    {.5, INFINITY, .3, NAN, 1. / 3}, {.25, .4, .3, NAN, .2}, {.125, .41, .2, NAN, .5}};

static char top[AC_PATH_BYTES], reference[AC_PATH_BYTES];

/* Something that depends on the state before, on epoch and step. */
static void make_step(holder *h)
{
    const float rate = 1.f / (float)(2 + h->info.epoch * N_STEPS + h->info.step);
    for (size_t i = 0; i < h->params->n_values; i++) {
        h->optimizer->moment[0][i] = h->optimizer->moment[0][i] * .5f + rate;
        h->optimizer->moment[1][i] *= rate;
        h->params->value[i] -= rate * h->optimizer->moment[0][i];
    }
    for (size_t i = 0; i < h->params->n_buffers; i++)
        h->params->buffer[i] += rate;
    h->info.optimizer_step = ++h->optimizer->step;
    h->info.loss_sum += (double)h->params->value[0] / 3;
    h->info.step++;
}

/* Steps, in the second epoch with a save amid them, then validation. */
static ac_status go_on(holder *h, const char *folder)
{
    ac_status status = AC_OK;
    while (h->info.epoch < N_EPOCHS) {
        while (h->info.step < N_STEPS) {
            make_step(h);
            if (h->info.step == 1 && h->info.epoch == 1)
                AC_TRY(ac_checkpoint_keep_last(folder, &h->info, h->params, h->optimizer));
        }
        const double *values = metrics[h->info.epoch++];
        h->info.step = 0;
        h->info.loss_sum = 0;
        AC_TRY(ac_checkpoint_keep(folder, &h->info, values, h->params, h->optimizer));
    }
out:
    return status;
}

/* The training, as the trainer does it with --checkpoint auto. */
static ac_status train(const char *folder)
{
    ac_status status = AC_OK;
    holder h;
    ac_checkpoint_lock lock = {.fd = -1};
    char path[AC_PATH_BYTES];
    AC_TRY(open_holder(&h, 1, 8, AC_OPTIMIZER_ADAMW));
    AC_TRY(ac_checkpoint_lock_folder(folder, &lock));
    ac_checkpoint_info_release(&h.info);
    AC_TRY(ac_checkpoint_choose(folder, path, &h.info));
    if (path[0]) {
        AC_TRY(ac_checkpoint_load(path, h.params, h.optimizer));
        AC_TRY(ac_checkpoint_adopt(folder, path, &h.info));
    } else {
        AC_TRY(describe_holder(&h.info));
    }
    AC_TRY(go_on(&h, folder));
out:
    ac_checkpoint_unlock_folder(&lock);
    close_holder(&h);
    return status;
}

typedef struct plan { /* what befalls the process */
    failing_way how;
    long at;
    int cause;
} plan;

static void begin_plan(const char *folder, const plan *p)
{
    snprintf(failing_folder, sizeof failing_folder, "%s", folder);
    failing_n = 0;
    failing_name = "";
    failing_at = p->at;
    failing_errno = p->cause;
    failing_how = p->how;
}

static void fresh_folder(char *folder, const char *name)
{
    char path[AC_PATH_BYTES];
    snprintf(folder, AC_PATH_BYTES, "%.2000s/%s", top, name);
    DIR *d = opendir(folder);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
        if (ac_path_join(path, folder, e->d_name) == AC_OK)
            unlink(path);
    if (d)
        closedir(d);
    else if (mkdir(folder, 0777) != 0)
        abort();
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int list_files(const char *folder, char names[MAX_FILES][96])
{
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e = d ? readdir(d) : NULL; e && n < MAX_FILES; e = readdir(d))
        if (e->d_name[0] != '.')
            snprintf(names[n++], 96, "%.95s", e->d_name);
    closedir(d);
    qsort(names, (size_t)n, sizeof *names, by_name);
    return n;
}

static bool same_file(const char *name, const char *a, const char *b)
{
    char path[AC_PATH_BYTES];
    uint8_t *x = NULL, *y = NULL;
    size_t n = 0, m = 1;
    bool same = ac_path_join(path, a, name) == AC_OK && ac_file_read_all(path, 0, &x, &n) == AC_OK &&
                ac_path_join(path, b, name) == AC_OK && ac_file_read_all(path, 0, &y, &m) == AC_OK && n == m &&
                memcmp(x, y, n) == 0;
    ac_free(x);
    ac_free(y);
    return same;
}

/* The files of the training that was left alone, byte for byte, and no others. What was last before the last one may be
 * of another step. */
static bool is_reference(const char *folder)
{
    static char a[MAX_FILES][96], b[MAX_FILES][96];
    const int n = list_files(reference, a), m = list_files(folder, b);
    for (int i = 0; i < n; i++)
        if (n != m || strcmp(a[i], b[i]) != 0 ||
            (strcmp(a[i], "previous.h5") != 0 && !same_file(a[i], reference, folder))) {
            printf("# %s: file %d of %d (%d): %s, %s\n", folder, i, n, m, a[i], b[i]);
            return false;
        }
    return true;
}

/* Every file that the table names is there and whole, and of the epoch it says. */
static bool table_is_good(const char *folder)
{
    char path[AC_PATH_BYTES];
    ac_checkpoint_info info;
    for (int i = 0; i < AC_N_TRACKED; i++) {
        if (ac_checkpoint_find(folder, ac_tracked_name[i], path, sizeof path) != AC_OK)
            continue;
        if (ac_checkpoint_check(path, &info) != AC_OK)
            return false;
        const bool good = strstr(path, info.best[i].file) && info.best[i].epoch == info.epoch - 1;
        ac_checkpoint_info_release(&info);
        if (!good)
            return false;
    }
    return true;
}

/* Wait for a child; true when it ended with that exit code, or by SIGKILL for -1. */
static bool ended(pid_t child, int code)
{
    int how = 0;
    if (child < 0 || waitpid(child, &how, 0) != child)
        return false;
    return code < 0 ? WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL : WIFEXITED(how) && WEXITSTATUS(how) == code;
}

/* Train in a process of its own; returns its number. */
static pid_t start(const char *folder, const plan *p)
{
    fflush(stdout);
    const pid_t child = fork();
    if (child != 0)
        return child;
    begin_plan(folder, p);
    const ac_status status = train(folder);
    failing_how = FAILING_OFF;
    if (status != AC_OK)
        printf("# %s\n", ac_error_text());
    fflush(stdout);
    _exit(status == AC_OK ? 0 : STOPPED);
}

static const plan nothing = {FAILING_OFF, 0, 0};

/* How many calls the training makes. */
static long count_calls(const char *folder)
{
    long n = -1;
    int ends[2];
    if (pipe(ends) != 0)
        return -1;
    const pid_t child = fork();
    if (child == 0) {
        begin_plan(folder, &(plan){FAILING_COUNT, 0, 0});
        const ac_status status = train(folder);
        failing_how = FAILING_OFF;
        const bool sent = write(ends[1], &failing_n, sizeof failing_n) == (ssize_t)sizeof failing_n;
        _exit(status == AC_OK && sent ? 0 : STOPPED);
    }
    close(ends[1]);
    if (read(ends[0], &n, sizeof n) != (ssize_t)sizeof n || !ended(child, 0))
        n = -1;
    close(ends[0]);
    return n;
}

static void test_kills(long n_calls, const char *what)
{
    char folder[AC_PATH_BYTES];
    long n = 0, n_killed = 0, n_same = 0, n_table = 0, n_twice = 0;
    for (long at = 1; at <= n_calls; at += STRIDE, n++) {
        fresh_folder(folder, "kill");
        n_killed += ended(start(folder, &(plan){FAILING_KILL, at, 0}), -1);
        n_table += table_is_good(folder);
        if (n % 3 == 0) { /* and once more while it continues */
            const pid_t again = start(folder, &(plan){FAILING_KILL, 1 + n * 7 % 23, 0});
            n_twice += ended(again, -1);
        }
        n_same += ended(start(folder, &nothing), 0) && is_reference(folder);
    }
    TAP_OK(n_killed == n && n_table == n, "%s at %ld of %ld calls: the table names whole files (%ld)", what, n, n_calls,
           n_table);
    TAP_OK(n_same == n && n_twice > n / 5,
           "%s: continued, the files are those of a training left alone (%ld; %ld killed twice)", what, n_same,
           n_twice);
}

/* What must hold when a call has failed. Tells in the exit code what does not. */
static int after_failure(const char *folder, ac_status status)
{
    char path[AC_PATH_BYTES];
    ac_checkpoint_info info;
    const bool told = status != AC_ERR_IO || strstr(ac_error_text(), folder) != NULL;
    if (status != AC_OK && (status != AC_ERR_IO || !told))
        return 10;
    const ac_status chosen = ac_checkpoint_choose(folder, path, &info);
    const bool begun = path[0] != 0;
    ac_checkpoint_info_release(&info);
    if (chosen != AC_OK || !table_is_good(folder))
        return 11;
    /* the library is as good as before: the same process tries again */
    if (status != AC_OK && train(folder) != AC_OK)
        return 12;
    return begun || status != AC_OK ? 0 : 13;
}

static void test_failures(long n_calls, failing_way how, const char *what)
{
    char folder[AC_PATH_BYTES];
    long n = 0, n_good = 0, n_same = 0;
    for (long at = 1; at <= n_calls; at += STRIDE, n++) {
        fresh_folder(folder, "failure");
        fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            begin_plan(folder, &(plan){how, at, at % 2 ? ENOSPC : EIO});
            const ac_status status = train(folder);
            failing_how = FAILING_OFF;
            const int code = after_failure(folder, status);
            if (code)
                printf("# call %ld, %s: status %d, code %d: %s\n", at, failing_name, (int)status, code,
                       ac_error_text());
            fflush(stdout);
            _exit(code);
        }
        n_good += ended(child, 0);
        n_same += ended(start(folder, &nothing), 0) && is_reference(folder);
    }
    TAP_OK(n_good == n,
           "%s: %ld of %ld end in a clear error or in success, with a whole checkpoint and table, and can be repeated",
           what, n_good, n);
    TAP_OK(n_same == n, "%s: continued, the files are those of a training left alone (%ld)", what, n_same);
}

/* What else lies in the folder is not ours to remove; what is ours and not named any more goes. */
static void test_names(void)
{
    static const char *const kept[] = {"notes.txt.part",
                                       "epoch=00-val_f3=0.1000.h5",
                                       "epoch=00-val_f1=0.100.h5",
                                       "epoch=0-val_f1=0.1000.h5",
                                       "epoch=-1-val_f1=0.1000.h5",
                                       "myepoch=00-val_f1=0.1000.h5",
                                       "epoch=00-val_f1=nan.h5",
                                       "last.h5.old"};
    static const char *const ours[] = {"epoch=07-val_f1=0.1000.h5",
                                       "epoch=107-val_loss=-12.0000.h5",
                                       "epoch=00-val_ap=0.9000.h5.part",
                                       "last.h5.part",
                                       "last.h5.part.part",
                                       "previous.h5.part",
                                       "checkpoints.json.part"};
    char folder[AC_PATH_BYTES], path[AC_PATH_BYTES];
    int n_kept = 0, n_gone = 0;
    fresh_folder(folder, "names");
    for (size_t i = 0; i < sizeof kept / sizeof *kept + sizeof ours / sizeof *ours; i++) {
        const size_t n = sizeof kept / sizeof *kept;
        FILE *file = ac_path_join(path, folder, i < n ? kept[i] : ours[i - n]) == AC_OK ? fopen(path, "w") : NULL;
        if (file)
            fclose(file);
    }
    holder h;
    if (TAP_CALL(open_holder(&h, 1, 8, AC_OPTIMIZER_ADAMW))) {
        h.info.epoch = 1;
        TAP_CALL(ac_checkpoint_keep(folder, &h.info, metrics[0], h.params, h.optimizer));
    }
    close_holder(&h);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        n_kept += ac_path_join(path, folder, kept[i]) == AC_OK && ac_path_exists(path);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        n_gone += ac_path_join(path, folder, ours[i]) == AC_OK && !ac_path_exists(path);
    TAP_OK(n_kept == (int)(sizeof kept / sizeof *kept), "%d files of other names stay", n_kept);
    TAP_OK(n_gone == (int)(sizeof ours / sizeof *ours), "%d left-over files of ours go", n_gone);
}

static bool is_one_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_ino == y.st_ino;
}

/* What the reference training has kept. */
static void test_best(void)
{
    static const char *const wanted[AC_N_TRACKED] = {"epoch=02-val_loss=0.1250.h5", "epoch=01-val_bce=0.4000.h5",
                                                     "epoch=00-val_ap=0.3000.h5", NULL, "epoch=02-val_f2=0.5000.h5"};
    char path[AC_PATH_BYTES], other[AC_PATH_BYTES], names[MAX_FILES][96];
    for (int i = 0; i < AC_N_TRACKED; i++) {
        const ac_status status = ac_checkpoint_find(reference, ac_tracked_name[i], path, sizeof path);
        TAP_OK(wanted[i] ? status == AC_OK && strstr(path, wanted[i])
                         : status == AC_ERR_IO && strstr(ac_error_text(), ac_tracked_name[i]),
               "best %s is %s", ac_tracked_name[i], wanted[i] ? wanted[i] : "none: it never was a number");
    }
    TAP_OK(list_files(reference, names) == 7, "four best, the last, the one before, the table, nothing else");
    TAP_OK(ac_checkpoint_find(reference, "last", other, sizeof other) == AC_OK && strstr(other, "last.h5"),
           "the last one is there");
    TAP_OK(ac_checkpoint_find(reference, "val_f2", path, sizeof path) == AC_OK && is_one_file(path, other),
           "files of one epoch are one file");
    TAP_OK(ac_checkpoint_find(reference, "val_bce", path, sizeof path) == AC_OK && !is_one_file(path, other),
           "files of two epochs are two");
    TAP_OK(ac_checkpoint_find(reference, "val_f9", path, sizeof path) == AC_ERR_IO &&
               ac_checkpoint_find(reference, "last", path, 4) == AC_ERR_RANGE,
           "an unknown metric and a short buffer are refused");
}

/* A save that fails leaves the table that was, in memory too. */
static void test_failed_keep(void)
{
    char folder[AC_PATH_BYTES];
    holder h;
    fresh_folder(folder, "keep");
    if (!TAP_CALL(open_holder(&h, 1, 8, AC_OPTIMIZER_ADAMW)))
        return;
    h.info.epoch = 1;
    TAP_CALL(ac_checkpoint_keep(folder, &h.info, metrics[0], h.params, h.optimizer));
    const ac_checkpoint_info before = h.info;
    h.params->value[0] = NAN;
    h.info.epoch = 2;
    TAP_OK(ac_checkpoint_keep(folder, &h.info, metrics[1], h.params, h.optimizer) == AC_ERR_NUMERIC &&
               strstr(ac_error_text(), "not finite"),
           "weights that are not finite are not kept");
    TAP_OK(memcmp(before.best, h.info.best, sizeof before.best) == 0 && table_is_good(folder),
           "the table is as before");
    close_holder(&h);
}

/* Going back to a checkpoint from another folder, or to one of this folder's own. */
static void test_adopt(void)
{
    char folder[AC_PATH_BYTES], path[AC_PATH_BYTES], last[AC_PATH_BYTES];
    ac_checkpoint_info info, again;
    fresh_folder(folder, "adopt");
    if (!TAP_OK(ac_checkpoint_find(reference, "val_bce", path, sizeof path) == AC_OK &&
                    ac_checkpoint_check(path, &info) == AC_OK,
                "a checkpoint of another folder"))
        return;
    TAP_CALL(ac_checkpoint_adopt(folder, path, &info));
    TAP_OK(!info.best[2].file[0] && info.best[0].epoch == 1 && table_is_good(folder),
           "best ones of its epoch come along, older ones are sought anew");
    TAP_OK(ac_checkpoint_choose(folder, last, &again) == AC_OK && strstr(last, "last.h5") && again.epoch == 2,
           "a kill before the first save: the same again");
    ac_checkpoint_info_release(&again);
    ac_checkpoint_info_release(&info);
    TAP_OK(ended(start(folder, &nothing), 0), "a training that continues from there");
    if (TAP_OK(ac_checkpoint_find(folder, "val_loss", path, sizeof path) == AC_OK &&
                   ac_checkpoint_check(path, &info) == AC_OK,
               "its best"))
        TAP_CALL(ac_checkpoint_adopt(folder, path, &info));
    ac_checkpoint_info_release(&info);
    TAP_OK(table_is_good(folder), "back at one of its own");
}

static bool damage(const char *folder, const char *name)
{
    char path[AC_PATH_BYTES];
    const int fd = ac_path_join(path, folder, name) == AC_OK ? open(path, O_RDWR | O_CLOEXEC) : -1;
    uint8_t byte = 0;
    const bool good = fd >= 0 && pread(fd, &byte, 1, 9000) == 1 && (byte ^= 4, pwrite(fd, &byte, 1, 9000) == 1);
    return fd >= 0 && close(fd) == 0 && good;
}

/* A finished training's newest files are damaged, with the best ones that are the same files. */
static void test_damaged(void)
{
    char folder[AC_PATH_BYTES], path[AC_PATH_BYTES];
    ac_checkpoint_info info;
    fresh_folder(folder, "damaged");
    TAP_OK(ended(start(folder, &nothing), 0) && damage(folder, "last.h5"), "the last one is damaged");
    TAP_OK(ended(start(folder, &nothing), 0) && is_reference(folder),
           "continued from the one before, the files are those of a training left alone");
    TAP_OK(damage(folder, "last.h5") && damage(folder, "previous.h5"), "the last two are damaged");
    TAP_OK(ac_checkpoint_choose(folder, path, &info) == AC_OK && strstr(path, "epoch=00-val_ap=0.3000.h5") &&
               info.epoch == 1,
           "the newest best one is chosen: %s", path + strlen(top));
    ac_checkpoint_info_release(&info);
    TAP_OK(ended(start(folder, &nothing), 0) && is_reference(folder),
           "continued from there, the files are those of a training left alone");
}

static void test_clear(void)
{
    char folder[AC_PATH_BYTES], names[MAX_FILES][96], path[AC_PATH_BYTES];
    bool present;
    fresh_folder(folder, "clear");
    TAP_OK(ac_checkpoint_present(folder, &present) == AC_OK && !present, "an empty folder holds no training");
    TAP_OK(ended(start(folder, &nothing), 0) && damage(folder, "last.h5") &&
               ac_checkpoint_present(folder, &present) == AC_OK && present,
           "a damaged one is one");
    FILE *file = ac_path_join(path, folder, "metrics.csv") == AC_OK ? fopen(path, "w") : NULL;
    TAP_OK(file && fclose(file) == 0 && ac_checkpoint_clear(folder) == AC_OK && list_files(folder, names) == 1 &&
               strcmp(names[0], "metrics.csv") == 0,
           "all of it is removed, and nothing else");
    TAP_OK(ac_checkpoint_clear(folder) == AC_OK && ac_checkpoint_present(folder, &present) == AC_OK && !present,
           "twice, too");
}

/* Two trainings; one that is killed. */
static void test_lock(void)
{
    char folder[AC_PATH_BYTES];
    ac_checkpoint_lock lock, other;
    fresh_folder(folder, "lock");
    TAP_CALL(ac_checkpoint_lock_folder(folder, &lock));
    TAP_OK(ended(start(folder, &nothing), STOPPED), "a second training is refused");
    TAP_OK(ac_checkpoint_lock_folder(folder, &other) == AC_ERR_IO && strstr(ac_error_text(), "training.lock") &&
               strstr(ac_error_text(), "another training") && ac_status_exit_code(AC_ERR_IO) == 4,
           "%s", ac_error_text() + strlen(top));
    ac_checkpoint_unlock_folder(&other);
    ac_checkpoint_unlock_folder(&lock);
    ac_checkpoint_unlock_folder(&lock);
    TAP_OK(!ac_path_exists(lock.path), "the lock's file goes with it");
    TAP_OK(ended(start(folder, &(plan){FAILING_KILL, 30, 0}), -1) && ac_path_exists(lock.path),
           "a training is killed and leaves the file");
    TAP_OK(ended(start(folder, &nothing), 0) && !ac_path_exists(lock.path), "it locks nothing");
}

int main(void)
{
    omp_set_num_threads(1); /* the loops are short, and thousands of processes are begun */
    ac_hdf5_begin();
    ac_log_init("test", 0, 1, AC_LOG_ERROR, false);
    if (!tap_folder(top))
        return tap_done();
    fresh_folder(reference, "reference");
    TAP_OK(ended(start(reference, &nothing), 0) && table_is_good(reference), "a training left alone");
    char folder[AC_PATH_BYTES];
    fresh_folder(folder, "count");
    const long n_calls = count_calls(folder);
    TAP_OK(n_calls > 100 && is_reference(folder), "another one writes the same bytes in %ld calls", n_calls);
    test_best();
    test_names();
    test_failed_keep();
    test_adopt();
    test_damaged();
    test_clear();
    test_lock();
    test_kills(n_calls, "killed");
    test_failures(n_calls, FAILING_ERROR, "disk full or a bad block");
    test_failures(n_calls, FAILING_SHORT, "short write");
    failing_links = true;
    fresh_folder(folder, "count");
    const long n_without = count_calls(folder);
    TAP_OK(n_without > n_calls && is_reference(folder), "without hard links the same files, in %ld calls", n_without);
    test_kills(n_without, "killed, without hard links");
    tap_remove(top);
    return tap_done();
}
