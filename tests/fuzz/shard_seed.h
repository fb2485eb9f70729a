/* A small good shard: the first input of the target `shard`, and what it edits. */
#ifndef ANYCLASS_TESTS_FUZZ_SHARD_SEED_H
#define ANYCLASS_TESTS_FUZZ_SHARD_SEED_H

#include "anyclass/file.h"
#include "anyclass/shard.h"

/* n <= 3 images of 2 x 2 pixels and two rejected ones. */
static inline ac_status fuzz_write_shard(const char *path, size_t n)
{
    static char *const classes[] = {"RB", "caf\xC3\xA9 \"x\""};
    static const char *const names[] = {"a.png", "b/c.jpg", "d.jpg"};
    static const char *const rejected[] = {"e.png", "PNG: truncated", "f.jpg", "missing"};
    static const uint8_t labels[] = {0, 1, 0, 0, 1, 1};
    uint8_t images[3 * 12];
    ac_hash hash;
    const ac_shard_meta meta = {.split = "train",
                                .dataset = "csv",
                                .source = "list.csv",
                                .options = "{}",
                                .class_name = classes,
                                .n_classes = 2,
                                .image_size_px = 2,
                                .mean = {.5f, .25f, .1f},
                                .std = {.1f, .2f, .3f}};
    const ac_shard_content content = {
        .n = n, .names = names, .labels = labels, .images = images, .n_rejected = 2, .rejected = rejected};
    for (size_t i = 0; i < sizeof images; i++)
        images[i] = (uint8_t)(i * 7);
    return ac_shard_write(path, &meta, 0, 1, &content, &hash);
}

#endif
