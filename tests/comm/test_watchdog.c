/* Rank 0's side of the watchdog in this process, the other ranks played by the test over real sockets: strangers, late and
 * repeated connections, each verdict and its words, goodbyes, a thousand ranks. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "anyclass/machine.h"
#include "comm/watchdog_internal.h"
#include "tests/tap.h"
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    int n_verdicts, n_ends;
    ac_status status;
    bool spoken;
    char text[TEXT_BYTES];
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void verdict(void *context, ac_status status, const char *text)
{
    (void)context;
    pthread_mutex_lock(&seen.lock);
    seen.n_verdicts++;
    seen.status = status;
    seen.spoken = text != NULL;
    snprintf(seen.text, sizeof seen.text, "%s", text ? text : "");
    pthread_mutex_unlock(&seen.lock);
}

static void end(void *context, ac_status status)
{
    (void)context;
    (void)status;
    pthread_mutex_lock(&seen.lock);
    seen.n_ends++;
    pthread_mutex_unlock(&seen.lock);
}

static bool ended_within(double seconds)
{
    double until_s = ac_now_s() + seconds;
    for (;;) {
        pthread_mutex_lock(&seen.lock);
        bool ended = seen.n_ends > 0;
        pthread_mutex_unlock(&seen.lock);
        if (ended || ac_now_s() > until_s)
            return ended;
        poll(NULL, 0, 5);
    }
}

static void *hub_thread(void *w)
{
    ac_hub_run(w);
    return NULL;
}

typedef struct fixture {
    ac_watchdog *w;
    tcp_link *link; /* [size] */
    pthread_t thread;
} fixture;

static bool open_fixture(fixture *f, int size, double limit_s, bool local)
{
    *f = (fixture){0};
    seen.n_verdicts = seen.n_ends = 0;
    if (ac_calloc(1, sizeof *f->w, &f->w) != AC_OK || ac_calloc((size_t)size, sizeof *f->w->host, &f->w->host) != AC_OK ||
        ac_calloc((size_t)size, sizeof *f->link, &f->link) != AC_OK)
        return false;
    f->w->config = (ac_watchdog_config){.limit_s = limit_s, .verdict = verdict, .end = end};
    f->w->size = size;
    f->w->interval_s = 0.1;
    f->w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    f->w->step = -1;
    f->w->looked_s = ac_now_s();
    ac_watchdog_at(f->w, NULL, -1, false);
    for (int r = 0; r < size; r++) {
        f->link[r].fd = -1;
        snprintf(f->w->host[r], HOST_BYTES, "node%d", r / 2);
    }
    ac_place_read(f->w->card.host, f->w->card.place);
    return ac_hub_listen(local, &f->w->listener, &f->w->card) == AC_OK && pthread_create(&f->thread, NULL, hub_thread, f->w) == 0;
}

static void close_fixture(fixture *f)
{
    uint64_t one = 1;
    atomic_store(&f->w->stop, true);
    (void)!write(f->w->wake_fd, &one, sizeof one);
    pthread_join(f->thread, NULL);
    for (int r = 0; r < f->w->size; r++)
        ac_link_close(&f->link[r]);
    close(f->w->wake_fd);
    if (f->w->listener >= 0)
        close(f->w->listener);
    ac_free(f->link);
    ac_free(f->w->host);
    ac_free(f->w);
}

/* The next frame of `kind` within five seconds; others are passed over. */
static bool await(tcp_link *link, int kind)
{
    double until_s = ac_now_s() + 5;
    while (ac_now_s() < until_s) {
        link_event event = ac_link_receive(link);
        if (event == LINK_FRAME && link->in.kind == kind)
            return true;
        if (event == LINK_LOST)
            return false;
        struct pollfd fd = {.fd = link->fd, .events = POLLIN};
        if (event == LINK_NOTHING)
            poll(&fd, 1, 20);
    }
    return false;
}

/* True when the other side closes within six seconds, without a welcome. */
static bool closed(tcp_link *link)
{
    double until_s = ac_now_s() + 6;
    link_event event = LINK_NOTHING;
    while (event != LINK_LOST && ac_now_s() < until_s) {
        struct pollfd fd = {.fd = link->fd, .events = POLLIN};
        event = ac_link_receive(link);
        if (event == LINK_NOTHING)
            poll(&fd, 1, 20);
        if (event == LINK_FRAME && link->in.kind == FRAME_WELCOME)
            return false;
    }
    return event == LINK_LOST;
}

static bool dial(fixture *f, tcp_link *link)
{
    struct pollfd fd = {.events = POLLOUT};
    fd.fd = ac_hub_connect(&f->w->card, 0, f->w->card.place);
    if (fd.fd < 0)
        return false;
    poll(&fd, 1, 2000);
    ac_link_open(link, fd.fd);
    return true;
}

static bool beat(fixture *f, int rank, const char *phase, double age_s, bool waiting)
{
    frame b = {.kind = FRAME_BEAT, .rank = rank, .report = {.step = 12, .age_s = age_s, .watched = phase != NULL, .waiting = waiting}};
    snprintf(b.report.phase, sizeof b.report.phase, "%s", phase ? phase : "");
    return ac_link_send(&f->link[rank], &b);
}

static bool hello(fixture *f, tcp_link *link, int rank, uint64_t token)
{
    return dial(f, link) && ac_link_send(link, &(frame){.kind = FRAME_HELLO, .rank = rank, .token = token});
}

static bool join(fixture *f, int rank)
{
    return hello(f, &f->link[rank], rank, f->w->card.token[0]) && await(&f->link[rank], FRAME_WELCOME) &&
           f->link[rank].in.token == f->w->card.token[1] && beat(f, rank, "training step", 0, false);
}

static void test_strangers(void)
{
    fixture f;
    tcp_link mute, babbler, wrong, high, early;
    char noise[4096];
    memset(noise, 'x', sizeof noise);
    bool good = open_fixture(&f, 3, 60, true) && dial(&f, &mute) && dial(&f, &babbler) && send(babbler.fd, noise, sizeof noise, MSG_NOSIGNAL) > 0;
    good = good && hello(&f, &wrong, 1, f.w->card.token[0] ^ 1) && hello(&f, &high, 3, f.w->card.token[0]) && dial(&f, &early) &&
           ac_link_send(&early, &(frame){.kind = FRAME_BEAT, .rank = 1});
    TAP_OK(good && closed(&babbler) && closed(&wrong) && closed(&high) && closed(&early), "noise, a wrong token, a rank too high, a beat without hello: closed");
    TAP_OK(join(&f, 1), "a rank comes in beside them");
    TAP_OK(closed(&mute), "who says nothing is closed after a while");
    TAP_OK(hello(&f, &mute, 2, f.w->card.token[0]) && await(&mute, FRAME_WELCOME), "a rank that is let in");
    ac_link_close(&mute);
    TAP_OK(!ended_within(0.3), "and gives up before its first beat is not dead");
    TAP_OK(join(&f, 2) && await(&f.link[2], FRAME_BEAT), "it comes again and is heard");
    TAP_OK(!ended_within(0.1) && dial(&f, &mute) == true, "all are there");
    TAP_OK(closed(&mute), "and the door is closed");
    ac_link_close(&babbler);
    ac_link_close(&wrong);
    ac_link_close(&high);
    ac_link_close(&early);
    ac_link_close(&mute);
    close_fixture(&f);
    TAP_OK(seen.n_verdicts == 0, "no stranger made a verdict");
}

static void test_death(void)
{
    fixture f;
    TAP_OK(open_fixture(&f, 4, 60, true) && join(&f, 1) && join(&f, 2) && join(&f, 3) && beat(&f, 2, "saving", 3, false), "three ranks");
    bool heard = true;
    for (double until_s = ac_now_s() + 5; heard && f.link[1].in.deputy != 2 && ac_now_s() < until_s;)
        heard = await(&f.link[1], FRAME_BEAT);
    TAP_OK(heard && f.link[1].in.deputy == 2, "rank 2 is the first on another machine: it speaks when rank 0 is gone");
    ac_link_close(&f.link[2]);
    TAP_OK(await(&f.link[1], FRAME_VERDICT) && f.link[1].in.status == AC_ERR_SYNC && await(&f.link[3], FRAME_VERDICT), "the others are told of a death");
    ac_link_close(&f.link[1]);
    ac_link_close(&f.link[3]);
    TAP_OK(ended_within(5) && seen.status == AC_ERR_SYNC && strstr(seen.text, "rank 2 on node1 (last known in saving 12 for 3 s) died"), "%s", seen.text);
    close_fixture(&f);
}

static void test_goodbyes(void)
{
    fixture f;
    TAP_OK(open_fixture(&f, 4, 60, true) && join(&f, 1) && join(&f, 2), "two ranks");
    TAP_OK(hello(&f, &f.link[3], 3, f.w->card.token[0]) && await(&f.link[3], FRAME_WELCOME), "and one that was let in, whose first beat is on its way");
    ac_link_send(&f.link[1], &(frame){.kind = FRAME_BYE});
    TAP_OK(await(&f.link[1], FRAME_BYE) && closed(&f.link[1]), "a goodbye is answered");
    TAP_OK(!ended_within(0.3), "and is no death");
    double start_s = ac_now_s();
    atomic_store(&f.w->stop, true);
    (void)!write(f.w->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
    TAP_OK(await(&f.link[2], FRAME_BYE), "rank 0 says goodbye");
    TAP_OK(await(&f.link[3], FRAME_BYE), "to the one without a beat too");
    ac_link_close(&f.link[2]);
    ac_link_close(&f.link[3]);
    close_fixture(&f);
    TAP_OK(seen.n_verdicts == 0 && ac_now_s() - start_s < GOODBYE_S, "and does not wait once the others have closed");
}

/* One case of a limit that is passed: what ranks 0 to 2 report, who is named. */
static void test_limit(const char *name, const char *const phase[3], const bool waiting[3], const double age_s[3], const char *says, const char *not_says)
{
    fixture f;
    bool good = open_fixture(&f, 3, 1, true) && join(&f, 1) && join(&f, 2);
    double start_s = ac_now_s();
    ac_watchdog_at(f.w, phase[0], 12, waiting[0]);
    f.w->at_ns -= (long long)(age_s[0] * 1e9);
    while (good && !ended_within(0.05) && ac_now_s() - start_s < 1.6) /* beats with an age that grows */
        for (int r = 1; r < 3; r++)
            if (age_s[r] >= 0)
                (void)beat(&f, r, phase[r], age_s[r] + ac_now_s() - start_s, waiting[r]);
    if (says)
        TAP_OK(good && ended_within(0) && seen.status == AC_ERR_WATCHDOG && strstr(seen.text, says) && (!not_says || !strstr(seen.text, not_says)), "%s: %s",
               name, seen.text);
    else
        TAP_OK(good && seen.n_verdicts == 0, "%s", name);
    close_fixture(&f);
}

static void test_limits(void)
{
    const char *all[3] = {"step", "step", "step"}, *none[3] = {NULL, NULL, NULL}, *rank_1[3] = {"step", NULL, "step"};
    test_limit("silent", all, (bool[3]){true, true, true}, (double[3]){0, 0, -1}, "rank 2 on node1", "rank 1 ");
    test_limit("stuck", all, (bool[3]){true, false, true}, (double[3]){0, 0, 0}, "rank 1 on node0 (last known in step 12", "rank 2 ");
    test_limit("rank 0 stuck", all, (bool[3]){false, true, true}, (double[3]){0, 0, 0}, "rank 0 on node0 (last known in step", "rank 2 ");
    test_limit("all wait", all, (bool[3]){true, true, true}, (double[3]){0, 0, 0}, "wait for each other", NULL);
    test_limit("one came later", all, (bool[3]){true, true, true}, (double[3]){0, 0, -1000}, "rank 2 on node1", "each other");
    test_limit("nothing reported, nobody waits", none, (bool[3]){false, false, false}, (double[3]){0, 0, 0}, NULL, NULL);
    test_limit("nothing reported, others wait", rank_1, (bool[3]){true, false, true}, (double[3]){0, 0, 0}, "rank 1 on node0 made no progress", "rank 2 ");
}

/* Rank 0 stopped in the middle: the time is held against nobody. */
static void test_own_stop(void)
{
    ac_watchdog w = {.interval_s = 0.1};
    double now = ac_now_s();
    w.looked_s = now - 50;
    ac_watchdog_at(&w, "step", 1, false);
    w.at_ns -= 60000000000;
    TAP_OK(ac_watchdog_gap(&w, now) > 49, "a look that comes late is seen");
    report r = ac_watchdog_report(&w, now);
    TAP_OK(r.age_s > 9 && r.age_s < 11, "a report that was 10 s old when we were stopped for 50 s is 10 s old");
    ac_watchdog_at(&w, "step", 2, false);
    r = ac_watchdog_report(&w, ac_now_s());
    TAP_OK(r.age_s > -1 && r.age_s < 1 && r.step == 2, "the next one starts anew");
    TAP_OK(ac_watchdog_gap(&w, now + 0.2) == 0, "a look in time is none");
}

static void test_addresses(void)
{
    fixture f;
    bool found = false;
    TAP_OK(open_fixture(&f, 2, 60, false), "a listener for other machines");
    for (int i = 0; i < f.w->card.n_addresses; i++) {
        int fd = ac_hub_connect(&f.w->card, i, "another machine");
        found = found || fd >= 0;
        if (fd >= 0)
            close(fd);
    }
    TAP_OK(ac_hub_connect(&f.w->card, 0, "another machine") == -1, "its loopback address is not tried from elsewhere");
    TAP_OK(found || f.w->card.n_addresses == 1, "its other addresses are");
    TAP_OK(join(&f, 1), "from here the loopback address is good");
    close_fixture(&f);
}

static void test_many(int size)
{
    fixture f;
    if (ac_machine_allow_files((size_t)size * 2 + 200) < (size_t)size * 2 + 200) {
        TAP_SKIP("not enough file descriptors");
        return;
    }
    bool good = open_fixture(&f, size, 60, true);
    for (int first = 1; first < size && good; first += 50) { /* some at a time, as they would */
        int past = first + 50 < size ? first + 50 : size;
        for (int r = first; r < past && good; r++)
            good = hello(&f, &f.link[r], r, f.w->card.token[0]);
        for (int r = first; r < past && good; r++)
            good = await(&f.link[r], FRAME_WELCOME) && beat(&f, r, "training step", 0, false);
    }
    TAP_OK(good && await(&f.link[size - 1], FRAME_BEAT), "%d ranks come in", size);
    for (int r = 7; r < size; r += 10)
        ac_link_close(&f.link[r]);
    TAP_OK(await(&f.link[1], FRAME_VERDICT), "a part of them dies");
    for (int r = 1; r < size; r++)
        ac_link_close(&f.link[r]);
    TAP_OK(ended_within(10) && seen.status == AC_ERR_SYNC && strstr(seen.text, "7 on node") && strstr(seen.text, " died ") && strlen(seen.text) < TEXT_BYTES - 1, "%s", seen.text);
    close_fixture(&f);
}

int main(void)
{
    test_strangers();
    test_death();
    test_goodbyes();
    test_limits();
    test_own_stop();
    test_addresses();
    test_many(1000);
    return tap_done();
}
