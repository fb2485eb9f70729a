/* The gradient sum: who calls MPI when. A thread starts buckets and moves their data while the caller computes; a caller
 * that waits anyway (finish, sum) does the same itself, so that nothing is handed over twice. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "comm/reducer_internal.h"
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

enum {
    LARGEST_BUCKET_BYTES = 25 << 20,
    BUCKET_BYTES_PER_RANK = 1 << 20,
    GROUP_BUCKET_BYTES = 16 << 20, /* of devices that sum themselves: large enough for their links, the last one soon done */
    PAUSE_US = 100,      /* between two looks of the thread: shared memory needs it as short, TCP would do with 1 ms */
    NAP_US = 20,         /* between those of a caller that waits, after */
    EAGER_US = 200,      /* in which it only gives way to other threads */
    LONGEST_PAUSE_US = 1000,
    PATIENCE = 32        /* a pause is at most this part of the time since something moved */
};

struct ac_reducer {
    MPI_Comm comm; /* its own, so that no tag meets another's */
    size_t n, bucket; /* floats that MPI sums: none where devices do */
    device_side device;
    char way[AC_WAY_BYTES];
    int size;
    bool threaded;
    pthread_t thread;

    pthread_mutex_t drive; /* held by whoever calls MPI; guards what follows */
    exchange exchange;
    round_of_sums round;
    ac_status failure; /* of any thread; its text, since a recorded text belongs to one thread */
    char failure_text[AC_ERROR_TEXT_BYTES];
    double busy_from_s;
    ac_reducer_stats stats;

    pthread_mutex_t gate; /* held for a few instructions; guards what follows */
    pthread_cond_t wake;
    size_t n_ready, n_started; /* floats */
    bool failed, quit;
};

/* A whole bucket waits to be started. Under `gate`. */
static bool startable(const ac_reducer *r)
{
    return r->n_started < r->n && (r->n_ready == r->n || r->n_ready - r->n_started >= r->bucket) && !r->failed;
}

static ac_status start_buckets(ac_reducer *r, bool *moved)
{
    ac_status status = AC_OK;
    bool started = true;
    while (started) {
        pthread_mutex_lock(&r->gate);
        bool more = startable(r);
        size_t first = r->n_started, left = r->n - first, n = left < r->bucket ? left : r->bucket;
        pthread_mutex_unlock(&r->gate);
        if (!more)
            break;
        AC_TRY(ac_exchange_start(&r->exchange, first, n, &started));
        if (started) {
            *moved = true;
            pthread_mutex_lock(&r->gate);
            r->n_started = first + n;
            pthread_mutex_unlock(&r->gate);
        }
    }
out:
    return status;
}

/* Everything that can be done without waiting. Under `drive`. A failure is kept: nothing works after it. */
static bool advance(ac_reducer *r)
{
    bool moved = false;
    ac_status status = r->failure;
    if (status != AC_OK)
        return false;
    int before = r->exchange.n_under_way;
    AC_TRY(start_buckets(r, &moved));
    AC_TRY(ac_exchange_advance(&r->exchange, &moved));
    AC_TRY(ac_round_advance(&r->round, &moved));
out:
    if (before == 0 && r->exchange.n_under_way > 0)
        r->busy_from_s = ac_now_s();
    else if (before > 0 && r->exchange.n_under_way == 0)
        r->stats.busy_s += ac_now_s() - r->busy_from_s;
    if (status != AC_OK) {
        r->failure = status;
        snprintf(r->failure_text, sizeof r->failure_text, "%s", ac_error_text());
        pthread_mutex_lock(&r->gate);
        r->failed = true;
        pthread_mutex_unlock(&r->gate);
    }
    return moved;
}

static ac_status failure(const ac_reducer *r)
{
    return r->failure == AC_OK ? AC_OK : ac_error(r->failure, "%s", r->failure_text);
}

/* Waiting for a slow rank must cost little, and what it costs in delay must be small beside the wait. */
static long pause_us(double still_s, long least_us)
{
    double us = 1e6 * still_s / PATIENCE;
    return us < (double)least_us ? least_us : us > LONGEST_PAUSE_US ? LONGEST_PAUSE_US : (long)us;
}

static void pause_until_posted(ac_reducer *r, long us)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += us * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&r->wake, &r->gate, &until);
}

static void *communicate(void *reducer)
{
    ac_reducer *r = reducer;
    double moved_s = 0;
    for (bool go = true; go;) {
        pthread_mutex_lock(&r->drive);
        bool moved = advance(r), busy = r->exchange.n_under_way > 0 && r->failure == AC_OK;
        pthread_mutex_unlock(&r->drive);
        double now = ac_now_s();
        moved_s = moved || !busy ? now : moved_s;
        pthread_mutex_lock(&r->gate);
        while (!busy && !startable(r) && !r->quit)
            pthread_cond_wait(&r->wake, &r->gate);
        if (busy && !moved && !r->quit)
            pause_until_posted(r, pause_us(now - moved_s, PAUSE_US));
        go = !r->quit;
        pthread_mutex_unlock(&r->gate);
    }
    return NULL;
}

/* Signals are for the main thread: it looks at what they ask for. */
static ac_status start_thread(ac_reducer *r)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&r->thread, NULL, communicate, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    r->threaded = error == 0;
    return error == 0 ? AC_OK : ac_error(AC_ERR_MEMORY, "the communication thread cannot be started");
}

/* @return no failure so far */
static bool announce(ac_reducer *r, size_t n_ready)
{
    pthread_mutex_lock(&r->gate);
    if (n_ready > r->n_ready)
        r->n_ready = n_ready < r->n ? n_ready : r->n;
    bool good = !r->failed;
    if (r->threaded && startable(r))
        pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->gate);
    return good;
}

/* Floats of a bucket; at least one. */
static size_t bucket_of(const ac_reducer *r, size_t n, size_t bucket_bytes)
{
    size_t fitting = r->device.group ? GROUP_BUCKET_BYTES : (size_t)r->size * BUCKET_BYTES_PER_RANK;
    bucket_bytes = bucket_bytes ? bucket_bytes : fitting < LARGEST_BUCKET_BYTES ? fitting : LARGEST_BUCKET_BYTES;
    size_t most = bucket_bytes / sizeof(float) < n ? bucket_bytes / sizeof(float) : n;
    return most + (most == 0);
}

static void init_locks(ac_reducer *r)
{
    pthread_condattr_t monotonic;
    pthread_mutex_init(&r->drive, NULL);
    pthread_mutex_init(&r->gate, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static void device_announces(void *reducer, size_t n_ready)
{
    announce(reducer, n_ready);
}

static ac_status set_up(ac_reducer *r, const ac_reducer_place *place, size_t bucket_bytes)
{
    ac_status status = AC_OK;
    int level;
    r->bucket = bucket_of(r, place->n, bucket_bytes);
    r->n = r->n_started = r->device.group ? 0 : place->n;
    if (r->device.queue)
        AC_TRY(ac_device_side_init(&r->device, place, r->bucket, device_announces, r));
    if (r->size == 1 || r->device.group)
        return AC_OK;
    AC_TRY(ac_exchange_init(&r->exchange, r->comm, r->device.queue ? r->device.host : place->values, r->bucket));
    r->exchange.summed = r->device.queue ? ac_device_side_take_back : NULL;
    r->exchange.context = &r->device;
    AC_TRY(ac_comm_check(MPI_Query_thread(&level), "MPI_Query_thread"));
    if (level >= MPI_THREAD_SERIALIZED)
        AC_TRY(start_thread(r));
out:
    return status;
}

ac_status ac_reducer_create_on(MPI_Comm comm, const ac_reducer_place *place, size_t bucket_bytes, ac_reducer **out)
{
    ac_status status = AC_OK;
    ac_reducer *r = NULL;
    MPI_Comm own = MPI_COMM_NULL;
    *out = NULL;
    AC_TRY(ac_comm_check(MPI_Comm_dup(comm, &own), "MPI_Comm_dup")); /* first: what follows may fail on one rank alone */
    AC_TRY(ac_comm_agree(own, ac_calloc(1, sizeof *r, &r))); /* and this, since ranks decide together how they sum */
    r->comm = own;
    init_locks(r);
    AC_TRY(ac_comm_check(MPI_Comm_size(own, &r->size), "MPI_Comm_size"));
    AC_TRY(ac_comm_check(MPI_Comm_rank(own, &r->round.rank), "MPI_Comm_rank"));
    r->round.comm = own;
    r->round.size = r->size;
    AC_TRY(ac_device_side_choose(&r->device, own, place, r->way));
    AC_TRY(set_up(r, place, bucket_bytes));
    *out = r;
    return AC_OK;
out:
    if (r && r->comm == MPI_COMM_NULL) { /* another rank has no memory */
        ac_free(r);
        r = NULL;
    }
    if (!r && own != MPI_COMM_NULL)
        MPI_Comm_free(&own);
    ac_reducer_destroy(r);
    return status;
}

ac_status ac_reducer_create(MPI_Comm comm, float *values, size_t n, size_t bucket_bytes, ac_reducer **out)
{
    const ac_reducer_place place = {.values = values, .n = n};
    return ac_reducer_create_on(comm, &place, bucket_bytes, out);
}

void ac_reducer_destroy(ac_reducer *r)
{
    if (!r)
        return;
    if (r->threaded) {
        pthread_mutex_lock(&r->gate);
        r->quit = true;
        pthread_cond_signal(&r->wake);
        pthread_mutex_unlock(&r->gate);
        pthread_join(r->thread, NULL);
    }
    ac_device_side_release(&r->device); /* before what its copies announce themselves to */
    ac_exchange_release(&r->exchange);
    MPI_Comm_free(&r->comm);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->gate);
    pthread_mutex_destroy(&r->drive);
    ac_free(r);
}

void ac_reducer_begin(ac_reducer *r)
{
    pthread_mutex_lock(&r->gate);
    r->n_ready = r->n_started = 0;
    pthread_mutex_unlock(&r->gate);
}

ac_status ac_reducer_ready(ac_reducer *r, size_t n_ready)
{
    ac_status status = AC_OK;
    if (r->size == 1)
        return AC_OK;
    if (r->device.queue)
        AC_TRY(ac_device_side_ready(&r->device, n_ready));
    if (r->device.group)
        return AC_OK;
    bool good = announce(r, r->device.queue ? 0 : n_ready); /* a device announces when it gets there */
    if (r->threaded && good)
        return AC_OK;
    pthread_mutex_lock(&r->drive);
    advance(r);
    status = failure(r);
    pthread_mutex_unlock(&r->drive);
out:
    return status;
}

void ac_reducer_give_up(ac_reducer *r)
{
    if (r->device.queue) {
        r->device.gave_up = true;
        r->device.queue->group_abort(r->device.device);
        announce(r, r->n);
    }
}

const char *ac_reducer_way(const ac_reducer *r)
{
    return r->way;
}

bool ac_reducer_on_device(const ac_reducer *r)
{
    return r->device.group;
}

/* Wait for the round, and for all buckets when `all`. Under `drive`: the thread stands aside. */
static void drive(ac_reducer *r, bool all)
{
    double moved_s = ac_now_s();
    while (r->failure == AC_OK && (r->round.state != ROUND_DONE || (all && (r->n_started < r->n || r->exchange.n_under_way > 0)))) {
        bool moved = advance(r);
        double now = ac_now_s();
        if (moved)
            moved_s = now;
        else if (now - moved_s < 1e-6 * EAGER_US)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = 1000 * pause_us(now - moved_s, NAP_US)}, NULL);
    }
}

static ac_status sum_piece(ac_reducer *r, double *values, size_t n, bool finish)
{
    ac_status status = AC_OK;
    bool again = true;
    pthread_mutex_lock(&r->drive);
    while (again) {
        ac_round_begin(&r->round, values, n, finish);
        drive(r, finish);
        AC_TRY(failure(r));
        AC_TRY(ac_round_end(&r->round, values, &again));
    }
out:
    pthread_mutex_unlock(&r->drive);
    return status;
}

ac_status ac_reducer_finish_sum(ac_reducer *r, double *values, size_t n, double *exposed_s)
{
    ac_status status = AC_OK;
    double start_s = ac_now_s();
    if (n > AC_REDUCER_SUM_MAX)
        return ac_error(AC_ERR_RANGE, "%zu doubles are more than the end of a step takes", n);
    if (r->size > 1) {
        ac_status asked = r->device.queue && r->device.n_announced < r->device.n ? ac_device_side_ready(&r->device, r->device.n) : AC_OK;
        if (asked != AC_OK)
            return asked;
        announce(r, r->device.queue ? 0 : r->n);
        status = sum_piece(r, values, n, true);
        if (status == AC_OK && r->device.queue && !r->device.group)
            status = ac_device_side_finish(&r->device);
    }
    double took_s = ac_now_s() - start_s;
    r->stats.exposed_s += took_s;
    r->stats.n_steps++;
    if (exposed_s)
        *exposed_s = took_s;
    return status;
}

ac_status ac_reducer_finish(ac_reducer *r, double *exposed_s)
{
    return ac_reducer_finish_sum(r, NULL, 0, exposed_s);
}

ac_status ac_reducer_sum(ac_reducer *r, double *values, size_t n)
{
    ac_status status = AC_OK;
    double start_s = ac_now_s();
    for (size_t at = 0; at < n && r->size > 1; at += AC_REDUCER_SUM_MAX)
        AC_TRY(sum_piece(r, values + at, n - at < AC_REDUCER_SUM_MAX ? n - at : AC_REDUCER_SUM_MAX, false));
out:
    r->stats.sum_s += ac_now_s() - start_s;
    r->stats.n_sums++;
    return status;
}

void ac_reducer_get_stats(ac_reducer *r, ac_reducer_stats *stats)
{
    pthread_mutex_lock(&r->drive);
    *stats = r->stats;
    stats->threaded = r->threaded;
    stats->sent_bytes = r->exchange.sent_bytes + r->round.sent_bytes;
    stats->n_buckets = r->exchange.n_buckets - (uint64_t)r->exchange.n_under_way;
    pthread_mutex_unlock(&r->drive);
    if (r->device.queue)
        stats->exposed_s = ac_device_side_exposed_s(&r->device);
}
