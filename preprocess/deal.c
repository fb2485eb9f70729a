/* Who makes which shard. Rank 0 gives the next missing one to whoever is free; when none is left, a free rank helps another
 * with its shard, some images at a time, until that one's images are all taken. So no rank stands idle, however few
 * shards there are and however unequal the ranks.
 *
 * Every message is a question that its sender waits for the answer of, and whoever waits answers others meanwhile; so
 * nothing is under way when the last rank comes to the barrier at the end. Rank 0's main thread answers between two images. A
 * rank that fails says so with its next question: then nobody gets a new shard. A shard is written (write.c) while the next
 * one's images are read. */
#include "anyclass/alloc.h"
#include "anyclass/stop.h"
#include "preprocess/beat.h"
#include "preprocess/steps.h"
#include <string.h>
#include <time.h>

enum { LOAN = 32 /* images that are lent at a time */, TAG_FREE = 11, TAG_TASK, TAG_WANT, TAG_LOAN, TAG_RESULT, TAG_PIXELS };

typedef enum task_kind { TASK_OWN, TASK_HELP, TASK_END } task_kind;

typedef struct task { /* what a free rank is to do */
    int64_t kind, which; /* TASK_OWN: the shard; TASK_HELP: the rank */
} task;

typedef struct report { /* what a free rank tells of its last task */
    int64_t failed, n_images;
    int64_t exhausted; /* a rank that had nothing left to lend, or -1 */
} report;

typedef struct loan { /* images [first, first + n) of the lender's annotation list; n 0: nothing left */
    int64_t first, n;
} loan;

typedef struct result { /* what comes back, the pixels in a message of their own */
    int64_t first, n, status;
    char text[AC_ERROR_TEXT_BYTES];
    char reason[LOAN][REASON_BYTES];
} result;

typedef struct dealer {
    split_job *job;
    image_batch *batch; /* the shard this rank makes; NULL between shards */
    shard_writer writer; /* and the one before it */
    size_t n_lent;      /* images of it that other ranks have */
    bool asking;        /* waits to hear whether it makes a shard: until then it cannot say that it has nothing to lend */
    result *buffer;
    ac_status status; /* why messages cannot be exchanged */
    work_beat beat;
    size_t n_read;      /* images by this rank, also for others */
    double waited_s;
    /* on rank 0 */
    size_t *missing, n_missing, next;
    bool *lends; /* [size] the rank makes a shard and may have images to lend */
    int last_lender;
    bool stopped;
    size_t n_reported; /* images in the shards that are done */
} dealer;

/* Between two looks for messages. */
static void pause_shortly(dealer *d)
{
    double start = ac_now_s();
    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    d->waited_s += ac_now_s() - start;
}

/* While shards are made a signal to any rank is a failure like any other: it ends all ranks at the next image. Other failures end ranks when their
 * shards are done. */
static ac_status check_signal(dealer *d)
{
    ac_status status = beat_once(&d->beat);
    return status == AC_ERR_SIGNAL ? ac_error(AC_ERR_SIGNAL, "stopped by a signal: %s", PREPROCESS_STOPPED) : AC_OK;
}

static void keep_failure(dealer *d, int code, const char *call)
{
    ac_status status = ac_comm_check(code, call);
    if (d->status == AC_OK)
        d->status = status;
}

static void send(dealer *d, const void *message, size_t n_bytes, int rank, int tag)
{
    int count = 0;
    if (ac_comm_count(n_bytes, &count) != AC_OK)
        keep_failure(d, MPI_ERR_COUNT, "MPI_Send");
    else
        keep_failure(d, MPI_Send(message, count, MPI_BYTE, rank, tag, d->job->comm), "MPI_Send");
}

static void receive(dealer *d, void *message, size_t n_bytes, int rank, int tag)
{
    int count = 0;
    if (ac_comm_count(n_bytes, &count) != AC_OK)
        keep_failure(d, MPI_ERR_COUNT, "MPI_Recv");
    else
        keep_failure(d, MPI_Recv(message, count, MPI_BYTE, rank, tag, d->job->comm, MPI_STATUS_IGNORE), "MPI_Recv");
}

static bool has_arrived(dealer *d, int rank, int tag, int *from)
{
    int arrived = 0;
    MPI_Status info;
    keep_failure(d, MPI_Iprobe(rank, tag, d->job->comm, &arrived, &info), "MPI_Iprobe");
    if (arrived && from)
        *from = info.MPI_SOURCE;
    return d->status == AC_OK && arrived;
}

static void show_progress(dealer *d)
{
    if (d->job->rank == 0)
        ac_progress_update(&d->job->progress, d->n_reported + (d->batch ? atomic_load(&d->batch->n_done) : 0), NULL);
}

/* Rank 0's decision. Helpers are sent out only when no shard is left to give, so a rank that had nothing left to lend
 * will not have any later. */
static task decide(dealer *d, int rank, const report *told)
{
    d->lends[rank] = false;
    if (told->exhausted >= 0)
        d->lends[told->exhausted] = false;
    d->stopped |= told->failed != 0;
    d->n_reported += (size_t)told->n_images;
    if (!d->stopped && d->next < d->n_missing) {
        d->lends[rank] = true;
        return (task){TASK_OWN, (int64_t)d->missing[d->next++]};
    }
    for (int i = 1; i <= d->job->size && !d->stopped; i++) {
        int lender = (d->last_lender + i) % d->job->size;
        if (d->lends[lender]) {
            d->last_lender = lender;
            return (task){TASK_HELP, lender};
        }
    }
    return (task){TASK_END, 0};
}

static loan lend(dealer *d)
{
    image_batch *b = d->batch;
    if (!b || atomic_load(&b->failed) || atomic_load(&b->next) >= b->n)
        return (loan){0, 0};
    size_t first = atomic_fetch_add(&b->next, LOAN), n = first >= b->n ? 0 : b->n - first < LOAN ? b->n - first : LOAN;
    d->n_lent += n;
    return (loan){(int64_t)(b->first + first), (int64_t)n};
}

/* What a helper made of a loan. */
static void take_result(dealer *d, int rank)
{
    image_batch *b = d->batch;
    result *r = d->buffer;
    receive(d, r, sizeof *r, rank, TAG_RESULT);
    if (d->status != AC_OK)
        return;
    size_t at = (size_t)r->first - b->first, n = (size_t)r->n, image_bytes = preprocess_image_bytes(d->job);
    receive(d, b->pixels + at * image_bytes, n * image_bytes, rank, TAG_PIXELS);
    memcpy(b->reason + at, r->reason, n * sizeof *r->reason);
    if (r->status != AC_OK)
        preprocess_batch_fail(b, (ac_status)r->status, r->text);
    atomic_fetch_add(&b->n_done, n);
    d->n_lent -= n;
}

/* Answer whoever asks. */
static void serve(void *context)
{
    dealer *d = context;
    int from;
    report told;
    if (check_signal(d) != AC_OK && d->batch)
        preprocess_batch_fail(d->batch, AC_ERR_SIGNAL, ac_error_text());
    if (d->job->size > 1) {
        while (d->job->rank == 0 && has_arrived(d, MPI_ANY_SOURCE, TAG_FREE, &from)) {
            receive(d, &told, sizeof told, from, TAG_FREE);
            task answer = decide(d, from, &told);
            send(d, &answer, sizeof answer, from, TAG_TASK);
        }
        while (!d->asking && has_arrived(d, MPI_ANY_SOURCE, TAG_WANT, &from)) {
            receive(d, NULL, 0, from, TAG_WANT);
            loan answer = lend(d);
            send(d, &answer, sizeof answer, from, TAG_LOAN);
        }
        while (has_arrived(d, MPI_ANY_SOURCE, TAG_RESULT, &from))
            take_result(d, from);
    }
    show_progress(d);
}

/* The answer to a question that was sent to `rank`; others are answered meanwhile. False when messages fail. */
static bool wait_answer(dealer *d, int rank, int tag, void *answer, size_t n_bytes)
{
    while (d->status == AC_OK && !has_arrived(d, rank, tag, NULL)) {
        serve(d);
        pause_shortly(d);
    }
    if (d->status == AC_OK)
        receive(d, answer, n_bytes, rank, tag);
    return d->status == AC_OK;
}

/* Wait until the shard before is on disk, answering others. */
static ac_status finish_write(dealer *d)
{
    while (d->status == AC_OK && !preprocess_write_done(&d->writer)) {
        serve(d);
        pause_shortly(d);
    }
    return preprocess_write_end(&d->writer);
}

/* Make a shard, others helping where they are free. */
static ac_status own(dealer *d, size_t shard, report *told)
{
    ac_status status = AC_OK;
    split_job *job = d->job;
    image_batch batch;
    AC_TRY(preprocess_batch_begin(&batch, job, shard));
    batch.poll = serve;
    batch.context = d;
    d->batch = &batch;
    d->n_read += preprocess_batch_read(&batch);
    while (d->n_lent > 0 && d->status == AC_OK) {
        serve(d);
        pause_shortly(d);
    }
    AC_TRY(d->status);
    AC_TRY(finish_write(d));
    AC_TRY(preprocess_write_begin(&d->writer, &batch, shard));
    told->n_images = (int64_t)batch.n;
out:
    d->batch = NULL;
    preprocess_batch_end(&batch);
    return status;
}

/* Read images for another rank until it has none left to lend. They go where this rank's own shards would. */
static ac_status help(dealer *d, int lender, report *told)
{
    ac_status status = AC_OK;
    split_job *job = d->job;
    loan given;
    result *r = d->buffer;
    told->exhausted = lender;
    AC_TRY(preprocess_reserve_pixels(job, LOAN));
    for (;;) {
        AC_TRY(check_signal(d));
        send(d, NULL, 0, lender, TAG_WANT);
        if (!wait_answer(d, lender, TAG_LOAN, &given, sizeof given))
            return d->status;
        if (given.n == 0)
            return AC_OK;
        image_batch batch = {.job = job, .first = (size_t)given.first, .n = (size_t)given.n, .pixels = job->pixels};
        batch.reason = r->reason; /* nobody sends results to a rank that makes no shard */
        batch.poll = serve;
        batch.context = d;
        d->n_read += preprocess_batch_read(&batch);
        r->first = given.first;
        r->n = given.n;
        r->status = batch.status;
        snprintf(r->text, sizeof r->text, "%s", batch.text);
        send(d, r, sizeof *r, lender, TAG_RESULT);
        send(d, job->pixels, batch.n * preprocess_image_bytes(job), lender, TAG_PIXELS);
        AC_TRY(d->status);
    }
out:
    return status;
}

/* One question to rank 0 after the other, until it says that this is the end. */
static ac_status work(dealer *d)
{
    ac_status status = AC_OK;
    char text[AC_ERROR_TEXT_BYTES] = "";
    report told = {.exhausted = -1};
    task next;
    for (;;) {
        if (d->job->rank == 0) {
            next = decide(d, 0, &told);
        } else {
            send(d, &told, sizeof told, 0, TAG_FREE);
            d->asking = true;
            if (!wait_answer(d, 0, TAG_TASK, &next, sizeof next))
                return d->status;
            d->asking = false;
        }
        if (next.kind == TASK_END)
            break;
        told = (report){.exhausted = -1};
        ac_status one = next.kind == TASK_OWN ? own(d, (size_t)next.which, &told) : help(d, (int)next.which, &told);
        if (one != AC_OK && status == AC_OK) {
            status = one;
            snprintf(text, sizeof text, "%s", ac_error_text());
        }
        if (status == AC_OK && (status = check_signal(d)) != AC_OK)
            snprintf(text, sizeof text, "%s", ac_error_text());
        told.failed = status != AC_OK;
    }
    ac_status written = finish_write(d);
    return status == AC_OK ? written : ac_error(status, "%s", text);
}

/* The end, whatever happened: answer until every rank is here. */
static ac_status leave(dealer *d)
{
    bool all_here = false;
    while (d->status == AC_OK && !all_here) {
        serve(d);
        ac_status status = beat_leave(&d->beat, false, &all_here);
        if (d->status == AC_OK)
            d->status = status;
        if (!all_here)
            pause_shortly(d);
    }
    return d->status;
}

static ac_status list_missing(dealer *d)
{
    ac_status status = AC_OK;
    split_job *job = d->job;
    size_t next = 0, first;
    AC_TRY(ac_malloc(job->n_shards, sizeof *d->missing, &d->missing));
    AC_TRY(ac_calloc((size_t)job->size, sizeof *d->lends, &d->lends));
    AC_TRY(ac_calloc(1, sizeof *d->buffer, &d->buffer));
    for (size_t shard = 0; shard < job->n_shards; shard++) {
        if (next < job->n_records && (size_t)job->record[next].shard == shard) {
            next++;
            continue;
        }
        d->missing[d->n_missing++] = shard;
        job->n_to_make += preprocess_shard_range(job, shard, &first);
    }
    if (next > 0)
        ac_log(AC_LOG_INFO, "%s: %zu of %zu shards are complete already", job->meta.split, next, job->n_shards);
out:
    return status;
}

ac_status preprocess_make_missing(split_job *job)
{
    ac_status status = AC_OK;
    dealer d = {.job = job, .writer = {.job = job}};
    AC_TRY(ac_comm_agree(job->comm, list_missing(&d)));
    ac_progress_begin(&job->progress, job->meta.split, "images", job->n_to_make);
    beat_begin(&d.beat, job->comm, NULL, NULL);
    status = work(&d);
    ac_status left = leave(&d);
    ac_log(AC_LOG_DEBUG, "%s: rank %d read %zu images, waited %.2f s", job->meta.split, job->rank, d.n_read, d.waited_s);
    status = ac_comm_agree(job->comm, status != AC_OK ? status : left);
    if (status == AC_ERR_SIGNAL) /* says which */
        AC_TRY(ac_comm_check_stop(job->comm, PREPROCESS_STOPPED));
    AC_TRY(status);
    if (job->n_to_make) {
        ac_progress_update(&job->progress, job->n_to_make, NULL);
        ac_progress_end(&job->progress);
    }
out:
    preprocess_write_release(&d.writer);
    ac_free(d.missing);
    ac_free(d.lends);
    ac_free(d.buffer);
    return status;
}
