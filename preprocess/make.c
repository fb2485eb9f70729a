/* Images to pixels: threads decode and resize the images of one shard into memory. Which images are bad is decided in
 * lib/image; write.c makes a file of them. */
#include "anyclass/alloc.h"
#include "preprocess/steps.h"
#include <omp.h>
#include <string.h>

ac_status preprocess_read_image(const split_job *job, ac_image_reader *tools, size_t sample, uint8_t *row,
                                char reason[REASON_BYTES])
{
    const preprocess_config *config = job->config;
    ac_decode_options decode = {.allow_warnings = config->allow_warnings,
                                .apply_orientation = config->apply_exif,
                                .min_side_px = config->fast_decode ? (int)config->image_size : 0};
    char path[AC_PATH_BYTES];
    reason[0] = 0;
    if (ac_path_join(path, job->image_root, ac_dataset_name(&job->dataset, sample)) != AC_OK) {
        snprintf(reason, REASON_BYTES, "the path is too long");
        return AC_OK;
    }
    return ac_image_reader_read(tools, path, &decode, (ac_simd)config->simd, (int)config->image_size, row, reason);
}

ac_status preprocess_reserve_pixels(split_job *job, size_t n)
{
    if (n <= job->pixels_capacity)
        return AC_OK;
    ac_free(job->pixels);
    job->pixels = NULL;
    job->pixels_capacity = 0;
    ac_status status = ac_malloc(n, preprocess_image_bytes(job), &job->pixels);
    if (status == AC_OK)
        job->pixels_capacity = n;
    return status;
}

ac_status preprocess_batch_begin(image_batch *b, split_job *job, size_t shard)
{
    ac_status status = AC_OK;
    memset(b, 0, sizeof *b);
    b->job = job;
    b->n = preprocess_shard_range(job, shard, &b->first);
    AC_TRY(preprocess_reserve_pixels(job, b->n));
    b->pixels = job->pixels;
    AC_TRY(ac_calloc(b->n, sizeof *b->reason, &b->reason));
out:
    return status;
}

void preprocess_batch_end(image_batch *b)
{
    ac_free(b->reason);
}

void preprocess_batch_fail(image_batch *b, ac_status status, const char *text)
{
    if (atomic_exchange(&b->failed, true))
        return;
    b->status = status;
    snprintf(b->text, sizeof b->text, "%s", text);
}

static void read_one(image_batch *b, ac_image_reader *tools, size_t i)
{
    ac_status status = preprocess_read_image(b->job, tools, b->first + i, b->pixels + i * preprocess_image_bytes(b->job),
                                             b->reason[i]);
    if (status != AC_OK)
        preprocess_batch_fail(b, status, ac_error_text());
    atomic_fetch_add(&b->n_done, 1);
}

size_t preprocess_batch_read(image_batch *b)
{
    size_t n_read = 0;
#pragma omp parallel reduction(+ : n_read)
    {
        ac_image_reader tools = {0};
        while (!atomic_load(&b->failed)) {
            size_t i = atomic_fetch_add(&b->next, 1);
            if (i >= b->n)
                break;
            read_one(b, &tools, i);
            n_read++;
            if (omp_get_thread_num() == 0 && b->poll)
                b->poll(b->context);
        }
        ac_image_reader_release(&tools);
    }
    return n_read;
}
