/* statistics: mean and standard deviation of a split's pixels, per channel. Sums are whole numbers, so that their
 * order, and with it the number of ranks, changes no digit. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "anyclass/json.h"
#include "anyclass/log.h"
#include "anyclass/shard.h"
#include "anyclass/stop.h"
#include "preprocess/prepare.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct statistics_config {
    ac_common_config common;
    const char *data_root, *output;
    int split;
    bool overwrite;
} statistics_config;

#define O(field) .offset = offsetof(statistics_config, field)
static const ac_option option_table[] = {
    {.group = "Files",
     .name = "data_root",
     .type = AC_OPTION_STRING,
     O(data_root),
     .required = true,
     .unit = "FOLDER",
     .help = "Folder of the shards."},
    {.name = "split",
     .type = AC_OPTION_CHOICE,
     O(split),
     .fallback = "Train",
     .choices = AC_SPLIT_CHOICES,
     .help = "Which split to read."},
    {.name = "output",
     .type = AC_OPTION_STRING,
     O(output),
     .unit = "FILE",
     .help = "Write the sums, means and deviations as JSON too."},
    PREPARE_OVERWRITE_OPTION(statistics_config),
    AC_COMMON_OPTIONS(statistics_config),
};
static const ac_program program = {
    .name = "anyclass-preprocess",
    .summary = "Mean and standard deviation of a split's pixels, per channel.",
    .usage = "statistics --data_root SHARDS [--split Train] [--output FILE]",
    .notes =
        "Prints \"--mean R G B --std R G B\", as making shards takes it. Values are of the stored, resized pixels in\n"
        "0..1; the deviation is over all pixels of all images.",
    .options = option_table,
    .n_options = sizeof option_table / sizeof *option_table,
    .config_bytes = sizeof(statistics_config),
};

typedef struct sums { /* of 8-bit values; 64 bits hold the squares of 1e9 images of 512 x 512 */
    uint64_t n_pixels, value[3], square[3];
} sums;

/* The squares of that many 8-bit values fit 32 bits. */
enum { MAX_RUN = 65536 };

static void add_pixels(const uint8_t *pixels, size_t n, sums *out)
{
    out->n_pixels += n;
    while (n > 0) {
        size_t run = n < MAX_RUN ? n : MAX_RUN;
        uint32_t value[3] = {0}, square[3] = {0};
        for (size_t i = 0; i < run; i++)
            for (size_t c = 0; c < 3; c++) {
                uint32_t x = pixels[3 * i + c];
                value[c] += x;
                square[c] += x * x;
            }
        for (size_t c = 0; c < 3; c++) {
            out->value[c] += value[c];
            out->square[c] += square[c];
        }
        pixels += 3 * run;
        n -= run;
    }
}

static ac_status add_shard(const char *folder, const ac_manifest *manifest, size_t k, sums *out)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_shard shard = {.fd = -1};
    uint8_t *pixels = NULL;
    AC_TRY(ac_path_join(path, folder, manifest->shard[k].file));
    AC_TRY(ac_shard_open(path, &shard));
    if (shard.n != manifest->shard[k].n_samples || shard.image_size_px != manifest->image_size_px)
        AC_TRY(ac_error(AC_ERR_DATA, "%s: its samples or image size differ from the manifest's", path));
    if (!ac_hash_equal(shard.hash, manifest->shard[k].hash))
        AC_TRY(ac_error(AC_ERR_DATA, "%s: not the shard that the manifest lists, its hash differs", path));
    size_t n_pixels = (size_t)shard.image_size_px * (size_t)shard.image_size_px;
    AC_TRY(ac_malloc(n_pixels, 3, &pixels));
    for (size_t i = 0; i < shard.n; i++) {
        AC_TRY(ac_shard_read_image(&shard, i, true, pixels));
        add_pixels(pixels, n_pixels, out);
    }
out:
    ac_free(pixels);
    ac_shard_close(&shard);
    return status;
}

/* Variance from whole numbers: n * sum(x^2) - sum(x)^2 is exact in 128 bits. */
static void compute(const sums *s, float mean[3], float std[3])
{
    for (int c = 0; c < 3; c++) {
        double n = (double)s->n_pixels;
        unsigned __int128 spread =
            (unsigned __int128)s->n_pixels * s->square[c] - (unsigned __int128)s->value[c] * s->value[c];
        mean[c] = (float)((double)s->value[c] / n / 255);
        std[c] = (float)(sqrt((double)spread) / n / 255);
    }
}

static ac_status answer(const float mean[3], const float std[3])
{
    char number[6][AC_NUMBER_BYTES], line[256];
    for (int c = 0; c < 3; c++) {
        ac_format_float(mean[c], number[c]);
        ac_format_float(std[c], number[3 + c]);
        if (std[c] < 1e-6f)
            ac_log(AC_LOG_WARN, "channel %d has the same value everywhere: its deviation cannot be used", c);
    }
    snprintf(line, sizeof line, "--mean %s %s %s --std %s %s %s\n", number[0], number[1], number[2], number[3],
             number[4], number[5]);
    return ac_log_answer(line);
}

static void put_floats(ac_json *json, const char *key, const float *value)
{
    ac_json_begin_array(json, key);
    for (int c = 0; c < 3; c++)
        ac_json_double(json, NULL, (double)value[c]);
    ac_json_end_array(json);
}

static void put_sums(ac_json *json, const char *key, const uint64_t *value)
{
    ac_json_begin_array(json, key);
    for (int c = 0; c < 3; c++)
        ac_json_int(json, NULL, (int64_t)value[c]);
    ac_json_end_array(json);
}

static ac_status save(const statistics_config *c, const ac_manifest *manifest, const sums *s, const float mean[3],
                      const float std[3])
{
    ac_status status = AC_OK;
    ac_json *json = NULL;
    AC_TRY(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    ac_json_string(json, "split", manifest->split);
    ac_json_int(json, "n_images", (int64_t)manifest->n_samples);
    ac_json_int(json, "n_pixels", (int64_t)s->n_pixels);
    put_sums(json, "sum", s->value);
    put_sums(json, "sum_of_squares", s->square);
    put_floats(json, "mean", mean);
    put_floats(json, "std", std);
    ac_json_end_object(json);
    AC_TRY(ac_json_save(json, c->output));
out:
    ac_json_destroy(json);
    return status;
}

static ac_status begin(const statistics_config *c, ac_manifest *manifest)
{
    ac_status status = AC_OK;
    char folder[AC_PATH_BYTES];
    if (c->output) {
        AC_TRY(prepare_check_output(c->output, c->overwrite));
        AC_TRY(prepare_folder_of(c->output, folder));
        AC_TRY(prepare_make_folder(folder, c->common.dry_run));
    }
    AC_TRY(ac_manifest_load(c->data_root, ac_split_name((ac_split)c->split), manifest));
    if (manifest->n_samples == 0)
        AC_TRY(ac_error(AC_ERR_DATA, "%s: %s holds no image", c->data_root, manifest->split));
out:
    return status;
}

/* Shards are dealt out in turn; a rank that fails stops, the others finish theirs. */
static ac_status run_statistics(ac_run *run, const void *config)
{
    ac_status status = AC_OK;
    const statistics_config *c = config;
    ac_manifest manifest = {0};
    ac_progress progress;
    sums s = {0};
    float mean[3], std[3];
    AC_TRY(ac_comm_agree(run->comm, begin(c, &manifest)));
    if (c->common.dry_run) {
        ac_log(AC_LOG_INFO, "%s: %zu images in %zu shards", manifest.split, manifest.n_samples, manifest.n_shards);
        goto out;
    }
    ac_progress_begin(&progress, "statistics", "shards", manifest.n_shards);
    for (size_t k = (size_t)run->rank; k < manifest.n_shards && status == AC_OK && !ac_stop_signal(); k += (size_t)run->size) {
        status = add_shard(c->data_root, &manifest, k, &s);
        ac_progress_update(&progress, k + 1, NULL);
    }
    AC_TRY(ac_comm_agree(run->comm, status));
    AC_TRY(ac_comm_check_stop(run->comm, "shards were only read"));
    AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, &s, sizeof s / sizeof(uint64_t), MPI_UINT64_T, MPI_SUM, run->comm),
                         "MPI_Allreduce"));
    ac_progress_update(&progress, manifest.n_shards, NULL);
    ac_progress_end(&progress);
    compute(&s, mean, std);
    if (run->rank == 0)
        status = c->output ? save(c, &manifest, &s, mean, std) : AC_OK;
    if (run->rank == 0 && status == AC_OK)
        status = answer(mean, std);
out:
    ac_manifest_release(&manifest);
    return status;
}

const prepare_command prepare_statistics = {"statistics", &program, run_statistics, true};
