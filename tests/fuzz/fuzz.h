/* What the fuzz targets share: input bytes that steer a run, a file in memory, planned allocation failures, and what
 * must hold after every call. Header only. A target is one file with LLVMFuzzerTestOneInput(); docs in README.md. */
#ifndef ANYCLASS_TESTS_FUZZ_H
#define ANYCLASS_TESTS_FUZZ_H

#include "anyclass/alloc.h"
#include "anyclass/dataset.h"
#include "anyclass/file.h"
#include "anyclass/status.h"
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t n_bytes, size_t capacity); /* libFuzzer's own mutator */
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n_bytes, size_t capacity, unsigned seed);

#define FUZZ_REQUIRE(condition) ((condition) ? (void)0 : fuzz_fail(#condition, __FILE__, __LINE__))

/* A broken promise is a finding like a crash. */
static inline void fuzz_fail(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: broken: %s; last error: %s\n", file, line, condition, ac_error_text());
    abort();
}

typedef struct fuzz_input { /* what is left of the input; its end is the end of the memory block */
    const uint8_t *bytes;
    size_t n;
} fuzz_input;

/* The next byte, 0 behind the end: the first bytes of an input choose options. */
static inline unsigned fuzz_byte(fuzz_input *input)
{
    if (input->n == 0)
        return 0;
    input->n--;
    return *input->bytes++;
}

typedef struct fuzz_run { /* the library's memory before a call */
    uint64_t n_live, n_calls, fail_at;
} fuzz_run;

/* Let the fail_at-th allocation of the calls that follow fail; 0: none. */
static inline fuzz_run fuzz_begin(uint64_t fail_at)
{
    const ac_alloc_stats stats = ac_alloc_get_stats();
    ac_error_clear();
    ac_alloc_fail_at(fail_at);
    return (fuzz_run){stats.n_live, stats.n_calls, fail_at};
}

/* The call has returned `status`: good, a refusal of the data in one line, or out of memory if that was planned. */
static inline void fuzz_check_status(const fuzz_run *run, ac_status status)
{
    const bool failed = run->fail_at > 0 && ac_alloc_get_stats().n_calls - run->n_calls >= run->fail_at;
    ac_alloc_fail_at(0);
    FUZZ_REQUIRE(status == AC_OK || status == AC_ERR_DATA || status == AC_ERR_MEMORY);
    FUZZ_REQUIRE((status == AC_ERR_MEMORY) == failed);
    if (status == AC_OK)
        return;
    const char *text = ac_error_text();
    FUZZ_REQUIRE(text[0] != 0);
    for (; *text; text++)
        FUZZ_REQUIRE((unsigned char)*text >= 0x20 && *text != 0x7F);
}

/* A name below TMPDIR, which tests/fuzz/run puts into memory. */
static inline void fuzz_tmp_path(char path[AC_PATH_BYTES], const char *name)
{
    const char *parent = getenv("TMPDIR");
    snprintf(path, AC_PATH_BYTES, "%.1024s/%s", parent && *parent ? parent : P_tmpdir, name);
}

/* The file in which inputs are handed to readers that want a path. */
static inline const char *fuzz_file_path(void)
{
    static char path[AC_PATH_BYTES];
    if (!path[0])
        fuzz_tmp_path(path, "input-XXXXXX");
    return path;
}

static inline int fuzz_file_fd(void)
{
    static int fd = -1;
    if (fd < 0)
        fd = mkstemp((char *)fuzz_file_path());
    if (fd < 0)
        abort();
    return fd;
}

/* Put bytes into it in the place of the old ones. Returns its path. */
static inline const char *fuzz_file(const void *bytes, size_t n_bytes)
{
    const int fd = fuzz_file_fd();
    if (ftruncate(fd, 0) != 0 || pwrite(fd, bytes, n_bytes, 0) != (ssize_t)n_bytes)
        abort();
    return fuzz_file_path();
}

/* The lowest file descriptor that is free. */
static inline int fuzz_free_fd(void)
{
    const int fd = dup(fuzz_file_fd());
    close(fd);
    return fd;
}

/* Everything has been released: memory, and file descriptors. */
static inline void fuzz_end(const fuzz_run *run)
{
    static int usual = -1;
    ac_alloc_fail_at(0);
    FUZZ_REQUIRE(ac_alloc_get_stats().n_live == run->n_live);
    const int fd = dup(fuzz_file_fd());
    close(fd);
    usual = usual < 0 ? fd : usual;
    FUZZ_REQUIRE(fd == usual);
}

/* A table that a reader has filled. */
static inline void fuzz_check_dataset(const ac_dataset *d)
{
    FUZZ_REQUIRE(d->n_samples > 0 && d->n_classes > 0 && d->source && d->source[0]);
    for (size_t c = 0; c < d->n_classes; c++)
        FUZZ_REQUIRE(d->class_name[c][0] != 0);
    for (size_t i = 0; i < d->n_samples; i++) {
        FUZZ_REQUIRE(d->name_offset[i] < d->name_offset[i + 1] && ac_dataset_name(d, i)[0] != 0);
        FUZZ_REQUIRE(strlen(ac_dataset_name(d, i)) + 1 == d->name_offset[i + 1] - d->name_offset[i]);
    }
    for (size_t i = 0; i < d->n_samples * d->n_classes; i++)
        FUZZ_REQUIRE(d->label[i] <= 1);
    for (int c = 0; c < 3; c++)
        FUZZ_REQUIRE(isfinite(d->mean[c]) && isfinite(d->std[c]) && d->std[c] > 0);
}

/* Read the file as annotations of that kind; `check` (may be NULL) sees the table that was accepted. */
static inline void fuzz_read_dataset(const char *kind, const fuzz_input *file, uint64_t fail_at,
                                     void (*check)(const ac_dataset *, const fuzz_input *))
{
    const char *path = fuzz_file(file->bytes, file->n);
    const ac_dataset_options options = {.kind = kind, .ann_root = path, .split = AC_SPLIT_TRAIN};
    ac_dataset dataset;
    const fuzz_run run = fuzz_begin(fail_at);
    const ac_status status = ac_dataset_read(&options, &dataset);
    fuzz_check_status(&run, status);
    if (status == AC_OK) {
        fuzz_check_dataset(&dataset);
        if (check)
            check(&dataset, file);
    }
    ac_dataset_release(&dataset);
    fuzz_end(&run);
}

#endif
