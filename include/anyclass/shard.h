/* Shards: pixels, labels and names of consecutive samples in one HDF5 file each, and the manifest that lists them.
 * Formats in docs/formats.md. Files are complete or absent, and the same bytes whoever writes them. Not collective.
 * Opening, writing and verifying call HDF5: one thread of a process at a time. */
#ifndef ANYCLASS_SHARD_H
#define ANYCLASS_SHARD_H

#include "anyclass/dataset.h"
#include "anyclass/hash.h"
#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AC_SHARD_FORMAT = 3 };

typedef struct ac_shard_meta { /* what all shards of a split share; strings borrowed */
    const char *split;         /* "train" | "val" | "test" */
    const char *dataset;       /* kind of the data set, one of AC_DATASET_CHOICES */
    const char *source;        /* annotation file */
    const char *options;       /* preprocess options that decide the bytes, as JSON text */
    char *const *class_name;   /* [n_classes] */
    size_t n_classes;
    int image_size_px;
    float mean[3], std[3];
} ac_shard_meta;

typedef struct ac_shard_content { /* what one shard holds, in the order of the annotation list; all borrowed */
    size_t n;
    const char *const *names;    /* [n] file names */
    const uint8_t *labels;       /* [n, n_classes], each 0 or 1 */
    const uint8_t *images;       /* [n, S, S, 3] RGB */
    size_t n_rejected;           /* images of the shard's part of the list that were left out */
    const char *const *rejected; /* [n_rejected, 2] file name, reason */
} ac_shard_content;

/** "{split}-{iiiii}-of-{nnnnn}.h5" into out[capacity]; returns out. */
char *ac_shard_file_name(char *out, size_t capacity, const char *split, size_t shard, size_t n_shards);

/** Write one shard: under a temporary name, closed, re-opened and compared by hash, synced, renamed.
 * @param path       final name
 * @param[out] hash  the seal's: it stands for all of the file, pixels included (docs/formats.md)
 * @return AC_ERR_IO with path and reason; nothing is left behind and an older file keeps its content. n may be 0. */
AC_NODISCARD ac_status ac_shard_write(const char *path, const ac_shard_meta *meta, size_t shard, size_t n_shards,
                                      const ac_shard_content *content, ac_hash *hash);

typedef struct ac_shard { /* an open shard: everything but the pixels in memory, pixels by pread (HDF5's lock is not
                             taken) */
    char path[4096];
    int fd;
    ac_hash hash;         /* the seal's, as the manifest holds it */
    size_t n;
    size_t n_classes;
    int image_size_px;
    uint64_t images_at;   /* byte offset of the contiguous pixel data */
    uint64_t *image_hash; /* [n] XXH3-64 of each image's pixels */
    uint8_t *label;       /* [n, n_classes] */
    char **class_name;    /* [n_classes] */
    char *name_pool;
    size_t *name_offset; /* [n + 1] */
    float mean[3], std[3];
    char *split, *dataset, *source, *options; /* as in ac_shard_meta */
    uint64_t index, n_shards;       /* its place among the split's shards */
    size_t n_rejected;
    char *rejected_pool;
    size_t *rejected_offset; /* [2 * n_rejected + 1] name, reason, name, reason ... */
} ac_shard;

/** Open and check all but the pixels (labels, names, hashes and HDF5's own structure, by the hashes in the shard's seal).
 * AC_ERR_IO; AC_ERR_DATA naming file and dataset: no shard, truncated, damaged, of another format version.
 * After a failure `out` is as after ac_shard_close(). */
AC_NODISCARD ac_status ac_shard_open(const char *path, ac_shard *out);
/** Safe on a zeroed struct. Leaves it zeroed but for fd, -1. */
void ac_shard_close(ac_shard *shard);
/** Read the pixels of sample i into uint8 [S, S, 3]; `check` compares the hash: AC_ERR_DATA naming file, dataset and
 * sample. May run in many threads at once. */
AC_NODISCARD ac_status ac_shard_read_image(const ac_shard *shard, size_t i, bool check, uint8_t *out);
/** File name of sample i < n; borrowed from the shard. */
const char *ac_shard_name(const ac_shard *shard, size_t i);
/** File name of rejected image i < n_rejected, and in *reason (may be NULL) why; borrowed. */
const char *ac_shard_rejected(const ac_shard *shard, size_t i, const char **reason);
/** Re-read everything; logs every failure (shard, dataset, sample) and returns AC_ERR_DATA if there was one, AC_ERR_IO
 * when the file or a part of it could not be read. */
AC_NODISCARD ac_status ac_shard_verify(const char *path, size_t *n_failures);

/** A shard compared with its seal while its bytes go by once, in order: for copying. Nothing else is read again, and libhdf5 is not asked, so
 * any number of threads may have passes of their own. */
typedef struct ac_shard_pass ac_shard_pass;
/** Read the seal of the open file, which must have `hash`. AC_ERR_DATA: no shard, truncated, another one; AC_ERR_IO, AC_ERR_MEMORY. *out is NULL
 * after a failure. Texts of these functions do not name the file. */
AC_NODISCARD ac_status ac_shard_pass_begin(int fd, ac_hash hash, ac_shard_pass **out);
/** Bytes of the file, as the seal says. */
uint64_t ac_shard_pass_bytes(const ac_shard_pass *pass);
/** The next n bytes of the file. AC_ERR_DATA: more than there should be. */
AC_NODISCARD ac_status ac_shard_pass_add(ac_shard_pass *pass, const void *bytes, size_t n);
/** All bytes went by: AC_ERR_DATA names the dataset, and the sample, that is damaged; or says that bytes are missing. */
AC_NODISCARD ac_status ac_shard_pass_end(const ac_shard_pass *pass);
/** NULL is allowed. */
void ac_shard_pass_destroy(ac_shard_pass *pass);

typedef struct ac_manifest_entry {
    char file[256]; /* name in the manifest's folder */
    size_t n_samples;
    ac_hash hash; /* of the shard's seal */
} ac_manifest_entry;

typedef struct ac_manifest {
    char *split, *dataset, *source, *options; /* as in the shards */
    char **class_name;
    size_t n_classes;
    int64_t *class_count; /* [n_classes] images that show the class */
    int64_t n_negative;   /* images without any label */
    size_t n_samples;
    size_t n_rejected;
    int image_size_px;
    float mean[3], std[3];
    ac_manifest_entry *shard; /* [n_shards] */
    size_t n_shards;
} ac_manifest;

/** Write "{split}-manifest.json" in `folder`, complete or absent. AC_ERR_IO; an older manifest then keeps its content.
 */
AC_NODISCARD ac_status ac_manifest_save(const ac_manifest *manifest, const char *folder);
/** AC_ERR_IO if it is missing ("run anyclass-preprocess"), AC_ERR_DATA naming file and member if it is damaged (its own
 * hash differs), of another format version or of another split. Release after success. */
AC_NODISCARD ac_status ac_manifest_load(const char *folder, const char *split, ac_manifest *out);
/** Safe on a zeroed struct, which is what it leaves. */
void ac_manifest_release(ac_manifest *manifest);

#endif
