/* --verify: re-read the shards of a split and compare them with their hashes and with the manifest. */
#include "anyclass/alloc.h"
#include "anyclass/stop.h"
#include "preprocess/steps.h"
#include <inttypes.h>
#include <string.h>

typedef struct totals { /* over the shards a rank has read */
    int64_t n_samples, n_negative, n_rejected, n_damaged, n_unreadable;
} totals;

static ac_status mismatch(const ac_shard *shard, const char *what)
{
    return ac_error(AC_ERR_DATA, "%s: %s from the manifest's", shard->path, what);
}

/* What the shard says of itself against the manifest; adds its labels up. */
static ac_status compare(const ac_manifest *m, size_t k, const ac_shard *shard, totals *sum, int64_t *class_count)
{
    if (shard->n != m->shard[k].n_samples)
        return mismatch(shard, "its number of samples differs");
    if (shard->image_size_px != m->image_size_px || strcmp(shard->options, m->options) != 0 ||
        strcmp(shard->split, m->split) != 0 || strcmp(shard->source, m->source) != 0 ||
        strcmp(shard->dataset, m->dataset) != 0 ||
        memcmp(shard->mean, m->mean, sizeof m->mean) != 0 || memcmp(shard->std, m->std, sizeof m->std) != 0)
        return mismatch(shard, "its attributes differ");
    bool same = shard->n_classes == m->n_classes;
    for (size_t c = 0; same && c < m->n_classes; c++)
        same = strcmp(shard->class_name[c], m->class_name[c]) == 0;
    if (!same)
        return mismatch(shard, "its class names differ");
    for (size_t i = 0; i < shard->n; i++) {
        bool any = false;
        for (size_t c = 0; c < m->n_classes; c++) {
            class_count[c] += shard->label[i * m->n_classes + c];
            any |= shard->label[i * m->n_classes + c] != 0;
        }
        sum->n_negative += !any;
    }
    sum->n_samples += (int64_t)shard->n;
    sum->n_rejected += (int64_t)shard->n_rejected;
    return AC_OK;
}

/* One shard; what is wrong has been logged when this returns. */
static ac_status verify_shard(const char *folder, const ac_manifest *m, size_t k, totals *sum, int64_t *class_count)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES] = "";
    size_t n_failures;
    ac_shard shard = {.fd = -1};
    bool logged = false;
    AC_TRY(ac_path_join(path, folder, m->shard[k].file));
    status = ac_shard_verify(path, &n_failures);
    logged = status != AC_OK;
    AC_TRY(status);
    AC_TRY(ac_shard_open(path, &shard));
    AC_TRY(compare(m, k, &shard, sum, class_count));
    if (!ac_hash_equal(shard.hash, m->shard[k].hash))
        AC_TRY(mismatch(&shard, "its hash differs"));
out:
    if (status != AC_OK && !ac_path_exists(path))
        status = AC_ERR_DATA; /* missing, which a run mends */
    if (status != AC_OK && !logged)
        ac_log_here(AC_LOG_ERROR, "%s", ac_error_text());
    ac_shard_close(&shard);
    return status;
}

/* The manifest's sums against those of all ranks. */
static ac_status check_totals(ac_run *run, const ac_manifest *m, totals *sum, int64_t *class_count)
{
    ac_status status = AC_OK;
    int n_classes;
    AC_TRY(ac_comm_count(m->n_classes, &n_classes));
    AC_TRY(
        ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, sum, sizeof *sum / sizeof(int64_t), MPI_INT64_T, MPI_SUM, run->comm),
                      "MPI_Allreduce"));
    AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, class_count, n_classes, MPI_INT64_T, MPI_SUM, run->comm),
                         "MPI_Allreduce"));
    if (sum->n_unreadable)
        return ac_error(AC_ERR_IO, "%s: %" PRId64 " of %zu shards cannot be read (named above)", m->split, sum->n_unreadable, m->n_shards);
    if (sum->n_damaged)
        return ac_error(AC_ERR_DATA,
                        "%s: %" PRId64
                        " of %zu shards are damaged or missing (named above): run anyclass-preprocess again with the "
                        "options they were made with, it makes these anew",
                        m->split, sum->n_damaged, m->n_shards);
    if (sum->n_samples != (int64_t)m->n_samples || sum->n_negative != m->n_negative ||
        sum->n_rejected != (int64_t)m->n_rejected ||
        memcmp(class_count, m->class_count, m->n_classes * sizeof *class_count) != 0)
        return ac_error(AC_ERR_DATA, "%s: the manifest's counts are not those of the shards", m->split);
out:
    return status;
}

ac_status preprocess_verify(ac_run *run, const preprocess_config *config, ac_split split)
{
    ac_status status = AC_OK;
    ac_manifest manifest = {0};
    totals sum = {0};
    int64_t *class_count = NULL;
    ac_progress progress;
    status = ac_manifest_load(config->output, ac_split_name(split), &manifest);
    if (status == AC_OK)
        status = ac_calloc(manifest.n_classes, sizeof *class_count, &class_count);
    AC_TRY(ac_comm_agree(run->comm, status));
    ac_progress_begin(&progress, "verify", "shards", manifest.n_shards);
    for (size_t k = (size_t)run->rank; k < manifest.n_shards && !ac_stop_signal(); k += (size_t)run->size) {
        ac_status one = verify_shard(config->output, &manifest, k, &sum, class_count);
        sum.n_damaged += one == AC_ERR_DATA;
        sum.n_unreadable += one != AC_OK && one != AC_ERR_DATA;
        size_t done = k + (size_t)run->size - (size_t)run->rank;
        ac_progress_update(&progress, done < manifest.n_shards ? done : manifest.n_shards, NULL);
    }
    AC_TRY(ac_comm_check_stop(run->comm, "shards were only read"));
    AC_TRY(check_totals(run, &manifest, &sum, class_count));
    ac_log(AC_LOG_INFO, "%s: %zu shards with %zu images are whole", manifest.split, manifest.n_shards,
           manifest.n_samples);
out:
    ac_free(class_count);
    ac_manifest_release(&manifest);
    return status;
}
