/* A split as training and inference see it: all its shards behind one sample index, the order of samples, and the
 * threads that bring batches, of a split or of whatever else gives pixels by index. Not collective: each rank opens what it reads; results do not depend on the rank. */
#ifndef ANYCLASS_STORE_H
#define ANYCLASS_STORE_H

#include "anyclass/shard.h"
#include "anyclass/status.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct ac_store { /* read-only after opening, shared by threads */
    ac_manifest manifest;
    ac_shard *shard;            /* [manifest.n_shards] */
    int64_t *first;             /* [n_shards + 1] index of each shard's first sample */
    int64_t n_samples;
    size_t n_classes;
    int image_size_px;
    size_t image_bytes;         /* S * S * 3 */
    uint8_t *label;             /* [n_samples, n_classes] */
    uint8_t *n_labels;          /* [n_samples] labels of each image, at most 255 */
    uint8_t *checked;           /* [n_samples] 1 once the image's hash was compared (relaxed atomics) */
} ac_store;

/** Open a split. AC_ERR_IO, AC_ERR_DATA naming the shard; class names, sizes and counts must agree with the manifest. AC_ERR_SIGNAL when a signal
 * (stop.h) came before all shards were open. */
AC_NODISCARD ac_status ac_store_open(const char *folder, const char *split, ac_store *out);
/** Safe on a zeroed struct, which is what it leaves. */
void ac_store_close(ac_store *store);
/** Pixels of sample i, hash compared on first use. Any thread. */
AC_NODISCARD ac_status ac_store_read_image(ac_store *store, int64_t i, uint8_t *out);
/** File name of sample i; borrowed from the store. */
const char *ac_store_name(const ac_store *store, int64_t i);

typedef struct ac_source { /* where a loader's pixels come from; what it points to is borrowed */
    void *context;
    int64_t n_samples;
    size_t image_bytes;    /* of one sample's pixels, S * S * 3 */
    size_t n_classes;      /* 0: there are no labels */
    const uint8_t *label;  /* [n_samples, n_classes] */
    /** Pixels of sample i into out[image_bytes]. Called by loader thread `thread`, several at once, never for one thread twice.
     * @param[out] usable  false: the source has no pixels for it and keeps the reason; out may hold anything
     * @return AC_OK also then; anything else ends the loader. */
    ac_status (*read)(void *context, int thread, int64_t i, uint8_t *out, bool *usable);
    /** File name of sample i; borrowed from the source. */
    const char *(*name)(const void *context, int64_t i);
} ac_source;

/** A split as a source: every sample is usable, a damaged one is a failure. */
ac_source ac_store_source(ac_store *store);

/* Sample order: a keyed permutation of [0, n) that needs no memory and can be entered anywhere (Feistel network on the
 * next even power of two, cycle walking), keyed by (seed, epoch) through Philox. */
typedef struct ac_order {
    uint64_t n;
    uint32_t round_key[8];
    int half_bits;
    bool shuffle; /* false: identity */
} ac_order;

/** The order of samples 0 .. n - 1 in an epoch: a keyed permutation, or 0, 1, 2 ... without `shuffle`. */
void ac_order_init(ac_order *order, uint64_t n, uint64_t seed, uint64_t epoch, bool shuffle);
/** Sample at `position` < n. */
uint64_t ac_order_at(const ac_order *order, uint64_t position);

typedef struct ac_batch {
    int64_t step;          /* global step inside the epoch */
    int n;                 /* samples in it; the rest of the buffers (up to batch_size) repeats the last sample, without its pixels */
    uint8_t *image;        /* [batch_size, S, S, 3] */
    uint8_t *label;        /* [batch_size, n_classes] */
    int64_t *sample;       /* [batch_size] index in the store */
    int64_t *key;          /* [batch_size] sample key for random draws: epoch * 2^40 + index */
    bool *usable;          /* [batch_size] false: the source has no pixels for it, and `image` holds anything */
} ac_batch;

typedef struct ac_loader_config {
    ac_store *store;       /* borrowed; or, with NULL here: */
    const ac_source *source; /* copied, what it points to is borrowed */
    uint64_t seed;
    bool shuffle;
    int64_t global_batch;  /* images of one global step */
    int64_t slice_first;   /* this rank's part of each global batch: positions [slice_first, slice_first + slice_n) */
    int64_t slice_n;
    bool drop_last;        /* training: a last, smaller batch is left out; otherwise its missing rows are padding */
    int n_threads;         /* 0 = 1 */
    int n_prefetch;        /* batches in flight; 0: as many as fit into memory_bytes, 2 to 64 */
    size_t memory_bytes;   /* for batches in flight; 0: an eighth of what the machine has left, shared by its ranks, at most
                              1 GiB */
    int n_sharing;         /* ranks on this machine; 0 = 1 */
} ac_loader_config;

typedef struct ac_loader ac_loader;

/** Start the threads. No allocation happens per batch afterwards. */
AC_NODISCARD ac_status ac_loader_create(const ac_loader_config *config, ac_loader **out);
/** NULL is allowed. Ends its threads first; its batches are gone with it. */
void ac_loader_destroy(ac_loader *loader);
/** Global steps per epoch under `config`. */
int64_t ac_loader_steps_per_epoch(const ac_loader_config *config);
/** Batches in flight at most, and the memory they take. */
int64_t ac_loader_depth(const ac_loader *loader, size_t *n_bytes);
/** Begin `epoch` at global step `first_step`; whatever was in flight is dropped. */
AC_NODISCARD ac_status ac_loader_begin(ac_loader *loader, int64_t epoch, int64_t first_step);
/** Begin a list of samples, borrowed until the next begin: batch k holds list[k * slice_n] and those behind it, each sample
 * once, whatever global_batch, slice_first, shuffle and drop_last say. n may be 0. */
AC_NODISCARD ac_status ac_loader_begin_list(ac_loader *loader, const int64_t *list, int64_t n);
/** Next batch in order, valid until the next call; *batch = NULL at the end of the epoch.
 * AC_ERR_DATA / AC_ERR_IO from the reading thread (naming shard and sample). `waited_s` may be NULL. */
AC_NODISCARD ac_status ac_loader_next(ac_loader *loader, const ac_batch **batch, double *waited_s);

#endif
