/* All shards of a split behind one sample index. */
#include "anyclass/store.h"
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/machine.h"
#include "anyclass/stop.h"
#include <string.h>

static ac_status check_shard(const ac_store *store, size_t k)
{
    const ac_shard *shard = &store->shard[k];
    const ac_manifest *m = &store->manifest;
    bool same = shard->n == m->shard[k].n_samples && shard->n_classes == m->n_classes && shard->image_size_px == m->image_size_px;
    for (size_t c = 0; same && c < m->n_classes; c++)
        same = strcmp(shard->class_name[c], m->class_name[c]) == 0;
    if (!same)
        return ac_error(AC_ERR_DATA, "%s: samples, classes or image size differ from the manifest's", shard->path);
    if (!ac_hash_equal(shard->hash, m->shard[k].hash))
        return ac_error(AC_ERR_DATA, "%s: not the shard that the manifest lists, its hash differs: run anyclass-preprocess again", shard->path);
    return AC_OK;
}

static void copy_labels(ac_store *store, size_t k)
{
    const ac_shard *shard = &store->shard[k];
    size_t m = store->n_classes;
    memcpy(store->label + (size_t)store->first[k] * m, shard->label, shard->n * m);
    for (size_t i = 0; i < shard->n; i++) {
        int sum = 0;
        for (size_t c = 0; c < m; c++)
            sum += shard->label[i * m + c];
        store->n_labels[(size_t)store->first[k] + i] = (uint8_t)(sum > 255 ? 255 : sum);
    }
}

ac_status ac_store_open(const char *folder, const char *split, ac_store *out)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    memset(out, 0, sizeof *out);
    AC_TRY(ac_manifest_load(folder, split, &out->manifest));
    size_t n_shards = out->manifest.n_shards;
    AC_TRY(ac_calloc(n_shards + 1, sizeof *out->shard, &out->shard));
    AC_TRY(ac_calloc(n_shards + 1, sizeof *out->first, &out->first));
    out->n_classes = out->manifest.n_classes;
    out->image_size_px = out->manifest.image_size_px;
    out->image_bytes = (size_t)out->image_size_px * (size_t)out->image_size_px * 3;
    for (size_t k = 0; k < n_shards; k++)
        out->shard[k].fd = -1;
    if (ac_machine_allow_files(n_shards) < n_shards)
        AC_TRY(ac_error(AC_ERR_IO, "%s: %zu shards, more files than this process may open: raise the hard limit (ulimit -Hn), "
                        "or make fewer shards with a larger --shard_size", folder, n_shards));
    for (size_t k = 0; k < n_shards; k++) {
        if (ac_stop_signal())
            AC_TRY(ac_error(AC_ERR_SIGNAL, "stopped by signal %d while shards were opened: nothing was changed, run it again", ac_stop_signal()));
        AC_TRY(ac_path_join(path, folder, out->manifest.shard[k].file));
        AC_TRY(ac_shard_open(path, &out->shard[k]));
        AC_TRY(check_shard(out, k));
        out->first[k + 1] = out->first[k] + (int64_t)out->shard[k].n;
    }
    out->n_samples = out->first[n_shards];
    AC_TRY(ac_calloc((size_t)out->n_samples + 1, out->n_classes, &out->label));
    AC_TRY(ac_calloc((size_t)out->n_samples + 1, 1, &out->n_labels));
    AC_TRY(ac_calloc((size_t)out->n_samples + 1, 1, &out->checked));
    for (size_t k = 0; k < n_shards; k++)
        copy_labels(out, k);
out:
    if (status != AC_OK)
        ac_store_close(out);
    return status;
}

void ac_store_close(ac_store *store)
{
    for (size_t k = 0; store->shard && k < store->manifest.n_shards; k++)
        ac_shard_close(&store->shard[k]);
    ac_free(store->shard);
    ac_free(store->first);
    ac_free(store->label);
    ac_free(store->n_labels);
    ac_free(store->checked);
    ac_manifest_release(&store->manifest);
    memset(store, 0, sizeof *store);
}

static size_t shard_of(const ac_store *store, int64_t i)
{
    size_t low = 0, high = store->manifest.n_shards;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (store->first[middle] <= i)
            low = middle;
        else
            high = middle;
    }
    return low;
}

ac_status ac_store_read_image(ac_store *store, int64_t i, uint8_t *out)
{
    if (i < 0 || i >= store->n_samples)
        return ac_error(AC_ERR_RANGE, "no sample %lld in a split of %lld", (long long)i, (long long)store->n_samples);
    size_t k = shard_of(store, i);
    bool check = !__atomic_load_n(&store->checked[i], __ATOMIC_RELAXED);
    ac_status status = ac_shard_read_image(&store->shard[k], (size_t)(i - store->first[k]), check, out);
    if (status == AC_OK && check)
        __atomic_store_n(&store->checked[i], 1, __ATOMIC_RELAXED);
    return status;
}

const char *ac_store_name(const ac_store *store, int64_t i)
{
    size_t k = shard_of(store, i);
    return ac_shard_name(&store->shard[k], (size_t)(i - store->first[k]));
}

static ac_status read_from_store(void *context, int thread, int64_t i, uint8_t *out, bool *usable)
{
    (void)thread;
    *usable = true;
    return ac_store_read_image(context, i, out);
}

static const char *name_in_store(const void *context, int64_t i)
{
    return ac_store_name(context, i);
}

ac_source ac_store_source(ac_store *store)
{
    return (ac_source){.context = store,
                       .n_samples = store->n_samples,
                       .image_bytes = store->image_bytes,
                       .n_classes = store->n_classes,
                       .label = store->label,
                       .read = read_from_store,
                       .name = name_in_store};
}
