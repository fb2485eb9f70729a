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

typedef struct reader { /* a thread of the loader */
    ac_loader *loader;
    pthread_t thread;
    int index;
} reader;

struct ac_loader {
    ac_loader_config config;
    ac_source source;
    slot *slot;           /* [n_slots] ring */
    int64_t n_slots;
    reader *reader;
    int n_threads;
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t work, ready;
    bool stop;
    ac_order order;
    const int64_t *list;  /* [n_listed] samples to bring; NULL: all, in `order` */
    int64_t n_listed;
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
    int64_t n = config->store ? config->store->n_samples : config->source->n_samples, b = config->global_batch;
    return config->drop_last ? n / b : (n + b - 1) / b;
}

/* Behind the last one, the last one. */
static int64_t sample_at(const ac_loader *l, int64_t position)
{
    if (l->list)
        return l->list[position < l->n_listed ? position : l->n_listed - 1];
    int64_t last = l->source.n_samples - 1;
    return (int64_t)ac_order_at(&l->order, (uint64_t)(position < last ? position : last));
}

/* Fill in what a batch consists of; pixels are read later. Lock held. */
static void prepare(ac_loader *l, slot *s, int64_t step)
{
    const ac_loader_config *c = &l->config;
    const ac_source *source = &l->source;
    int64_t base = l->list ? step * c->slice_n : step * c->global_batch + c->slice_first;
    int64_t left = (l->list ? l->n_listed : source->n_samples) - base;
    s->batch.step = step;
    s->batch.n = (int)(left < 0 ? 0 : left < c->slice_n ? left : c->slice_n);
    for (int64_t row = 0; row < c->slice_n; row++) {
        int64_t used = row < s->batch.n ? row : s->batch.n ? s->batch.n - 1 : 0;
        int64_t sample = sample_at(l, base + used);
        s->batch.sample[row] = sample;
        s->batch.key[row] = l->epoch * ((int64_t)1 << 40) + sample;
        s->batch.usable[row] = true;
        if (source->n_classes)
            memcpy(s->batch.label + (size_t)row * source->n_classes, source->label + (size_t)sample * source->n_classes, source->n_classes);
    }
    s->next_row = 0;
    s->n_done = c->slice_n - s->batch.n; /* nobody reads the rest */
}

/* The next row to read, or false when there is nothing to do. Lock held. */
static bool take_row(ac_loader *l, slot **s, int64_t *row)
{
    while (l->status == AC_OK && l->next_read < l->n_steps && l->next_read < l->first_open + l->n_slots) {
        *s = &l->slot[l->next_read % l->n_slots];
        if ((*s)->batch.step != l->next_read) {
            prepare(l, *s, l->next_read);
            if ((*s)->batch.n == 0) /* nobody will read a row of it and say so */
                pthread_cond_broadcast(&l->ready);
        }
        if ((*s)->next_row < (*s)->batch.n) {
            *row = (*s)->next_row++;
            return true;
        }
        l->next_read++;
    }
    return false;
}

static void *read_rows(void *context)
{
    const reader *me = context;
    ac_loader *l = me->loader;
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
        ac_status status = l->source.read(l->source.context, me->index, sample, s->batch.image + (size_t)row * l->source.image_bytes,
                                          &s->batch.usable[row]);
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

static size_t slot_bytes(const ac_loader *l)
{
    return (size_t)l->config.slice_n * (l->source.image_bytes + l->source.n_classes + 2 * sizeof(int64_t));
}

/* How many batches may be in flight. */
static int64_t choose_depth(const ac_loader *l)
{
    enum { LEAST = 2, MOST = 64 };
    const uint64_t most_bytes = (uint64_t)1 << 30;
    const ac_loader_config *c = &l->config;
    uint64_t bytes = c->memory_bytes;
    if (c->n_prefetch > 0)
        return c->n_prefetch;
    if (bytes == 0) {
        bytes = ac_machine_memory_bytes() / 8 / (uint64_t)(c->n_sharing > 0 ? c->n_sharing : 1);
        bytes = bytes > most_bytes ? most_bytes : bytes;
    }
    uint64_t n = bytes / slot_bytes(l);
    return n < LEAST ? LEAST : n > MOST ? MOST : (int64_t)n;
}

int64_t ac_loader_depth(const ac_loader *l, size_t *n_bytes)
{
    *n_bytes = (size_t)l->n_slots * slot_bytes(l);
    return l->n_slots;
}

static ac_status create_slots(ac_loader *l)
{
    ac_status status = AC_OK;
    size_t n = (size_t)l->config.slice_n;
    const ac_source *source = &l->source;
    AC_TRY(ac_calloc((size_t)l->n_slots, sizeof *l->slot, &l->slot));
    for (int64_t k = 0; k < l->n_slots; k++) {
        l->slot[k].batch.step = -1;
        AC_TRY(ac_calloc(n, source->image_bytes, &l->slot[k].batch.image));
        AC_TRY(ac_calloc(n, source->n_classes, &l->slot[k].batch.label));
        AC_TRY(ac_calloc(n, sizeof(int64_t), &l->slot[k].batch.sample));
        AC_TRY(ac_calloc(n, sizeof(int64_t), &l->slot[k].batch.key));
        AC_TRY(ac_calloc(n, sizeof(bool), &l->slot[k].batch.usable));
    }
out:
    return status;
}

static ac_status start_threads(ac_loader *l)
{
    ac_status status = AC_OK;
    int n_threads = l->config.n_threads > 0 ? l->config.n_threads : 1;
    AC_TRY(ac_calloc((size_t)n_threads, sizeof *l->reader, &l->reader));
    for (; l->n_threads < n_threads; l->n_threads++) {
        reader *r = &l->reader[l->n_threads];
        *r = (reader){.loader = l, .index = l->n_threads};
        if (pthread_create(&r->thread, NULL, read_rows, r) != 0)
            AC_TRY(ac_error(AC_ERR_MEMORY, "cannot start loader thread %d", l->n_threads));
    }
out:
    return status;
}

ac_status ac_loader_create(const ac_loader_config *config, ac_loader **out)
{
    ac_status status = AC_OK;
    ac_loader *l = NULL;
    const ac_source source = config->store ? ac_store_source(config->store) : *config->source;
    *out = NULL;
    if (config->slice_n < 1 || config->slice_first < 0 || config->slice_first + config->slice_n > config->global_batch || source.n_samples < 1)
        return ac_error(AC_ERR_RANGE, "a loader needs samples and a slice inside its global batch");
    AC_TRY(ac_calloc(1, sizeof *l, &l));
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->ready, NULL);
    l->config = *config;
    l->source = source;
    l->config.source = &l->source;
    l->n_slots = choose_depth(l);
    AC_TRY(create_slots(l));
    AC_TRY(start_threads(l));
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
        pthread_join(l->reader[i].thread, NULL);
    for (int64_t k = 0; l->slot && k < l->n_slots; k++) {
        ac_free(l->slot[k].batch.image);
        ac_free(l->slot[k].batch.label);
        ac_free(l->slot[k].batch.sample);
        ac_free(l->slot[k].batch.key);
        ac_free(l->slot[k].batch.usable);
    }
    ac_free(l->slot);
    ac_free(l->reader);
    pthread_cond_destroy(&l->ready);
    pthread_cond_destroy(&l->work);
    pthread_mutex_destroy(&l->lock);
    ac_free(l);
}

/* Drop what is in flight. Takes the lock, which begin_steps() gives back. */
static void drop_all(ac_loader *l)
{
    pthread_mutex_lock(&l->lock);
    l->generation++;
    l->n_steps = 0; /* nothing new is taken while the busy threads finish */
    while (l->n_busy > 0)
        pthread_cond_wait(&l->ready, &l->lock);
    for (int64_t k = 0; k < l->n_slots; k++)
        l->slot[k].batch.step = -1;
}

static void begin_steps(ac_loader *l, int64_t first_step, int64_t n_steps)
{
    l->n_steps = n_steps;
    l->first_open = l->next_read = l->next_out = first_step;
    l->status = AC_OK;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
}

ac_status ac_loader_begin(ac_loader *l, int64_t epoch, int64_t first_step)
{
    drop_all(l);
    ac_order_init(&l->order, (uint64_t)l->source.n_samples, l->config.seed, (uint64_t)epoch, l->config.shuffle);
    l->list = NULL;
    l->epoch = epoch;
    begin_steps(l, first_step, ac_loader_steps_per_epoch(&l->config));
    return AC_OK;
}

ac_status ac_loader_begin_list(ac_loader *l, const int64_t *list, int64_t n)
{
    drop_all(l);
    l->list = list;
    l->n_listed = n;
    l->epoch = 0;
    begin_steps(l, 0, (n + l->config.slice_n - 1) / l->config.slice_n);
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
