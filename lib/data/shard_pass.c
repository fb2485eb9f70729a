/* All of a shard compared with its seal while its bytes go by once, in order: for who copies it. libhdf5 is not asked. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/shard.h"
#include "data/shard_seal.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { BLOCK = -2, STRUCTURE = -1, MAX_SPANS = 2 * AC_SEAL_N_DATASETS + 2 };

typedef struct span { /* bytes up to `end` belong to a dataset, to the structure, or to the seal itself */
    uint64_t end;
    int part;
} span;

struct ac_shard_pass {
    ac_seal seal;
    uint8_t block[AC_SEAL_BYTES]; /* the seal as it was read before */
    span span[MAX_SPANS];
    size_t n_spans, now; /* the span that the next byte belongs to */
    uint64_t at;
    XXH3_state_t *structure, *dataset, *image; /* running hashes */
    uint64_t n_images, image_bytes;
    uint64_t n_hashed, of_image; /* images that went by, and bytes of the next one */
    uint64_t *computed, *stored; /* [n_images] */
    int bad_part;                /* the first dataset whose hash differs, or -1 */
};

static int by_place(const void *a, const void *b)
{
    const ac_seal_part *x = *(ac_seal_part *const *)a, *y = *(ac_seal_part *const *)b;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* The file from its first byte to its last, each in one span. */
static ac_status lay_out(ac_shard_pass *p)
{
    const ac_seal *seal = &p->seal;
    const ac_seal_part *part[AC_SEAL_N_DATASETS];
    size_t n = 0;
    uint64_t at = seal->block_bytes;
    p->span[p->n_spans++] = (span){at, BLOCK};
    for (size_t k = 0; k < seal->n_parts; k++)
        if (seal->part[k].n_bytes > 0)
            part[n++] = &seal->part[k];
    qsort(part, n, sizeof *part, by_place);
    for (size_t k = 0; k < n; k++) {
        if (part[k]->at < at)
            return ac_error(AC_ERR_DATA, "the seal puts dataset %s over other bytes", part[k]->name);
        if (part[k]->at > at)
            p->span[p->n_spans++] = (span){part[k]->at, STRUCTURE};
        at = part[k]->at + part[k]->n_bytes;
        p->span[p->n_spans++] = (span){at, (int)(part[k] - seal->part)};
    }
    if (at < seal->file_bytes)
        p->span[p->n_spans++] = (span){seal->file_bytes, STRUCTURE};
    return AC_OK;
}

/* How many images there are, and how large: each has 8 bytes in image_hash. */
static ac_status count_images(ac_shard_pass *p)
{
    ac_status status = AC_OK;
    uint64_t n_bytes = p->seal.part[AC_SEAL_IMAGES].n_bytes;
    p->n_images = p->seal.part[AC_SEAL_IMAGE_HASH].n_bytes / sizeof *p->stored;
    if (p->n_images * sizeof *p->stored != p->seal.part[AC_SEAL_IMAGE_HASH].n_bytes || (p->n_images == 0) != (n_bytes == 0) ||
        (p->n_images > 0 && n_bytes % p->n_images != 0))
        return ac_error(AC_ERR_DATA, "sizes of the datasets images and image_hash do not fit together");
    p->image_bytes = p->n_images ? n_bytes / p->n_images : 0;
    AC_TRY(ac_calloc((size_t)p->n_images + 1, sizeof *p->computed, &p->computed));
    AC_TRY(ac_calloc((size_t)p->n_images + 1, sizeof *p->stored, &p->stored));
out:
    return status;
}

ac_status ac_shard_pass_begin(int fd, ac_hash hash, ac_shard_pass **out)
{
    ac_status status = AC_OK;
    ac_shard_pass *p = NULL;
    AC_TRY(ac_calloc(1, sizeof *p, &p));
    p->bad_part = -1;
    AC_TRY(ac_shard_seal_read(fd, &p->seal));
    if (!ac_hash_equal(p->seal.root, hash))
        AC_TRY(ac_error(AC_ERR_DATA, "not the shard that the manifest lists, its hash differs"));
    AC_TRY(ac_file_read_at(fd, 0, p->block, sizeof p->block));
    AC_TRY(lay_out(p));
    AC_TRY(count_images(p));
    p->structure = XXH3_createState();
    p->dataset = XXH3_createState();
    p->image = XXH3_createState();
    if (!p->structure || !p->dataset || !p->image)
        AC_TRY(ac_error(AC_ERR_MEMORY, "cannot allocate a hash state"));
    XXH3_128bits_reset(p->structure);
    XXH3_128bits_reset(p->dataset);
out:
    *out = p;
    if (status != AC_OK) {
        ac_shard_pass_destroy(p);
        *out = NULL;
    }
    return status;
}

uint64_t ac_shard_pass_bytes(const ac_shard_pass *pass)
{
    return pass->seal.file_bytes;
}

static void add_pixels(ac_shard_pass *p, const uint8_t *bytes, size_t n)
{
    while (n > 0) {
        size_t left = (size_t)(p->image_bytes - p->of_image), some = n < left ? n : left;
        if (some == p->image_bytes) { /* all of an image at once is faster */
            p->computed[p->n_hashed++] = ac_hash64_bytes(bytes, some);
        } else {
            if (p->of_image == 0)
                XXH3_64bits_reset(p->image);
            XXH3_64bits_update(p->image, bytes, some);
            p->of_image += some;
            if (p->of_image == p->image_bytes) {
                p->computed[p->n_hashed++] = XXH3_64bits_digest(p->image);
                p->of_image = 0;
            }
        }
        bytes += some;
        n -= some;
    }
}

static ac_hash digest(const XXH3_state_t *state)
{
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    return (ac_hash){hash.low64, hash.high64};
}

/* A dataset's last byte went by. */
static void end_dataset(ac_shard_pass *p, int part)
{
    if (p->bad_part < 0 && !ac_hash_equal(digest(p->dataset), p->seal.part[part].hash))
        p->bad_part = part;
    XXH3_128bits_reset(p->dataset);
}

static ac_status add_some(ac_shard_pass *p, const uint8_t *bytes, size_t n)
{
    const span *s = &p->span[p->now];
    if (s->part == BLOCK && memcmp(bytes, p->block + p->at, n) != 0)
        return ac_error(AC_ERR_DATA, "the seal changed while it was read");
    if (s->part == STRUCTURE)
        XXH3_128bits_update(p->structure, bytes, n);
    else if (s->part == AC_SEAL_IMAGES)
        add_pixels(p, bytes, n);
    else if (s->part >= 0)
        XXH3_128bits_update(p->dataset, bytes, n);
    if (s->part == AC_SEAL_IMAGE_HASH)
        memcpy((uint8_t *)p->stored + (p->at - p->seal.part[s->part].at), bytes, n);
    p->at += n;
    if (p->at == s->end) {
        if (s->part > AC_SEAL_IMAGES)
            end_dataset(p, s->part);
        p->now++;
    }
    return AC_OK;
}

ac_status ac_shard_pass_add(ac_shard_pass *p, const void *bytes, size_t n)
{
    ac_status status = AC_OK;
    const uint8_t *from = bytes;
    while (n > 0) {
        if (p->now == p->n_spans)
            return ac_error(AC_ERR_DATA, "something was appended while it was read");
        uint64_t left = p->span[p->now].end - p->at;
        size_t some = n < left ? n : (size_t)left;
        AC_TRY(add_some(p, from, some));
        from += some;
        n -= some;
    }
out:
    return status;
}

ac_status ac_shard_pass_end(const ac_shard_pass *p)
{
    const ac_hash nothing = ac_hash_bytes("", 0);
    int bad = p->bad_part;
    if (p->at != p->seal.file_bytes)
        return ac_error(AC_ERR_DATA, "truncated while it was read: %" PRIu64 " bytes of %" PRIu64, p->at, p->seal.file_bytes);
    if (!ac_hash_equal(digest(p->structure), p->seal.structure))
        return ac_error(AC_ERR_DATA, "the file's structure is damaged: its hash differs");
    for (int k = AC_SEAL_IMAGES + 1; k < AC_SEAL_N_DATASETS && bad < 0; k++) /* empty ones never went by */
        if (p->seal.part[k].n_bytes == 0 && !ac_hash_equal(p->seal.part[k].hash, nothing))
            bad = k;
    if (bad >= 0)
        return ac_error(AC_ERR_DATA, "dataset %s is damaged: its hash differs", ac_shard_part_name((ac_shard_part)bad));
    for (uint64_t i = 0; i < p->n_images; i++)
        if (p->computed[i] != p->stored[i])
            return ac_error(AC_ERR_DATA, "dataset images, sample %" PRIu64 " is damaged: its hash differs", i);
    return AC_OK;
}

void ac_shard_pass_destroy(ac_shard_pass *p)
{
    if (!p)
        return;
    XXH3_freeState(p->structure);
    XXH3_freeState(p->dataset);
    XXH3_freeState(p->image);
    ac_free(p->computed);
    ac_free(p->stored);
    ac_seal_release(&p->seal);
    ac_free(p);
}
