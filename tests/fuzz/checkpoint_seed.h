/* A small good checkpoint, made without HDF5, which its readers do not need: the first input of the target
 * `checkpoint`, and what it edits. */
#ifndef ANYCLASS_TESTS_FUZZ_CHECKPOINT_SEED_H
#define ANYCLASS_TESTS_FUZZ_CHECKPOINT_SEED_H

#include "anyclass/file.h"
#include "checkpoint/checkpoint_internal.h"
#include <unistd.h>

enum { FUZZ_N_TENSORS = 3, FUZZ_BLOCK_BYTES = 2048, FUZZ_GAP_BYTES = 40 };

static ac_tensor fuzz_tensor[FUZZ_N_TENSORS] = {{"model/conv.weight", {4, {2, 3, 1, 1}, AC_F32}, 0, NULL},
                                                {"model/fc.bias", {1, {2}, AC_F32}, 1, NULL},
                                                {"optimizer/exp_avg/fc.bias", {1, {2}, AC_F32}, 1, NULL}};

/* Lay out `info`, the tensors and some bytes that are in none, and seal them. */
static inline ac_status fuzz_seal_checkpoint(int fd, const void *info, size_t n_info)
{
    ac_status status = AC_OK;
    static uint8_t bytes[256];
    ac_seal_part part[FUZZ_N_TENSORS + 1] = {{"info", FUZZ_BLOCK_BYTES, n_info, {0, 0}}};
    ac_seal seal = {
        .kind = &ac_checkpoint_seal_kind, .block_bytes = FUZZ_BLOCK_BYTES, .part = part, .n_parts = FUZZ_N_TENSORS + 1};
    uint64_t at = FUZZ_BLOCK_BYTES + n_info + FUZZ_GAP_BYTES;
    for (int k = 0; k < FUZZ_N_TENSORS; k++) {
        size_t n = sizeof(float);
        for (int i = 0; i < fuzz_tensor[k].shape.n_dims; i++)
            n *= (size_t)fuzz_tensor[k].shape.dim[i];
        part[k + 1] = (ac_seal_part){fuzz_tensor[k].name, at, n, {0, 0}};
        at += n;
    }
    if (ftruncate(fd, 0) != 0 || pwrite(fd, info, n_info, FUZZ_BLOCK_BYTES) != (ssize_t)n_info ||
        pwrite(fd, bytes, at - FUZZ_BLOCK_BYTES - n_info, (off_t)(FUZZ_BLOCK_BYTES + n_info)) < 0)
        return AC_ERR_IO;
    AC_TRY(ac_seal_hash_parts(fd, &seal));
    AC_TRY(ac_seal_write(fd, &seal));
out:
    return status;
}

static inline ac_status fuzz_write_checkpoint(int fd)
{
    static char *classes[] = {"RB", "caf\xC3\xA9 \"x\""};
    const ac_checkpoint_info info = {
        .model = "resnet18",
        .class_name = classes,
        .n_classes = 2,
        .image_size_px = 32,
        .mean = {.5f, .25f, .1f},
        .config = "{\"seed\": 1}",
        .precision = "32",
        .data_hash = "0123",
        .n_samples = 9,
        .epoch = 3,
        .step = 1,
        .loss_sum = 0.1 + 0.2,
        .loss_scale = 1,
        .best = {{"epoch=02-val_loss=0.5000.h5", .5, 2}, {"", 0, 0}, {"epoch=01-val_ap=0.2500.h5", .25, 1}}};
    const ac_tensor_list list = {fuzz_tensor, FUZZ_N_TENSORS, 0, 0, NULL};
    ac_status status = AC_OK;
    ac_json *json = NULL;
    const char *text;
    size_t n;
    AC_TRY(ac_json_create(&json));
    AC_TRY(ac_checkpoint_info_print(&info, &list, json));
    AC_TRY(ac_json_text(json, &text, &n));
    AC_TRY(fuzz_seal_checkpoint(fd, text, n));
out:
    ac_json_destroy(json);
    return status;
}

#endif
