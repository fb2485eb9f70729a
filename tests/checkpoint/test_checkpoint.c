/* One checkpoint: what is saved is loaded bit for bit, by HDF5 too; what does not fit or is not finite is refused by
 * name and changes nothing; a save that fails at any of its steps leaves the older file as it was. */
#include "anyclass/file.h"
#include "hdf5/hdf5_util.h"
#include "tests/checkpoint/holder.h"
#include "tests/tap.h"
#include <dirent.h>
#include <math.h>
#include <omp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[AC_PATH_BYTES], path[AC_PATH_BYTES];

static size_t read_file(uint8_t **bytes)
{
    size_t n = 0;
    return ac_file_read_all(path, 0, bytes, &n) == AC_OK ? n : 0;
}

static void write_file(const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    if (file) {
        fwrite(bytes, 1, n, file);
        fclose(file);
    }
}

static ac_status save(const holder *h)
{
    return ac_checkpoint_save(path, &h->info, h->params, h->optimizer);
}

/* Values that a careless text would change. */
static void fill_info(ac_checkpoint_info *info)
{
    static const double values[AC_N_TRACKED] = {0.1 + 0.2, 1e-310, -0.0, 1.7976931348623157e308, 0};
    info->epoch = 7;
    info->step = 123456789012;
    info->optimizer_step = 1234;
    info->loss_sum = (double)NAN;
    info->loss_scale = (double)-INFINITY;
    info->n_even = 1999;
    info->n_skipped = 3;
    info->n_samples = INT64_MAX;
    for (int i = 0; i < AC_N_TRACKED - 1; i++) {
        info->best[i] = (ac_checkpoint_best){.value = values[i], .epoch = i};
        snprintf(info->best[i].file, sizeof info->best[i].file, "epoch=%02d-%s=%.4f.h5", i, ac_tracked_name[i],
                 (double)i);
    }
}

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static bool same_best(const ac_checkpoint_best *a, const ac_checkpoint_best *b)
{
    bool same = true;
    for (int i = 0; i < AC_N_TRACKED; i++)
        same =
            same && strcmp(a[i].file, b[i].file) == 0 && same_bits(a[i].value, b[i].value) && a[i].epoch == b[i].epoch;
    return same;
}

static void test_info(const ac_checkpoint_info *a)
{
    ac_checkpoint_info b;
    if (!TAP_CALL(ac_checkpoint_read_info(path, &b)))
        return;
    TAP_OK(strcmp(a->model, b.model) == 0 && b.n_classes == 2 && strcmp(b.class_name[1], "a \"b\", c") == 0 &&
               strcmp(a->config, b.config) == 0 && strcmp(a->precision, b.precision) == 0 &&
               strcmp(a->data_hash, b.data_hash) == 0 && a->image_size_px == b.image_size_px &&
               memcmp(a->mean, b.mean, sizeof a->mean) == 0 && memcmp(a->std, b.std, sizeof a->std) == 0,
           "model, classes, options, precision, data, image size, mean and deviation come back");
    TAP_OK(a->n_samples == b.n_samples && a->batch_size == b.batch_size && a->seed == b.seed && a->epoch == b.epoch &&
               a->step == b.step && a->optimizer_step == b.optimizer_step && a->n_even == b.n_even && a->n_skipped == b.n_skipped,
           "numbers of samples, batch, seed, epoch, step, updates of one loss scale, skipped steps come back");
    TAP_OK(isnan(b.loss_sum) && same_bits(a->loss_scale, b.loss_scale), "NaN and infinity come back");
    TAP_OK(same_best(a->best, b.best),
           "the best table comes back bit for bit: 0.1 + 0.2, 1e-310, -0, the largest double, none");
    ac_checkpoint_info_release(&b);
    const double sums[] = {0.1 + 0.2, 1 / 3., 5e-324, 123456789.123456789};
    int n_same = 0;
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        ac_checkpoint_info info = *a, back;
        info.loss_sum = sums[i];
        const ac_params params = {0};
        n_same += ac_checkpoint_save(path, &info, &params, NULL) == AC_OK &&
                  ac_checkpoint_check(path, &back) == AC_OK && same_bits(back.loss_sum, sums[i]);
        ac_checkpoint_info_release(&back);
    }
    TAP_OK(n_same == 4, "sums of the loss come back bit for bit");
    ac_checkpoint_info plain = *a, back;
    plain.n_even = plain.n_skipped = 0;
    const ac_params params = {0};
    uint8_t *bytes = NULL;
    size_t n_named = 0;
    if (TAP_CALL(ac_checkpoint_save(path, &plain, &params, NULL)) && TAP_CALL(ac_checkpoint_check(path, &back))) {
        const size_t n_bytes = read_file(&bytes);
        for (size_t i = 0; i + 9 <= n_bytes; i++)
            n_named += memcmp(bytes + i, "\"n_even\":", 9) == 0 || memcmp(bytes + i, "n_skipped", 9) == 0;
        TAP_OK(n_bytes > 0 && n_named == 0 && back.n_even == 0 && back.n_skipped == 0, "both are 0 where they are not told, as in older files, and 0 is not told");
        ac_checkpoint_info_release(&back);
    }
    ac_free(bytes);
}

static void test_round_trip(const holder *saved, const holder *untouched)
{
    holder other, weights;
    if (!TAP_CALL(open_holder(&other, 2, 8, AC_OPTIMIZER_ADAMW)) ||
        !TAP_CALL(open_holder(&weights, 3, 8, AC_OPTIMIZER_ADAMW)))
        return;
    TAP_OK(!same_state(saved, &other) && same_state(&other, untouched), "another state to begin with");
    TAP_CALL(ac_checkpoint_load(path, other.params, other.optimizer));
    TAP_OK(same_state(saved, &other), "weights, statistics, moments and step come back bit for bit");
    TAP_CALL(ac_checkpoint_load(path, weights.params, NULL));
    TAP_OK(memcmp(weights.params->value, other.params->value, other.params->n_values * sizeof(float)) == 0 &&
               weights.optimizer->step == 0 &&
               memcmp(weights.optimizer->moment[0], other.optimizer->moment[0], 64) != 0,
           "weights alone when no more is wanted");
    close_holder(&other);
    close_holder(&weights);
}

/* Other programs read the file through HDF5. */
static void test_hdf5(const holder *h)
{
    static float own[4096], read[4096];
    hid_t file;
    int n_same = 0, n_all = 0;
    char name[256];
    if (!TAP_CALL(ac_hdf5_open(path, &file)))
        return;
    for (int k = 0; k < 3; k++)
        for (size_t p = 0; p < h->params->n_params; p++) {
            const ac_param_info *info = &h->params->info[p];
            if (k && info->role == AC_PARAM_BUFFER)
                continue;
            hsize_t dims[AC_MAX_DIMS];
            const size_t n = (size_t)ac_shape_elements(&info->shape);
            snprintf(name, sizeof name, "%s/%s",
                     k == 0   ? "model"
                     : k == 1 ? "optimizer/exp_avg"
                              : "optimizer/exp_avg_sq",
                     info->name);
            bool same = ac_hdf5_dims(file, name, info->shape.n_dims, dims) == AC_OK &&
                        ac_hdf5_read(file, name, H5T_NATIVE_FLOAT, n, read) == AC_OK &&
                        ac_params_get(h->params, (int)p, k ? h->optimizer->moment[k - 1] : NULL, own) == AC_OK &&
                        memcmp(own, read, n * sizeof *own) == 0;
            for (int i = 0; same && i < info->shape.n_dims; i++)
                same = dims[i] == (hsize_t)info->shape.dim[i];
            n_same += same;
            n_all++;
        }
    TAP_OK(n_same == n_all && n_all == 17, "HDF5 reads the same %d tensors by PyTorch's names and shapes", n_same);
    TAP_CALL(ac_hdf5_close(&file, path));
}

static void refused(const char *what, const char *word, const holder *untouched)
{
    holder h;
    if (!TAP_CALL(open_holder(&h, 2, 8, AC_OPTIMIZER_ADAMW)))
        return;
    TAP_OK(ac_checkpoint_load(path, h.params, h.optimizer) == AC_ERR_DATA && strstr(ac_error_text(), path) &&
               strstr(ac_error_text(), word) && same_state(&h, untouched),
           "%s is refused: %s", what, ac_error_text() + strlen(folder));
    close_holder(&h);
}

static void test_misfits(const holder *saved, const holder *untouched)
{
    holder wide, sgd;
    hid_t file;
    if (TAP_CALL(open_holder(&wide, 2, 9, AC_OPTIMIZER_ADAMW)))
        TAP_OK(ac_checkpoint_load(path, wide.params, wide.optimizer) == AC_ERR_DATA &&
                   strstr(ac_error_text(), "conv.weight"),
               "another shape is refused by the tensor's name");
    close_holder(&wide);
    if (TAP_CALL(open_holder(&sgd, 2, 8, AC_OPTIMIZER_SGD)))
        TAP_OK(ac_checkpoint_load(path, sgd.params, sgd.optimizer) == AC_ERR_DATA &&
                   strstr(ac_error_text(), "optimizer/momentum_buffer"),
               "another optimiser is refused");
    close_holder(&sgd);
    TAP_CALL(ac_checkpoint_save(path, &saved->info, saved->params, NULL));
    refused("a file of weights, to continue from,", "optimizer/exp_avg", untouched);
    write_file("", 0);
    refused("an empty file", "no checkpoint", untouched);
    write_file("no HDF5 file at all", 19);
    refused("a text file", "no checkpoint", untouched);
    write_file("anyclass checkpoint, format 3\nnew", 33);
    refused("a newer format", "format 3", untouched);
    write_file("anyclass shard, format 3\n", 25);
    refused("a shard", "no checkpoint", untouched);
    TAP_OK(ac_hdf5_create(path, 0, &file) == AC_OK && ac_hdf5_close(&file, path) == AC_OK, "a file as of format 1");
    refused("format 1", "older version", untouched);
    unlink(path);
    TAP_OK(mkfifo(path, 0600) == 0, "a pipe");
    refused("a pipe", "no regular file", untouched);
    unlink(path);
    ac_checkpoint_info info;
    TAP_OK(ac_checkpoint_read_info(path, &info) == AC_ERR_IO && strstr(ac_error_text(), path),
           "a missing file is another error");
}

static int count_files(void)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static bool holds(const uint8_t *bytes, size_t n)
{
    uint8_t *now = NULL;
    bool same = read_file(&now) == n && memcmp(now, bytes, n) == 0;
    ac_free(now);
    return same;
}

/* One value of each tensor in turn. */
static void test_not_finite(holder *h)
{
    uint8_t *before = NULL;
    const size_t n_before = read_file(&before);
    int n_refused = 0, n_tensors = 0;
    for (int k = 0; k < 3; k++)
        for (size_t p = 0; p < h->params->n_params; p++) {
            const ac_param_info *info = &h->params->info[p];
            if (k && info->role == AC_PARAM_BUFFER)
                continue;
            float *arena = k                               ? h->optimizer->moment[k - 1]
                           : info->role == AC_PARAM_BUFFER ? h->params->buffer
                                                           : h->params->value;
            float *at = arena + h->params->offset[p] + ac_shape_elements(&info->shape) - 1, good = *at;
            *at = p % 2 ? NAN : -INFINITY;
            n_refused += save(h) == AC_ERR_NUMERIC && strstr(ac_error_text(), info->name) &&
                         strstr(ac_error_text(), path) && count_files() == 1 && holds(before, n_before);
            n_tensors++;
            *at = good;
        }
    TAP_OK(n_refused == n_tensors && n_tensors == 17,
           "NaN or infinity in each of %d tensors: %d refused by name, the older file is there", n_tensors, n_refused);
    ac_free(before);
}

/* Saving over an older checkpoint fails at every file operation that can be told to and every allocation in turn. After
 * the rename only the folder's sync is left to fail: then the new file is there, whole. */
static void test_failing_saves(const holder *old, const holder *new_state)
{
    int n_failed = 0, n_old = 0, n_new = 0;
    uint8_t *before = NULL, *fresh = NULL;
    TAP_CALL(save(old));
    size_t n_before = read_file(&before), n_fresh;
    TAP_CALL(save(new_state));
    n_fresh = read_file(&fresh);
    for (int kind = 0; kind < 2; kind++)
        for (uint64_t at = 1; at < 500; at++) {
            write_file(before, n_before);
            if (kind)
                ac_alloc_fail_at(at);
            else
                ac_file_fail_at(at);
            ac_status status = save(new_state);
            ac_alloc_fail_at(0);
            ac_file_fail_at(0);
            if (status == AC_OK)
                break;
            n_failed++;
            bool told =
                status == (kind ? AC_ERR_MEMORY : AC_ERR_IO) && strstr(ac_error_text(), path) && count_files() == 1;
            n_old += told && holds(before, n_before);
            n_new += told && kind == 0 && holds(fresh, n_fresh);
        }
    TAP_OK(n_failed > 10 && n_old + n_new == n_failed && n_new == 1,
           "%d failing saves: %d left the older file, %d the whole new one, all nothing else", n_failed, n_old, n_new);
    ac_free(before);
    ac_free(fresh);
}

/* Loading runs out of memory at each allocation. */
static void test_failing_loads(const holder *saved, const holder *untouched)
{
    holder h;
    int n_failed = 0, n_good = 0, n_untouched = 0;
    ac_status status = AC_ERR_MEMORY;
    TAP_CALL(save(saved));
    if (!TAP_CALL(open_holder(&h, 2, 8, AC_OPTIMIZER_ADAMW)))
        return;
    for (uint64_t at = 1; at < 500 && status != AC_OK; at++) {
        const uint64_t n_live = ac_alloc_get_stats().n_live;
        ac_alloc_fail_at(at);
        status = ac_checkpoint_load(path, h.params, h.optimizer);
        ac_alloc_fail_at(0);
        n_failed += status != AC_OK;
        n_good += status == AC_ERR_MEMORY && strstr(ac_error_text(), path) && ac_alloc_get_stats().n_live == n_live;
        n_untouched += status != AC_OK && same_state(&h, untouched);
    }
    TAP_OK(n_failed > 10 && n_good == n_failed && same_state(&h, saved),
           "%d failing loads say so and leave no memory behind", n_failed);
    TAP_OK(n_untouched == n_failed, "they changed nothing (%d)", n_untouched);
    close_holder(&h);
}

int main(void)
{
    holder saved, untouched;
    omp_set_num_threads(1); /* the loops are short */
    ac_hdf5_begin();
    if (!tap_folder(folder) || !TAP_CALL(ac_path_join(path, folder, "last.h5")) ||
        !TAP_CALL(open_holder(&saved, 1, 8, AC_OPTIMIZER_ADAMW)) ||
        !TAP_CALL(open_holder(&untouched, 2, 8, AC_OPTIMIZER_ADAMW)))
        return 1;
    fill_info(&saved.info);
    saved.optimizer->step = saved.info.optimizer_step;
    if (TAP_CALL(save(&saved))) {
        test_round_trip(&saved, &untouched);
        test_hdf5(&saved);
        test_not_finite(&saved);
        test_info(&saved.info);
        TAP_CALL(save(&saved));
        test_misfits(&saved, &untouched);
        test_failing_saves(&saved, &untouched);
        test_failing_loads(&saved, &untouched);
    }
    close_holder(&saved);
    close_holder(&untouched);
    tap_remove(folder);
    return tap_done();
}
