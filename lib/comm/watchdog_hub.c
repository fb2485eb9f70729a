/* Rank 0's side of the watchdog: takes in connections, listens to beats, and judges. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "comm/watchdog_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { N_GUESTS = 64, MOST_NAMED = 4, RANKS_PER_MS = 100 };
#define GUEST_S 5.0 /* for a connection to show that it is one of us */

/* PEER_ENDED: it gave us up while we were stopped, and has told its verdict */
typedef enum peer_state { PEER_AWAITED, PEER_THERE, PEER_LEFT, PEER_DEAD, PEER_ENDED } peer_state;

typedef struct peer {
    tcp_link link;
    peer_state state;
    double heard_s; /* when; what it said then: */
    report last;
    bool blamed;
    nfds_t slot;    /* in fds; 0, which is somebody else's, until the first wait */
} peer;

typedef struct guest { /* has not said yet who it is; a rank that did stays one until its first beat */
    tcp_link link;
    int rank; /* 0: unknown */
    double since_s;
} guest;

typedef struct hub {
    ac_watchdog *w;
    peer *peer;          /* [size]; [0] is this rank itself */
    guest guest[N_GUESTS];
    struct pollfd *fds;
    double start_s, accept_after_s, beat_s; /* beat_s: when the next one is due */
    int n_awaited;
} hub;

static const char *host(const hub *h, int rank)
{
    return h->w->host ? h->w->host[rank] : h->w->card.host;
}

static double age_s(const peer *p, double now)
{
    return p->last.age_s + now - p->heard_s;
}

/* "ranks 1, 2 and 40 more": those that are blamed, with host and doings for the first ones. */
static void name_blamed(const hub *h, double now, char *text, size_t bytes)
{
    int n = 0, more = 0;
    size_t at = 0;
    for (int r = 0; r < h->w->size; r++) {
        char doing[128];
        if (!h->peer[r].blamed)
            continue;
        if (n++ >= MOST_NAMED) {
            more++;
            continue;
        }
        ac_report_text(&h->peer[r].last, age_s(&h->peer[r], now), doing, sizeof doing);
        at += (size_t)snprintf(text + at, bytes - at, "%srank %d on %s%s", n > 1 ? ", " : "", r, host(h, r), doing);
        at = at < bytes ? at : bytes - 1;
    }
    if (more)
        snprintf(text + at, bytes - at, " and %d more", more);
}

static int count_there(const hub *h)
{
    int n = 0;
    for (int r = 1; r < h->w->size; r++)
        n += h->peer[r].state == PEER_THERE;
    return n;
}

/* A guest that was let in takes itself for a peer: it gets the last word too. */
static void admit_guests(hub *h)
{
    for (int g = 0; g < N_GUESTS; g++) {
        guest *from = &h->guest[g];
        if (from->link.fd < 0 || from->rank == 0 || h->peer[from->rank].state != PEER_AWAITED)
            continue;
        h->peer[from->rank].link = from->link;
        h->peer[from->rank].state = PEER_THERE;
        from->link.fd = -1;
    }
}

static void send_to_all(hub *h, const frame *f)
{
    for (int r = 1; r < h->w->size; r++)
        if (h->peer[r].state == PEER_THERE)
            ac_link_send(&h->peer[r].link, f);
}

/* Until all others have closed their side, or the time is over. */
static void linger(hub *h, double seconds)
{
    double until_s = ac_now_s() + seconds;
    for (int r = 1; r < h->w->size; r++)
        if (h->peer[r].state == PEER_THERE)
            shutdown(h->peer[r].link.fd, SHUT_WR);
    while (count_there(h) > 0 && ac_now_s() < until_s) {
        nfds_t n = 0;
        for (int r = 1; r < h->w->size; r++)
            if (h->peer[r].state == PEER_THERE)
                h->fds[n++] = (struct pollfd){.fd = h->peer[r].link.fd, .events = POLLIN};
        (void)poll(h->fds, n, (int)(1e3 * (until_s - ac_now_s())) + 1);
        for (int r = 1; r < h->w->size; r++) {
            peer *p = &h->peer[r];
            link_event event = LINK_FRAME;
            while (p->state == PEER_THERE && (event = ac_link_receive(&p->link)) == LINK_FRAME)
                ;
            if (event == LINK_LOST) {
                p->state = PEER_LEFT;
                ac_link_close(&p->link);
            }
        }
    }
}

static void pronounce(hub *h, ac_status status, const char *what, double now)
{
    char names[TEXT_BYTES - 200], text[TEXT_BYTES];
    name_blamed(h, now, names, sizeof names);
    snprintf(text, sizeof text, "%s %s; all ranks end: start again to go on", names, what);
    h->w->config.verdict(h->w->config.context, status, text);
    admit_guests(h);
    send_to_all(h, &(frame){.kind = FRAME_VERDICT, .status = (int32_t)status});
    linger(h, LINGER_S);
    h->w->config.end(h->w->config.context, status);
}

/* @return how many ranks are blamed for standing still */
static int blame_stuck(hub *h, double now, bool *all_wait)
{
    double limit_s = h->w->config.limit_s;
    bool waits_long = false;
    int n = 0;
    *all_wait = h->w->size > 1;
    for (int r = 0; r < h->w->size; r++) {
        const peer *p = &h->peer[r];
        bool long_wait = p->state == PEER_THERE && p->last.waiting && age_s(p, now) > limit_s;
        waits_long = waits_long || long_wait;
        *all_wait = *all_wait && (long_wait || p->state != PEER_THERE);
    }
    for (int r = 0; r < h->w->size; r++) {
        peer *p = &h->peer[r];
        bool works = p->state == PEER_THERE && (!p->last.waiting || h->w->size == 1);
        p->blamed = (*all_wait && p->state == PEER_THERE) || (works && age_s(p, now) > limit_s && (p->last.watched || waits_long));
        n += p->blamed;
    }
    return n;
}

/* @return true after a verdict */
static bool judge(hub *h, double now)
{
    char what[128];
    for (int r = 1; r < h->w->size; r++)
        if (h->peer[r].state == PEER_ENDED) {
            ac_status status = (ac_status)h->peer[r].link.in.status;
            h->w->config.verdict(h->w->config.context, status, NULL);
            h->w->config.end(h->w->config.context, status);
            return true;
        }
    int n_dead = 0, n_silent = 0;
    bool all_wait;
    for (int r = 0; r < h->w->size; r++)
        n_dead += h->peer[r].blamed = h->peer[r].state == PEER_DEAD;
    if (n_dead > 0) {
        pronounce(h, AC_ERR_SYNC, "died (killed, crashed, or out of memory)", now);
        return true;
    }
    for (int r = 1; r < h->w->size; r++)
        n_silent += h->peer[r].blamed = h->peer[r].state == PEER_THERE && now - h->peer[r].heard_s > h->w->config.limit_s;
    snprintf(what, sizeof what, "sent no sign of life for --watchdog_s %.0f s: stopped, or its machine or network hangs", h->w->config.limit_s);
    if (n_silent == 0 && blame_stuck(h, now, &all_wait) > 0) {
        n_silent = 1;
        snprintf(what, sizeof what, "%s for longer than --watchdog_s %.0f s", all_wait ? "wait for each other" : "made no progress", h->w->config.limit_s);
    }
    if (n_silent > 0)
        pronounce(h, AC_ERR_WATCHDOG, what, now);
    return n_silent > 0;
}

static void hear(hub *h, int r, double now)
{
    peer *p = &h->peer[r];
    link_event event = LINK_NOTHING;
    while (p->state == PEER_THERE && (event = ac_link_receive(&p->link)) == LINK_FRAME) {
        p->heard_s = now;
        if (p->link.in.kind == FRAME_BEAT)
            p->last = p->link.in.report;
        if (p->link.in.kind == FRAME_BYE) {
            ac_link_send(&p->link, &(frame){.kind = FRAME_BYE});
            ac_link_close(&p->link);
            p->state = PEER_LEFT;
        } else if (p->link.in.kind == FRAME_VERDICT) {
            p->state = PEER_ENDED;
        }
    }
    if (event == LINK_LOST) {
        p->state = PEER_DEAD;
        ac_link_close(&p->link);
    }
}

static void take_in(hub *h, double now)
{
    for (int g = 0; g < N_GUESTS; g++) {
        if (h->guest[g].link.fd >= 0)
            continue;
        int fd = accept(h->w->listener, NULL, NULL);
        if (fd < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ECONNABORTED && errno != EINTR)
                h->accept_after_s = now + 1; /* no file descriptors left, for one */
            return;
        }
        int on = fcntl(fd, F_GETFL);
        fcntl(fd, F_SETFL, on | O_NONBLOCK);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        ac_link_open(&h->guest[g].link, fd);
        h->guest[g].rank = 0;
        h->guest[g].since_s = now;
    }
}

/* A guest becomes a peer when it has shown the token, got ours, and sent its first beat: then neither side can give up. */
static void hear_guest(hub *h, guest *g, double now)
{
    link_event event = ac_link_receive(&g->link);
    const frame *f = &g->link.in;
    bool stays = event == LINK_NOTHING && now - g->since_s < GUEST_S;
    if (event == LINK_FRAME && g->rank == 0) {
        stays = f->kind == FRAME_HELLO && f->token == h->w->card.token[0] && f->rank > 0 && f->rank < h->w->size;
        g->rank = stays ? f->rank : 0;
        stays = stays && ac_link_send(&g->link, &(frame){.kind = FRAME_WELCOME, .token = h->w->card.token[1]});
    } else if (event == LINK_FRAME && f->kind == FRAME_BEAT && h->peer[g->rank].state == PEER_AWAITED) {
        peer *p = &h->peer[g->rank];
        *p = (peer){.link = g->link, .state = PEER_THERE, .heard_s = now, .last = f->report};
        g->link.fd = -1;
        h->n_awaited--;
        h->beat_s = 0; /* it is to know soon who speaks when this rank is gone */
        return;
    }
    if (!stays)
        ac_link_close(&g->link);
}

/* Who speaks when this rank is gone: not one of this machine, if there is another. */
static int deputy(const hub *h)
{
    int best = -1;
    for (int r = 1; r < h->w->size; r++) {
        if (h->peer[r].state != PEER_THERE)
            continue;
        if (strcmp(host(h, r), host(h, 0)) != 0)
            return r;
        best = best < 0 ? r : best;
    }
    return best;
}

static void warn_of_missing(const hub *h)
{
    char names[256] = "";
    size_t at = 0;
    int n = 0;
    for (int r = 1; r < h->w->size; r++)
        if (h->peer[r].state == PEER_AWAITED && n++ < 8)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%d on %.20s", n > 1 ? ", " : "", r, host(h, r));
    ac_log(AC_LOG_WARN, "watchdog: %d rank%s (%s%s) could not connect to rank 0 on %s, port %d: if one stops or dies, it is not noticed at once; a firewall?",
           n, n > 1 ? "s" : "", names, n > 8 ? ", ..." : "", h->w->card.host, (int)h->w->card.port);
}

/* Ranks that have not come by now will not: their own attempts are over. */
static void close_door(hub *h, double now)
{
    if (h->w->listener < 0 || (h->n_awaited > 0 && now - h->start_s < CONNECT_S + GUEST_S + ATTEMPT_S))
        return;
    if (h->n_awaited > 0)
        warn_of_missing(h);
    close(h->w->listener);
    h->w->listener = -1;
    for (int g = 0; g < N_GUESTS; g++)
        ac_link_close(&h->guest[g].link);
}

static void wait_for_events(hub *h, double now, double until_s)
{
    nfds_t n = 0;
    bool room = false;
    h->fds[n++] = (struct pollfd){.fd = h->w->wake_fd, .events = POLLIN};
    if (h->w->size >= RANKS_PER_MS) /* a thousand ranks' beats are taken in some at a time, not one by one */
        (void)poll(h->fds, n, h->w->size / RANKS_PER_MS);
    for (int r = 1; r < h->w->size; r++)
        if (h->peer[r].state == PEER_THERE) {
            h->peer[r].slot = n;
            h->fds[n++] = (struct pollfd){.fd = h->peer[r].link.fd, .events = POLLIN};
        }
    for (int g = 0; g < N_GUESTS; g++) {
        room = room || h->guest[g].link.fd < 0;
        if (h->guest[g].link.fd >= 0)
            h->fds[n++] = (struct pollfd){.fd = h->guest[g].link.fd, .events = POLLIN};
    }
    if (h->w->listener >= 0 && room && now >= h->accept_after_s)
        h->fds[n++] = (struct pollfd){.fd = h->w->listener, .events = POLLIN};
    (void)poll(h->fds, n, until_s > now ? (int)(1e3 * (until_s - now)) + 1 : 0);
}

static void hear_all(hub *h, double now)
{
    if (h->w->listener >= 0 && now >= h->accept_after_s)
        take_in(h, now);
    for (int g = 0; g < N_GUESTS; g++)
        if (h->guest[g].link.fd >= 0)
            hear_guest(h, &h->guest[g], now);
    for (int r = 1; r < h->w->size; r++)
        if (h->fds[h->peer[r].slot].revents)
            hear(h, r, now);
}

static void run(hub *h)
{
    while (!atomic_load(&h->w->stop)) {
        double now = ac_now_s(), gap = ac_watchdog_gap(h->w, now);
        for (int r = 1; r < h->w->size; r++)
            h->peer[r].heard_s += gap;
        hear_all(h, now);
        close_door(h, now);
        h->peer[0].heard_s = now;
        h->peer[0].last = ac_watchdog_report(h->w, now);
        if (judge(h, now))
            return;
        if (now >= h->beat_s) {
            h->beat_s = now + h->w->interval_s;
            send_to_all(h, &(frame){.kind = FRAME_BEAT, .deputy = deputy(h), .report = h->peer[0].last});
        }
        wait_for_events(h, now, h->beat_s);
    }
    admit_guests(h);
    send_to_all(h, &(frame){.kind = FRAME_BYE});
    linger(h, GOODBYE_S);
}

void ac_hub_run(ac_watchdog *w)
{
    hub h = {.w = w, .start_s = ac_now_s(), .n_awaited = w->size - 1};
    if (ac_calloc((size_t)w->size, sizeof *h.peer, &h.peer) != AC_OK || ac_calloc((size_t)w->size + N_GUESTS + 2, sizeof *h.fds, &h.fds) != AC_OK) {
        ac_log(AC_LOG_WARN, "watchdog: %s: nobody is watched", ac_error_text());
        goto out;
    }
    for (int r = 0; r < w->size; r++)
        h.peer[r].link.fd = -1;
    for (int g = 0; g < N_GUESTS; g++)
        h.guest[g].link.fd = -1;
    h.peer[0].state = PEER_THERE;
    run(&h);
    for (int r = 0; r < w->size; r++)
        ac_link_close(&h.peer[r].link);
    for (int g = 0; g < N_GUESTS; g++)
        ac_link_close(&h.guest[g].link);
out:
    ac_free(h.peer);
    ac_free(h.fds);
}
