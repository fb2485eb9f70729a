/* Shards: what is written is read; every flipped byte of data is found, by name; the loader brings every sample once,
 * the same global steps whatever the slices; labels of the real COCO files. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/store.h"
#include "hdf5/hdf5_util.h"
#include "tests/tap.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 37, SIDE = 8, M = 3, BYTES = SIDE * SIDE * 3 };
static uint8_t images[N * BYTES], labels[N * M];
static char folder[AC_PATH_BYTES];

/* Two shards; with `stale`, the manifest lists another first shard than the folder has. */
static ac_status write_split(bool stale)
{
    ac_status status = AC_OK;
    static char text[N][24];
    static char *classes[M] = {"a", "b,\"c", "d"};
    const char *names[N];
    char path[AC_PATH_BYTES];
    ac_manifest_entry shards[2] = {{.n_samples = 20}, {.n_samples = N - 20}};
    ac_shard_meta meta = {"train", "csv", "list.csv", "{}", classes, M, SIDE, {.5f, .5f, .5f}, {.1f, .2f, .3f}};
    int64_t counts[M] = {0};
    ac_manifest manifest = {"train", "csv", "list.csv", "{}", classes, M, counts, 0, N, 0, SIDE, {.5f, .5f, .5f}, {.1f, .2f, .3f}, shards, 2};
    for (int i = 0; i < N; i++) {
        snprintf(text[i], sizeof text[i], "image%02d.jpg", i);
        names[i] = text[i];
        labels[i * M + i % M] = i % 4 == 0;
        for (int k = 0; k < BYTES; k++)
            images[i * BYTES + k] = (uint8_t)(i * 31 + k * 7);
    }
    for (size_t k = 0; k < 2; k++) {
        size_t first = k * 20;
        ac_shard_file_name(shards[k].file, sizeof shards[k].file, "train", k, 2);
        AC_TRY(ac_path_join(path, folder, shards[k].file));
        ac_shard_content content = {
            .n = shards[k].n_samples, .names = names + first, .labels = labels + first * M, .images = images + first * BYTES};
        AC_TRY(ac_shard_write(path, &meta, k, 2, &content, &shards[k].hash));
    }
    if (stale)
        shards[0].hash.low ^= 1;
    AC_TRY(ac_manifest_save(&manifest, folder));
out:
    return status;
}

static void test_stale(void)
{
    ac_store store;
    TAP_CALL(write_split(true));
    ac_status status = ac_store_open(folder, "train", &store);
    TAP_OK(status == AC_ERR_DATA && strstr(ac_error_text(), "train-00000-of-00002.h5"), "a shard of another run is refused: %s", ac_error_text());
    if (status == AC_OK)
        ac_store_close(&store);
    TAP_CALL(write_split(false));
}

static void test_read(ac_store *store)
{
    uint8_t pixels[BYTES];
    bool good = store->n_samples == N && memcmp(store->label, labels, sizeof labels) == 0;
    for (int i = 0; good && i < N; i++) {
        char name[24];
        snprintf(name, sizeof name, "image%02d.jpg", i);
        good = ac_store_read_image(store, i, pixels) == AC_OK && memcmp(pixels, images + i * BYTES, BYTES) == 0 && strcmp(ac_store_name(store, i), name) == 0;
    }
    TAP_OK(good, "labels, names and pixels come back");
    TAP_OK(strcmp(store->manifest.class_name[1], "b,\"c") == 0, "class names with commas and quotes survive");
    TAP_OK(ac_store_read_image(store, N, pixels) == AC_ERR_RANGE, "a sample beyond the end is refused");
}

/* Global list of sample ids per step, gathered from `parts` slices. */
static ac_status list_steps(ac_store *store, int64_t batch, int parts, int64_t first_step, int64_t *out, int64_t *n_out)
{
    ac_status status = AC_OK;
    *n_out = 0;
    for (int p = 0; p < parts && status == AC_OK; p++) {
        ac_loader_config c = {.store = store, .seed = 4, .shuffle = true, .global_batch = batch, .drop_last = true, .n_threads = 3, .n_prefetch = 3};
        int64_t share = batch / parts, more = batch % parts;
        c.slice_n = share + (p < more);
        c.slice_first = p * share + (p < more ? p : more);
        ac_loader *loader = NULL;
        const ac_batch *b;
        status = ac_loader_create(&c, &loader);
        if (status == AC_OK)
            status = ac_loader_begin(loader, 2, first_step);
        while (status == AC_OK && (status = ac_loader_next(loader, &b, NULL)) == AC_OK && b) {
            for (int i = 0; i < b->n; i++) {
                out[b->step * batch + c.slice_first + i] = b->sample[i];
                (*n_out)++;
                if (memcmp(b->image + i * BYTES, images + b->sample[i] * BYTES, BYTES) != 0)
                    status = ac_error(AC_ERR_DATA, "wrong pixels");
            }
        }
        ac_loader_destroy(loader);
    }
    return status;
}

/* Batches in flight: as memory allows, and none of them allocates. */
static void test_depth(ac_store *store)
{
    enum { BATCH = 5, ROW_BYTES = BYTES + M + 2 * 8 };
    ac_loader *loader = NULL;
    const ac_batch *batch = NULL;
    size_t n_bytes;
    ac_loader_config c = {.store = store, .seed = 4, .shuffle = true, .global_batch = BATCH, .slice_n = BATCH, .drop_last = true};
    static const struct {
        size_t memory;
        int64_t depth;
    } cases[] = {{1, 2}, {7 * BATCH * ROW_BYTES + 1, 7}, {(size_t)1 << 40, 64}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        c.memory_bytes = cases[k].memory;
        if (!TAP_CALL(ac_loader_create(&c, &loader)))
            return;
        int64_t depth = ac_loader_depth(loader, &n_bytes);
        TAP_OK(depth == cases[k].depth && n_bytes == (size_t)depth * BATCH * ROW_BYTES, "%zu bytes of memory: %lld batches in flight", cases[k].memory,
               (long long)depth);
        ac_loader_destroy(loader);
    }
    c.memory_bytes = 0;
    if (!TAP_CALL(ac_loader_create(&c, &loader)) || !TAP_CALL(ac_loader_begin(loader, 0, 0)) || !TAP_CALL(ac_loader_next(loader, &batch, NULL)))
        return;
    uint64_t before = ac_alloc_get_stats().n_calls;
    int n_batches = 0;
    for (int epoch = 1; epoch <= 3; epoch++) {
        bool good = ac_loader_begin(loader, epoch, 0) == AC_OK;
        while (good && ac_loader_next(loader, &batch, NULL) == AC_OK && batch)
            n_batches++;
    }
    TAP_OK(n_batches == 3 * (N / BATCH) && ac_alloc_get_stats().n_calls == before, "%d batches without an allocation", n_batches);
    ac_loader_destroy(loader);
}

static void test_loader(ac_store *store)
{
    int64_t one[64] = {0}, many[64], n;
    TAP_CALL(list_steps(store, 7, 1, 0, one, &n));
    TAP_OK(n == 35, "five whole steps of seven");
    for (int parts = 2; parts <= 5; parts++) {
        memset(many, 0, sizeof many);
        bool good = list_steps(store, 7, parts, 0, many, &n) == AC_OK;
        TAP_OK(good && memcmp(one, many, sizeof one) == 0, "%d slices: the same samples in every step", parts);
    }
    memcpy(many, one, sizeof one);
    memset(many + 21, 0, 14 * sizeof *many);
    TAP_OK(list_steps(store, 7, 2, 3, many, &n) == AC_OK && n == 14 && memcmp(one, many, sizeof one) == 0, "entered at step 3: the same rest");
}

/* Flip bits of one byte of a file; a second call mends it. */
static bool flip(const char *path, size_t at, int bits)
{
    FILE *file = fopen(path, "r+b");
    bool good = file && fseek(file, (long)at, SEEK_SET) == 0;
    int byte = good ? fgetc(file) : EOF;
    good = good && byte != EOF && fseek(file, (long)at, SEEK_SET) == 0 && fputc(byte ^ bits, file) != EOF;
    return file && fclose(file) == 0 && good;
}

/* What verify tells of each damage goes nowhere while thousands are tried. */
static int silence(int saved)
{
    fflush(stderr);
    if (saved >= 0) {
        dup2(saved, STDERR_FILENO);
        close(saved);
        return -1;
    }
    saved = dup(STDERR_FILENO);
    return freopen("/dev/null", "w", stderr) ? saved : -1;
}

/* What the loader says when it comes to a damaged sample. */
static bool loader_finds(ac_store *store)
{
    ac_loader *loader = NULL;
    const ac_batch *batch = NULL;
    ac_loader_config c = {.store = store, .shuffle = true, .global_batch = 4, .slice_n = 4, .n_threads = 2};
    ac_status status = ac_loader_create(&c, &loader);
    if (status == AC_OK)
        status = ac_loader_begin(loader, 0, 0);
    do
        status = status == AC_OK ? ac_loader_next(loader, &batch, NULL) : status;
    while (status == AC_OK && batch);
    ac_loader_destroy(loader);
    return status == AC_ERR_DATA;
}

static void test_damage(void)
{
    char path[AC_PATH_BYTES];
    uint8_t *bytes, pixels[BYTES];
    size_t n, n_failures;
    int found = 0, tried = 0;
    ac_store store;
    if (!TAP_CALL(ac_path_join(path, folder, "train-00001-of-00002.h5")) || !TAP_CALL(ac_file_read_all(path, 0, &bytes, &n)))
        return;
    /* the pixels of the shard lie in one piece: find them and flip a bit in each of a few samples */
    for (size_t sample = 0; sample < 17; sample += 4) {
        size_t at = 0;
        while (at + BYTES < n && memcmp(bytes + at, images + (20 + sample) * BYTES, BYTES) != 0)
            at++;
        tried += flip(path, at + 5, 4);
        if (ac_store_open(folder, "train", &store) == AC_OK) {
            char name[40];
            snprintf(name, sizeof name, "sample %zu (image%02zu.jpg)", sample, 20 + sample);
            bool refused = ac_store_read_image(&store, (int64_t)(20 + sample), pixels) == AC_ERR_DATA;
            found += refused && loader_finds(&store) && strstr(ac_error_text(), "train-00001") && strstr(ac_error_text(), "images") &&
                     strstr(ac_error_text(), name);
            ac_store_close(&store);
        }
        flip(path, at + 5, 4);
    }
    TAP_OK(tried == 5 && tried == found, "a flipped bit in %d of %d samples is found and named", found, tried);
    int unseen = 0, saved = silence(-1);
    for (size_t cut = 0; cut < n; cut += 1 + n / 60) {
        FILE *file = fopen(path, "wb");
        fwrite(bytes, 1, cut, file);
        fclose(file);
        unseen += ac_shard_verify(path, &n_failures) == AC_OK;
    }
    silence(saved);
    TAP_OK(unseen == 0, "a truncated shard is refused at every length");
    ac_free(bytes);
}

/* One bit of every byte of a shard, libhdf5's own structures among them. */
static void test_every_byte(void)
{
    char path[AC_PATH_BYTES];
    uint8_t *bytes;
    size_t n, n_failures, unseen = 0, unnamed = 0;
    if (!TAP_CALL(ac_path_join(path, folder, "train-00001-of-00002.h5")) || !TAP_CALL(ac_file_read_all(path, 0, &bytes, &n)))
        return;
    int saved = silence(-1);
    for (size_t at = 0; at < n; at++) {
        int bits = 1 << at % 8;
        if (!flip(path, at, bits))
            break;
        unseen += ac_shard_verify(path, &n_failures) != AC_ERR_DATA || n_failures == 0;
        unnamed += strstr(ac_error_text(), "train-00001-of-00002.h5") == NULL;
        flip(path, at, bits);
    }
    silence(saved);
    TAP_OK(unseen == 0 && unnamed == 0, "a bit flipped in each of %zu bytes is found: %zu unseen, %zu unnamed", n, unseen, unnamed);
    FILE *file = fopen(path, "ab");
    bool grown = file && fputc(0, file) == 0 && fclose(file) == 0;
    ac_shard shard;
    TAP_OK(grown && ac_shard_open(path, &shard) == AC_ERR_DATA && strstr(ac_error_text(), "appended"), "an appended byte is found");
    TAP_OK(truncate(path, (off_t)n) == 0 && ac_shard_verify(path, &n_failures) == AC_OK, "and without it the shard is whole");
    ac_free(bytes);
}

/* One bit of each data set beside the pixels: labels stay 0 or 1, names stay text, so nothing but the hash can tell. */
static void test_damaged_tables(void)
{
    static const char *const tables[] = {"labels", "name_offsets", "name_bytes", "image_hash"};
    char path[AC_PATH_BYTES];
    for (size_t k = 0; k < sizeof tables / sizeof *tables; k++) {
        hid_t file;
        unsigned long long at = 0;
        ac_shard shard;
        if (!TAP_CALL(ac_path_join(path, folder, "train-00000-of-00002.h5")) || !TAP_CALL(ac_hdf5_open(path, &file)))
            return;
        ac_status status = ac_hdf5_offset(file, tables[k], &at);
        H5Fclose(file);
        if (!TAP_OK(status == AC_OK && flip(path, at, 1), "a bit of %s is flipped", tables[k]))
            return;
        status = ac_shard_open(path, &shard);
        TAP_OK(status == AC_ERR_DATA && strstr(ac_error_text(), tables[k]) && strstr(ac_error_text(), "train-00000-of-00002.h5"),
               "a flipped bit in %s is found: %s", tables[k], ac_error_text());
        if (status == AC_OK)
            ac_shard_close(&shard);
        flip(path, at, 1);
    }
}

static void test_coco(const char *shared)
{
    char root[512], path[600], line[1024];
    ac_dataset d;
    size_t row = 0, n_wrong = 0;
    snprintf(root, sizeof root, "%s/data/coco/annotations", shared);
    if (!TAP_CALL(ac_dataset_read(&(ac_dataset_options){"coco", root, AC_SPLIT_TRAIN}, &d)))
        return;
    snprintf(path, sizeof path, "%s/expected_labels_train2017.txt", root);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        char *word = strtok(line, " \n");
        uint8_t wanted[80] = {0};
        size_t i = 0;
        while (i < d.n_samples && strcmp(ac_dataset_name(&d, i), word) != 0)
            i++;
        for (char *label = strtok(NULL, " \n"); label; label = strtok(NULL, " \n"))
            wanted[atoi(label)] = 1;
        n_wrong += i == d.n_samples || memcmp(wanted, d.label + i * d.n_classes, 80) != 0;
        row++;
    }
    if (file)
        fclose(file);
    TAP_OK(d.n_classes == 80 && row == d.n_samples && n_wrong == 0, "%zu COCO label sets equal the expected file", row);
    ac_dataset_release(&d);
}

int main(void)
{
    ac_store store;
    if (!tap_folder(folder) || !TAP_CALL(write_split(false)))
        return tap_done();
    if (TAP_CALL(ac_store_open(folder, "train", &store))) {
        test_read(&store);
        test_loader(&store);
        test_depth(&store);
        ac_store_close(&store);
    }
    test_stale();
    test_damaged_tables();
    test_every_byte();
    test_damage();
    const char *shared = tap_shared();
    if (shared)
        test_coco(shared);
    else
        TAP_SKIP("shared inputs are absent");
    tap_remove(folder);
    return tap_done();
}
