/* Threads that bring batches: a ring of buffers, filled row by row by whichever thread is free, handed out in order. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "anyclass/machine.h"
#include "anyclass/store.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

typedef struct slot {
    ac_batch batch;
    int64_t next_row; /* to be read */
    int64_t n_done;   /* rows read */
} slot;

struct ac_loader {
    ac_loader_config config;
    slot *slot;           /* [n_slots] ring */
    int64_t n_slots;
    pthread_t *thread;
    int n_threads;
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t work, ready;
    bool stop;
    ac_order order;
    int64_t epoch, n_steps;
    int64_t first_open;   /* oldest step not yet given back by the reader */
    int64_t next_read;    /* step whose rows are being handed to threads */
    int64_t next_out;     /* step that ac_loader_next gives next */
    int64_t n_busy;       /* threads inside a read */
    uint64_t generation;  /* grows with each begin: late rows of an old epoch are dropped */
    ac_status status;
    char error[AC_ERROR_TEXT_BYTES];
};

int64_t ac_loader_steps_per_epoch(const ac_loader_config *config)
{
    int64_t n = config->store->n_samples, b = config->global_batch;
    return config->drop_last ? n / b : (n + b - 1) / b;
}

/* Fill in what a batch consists of; pixels are read later. Lock held. */
static void prepare(ac_loader *l, slot *s, int64_t step)
{
    const ac_loader_config *c = &l->config;
    const ac_store *store = c->store;
    int64_t base = step * c->global_batch + c->slice_first, left = store->n_samples - base;
    s->batch.step = step;
    s->batch.n = (int)(left < 0 ? 0 : left < c->slice_n ? left : c->slice_n);
    for (int64_t row = 0; row < c->slice_n; row++) {
        int64_t used = row < s->batch.n ? row : s->batch.n ? s->batch.n - 1 : 0;
        int64_t position = base + used < store->n_samples ? base + used : store->n_samples - 1;
        int64_t sample = (int64_t)ac_order_at(&l->order, (uint64_t)position);
        s->batch.sample[row] = sample;
        s->batch.key[row] = l->epoch * ((int64_t)1 << 40) + sample;
        memcpy(s->batch.label + (size_t)row * store->n_classes, store->label + (size_t)sample * store->n_classes, store->n_classes);
    }
    s->next_row = s->n_done = 0;
}

/* The next row to read, or false when there is nothing to do. Lock held. */
static bool take_row(ac_loader *l, slot **s, int64_t *row)
{
    while (l->status == AC_OK && l->next_read < l->n_steps && l->next_read < l->first_open + l->n_slots) {
        *s = &l->slot[l->next_read % l->n_slots];
        if ((*s)->batch.step != l->next_read)
            prepare(l, *s, l->next_read);
        if ((*s)->next_row < l->config.slice_n) {
            *row = (*s)->next_row++;
            return true;
        }
        l->next_read++;
    }
    return false;
}

static void *read_rows(void *context)
{
    ac_loader *l = context;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        slot *s;
        int64_t row;
        if (!take_row(l, &s, &row)) {
            pthread_cond_wait(&l->work, &l->lock);
            continue;
        }
        uint64_t generation = l->generation;
        int64_t sample = s->batch.sample[row];
        l->n_busy++;
        pthread_mutex_unlock(&l->lock);
        ac_status status = ac_store_read_image(l->config.store, sample, s->batch.image + (size_t)row * l->config.store->image_bytes);
        pthread_mutex_lock(&l->lock);
        l->n_busy--;
        if (generation == l->generation) {
            s->n_done++;
            if (status != AC_OK && l->status == AC_OK) {
                l->status = status;
                snprintf(l->error, sizeof l->error, "%s", ac_error_text());
            }
        }
        if (s->n_done == l->config.slice_n || status != AC_OK || l->n_busy == 0)
            pthread_cond_broadcast(&l->ready);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static size_t slot_bytes(const ac_loader_config *c)
{
    return (size_t)c->slice_n * (c->store->image_bytes + c->store->n_classes + 2 * sizeof(int64_t));
}

/* How many batches may be in flight. */
static int64_t choose_depth(const ac_loader_config *c)
{
    enum { LEAST = 2, MOST = 64 };
    const uint64_t most_bytes = (uint64_t)1 << 30;
    uint64_t bytes = c->memory_bytes;
    if (c->n_prefetch > 0)
        return c->n_prefetch;
    if (bytes == 0) {
        bytes = ac_machine_memory_bytes() / 8 / (uint64_t)(c->n_sharing > 0 ? c->n_sharing : 1);
        bytes = bytes > most_bytes ? most_bytes : bytes;
    }
    uint64_t n = bytes / slot_bytes(c);
    return n < LEAST ? LEAST : n > MOST ? MOST : (int64_t)n;
}

int64_t ac_loader_depth(const ac_loader *l, size_t *n_bytes)
{
    *n_bytes = (size_t)l->n_slots * slot_bytes(&l->config);
    return l->n_slots;
}

static ac_status create_slots(ac_loader *l)
{
    ac_status status = AC_OK;
    size_t n = (size_t)l->config.slice_n;
    const ac_store *store = l->config.store;
    AC_TRY(ac_calloc((size_t)l->n_slots, sizeof *l->slot, &l->slot));
    for (int64_t k = 0; k < l->n_slots; k++) {
        l->slot[k].batch.step = -1;
        AC_TRY(ac_calloc(n, store->image_bytes, &l->slot[k].batch.image));
        AC_TRY(ac_calloc(n, store->n_classes, &l->slot[k].batch.label));
        AC_TRY(ac_calloc(n, sizeof(int64_t), &l->slot[k].batch.sample));
        AC_TRY(ac_calloc(n, sizeof(int64_t), &l->slot[k].batch.key));
    }
out:
    return status;
}

ac_status ac_loader_create(const ac_loader_config *config, ac_loader **out)
{
    ac_status status = AC_OK;
    ac_loader *l = NULL;
    *out = NULL;
    if (config->slice_n < 1 || config->slice_first < 0 || config->slice_first + config->slice_n > config->global_batch ||
        config->store->n_samples < 1)
        return ac_error(AC_ERR_RANGE, "a loader needs samples and a slice inside its global batch");
    AC_TRY(ac_calloc(1, sizeof *l, &l));
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->ready, NULL);
    l->config = *config;
    l->n_slots = choose_depth(config);
    AC_TRY(create_slots(l));
    int n_threads = config->n_threads > 0 ? config->n_threads : 1;
    AC_TRY(ac_calloc((size_t)n_threads, sizeof *l->thread, &l->thread));
    for (; l->n_threads < n_threads; l->n_threads++)
        if (pthread_create(&l->thread[l->n_threads], NULL, read_rows, l) != 0)
            AC_TRY(ac_error(AC_ERR_MEMORY, "cannot start loader thread %d", l->n_threads));
    *out = l;
    return AC_OK;
out:
    ac_loader_destroy(l);
    return status;
}

void ac_loader_destroy(ac_loader *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->n_threads; i++)
        pthread_join(l->thread[i], NULL);
    for (int64_t k = 0; l->slot && k < l->n_slots; k++) {
        ac_free(l->slot[k].batch.image);
        ac_free(l->slot[k].batch.label);
        ac_free(l->slot[k].batch.sample);
        ac_free(l->slot[k].batch.key);
    }
    ac_free(l->slot);
    ac_free(l->thread);
    pthread_cond_destroy(&l->ready);
    pthread_cond_destroy(&l->work);
    pthread_mutex_destroy(&l->lock);
    ac_free(l);
}

ac_status ac_loader_begin(ac_loader *l, int64_t epoch, int64_t first_step)
{
    pthread_mutex_lock(&l->lock);
    l->generation++;
    l->n_steps = 0; /* nothing new is taken while the busy threads finish */
    while (l->n_busy > 0)
        pthread_cond_wait(&l->ready, &l->lock);
    for (int64_t k = 0; k < l->n_slots; k++)
        l->slot[k].batch.step = -1;
    ac_order_init(&l->order, (uint64_t)l->config.store->n_samples, l->config.seed, (uint64_t)epoch, l->config.shuffle);
    l->epoch = epoch;
    l->n_steps = ac_loader_steps_per_epoch(&l->config);
    l->first_open = l->next_read = l->next_out = first_step;
    l->status = AC_OK;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    return AC_OK;
}

ac_status ac_loader_next(ac_loader *l, const ac_batch **batch, double *waited_s)
{
    ac_status status = AC_OK;
    double start = ac_now_s();
    *batch = NULL;
    pthread_mutex_lock(&l->lock);
    if (l->first_open < l->next_out) { /* the batch given out last may be filled again */
        l->first_open = l->next_out;
        pthread_cond_broadcast(&l->work);
    }
    if (l->next_out < l->n_steps) {
        slot *s = &l->slot[l->next_out % l->n_slots];
        while (l->status == AC_OK && !(s->batch.step == l->next_out && s->n_done == l->config.slice_n))
            pthread_cond_wait(&l->ready, &l->lock);
        status = l->status;
        if (status == AC_OK) {
            *batch = &s->batch;
            l->next_out++;
        } else {
            ac_error(status, "%s", l->error);
        }
    }
    pthread_mutex_unlock(&l->lock);
    if (waited_s)
        *waited_s = ac_now_s() - start;
    return status;
}
