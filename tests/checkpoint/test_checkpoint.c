/* Checkpoints: what is saved is loaded bit for bit; a damaged or foreign file is refused and changes nothing; a save
 * that fails at any of its steps leaves the older file as it was; the table of the best. */
#include "anyclass/alloc.h"
#include "anyclass/checkpoint.h"
#include "anyclass/file.h"
#include "anyclass/model.h"
#include "anyclass/random.h"
#include "hdf5/hdf5_util.h"
#include "tests/tap.h"
#include <dirent.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static char folder[AC_PATH_BYTES], path[AC_PATH_BYTES];

typedef struct holder { /* a network of one convolution, one batch norm and one linear layer */
    ac_graph *graph;
    ac_device *device;
    ac_params *params;
    ac_optimizer *optimizer;
    ac_checkpoint_info info;
} holder;

static void close_holder(holder *h)
{
    ac_optimizer_destroy(h->optimizer);
    ac_params_destroy(h->params);
    if (h->device)
        h->device->backend->close(h->device);
    ac_graph_destroy(h->graph);
    ac_checkpoint_info_release(&h->info);
}

static ac_status open_holder(holder *h, uint64_t seed, int64_t width)
{
    ac_status status = AC_OK;
    const ac_optimizer_config config = {AC_OPTIMIZER_ADAMW, .01, .9, .9, .999, 1e-8, 1};
    memset(h, 0, sizeof *h);
    AC_TRY(ac_graph_create(AC_F32, &h->graph));
    ac_value x = ac_graph_input(h->graph, "x", &(ac_shape){4, {1, 4, 4, 3}, AC_F32});
    x = ac_add_conv2d(h->graph, "conv", x, &(ac_conv2d_attribute){.out_channels = width, .kernel_px = 3, .stride_px = 1, .padding_px = 1, .groups = 1,
                      .weight_init = {AC_INIT_NORMAL, 0, 1}});
    x = ac_add_batch_norm(h->graph, "norm", x, AC_NO_VALUE, &(ac_batch_norm_attribute){1e-5f, .1f, AC_ACTIVATION_RELU, 0, 1});
    x = ac_add_linear(h->graph, "fc", ac_add_global_avg_pool(h->graph, "pool", x), &(ac_linear_attribute){.out_features = 2, .bias = true,
                      .weight_init = {AC_INIT_NORMAL, 0, 1}, .bias_init = {AC_INIT_NORMAL, 0, 1}});
    AC_TRY(ac_graph_finish(h->graph));
    AC_TRY(ac_backend_find("ref")->open(1, &h->device));
    AC_TRY(ac_params_create(h->device, h->graph, true, &h->params));
    AC_TRY(ac_params_init(h->params, seed));
    AC_TRY(ac_optimizer_create(&config, h->params, &h->optimizer));
    for (size_t i = 0; i < h->params->n_values; i++) {
        h->optimizer->moment[0][i] = (float)ac_random_block(seed, AC_STREAM_TEST, i, 0).word[0];
        h->optimizer->moment[1][i] = (float)ac_random_block(seed, AC_STREAM_TEST, i, 1).word[0];
    }
    h->optimizer->step = 1234;
    snprintf(h->info.model, sizeof h->info.model, "resnet18");
    h->info.image_size_px = 32;
    h->info.epoch = 7;
    h->info.optimizer_step = 1234;
    AC_TRY(ac_calloc(3, sizeof *h->info.class_name, &h->info.class_name));
    AC_TRY(ac_strdup("crack", &h->info.class_name[0]));
    AC_TRY(ac_strdup("a \"b\", c", &h->info.class_name[1]));
    h->info.n_classes = 2;
    AC_TRY(ac_strdup("{\"seed\": 1}", &h->info.config));
    h->info.loss_scale = 1;
    for (int i = 1; i < AC_N_TRACKED; i++) {
        h->info.best[i] = (ac_checkpoint_best){.value = 1.0 / (3 + i), .epoch = i};
        snprintf(h->info.best[i].file, sizeof h->info.best[i].file, "epoch=%02d-%s=%.4f.h5", i, ac_tracked_name[i], 1.0 / (3 + i));
    }
out:
    return status;
}

/* The state as PyTorch would see it: padding between parameters is left out. */
static bool same_state(const holder *a, const holder *b)
{
    static float x[4096], y[4096];
    for (size_t p = 0; p < a->params->n_params; p++) {
        size_t bytes = (size_t)ac_shape_elements(&a->params->info[p].shape) * sizeof(float);
        for (int k = 0; k < (a->params->info[p].role == AC_PARAM_BUFFER ? 1 : 3); k++)
            if (ac_params_get(a->params, (int)p, k ? a->optimizer->moment[k - 1] : NULL, x) != AC_OK ||
                ac_params_get(b->params, (int)p, k ? b->optimizer->moment[k - 1] : NULL, y) != AC_OK || memcmp(x, y, bytes) != 0)
                return false;
    }
    return a->optimizer->step == b->optimizer->step;
}

static size_t read_file(uint8_t **bytes)
{
    size_t n = 0;
    return ac_file_read_all(path, 0, bytes, &n) == AC_OK ? n : 0;
}

static void write_file(const uint8_t *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    if (file) {
        fwrite(bytes, 1, n, file);
        fclose(file);
    }
}

static void test_round_trip(const holder *saved, holder *other, const holder *untouched)
{
    ac_checkpoint_info info;
    TAP_OK(!same_state(saved, other) && same_state(other, untouched), "another state to begin with");
    TAP_CALL(ac_checkpoint_load(path, other->params, other->optimizer));
    TAP_OK(same_state(saved, other), "weights, statistics, moments and step come back bit for bit");
    if (TAP_CALL(ac_checkpoint_read_info(path, &info))) {
        TAP_OK(strcmp(info.model, "resnet18") == 0 && info.n_classes == 2 && strcmp(info.class_name[1], "a \"b\", c") == 0 && info.epoch == 7 &&
                   info.optimizer_step == 1234 && strcmp(info.config, "{\"seed\": 1}") == 0,
               "model, classes, epoch, step and options come back");
        TAP_OK(!info.best[0].file[0] && info.best[2].value == 1.0 / 5, "best values come back in full precision, none as none");
        ac_checkpoint_info_release(&info);
    }
}

/* Load what lies at `path` into a fresh state; true when it is refused by name and nothing has changed. */
static bool refused(const holder *untouched, bool *loaded_same, const holder *saved)
{
    holder h;
    bool good = false;
    *loaded_same = false;
    if (open_holder(&h, 2, 8) == AC_OK) {
        ac_status status = ac_checkpoint_load(path, h.params, h.optimizer);
        good = (status == AC_ERR_DATA || status == AC_ERR_IO) && strstr(ac_error_text(), path) && same_state(&h, untouched);
        *loaded_same = status == AC_OK && same_state(&h, saved);
    }
    close_holder(&h);
    return good;
}

static void test_damage(const holder *saved, const holder *untouched)
{
    uint8_t *bytes = NULL;
    bool loaded_same;
    size_t n = read_file(&bytes);
    int n_cut = 0, n_refused = 0, n_flips = 0, n_found = 0, n_harmless = 0;
    for (size_t cut = 0; cut < n; cut += 1 + n / 40) {
        write_file(bytes, cut);
        n_cut++;
        n_refused += refused(untouched, &loaded_same, saved);
    }
    TAP_OK(n_cut == n_refused, "%d of %d truncated files are refused by name, nothing changed", n_refused, n_cut);
    for (size_t at = 0; at < n; at += 1 + n / 300) {
        bytes[at] ^= (uint8_t)(1u << at % 8);
        write_file(bytes, n);
        n_flips++;
        bool found = refused(untouched, &loaded_same, saved);
        n_found += found;
        n_harmless += !found && loaded_same; /* space that holds nothing */
        bytes[at] ^= (uint8_t)(1u << at % 8);
    }
    TAP_OK(n_found + n_harmless == n_flips && n_found > n_flips / 4,
           "%d flipped bits: %d refused, %d where nothing is stored, none loaded as something else", n_flips, n_found, n_harmless);
    write_file((const uint8_t *)"no HDF5 file at all", 19);
    TAP_OK(refused(untouched, &loaded_same, saved), "a text file is refused");
    write_file(bytes, n);
    ac_free(bytes);
}

static void test_other_model(void)
{
    holder wide;
    if (TAP_CALL(open_holder(&wide, 2, 9))) {
        TAP_OK(ac_checkpoint_load(path, wide.params, wide.optimizer) == AC_ERR_DATA && strstr(ac_error_text(), "conv.weight"), "another shape is refused by the tensor's name");
        close_holder(&wide);
    }
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

/* Saving over an older checkpoint fails at every file operation and every allocation in turn. After the rename only the
 * folder's sync is left to fail: then the new file is there, whole. */
static void test_failing_saves(const holder *old, const holder *new_state)
{
    int n_failed = 0, n_old = 0, n_new = 0;
    bool loaded_same;
    uint8_t *before = NULL, *fresh = NULL;
    size_t n_before = read_file(&before), n_fresh;
    TAP_CALL(ac_checkpoint_save(path, &new_state->info, new_state->params, new_state->optimizer));
    n_fresh = read_file(&fresh);
    for (int kind = 0; kind < 2; kind++)
        for (uint64_t at = 1; at < 500; at++) {
            write_file(before, n_before);
            if (kind)
                ac_alloc_fail_at(at);
            else
                ac_file_fail_at(at);
            ac_status status = ac_checkpoint_save(path, &new_state->info, new_state->params, new_state->optimizer);
            ac_alloc_fail_at(0);
            ac_file_fail_at(0);
            if (status == AC_OK)
                break;
            n_failed++;
            bool told = status == (kind ? AC_ERR_MEMORY : AC_ERR_IO) && strstr(ac_error_text(), path) && count_files() == 1;
            n_old += told && holds(before, n_before);
            n_new += told && kind == 0 && holds(fresh, n_fresh);
        }
    TAP_OK(n_failed > 10 && n_old + n_new == n_failed && n_new == 1, "%d failing saves: %d left the older file, %d the whole new one, all nothing else",
           n_failed, n_old, n_new);
    write_file(before, n_before);
    TAP_OK(!refused(new_state, &loaded_same, old) && loaded_same, "the older file still loads");
    ac_free(before);
    ac_free(fresh);
}

static void test_best(holder *h)
{
    char found[AC_PATH_BYTES];
    double first[AC_N_TRACKED] = {.5, .4, .3, .2, NAN}, second[AC_N_TRACKED] = {.6, .35, .25, NAN, .1};
    unlink(path);
    memset(h->info.best, 0, sizeof h->info.best);
    h->info.epoch = 1;
    TAP_CALL(ac_checkpoint_keep(folder, &h->info, first, h->params, h->optimizer));
    TAP_OK(ac_checkpoint_find(folder, "val_f2", found, sizeof found) == AC_ERR_IO, "a metric that was never a number has no checkpoint");
    h->info.epoch = 2;
    TAP_CALL(ac_checkpoint_keep(folder, &h->info, second, h->params, h->optimizer));
    static const char *const wanted[] = {"epoch=00-val_loss=0.5000.h5", "epoch=01-val_bce=0.3500.h5", "epoch=00-val_ap=0.3000.h5", "epoch=00-val_f1=0.2000.h5",
                                         "epoch=01-val_f2=0.1000.h5"};
    for (int i = 0; i < AC_N_TRACKED; i++)
        TAP_OK(ac_checkpoint_find(folder, ac_tracked_name[i], found, sizeof found) == AC_OK && strstr(found, wanted[i]) && ac_path_exists(found), "best %s is %s",
               ac_tracked_name[i], wanted[i]);
    TAP_OK(ac_checkpoint_find(folder, "last", found, sizeof found) == AC_OK && strstr(found, "last.h5"), "the last one is there");
    TAP_OK(count_files() == AC_N_TRACKED + 3, "five best, the last, the one before, the table, nothing else (%d files)", count_files());
    TAP_OK(h->info.best[0].value == .5 && h->info.best[1].value == .35 && h->info.best[3].value == .2, "the best values are kept");
}

int main(void)
{
    holder saved, other, untouched;
    ac_hdf5_begin();
    if (!tap_folder(folder) || !TAP_CALL(ac_path_join(path, folder, "last.h5")) || !TAP_CALL(open_holder(&saved, 1, 8)) || !TAP_CALL(open_holder(&other, 2, 8)) ||
        !TAP_CALL(open_holder(&untouched, 2, 8)))
        return 1;
    if (TAP_CALL(ac_checkpoint_save(path, &saved.info, saved.params, saved.optimizer))) {
        test_round_trip(&saved, &other, &untouched);
        test_damage(&saved, &untouched);
        test_other_model();
        test_failing_saves(&saved, &untouched);
        test_best(&saved);
    }
    close_holder(&saved);
    close_holder(&other);
    close_holder(&untouched);
    tap_remove(folder);
    return tap_done();
}
