/* Sockets of the watchdog: where rank 0 listens, how it is reached, frames without waiting. */
#include "comm/watchdog_internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

void ac_place_read(char host[HOST_BYTES], char place[PLACE_BYTES])
{
    char boot[40] = "", space[40] = "";
    if (gethostname(host, HOST_BYTES - 1) != 0)
        snprintf(host, HOST_BYTES, "unknown");
    host[HOST_BYTES - 1] = 0;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, boot, sizeof boot - 1) : 0;
    boot[n > 36 ? 36 : n > 0 ? n : 0] = 0;
    if (fd >= 0)
        close(fd);
    n = readlink("/proc/self/ns/net", space, sizeof space - 1);
    space[n > 0 ? n : 0] = 0;
    memset(place, 0, PLACE_BYTES);
    if (boot[0] && space[0])
        snprintf(place, PLACE_BYTES, "%s %s", boot, space);
    else
        snprintf(place, PLACE_BYTES, "%s", host);
}

static void add_address(hub_card *card, int family, const void *bytes)
{
    if (card->n_addresses == MOST_ADDRESSES)
        return;
    card->address[card->n_addresses].family = family;
    memcpy(card->address[card->n_addresses].bytes, bytes, family == AF_INET ? 4 : 16);
    card->n_addresses++;
}

static bool has_family(const hub_card *card, int family)
{
    for (int i = 0; i < card->n_addresses; i++)
        if (card->address[i].family == family)
            return true;
    return false;
}

/* Addresses of this machine's interfaces. Link-local ones mean nothing elsewhere. */
static void add_interfaces(hub_card *card, bool v6)
{
    struct ifaddrs *list;
    if (getifaddrs(&list) != 0)
        return;
    for (int family = AF_INET;; family = AF_INET6) {
        for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
            if (!i->ifa_addr || i->ifa_addr->sa_family != family || !(i->ifa_flags & IFF_UP) || i->ifa_flags & IFF_LOOPBACK)
                continue;
            const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr;
            if (family == AF_INET)
                add_address(card, family, &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr);
            else if (!IN6_IS_ADDR_LINKLOCAL(six))
                add_address(card, family, six);
        }
        if (!v6 || family == AF_INET6)
            break;
    }
    freeifaddrs(list);
}

static int listen_at(const struct sockaddr *name, socklen_t bytes, int32_t *port)
{
    int fd = socket(name->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), off = 0;
    struct sockaddr_in6 bound;
    socklen_t n = sizeof bound;
    if (fd < 0)
        return -1;
    if (name->sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, name, bytes) != 0 || listen(fd, SOMAXCONN) != 0 || getsockname(fd, (struct sockaddr *)&bound, &n) != 0) {
        int cause = errno;
        close(fd);
        errno = cause;
        return -1;
    }
    *port = ntohs(bound.sin6_port); /* at the same place in both families */
    return fd;
}

ac_status ac_hub_listen(bool local, int *listener, hub_card *card)
{
    const struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = local ? in6addr_loopback : in6addr_any};
    const struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(local ? INADDR_LOOPBACK : INADDR_ANY)};
    const uint32_t loopback = htonl(INADDR_LOOPBACK);
    if (getrandom(card->token, sizeof card->token, 0) != (ssize_t)sizeof card->token)
        return ac_error_errno("no random numbers for the watchdog");
    /* the any-address of IPv6 takes IPv4 too; the loopback address does not, and IPv4's is there more often */
    int fd = local ? listen_at((const void *)&four, sizeof four, &card->port) : listen_at((const void *)&six, sizeof six, &card->port);
    bool first = fd >= 0;
    if (!first)
        fd = local ? listen_at((const void *)&six, sizeof six, &card->port) : listen_at((const void *)&four, sizeof four, &card->port);
    if (fd < 0)
        return ac_error_errno("the watchdog cannot listen");
    if (local && !first)
        add_address(card, AF_INET6, &in6addr_loopback);
    else
        add_address(card, AF_INET, &loopback);
    if (!local)
        add_interfaces(card, first);
    if (!local && first && !has_family(card, AF_INET))
        add_address(card, AF_INET6, &in6addr_loopback);
    *listener = fd;
    return AC_OK;
}

static bool is_loopback(int family, const unsigned char *bytes)
{
    return family == AF_INET ? bytes[0] == 127 : memcmp(bytes, &in6addr_loopback, 16) == 0;
}

int ac_hub_connect(const hub_card *card, int i, const char *place)
{
    int family = card->address[i].family;
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)card->port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)card->port)};
    if (is_loopback(family, card->address[i].bytes) && strcmp(place, card->place) != 0)
        return -1;
    memcpy(family == AF_INET ? (void *)&four.sin_addr : (void *)&six.sin6_addr, card->address[i].bytes, family == AF_INET ? 4 : 16);
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int failed = family == AF_INET ? connect(fd, (const void *)&four, sizeof four) : connect(fd, (const void *)&six, sizeof six);
    if (failed && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

void ac_link_open(tcp_link *link, int fd)
{
    int on = 1;
    *link = (tcp_link){.fd = fd};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void ac_link_close(tcp_link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
}

bool ac_link_flush(tcp_link *link)
{
    while (link->n_out > 0) {
        const char *from = (const char *)&link->out + sizeof link->out - link->n_out;
        ssize_t n = send(link->fd, from, link->n_out, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        link->n_out -= (size_t)n;
    }
    return true;
}

bool ac_link_send(tcp_link *link, const frame *out)
{
    if (link->n_out == 0) {
        link->out = *out;
        link->n_out = sizeof link->out;
    }
    return ac_link_flush(link);
}

link_event ac_link_receive(tcp_link *link)
{
    if (link->n_in == sizeof link->in)
        link->n_in = 0;
    while (link->n_in < sizeof link->in) {
        ssize_t n = recv(link->fd, (char *)&link->in + link->n_in, sizeof link->in - link->n_in, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return LINK_NOTHING;
        if (n <= 0)
            return LINK_LOST;
        link->n_in += (size_t)n;
    }
    link->in.report.phase[sizeof link->in.report.phase - 1] = 0;
    return LINK_FRAME;
}
