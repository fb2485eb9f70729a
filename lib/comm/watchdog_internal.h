/* Inside of the watchdog: frames and links (watchdog_link.c), rank 0's side (watchdog_hub.c), the others' (watchdog.c). */
#ifndef ANYCLASS_WATCHDOG_INTERNAL_H
#define ANYCLASS_WATCHDOG_INTERNAL_H

#include "anyclass/watchdog.h"
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    HOST_BYTES = 64,
    PLACE_BYTES = 96,
    MOST_ADDRESSES = 16,
    TEXT_BYTES = 900
};
#define CONNECT_S 20.0  /* for all attempts */
#define ATTEMPT_S 2.0   /* for one address */
#define GOODBYE_S 1.0   /* for the other side to see that we leave */
#define LINGER_S 0.5    /* for the others to learn a verdict and end */
#define PAUSE_S 1.0     /* a look that comes so much too late: we were stopped ourselves */

typedef struct report { /* what a main thread does */
    char phase[48];
    int64_t step;
    double age_s; /* of the report */
    bool watched, waiting;
} report;

typedef enum frame_kind { FRAME_HELLO = 1, FRAME_WELCOME, FRAME_BEAT, FRAME_VERDICT, FRAME_BYE } frame_kind;

typedef struct frame { /* as it lies in memory: all ranks run one program on one kind of processor */
    uint64_t token;    /* HELLO, WELCOME */
    int32_t kind, rank, status;
    int32_t deputy;    /* of rank 0's beats: who speaks when rank 0 is gone */
    report report;
} frame;

typedef struct tcp_link {
    int fd; /* -1: closed */
    size_t n_in, n_out; /* bytes of `in` that are here, of `out` that are to go */
    frame in, out;
} tcp_link;

typedef enum link_event { LINK_NOTHING, LINK_FRAME, LINK_LOST } link_event;

/* How to reach rank 0. Broadcast as bytes. */
typedef struct hub_card {
    uint64_t token[2]; /* a rank shows the first one, rank 0 answers with the second */
    char host[HOST_BYTES], place[PLACE_BYTES];
    int32_t port, n_addresses;
    struct { int32_t family; unsigned char bytes[16]; } address[MOST_ADDRESSES];
} hub_card;

struct ac_watchdog {
    ac_watchdog_config config;
    int rank, size;
    double interval_s; /* between two beats */
    pthread_t thread;
    bool running;
    int wake_fd;       /* readable: stop */
    atomic_bool stop;
    /* the main thread's report; the sequence is odd while it changes */
    atomic_uint sequence;
    _Atomic(const char *) phase;
    atomic_llong step, at_ns;
    atomic_bool waiting;
    /* the thread's own */
    double looked_s, forgiven_s;
    unsigned forgiven_sequence;
    hub_card card;
    int listener;              /* rank 0; -1: none */
    char (*host)[HOST_BYTES];  /* rank 0: [size] */
    char place[PLACE_BYTES];
};

/* watchdog_link.c */
/** Machine and network name space: processes of one place reach each other over the loopback device. */
void ac_place_read(char host[HOST_BYTES], char place[PLACE_BYTES]);
/** Open rank 0's listener and fill in the card: loopback only when `local`. */
AC_NODISCARD ac_status ac_hub_listen(bool local, int *listener, hub_card *card);
/** A non-blocking socket on its way to address `i` of the card; -1: cannot be. */
int ac_hub_connect(const hub_card *card, int i, const char *place);
void ac_link_open(tcp_link *link, int fd);
void ac_link_close(tcp_link *link);
/** Send without waiting; dropped while the frame before is still on its way. False: the link is lost. */
bool ac_link_send(tcp_link *link, const frame *out);
bool ac_link_flush(tcp_link *link);
/** The next frame, if one is here: in link->in. */
link_event ac_link_receive(tcp_link *link);

/* watchdog.c */
/** What this rank's main thread does. */
report ac_watchdog_report(ac_watchdog *w, double now);
/** Time since the last look, when it is so long that this process must have been stopped; else 0. */
double ac_watchdog_gap(ac_watchdog *w, double now);
/** " (last known in training step 12 for 31 s)"; "" when nothing was reported. */
void ac_report_text(const report *r, double age_s, char *text, size_t bytes);

/* watchdog_hub.c */
/** Rank 0's thread, until it is told to stop. */
void ac_hub_run(ac_watchdog *w);

#endif
