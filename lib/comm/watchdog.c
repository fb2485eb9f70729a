/* The watchdog: start, reports and stop, and the thread of every rank but 0. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "anyclass/machine.h"
#include "comm/watchdog_internal.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static long long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000000000 + now.tv_nsec;
}

void ac_watchdog_at(ac_watchdog *w, const char *phase, int64_t step, bool waiting)
{
    if (!w)
        return;
    unsigned sequence = atomic_load_explicit(&w->sequence, memory_order_relaxed);
    atomic_store_explicit(&w->sequence, sequence + 1, memory_order_relaxed);
    atomic_store_explicit(&w->phase, phase, memory_order_release);
    atomic_store_explicit(&w->step, step, memory_order_release);
    atomic_store_explicit(&w->waiting, waiting, memory_order_release);
    atomic_store_explicit(&w->at_ns, now_ns(), memory_order_release);
    atomic_store_explicit(&w->sequence, sequence + 2, memory_order_release);
}

report ac_watchdog_report(ac_watchdog *w, double now)
{
    report r = {.step = -1};
    const char *phase = NULL;
    unsigned sequence = 0;
    for (int attempt = 0; attempt < 100; attempt++) {
        sequence = atomic_load_explicit(&w->sequence, memory_order_acquire);
        phase = atomic_load_explicit(&w->phase, memory_order_acquire);
        r.step = atomic_load_explicit(&w->step, memory_order_acquire);
        r.waiting = atomic_load_explicit(&w->waiting, memory_order_acquire);
        r.age_s = now - 1e-9 * (double)atomic_load_explicit(&w->at_ns, memory_order_acquire);
        if (sequence % 2 == 0 && atomic_load_explicit(&w->sequence, memory_order_relaxed) == sequence)
            break;
    }
    if (sequence == w->forgiven_sequence)
        r.age_s -= w->forgiven_s;
    r.watched = phase != NULL;
    snprintf(r.phase, sizeof r.phase, "%s", phase ? phase : "");
    return r;
}

double ac_watchdog_gap(ac_watchdog *w, double now)
{
    double gap = now - w->looked_s - w->interval_s;
    unsigned sequence = atomic_load_explicit(&w->sequence, memory_order_acquire);
    w->looked_s = now;
    if (gap < PAUSE_S)
        return 0;
    w->forgiven_s = gap + (sequence == w->forgiven_sequence ? w->forgiven_s : 0);
    w->forgiven_sequence = sequence;
    return gap;
}

void ac_report_text(const report *r, double age_s, char *text, size_t bytes)
{
    char step[24] = "";
    text[0] = 0;
    if (r->step >= 0)
        snprintf(step, sizeof step, " %lld", (long long)r->step);
    if (r->watched)
        snprintf(text, bytes, " (last known %s %.47s%s for %.0f s)", r->waiting ? "waiting in" : "in", r->phase, step, age_s);
}

/* Wait for the link, or to be told to stop. */
static void wait_for(const ac_watchdog *w, const tcp_link *link, short events, double timeout_s)
{
    struct pollfd fds[2] = {{.fd = w->wake_fd, .events = POLLIN}, {.fd = link->fd, .events = events}};
    timeout_s = timeout_s < 0 ? 0 : timeout_s;
    (void)poll(fds, 2, (int)(timeout_s * 1e3) + 1);
}

static bool connect_one(ac_watchdog *w, tcp_link *link, int address)
{
    const frame hello = {.kind = FRAME_HELLO, .rank = w->rank, .token = w->card.token[0]};
    double until_s = ac_now_s() + ATTEMPT_S;
    int error = 0;
    socklen_t bytes = sizeof error;
    int fd = ac_hub_connect(&w->card, address, w->place);
    if (fd < 0)
        return false;
    ac_link_open(link, fd);
    wait_for(w, link, POLLOUT, ATTEMPT_S);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) != 0 || error != 0 || !ac_link_send(link, &hello))
        goto out;
    while (ac_now_s() < until_s && !atomic_load(&w->stop)) {
        wait_for(w, link, POLLIN, until_s - ac_now_s());
        link_event event = ac_link_receive(link);
        if (event == LINK_LOST)
            break;
        if (event == LINK_FRAME)
            return link->in.kind == FRAME_WELCOME && link->in.token == w->card.token[1];
    }
out:
    ac_link_close(link);
    return false;
}

static bool connect_to_hub(ac_watchdog *w, tcp_link *link)
{
    double until_s = ac_now_s() + CONNECT_S;
    while (!atomic_load(&w->stop) && ac_now_s() < until_s) {
        for (int i = 0; i < w->card.n_addresses && !atomic_load(&w->stop); i++) {
            if (connect_one(w, link, i))
                return true;
            ac_link_close(link);
        }
        wait_for(w, link, 0, 1.0);
    }
    return false;
}

/* Rank 0 cannot speak: its deputy does, before anybody's end lets the launcher end us all. */
static void rank_0_is_gone(ac_watchdog *w, tcp_link *link, ac_status status, const char *how, const report *last, double age_s, int deputy)
{
    char text[TEXT_BYTES], doing[128];
    const struct timespec moment = {.tv_nsec = 100000000};
    ac_report_text(last, age_s, doing, sizeof doing);
    snprintf(text, sizeof text, "rank 0 on %s%s %s; all ranks end: look at that machine, then start again to go on", w->card.host, doing, how);
    w->config.verdict(w->config.context, status, w->rank == deputy ? text : NULL);
    ac_link_send(link, &(frame){.kind = FRAME_VERDICT, .status = (int32_t)status}); /* in case it comes back: it is to end too */
    if (w->rank != deputy)
        nanosleep(&moment, NULL);
    w->config.end(w->config.context, status);
}

/* Nobody else can: this rank watches itself until it is told to stop. */
static void watch_alone(ac_watchdog *w)
{
    const tcp_link none = {.fd = -1};
    char text[TEXT_BYTES], doing[128];
    while (!atomic_load(&w->stop)) {
        wait_for(w, &none, 0, w->interval_s);
        double now = ac_now_s();
        ac_watchdog_gap(w, now);
        report r = ac_watchdog_report(w, now);
        if (!r.watched || r.age_s <= w->config.limit_s)
            continue;
        ac_report_text(&r, r.age_s, doing, sizeof doing);
        snprintf(text, sizeof text, "rank %d on this machine%s made no progress for longer than --watchdog_s %.0f s, and has no connection to rank 0's watchdog to learn why; it ends",
                 w->rank, doing, w->config.limit_s);
        w->config.verdict(w->config.context, AC_ERR_WATCHDOG, text);
        w->config.end(w->config.context, AC_ERR_WATCHDOG);
        return;
    }
}

static void obey(ac_watchdog *w, const frame *verdict)
{
    w->config.verdict(w->config.context, (ac_status)verdict->status, NULL);
    w->config.end(w->config.context, (ac_status)verdict->status);
}

/* Our goodbye; what rank 0 still has to say counts. */
static void leave(ac_watchdog *w, tcp_link *link)
{
    const frame bye = {.kind = FRAME_BYE, .rank = w->rank};
    double until_s = ac_now_s() + GOODBYE_S;
    if (!ac_link_send(link, &bye))
        return;
    shutdown(link->fd, SHUT_WR);
    while (ac_now_s() < until_s) {
        struct pollfd fd = {.fd = link->fd, .events = POLLIN};
        (void)poll(&fd, 1, (int)(1e3 * (until_s - ac_now_s())) + 1);
        link_event event = ac_link_receive(link);
        if (event == LINK_LOST || (event == LINK_FRAME && link->in.kind == FRAME_BYE))
            return;
        if (event == LINK_FRAME && link->in.kind == FRAME_VERDICT) {
            obey(w, &link->in);
            return;
        }
    }
}

/* Beats to rank 0 and from it, until one of us leaves or a verdict comes. */
static void watch(ac_watchdog *w, tcp_link *link)
{
    double now = ac_now_s(), heard_s = now, beat_s = now;
    report hub = {.step = -1};
    int deputy = w->rank;
    bool lost = false;
    w->looked_s = now;
    while (!lost && !atomic_load(&w->stop)) {
        link_event event;
        now = ac_now_s();
        heard_s += ac_watchdog_gap(w, now);
        if (now >= beat_s) {
            beat_s = now + w->interval_s;
            ac_link_send(link, &(frame){.kind = FRAME_BEAT, .rank = w->rank, .report = ac_watchdog_report(w, now)});
        }
        while ((event = ac_link_receive(link)) == LINK_FRAME) {
            heard_s = now;
            if (link->in.kind == FRAME_BEAT) {
                hub = link->in.report;
                deputy = link->in.deputy;
            } else if (link->in.kind == FRAME_BYE) {
                leave(w, link);
                return;
            } else if (link->in.kind == FRAME_VERDICT) {
                obey(w, &link->in);
                return;
            }
        }
        lost = event == LINK_LOST;
        if (!lost && now - heard_s > w->config.limit_s) {
            char how[64];
            snprintf(how, sizeof how, "has been silent for %.0f s", now - heard_s);
            rank_0_is_gone(w, link, AC_ERR_WATCHDOG, how, &hub, hub.age_s + now - heard_s, deputy);
            return;
        }
        double until_s = heard_s + w->config.limit_s < beat_s ? heard_s + w->config.limit_s : beat_s;
        if (!lost)
            wait_for(w, link, POLLIN, until_s - now);
    }
    if (lost)
        rank_0_is_gone(w, link, AC_ERR_SYNC, "died", &hub, hub.age_s + now - heard_s, deputy);
    else
        leave(w, link);
}

static void *keep_watch(void *watchdog)
{
    ac_watchdog *w = watchdog;
    tcp_link link = {.fd = -1};
    w->looked_s = ac_now_s();
    if (w->rank == 0)
        ac_hub_run(w);
    else if (connect_to_hub(w, &link))
        watch(w, &link);
    else
        watch_alone(w);
    ac_link_close(&link);
    return NULL;
}

static ac_status start_thread(ac_watchdog *w)
{
    sigset_t all, before;
    sigfillset(&all); /* signals are for the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&w->thread, NULL, keep_watch, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    w->running = error == 0;
    return error == 0 ? AC_OK : ac_error(AC_ERR_MEMORY, "the watchdog's thread cannot be started");
}

typedef struct introduction {
    char host[HOST_BYTES], place[PLACE_BYTES];
} introduction;

/* On rank 0: a listener that all others can reach. */
static ac_status open_hub(ac_watchdog *w, const introduction *all)
{
    bool local = true;
    for (int r = 0; r < w->size; r++) {
        memcpy(w->host[r], all[r].host, HOST_BYTES);
        local = local && strcmp(all[r].place, all[0].place) == 0;
    }
    memcpy(w->card.host, all[0].host, HOST_BYTES);
    memcpy(w->card.place, all[0].place, PLACE_BYTES);
    ac_machine_allow_files((size_t)w->size + 128);
    return ac_hub_listen(local, &w->listener, &w->card);
}

static ac_status introduce(ac_watchdog *w, MPI_Comm comm)
{
    ac_status status = AC_OK;
    introduction mine, *all = NULL;
    memset(&mine, 0, sizeof mine);
    ac_place_read(mine.host, mine.place);
    memcpy(w->place, mine.place, PLACE_BYTES);
    if (w->rank == 0) {
        status = ac_malloc((size_t)w->size, sizeof *all, &all);
        if (status == AC_OK)
            status = ac_malloc((size_t)w->size, sizeof *w->host, &w->host);
    }
    AC_TRY(ac_comm_agree(comm, status));
    AC_TRY(ac_comm_check(MPI_Gather(&mine, (int)sizeof mine, MPI_BYTE, all, (int)sizeof mine, MPI_BYTE, 0, comm), "MPI_Gather"));
    AC_TRY(ac_comm_agree(comm, w->rank == 0 ? open_hub(w, all) : AC_OK));
    AC_TRY(ac_comm_broadcast(comm, &w->card, sizeof w->card));
out:
    ac_free(all);
    return status;
}

ac_status ac_watchdog_start(MPI_Comm comm, const ac_watchdog_config *config, ac_watchdog **out)
{
    ac_status status = AC_OK;
    ac_watchdog *w = NULL;
    *out = NULL;
    status = ac_calloc(1, sizeof *w, &w);
    if (status == AC_OK) {
        w->config = *config;
        w->interval_s = config->limit_s / 10 < 1 ? config->limit_s / 10 : 1;
        w->listener = -1;
        w->at_ns = now_ns();
        w->step = -1;
        w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (w->wake_fd < 0)
            status = ac_error_errno("the watchdog cannot be woken");
    }
    AC_TRY(ac_comm_agree(comm, status));
    AC_TRY(ac_comm_check(MPI_Comm_rank(comm, &w->rank), "MPI_Comm_rank"));
    AC_TRY(ac_comm_check(MPI_Comm_size(comm, &w->size), "MPI_Comm_size"));
    if (w->size > 1)
        AC_TRY(introduce(w, comm));
    else
        ac_place_read(w->card.host, w->card.place);
    AC_TRY(ac_comm_agree(comm, start_thread(w)));
    *out = w;
    return AC_OK;
out:
    ac_watchdog_stop(w);
    return status;
}

void ac_watchdog_stop(ac_watchdog *w)
{
    if (!w)
        return;
    if (w->running) {
        uint64_t one = 1;
        atomic_store(&w->stop, true);
        (void)!write(w->wake_fd, &one, sizeof one);
        pthread_join(w->thread, NULL);
    }
    if (w->wake_fd >= 0)
        close(w->wake_fd);
    if (w->listener >= 0)
        close(w->listener);
    ac_free(w->host);
    ac_free(w);
}
