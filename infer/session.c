/* A network that scores: made once for checkpoints of one shape, given one checkpoint's weights after the other. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "infer/steps.h"
#include <math.h>
#include <omp.h>
#include <string.h>

/* Rows of a step on each rank. At least one for each thread, and two: with fewer, oneDNN divides a sum between threads,
 * and the bits of a score must not depend on how many ranks share a batch. */
static int64_t count_rows(const infer *in)
{
    int64_t least = omp_get_max_threads() > 2 ? omp_get_max_threads() : 2, size = in->run->size, most = 0,
            rows = (in->config->batch_size + size - 1) / size;
    for (size_t i = 0; i < in->n_inputs; i++)
        most = in->input[i].n > most ? in->input[i].n : most;
    most = (most + size - 1) / size;
    rows = rows < most ? rows : most;
    return rows < least ? least : rows;
}

static ac_status open_device(infer *in)
{
    ac_status status = AC_OK;
    infer_session *s = &in->session;
    AC_TRY(ac_backend_open(in->config->device, (int)in->config->n_threads, &s->device));
    status = s->device->backend->check_precision(s->device, infer_precision_dtype(in->config));
    if (status != AC_OK)
        status = ac_error_in(status, "--precision %s", infer_precision_name(in->config));
out:
    return status;
}

/* Ranks may have other numbers of threads, but must make the same number of steps: the most rows that one needs. */
ac_status infer_session_open(infer *in)
{
    ac_status status = AC_OK;
    infer_session *s = &in->session;
    s->loaded = SIZE_MAX;
    AC_TRY(ac_comm_agree(in->run->comm, open_device(in)));
    s->rows = count_rows(in);
    AC_TRY(
        ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, &s->rows, 1, MPI_INT64_T, MPI_MAX, in->run->comm), "MPI_Allreduce"));
out:
    return status;
}

static void release_network(infer_session *s)
{
    ac_forward_destroy(s->pass);
    s->pass = NULL;
    for (int k = 0; k < AC_FORWARDS_AHEAD; k++) {
        ac_free(s->asked[k].sample);
        ac_free(s->asked[k].usable);
        s->asked[k] = (ac_batch){0};
    }
    ac_plan_destroy(s->plan);
    ac_params_destroy(s->params);
    ac_network_release(&s->network);
    s->plan = NULL;
    s->params = NULL;
    s->scores = NULL;
    s->shape.model[0] = 0;
    s->loaded = SIZE_MAX;
}

void infer_session_close(infer_session *s)
{
    release_network(s);
    if (s->device)
        s->device->backend->close(s->device);
    s->device = NULL;
}

static bool fits(const infer_session *s, const infer_weights *w)
{
    return strcmp(s->shape.model, w->model) == 0 && s->shape.n_classes == w->n_classes &&
           s->shape.image_size_px == w->image_size_px && memcmp(s->shape.mean, w->mean, sizeof w->mean) == 0 &&
           memcmp(s->shape.std, w->std, sizeof w->std) == 0;
}

static ac_status build(infer *in, const infer_weights *w)
{
    ac_status status = AC_OK;
    infer_session *s = &in->session;
    char text[256];
    ac_network_options o = {.model = ac_model_find(w->model),
                            .batch = s->rows,
                            .image_size_px = w->image_size_px,
                            .n_classes = (int64_t)w->n_classes,
                            .activation_dtype = infer_precision_dtype(in->config)};
    memcpy(o.mean, w->mean, sizeof o.mean);
    memcpy(o.std, w->std, sizeof o.std);
    release_network(s);
    AC_TRY(ac_network_build(&o, &s->network));
    AC_TRY(ac_params_create(s->device, s->network.graph, false, &s->params));
    AC_TRY(ac_plan_create(s->network.graph, s->params, false, &s->plan));
    AC_TRY(ac_plan_bind(s->plan, NULL));
    AC_TRY(ac_forward_create(s->plan, s->network.logits, true, &s->pass));
    for (int k = 0; k < AC_FORWARDS_AHEAD; k++) {
        AC_TRY(ac_malloc((size_t)s->rows, sizeof *s->asked[k].sample, &s->asked[k].sample));
        AC_TRY(ac_malloc((size_t)s->rows, sizeof *s->asked[k].usable, &s->asked[k].usable));
    }
    s->shape = *w;
    s->device->backend->describe(s->device, text, sizeof text);
    ac_log(AC_LOG_INFO, "device %s; %d rank%s, %lld images a step on each", text, in->run->size,
           in->run->size == 1 ? "" : "s", (long long)s->rows);
    ac_log(AC_LOG_INFO, "%s at %d pixels: %zu parameters, memory per rank: %.0f MiB activations, %.0f MiB parameters",
           w->model, w->image_size_px, s->params->n_trainable,
           (double)ac_plan_get_memory(s->plan).arena_bytes / 1048576,
           (double)ac_plan_get_memory(s->plan).param_bytes / 1048576);
out:
    return status;
}

/* Rank 0's part. Trainings replace their checkpoints: what is loaded must be what the scores are said to come from. */
static ac_status read_weights(const infer *in, const infer_weights *w, ac_params *params)
{
    ac_status status = AC_OK;
    ac_hash hash;
    AC_TRY(w->is_foreign ? infer_foreign_load(in, w, params) : ac_checkpoint_load(w->path, params, NULL));
    AC_TRY(w->is_foreign ? infer_foreign_hash(in, w->path, &hash) : ac_checkpoint_read_hash(w->path, &hash));
    if (!ac_hash_equal(hash, w->hash))
        status = ac_error(AC_ERR_IO, "%s was replaced since this run began: run it again", w->path);
out:
    return status;
}

ac_status infer_session_load(infer *in, const infer_weights *w)
{
    ac_status status = AC_OK;
    infer_session *s = &in->session;
    MPI_Comm comm = in->run->comm;
    const size_t number = (size_t)(w - in->jobs.weights);
    if (s->loaded == number)
        return AC_OK;
    ac_watchdog_at(in->run->watchdog, "loading a checkpoint", -1, false);
    if (!fits(s, w))
        status = build(in, w);
    ac_watchdog_at(in->run->watchdog, "loading a checkpoint", -1, in->run->rank > 0);
    AC_TRY(ac_comm_agree(comm, status));
    s->loaded = SIZE_MAX;
    status = in->run->rank == 0 ? read_weights(in, w, s->params) : AC_OK;
    ac_watchdog_at(in->run->watchdog, "loading a checkpoint", -1, true);
    AC_TRY(ac_comm_agree(comm, status));
    AC_TRY(ac_comm_broadcast_arena(comm, s->device, s->params->value, s->params->n_values * sizeof *s->params->value));
    AC_TRY(ac_comm_broadcast_arena(comm, s->device, s->params->buffer, s->params->n_buffers * sizeof *s->params->buffer));
    ac_params_changed(s->params);
    s->loaded = number;
    ac_log(AC_LOG_INFO, "loaded %s", w->path);
out:
    return status;
}

/* The device may still read the pixels' copy when this returns; the batch itself is free. */
ac_status infer_session_ask(infer_session *s, const ac_batch *batch, const ac_source *source)
{
    ac_status status = AC_OK;
    size_t rows = (size_t)s->rows;
    ac_batch *asked = &s->asked[s->n_asked % AC_FORWARDS_AHEAD];
    AC_TRY(ac_plan_write(s->plan, s->network.images, batch->image, rows * source->image_bytes));
    AC_TRY(ac_plan_write(s->plan, s->network.keys, batch->key, rows * sizeof *batch->key));
    AC_TRY(ac_forward_run(s->pass));
    asked->step = batch->step;
    asked->n = batch->n;
    memcpy(asked->sample, batch->sample, rows * sizeof *batch->sample);
    memcpy(asked->usable, batch->usable, rows * sizeof *batch->usable);
    s->n_asked++;
out:
    return status;
}

bool infer_session_has_answer(const infer_session *s, bool all)
{
    return ac_forward_n_waiting(s->pass) > (all ? 0 : ac_forward_lag(s->pass));
}

ac_status infer_session_answer(infer_session *s, const ac_source *source, const ac_batch **batch)
{
    ac_status status = AC_OK;
    size_t m = s->shape.n_classes;
    const ac_batch *asked = &s->asked[s->n_answered % AC_FORWARDS_AHEAD];
    AC_TRY(ac_forward_take(s->pass, (void **)&s->scores));
    s->n_answered++;
    *batch = asked;
    for (size_t i = 0; i < (size_t)asked->n; i++) {
        for (size_t c = 0; c < m && asked->usable[i]; c++) {
            float *score = &s->scores[i * m + c];
            if (!isfinite(*score)) /* infinite ones would become 0 or 1 */
                return ac_error(AC_ERR_NUMERIC, "a score of %s is not a number", source->name(source->context, asked->sample[i]));
            *score = 1.0f / (1.0f + expf(-*score));
        }
    }
out:
    return status;
}

/* What was asked for a set that ended early is of no use to the next one. */
void infer_session_forget(infer_session *s)
{
    void *result;
    while (s->pass && ac_forward_n_waiting(s->pass) > 0 && ac_forward_take(s->pass, &result) == AC_OK)
        s->n_answered++;
}
