/* TensorBoard event files: checksums, frames, and messages read back by a decoder of protobuf's wire format that shares
 * nothing with the writer; full disks, killed writers, the order of a folder's files. */
#include "anyclass/alloc.h"
#include "anyclass/event_file.h"
#include "tests/tap.h"
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void test_checksum(void)
{
    uint8_t zeros[32] = {0}, ones[32], up[32], down[32];
    const uint8_t command[48] = {[0] = 0x01, [1] = 0xc0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02};
    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++) {
        up[i] = (uint8_t)i;
        down[i] = (uint8_t)(31 - i);
    }
    TAP_OK(ac_event_crc32c(zeros, 32) == 0x8a9136aa && ac_event_crc32c(ones, 32) == 0x62a8ab43 && ac_event_crc32c(up, 32) == 0x46dd794e &&
               ac_event_crc32c(down, 32) == 0x113fdb5c && ac_event_crc32c(command, 48) == 0xd9963a56,
           "CRC-32C of RFC 3720's five examples");
    TAP_OK(ac_event_crc32c("123456789", 9) == 0xe3069283 && ac_event_crc32c("", 0) == 0, "and of the usual check text");
}

/* What a record says; texts are cut at their array's end. */
typedef struct event {
    double wall_time;
    int64_t step, session_status, dtype, data_class;
    float value;
    bool has_value, has_shape, good;
    char version[32], tag[64], plugin[32], text[256];
} event;

static uint64_t little_endian(const uint8_t *at, int n)
{
    uint64_t value = 0;
    for (int i = 0; i < n; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

static uint64_t varint(const uint8_t **at, const uint8_t *end)
{
    uint64_t value = 0;
    for (int shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    return value;
}

/* `path`: the fields on the way here, a decimal digit each, the outermost first. */
static void decode(const uint8_t *at, const uint8_t *end, int path, event *e)
{
    while (at < end && e->good) {
        uint64_t key = varint(&at, end), n = 0, number = 0;
        int here = path * 10 + (int)(key >> 3), type = (int)(key & 7);
        if (type == 0)
            number = varint(&at, end);
        else
            n = type == 2 ? varint(&at, end) : type == 1 ? 8 : type == 5 ? 4 : UINT64_MAX;
        if (n > (uint64_t)(end - at)) {
            e->good = false;
            return;
        }
        char *text = here == 3 ? e->version : here == 511 ? e->tag : here == 51911 ? e->plugin : here == 5188 ? e->text : NULL;
        size_t room = here == 3 ? sizeof e->version : here == 511 ? sizeof e->tag : here == 51911 ? sizeof e->plugin : sizeof e->text;
        if (text && type == 2)
            snprintf(text, room, "%.*s", (int)n, (const char *)at);
        else if (type == 2 && (here == 5 || here == 51 || here == 7 || here == 518 || here == 519 || here == 5191))
            decode(at, at + n, here, e);
        else if (here == 1 && type == 1)
            memcpy(&e->wall_time, at, 8);
        else if (here == 512 && type == 5 && (e->has_value = true))
            memcpy(&e->value, at, 4);
        else if (here == 5182 && type == 2 && n == 0)
            e->has_shape = true;
        else if (type == 0 && (here == 2 || here == 71 || here == 5181 || here == 5194))
            *(here == 2 ? &e->step : here == 71 ? &e->session_status : here == 5181 ? &e->dtype : &e->data_class) = (int64_t)number;
        else
            e->good = false;
        at += n;
    }
}

static bool masked(const uint8_t *bytes, size_t n, uint64_t wanted)
{
    uint32_t crc = ac_event_crc32c(bytes, n);
    return (uint32_t)((crc >> 15 | crc << 17) + 0xa282ead8u) == wanted;
}

/* The records of a file's first n bytes, as a reader takes them: up to the first that is not whole.
 * @param[out] n_used  bytes of these records */
static size_t read_events(const uint8_t *bytes, size_t n, event *out, size_t most, size_t *n_used)
{
    size_t count = 0, at = 0;
    while (count < most && n - at >= 16 && masked(bytes + at, 8, little_endian(bytes + at + 8, 4))) {
        uint64_t length = little_endian(bytes + at, 8);
        if (length > n - at - 16 || !masked(bytes + at + 12, length, little_endian(bytes + at + 12 + length, 4)))
            break;
        out[count] = (event){.good = true};
        decode(bytes + at + 12, bytes + at + 12 + length, 0, &out[count++]);
        at += 16 + length;
    }
    *n_used = at;
    return count;
}

enum { MOST = 4000 };
static event events[MOST];

/* The events of a file; -1 unless it consists of whole ones that are understood. */
static int load(const char *path)
{
    uint8_t *bytes = NULL;
    size_t n = 0, n_used = 0, count = 0;
    bool good = ac_file_read_all(path, 0, &bytes, &n) == AC_OK;
    if (good)
        count = read_events(bytes, n, events, MOST, &n_used);
    for (size_t i = 0; i < count; i++)
        good = good && events[i].good;
    ac_free(bytes);
    return good && n_used == n ? (int)count : -1;
}

static void test_contents(const char *folder)
{
    ac_event_file *file;
    char path[AC_PATH_BYTES];
    double before = (double)time(NULL);
    if (!TAP_CALL(ac_event_file_open(folder, 300, &file)))
        return;
    snprintf(path, sizeof path, "%s", ac_event_file_path(file));
    TAP_OK(load(path) == 2, "head is on disk once the file is open");
    TAP_CALL(ac_event_file_scalar(file, "train/loss", 301, 0.1));
    TAP_CALL(ac_event_file_scalar(file, "train/loss", INT64_C(1) << 40, -INFINITY));
    TAP_CALL(ac_event_file_scalar(file, "a tag longer than one length byte would need if it were counted", 0, NAN));
    TAP_CALL(ac_event_file_text(file, "options", 300, "first\n\nthird"));
    TAP_CALL(ac_event_file_text(file, "empty", 300, ""));
    TAP_OK(load(path) == 2, "records wait in memory");
    TAP_CALL(ac_event_file_flush(file));
    TAP_CALL(ac_event_file_flush(file));
    TAP_OK(load(path) == 7, "until they are flushed");
    TAP_OK(strcmp(events[0].version, "brain.Event:2") == 0 && events[1].session_status == 1 && events[1].step == 300, "version, and the session's start at its step");
    TAP_OK(strcmp(events[2].tag, "train/loss") == 0 && events[2].step == 301 && events[2].value == 0.1f && events[2].has_value, "a number");
    TAP_OK(events[3].step == INT64_C(1) << 40 && events[3].value == -INFINITY && isnan(events[4].value) && events[4].has_value, "infinity, NaN, a step of 41 bits");
    TAP_OK(strcmp(events[5].text, "    first\n    \n    third") == 0 && strcmp(events[5].plugin, "text") == 0 && events[5].dtype == 7 && events[5].has_shape &&
               events[5].data_class == 2 && strcmp(events[6].text, "    ") == 0,
           "text, indented line by line");
    bool timed = true;
    for (int i = 0; i < 7; i++)
        timed = timed && events[i].wall_time >= before && events[i].wall_time < before + 60;
    TAP_OK(timed, "each with the time it was recorded at");
    TAP_CALL(ac_event_file_scalar(file, "train/loss", 302, 2));
    TAP_OK(ac_event_file_close(&file) == AC_OK && !file && load(path) == 8, "closing writes what is left");
    TAP_OK(ac_event_file_close(&file) == AC_OK, "and may be repeated");
}

static void test_large(const char *folder)
{
    ac_event_file *file;
    char path[AC_PATH_BYTES], *text = NULL;
    enum { LARGE = 200000, N = 3000 };
    if (!TAP_CALL(ac_event_file_open(folder, 0, &file)) || !TAP_CALL(ac_calloc(LARGE, 1, &text)))
        return;
    snprintf(path, sizeof path, "%s", ac_event_file_path(file));
    memset(text, '\n', LARGE - 1); /* grows fivefold by its indent */
    TAP_CALL(ac_event_file_text(file, "large", 0, text));
    bool good = true;
    for (int i = 0; i < N; i++)
        good = good && ac_event_file_scalar(file, "x", i, i) == AC_OK;
    TAP_OK(good && load(path) > N / 2, "many records reach the file without a flush");
    TAP_OK(ac_event_file_close(&file) == AC_OK && load(path) == N + 3 && events[N + 2].value == N - 1, "all of them when it is closed");
    ac_free(text);
}

/* A killed process: what was flushed is there, and whatever the file is cut to, all records before the cut are read. */
static void test_killed(const char *folder)
{
    char path[AC_PATH_BYTES] = "";
    int to_parent[2], ended = 0;
    uint8_t *bytes = NULL;
    size_t n = 0, used = 0;
    if (!TAP_OK(pipe(to_parent) == 0, "a pipe"))
        return;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        ac_event_file *file;
        bool good = ac_event_file_open(folder, 0, &file) == AC_OK;
        for (int i = 0; i < 20 && good; i++)
            good = ac_event_file_scalar(file, "x", i, i) == AC_OK && (i >= 10 || ac_event_file_flush(file) == AC_OK);
        if (good && write(to_parent[1], ac_event_file_path(file), AC_PATH_BYTES) == AC_PATH_BYTES)
            raise(SIGKILL);
        _exit(1);
    }
    close(to_parent[1]);
    TAP_OK(child > 0 && read(to_parent[0], path, sizeof path) == sizeof path && waitpid(child, &ended, 0) == child && WIFSIGNALED(ended),
           "a process is killed among its records");
    close(to_parent[0]);
    TAP_OK(load(path) == 12, "all records it had flushed are there");
    if (!TAP_CALL(ac_file_read_all(path, 0, &bytes, &n)))
        return;
    bool good = true;
    for (size_t cut = n; cut-- > 0;) {
        size_t count = read_events(bytes, cut, events, MOST, &used);
        good = good && count < 12 && (cut < used + 128);
    }
    TAP_OK(good, "cut anywhere, the records before the cut are");
    ac_free(bytes);
}

/* A file size limit makes writes come to an end in the middle, as on a full disk. */
static void test_full(const char *folder)
{
    ac_event_file *file;
    char path[AC_PATH_BYTES];
    struct rlimit before, limit;
    if (!TAP_CALL(ac_event_file_open(folder, 0, &file)))
        return;
    snprintf(path, sizeof path, "%s", ac_event_file_path(file));
    TAP_CALL(ac_event_file_scalar(file, "x", 1, 1));
    TAP_CALL(ac_event_file_flush(file));
    for (int i = 2; i < 9; i++)
        TAP_CALL(ac_event_file_scalar(file, "x", i, i));
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 200; /* in the third record */
    setrlimit(RLIMIT_FSIZE, &limit);
    ac_status status = ac_event_file_flush(file);
    setrlimit(RLIMIT_FSIZE, &before);
    TAP_OK(status == AC_ERR_IO && strstr(ac_error_text(), path), "a full disk is an error with the file's name");
    TAP_OK(load(path) == -1, "with part of a record at the end");
    TAP_OK(ac_event_file_flush(file) == AC_OK && load(path) == 10, "once there is room again, nothing is missing");
    ac_file_fail_at(1);
    TAP_OK(ac_event_file_scalar(file, "x", 9, 9) == AC_OK && ac_event_file_close(&file) == AC_ERR_IO && !file, "a failure while closing is told");
    ac_file_fail_at(0);
    TAP_OK(load(path) == 10, "and takes nothing with it");
    ac_file_fail_at(1);
    TAP_OK(ac_event_file_open(folder, 0, &file) == AC_ERR_IO && !file, "so is one while opening");
    ac_file_fail_at(0);
    TAP_OK(ac_event_file_open("/none/here", 0, &file) == AC_ERR_IO && strstr(ac_error_text(), "/none/here"), "and a folder that is missing");
}

/* Readers go by names: a session must come behind the ones before, also within a second or after a clock was set back. */
static void test_order(const char *folder)
{
    ac_event_file *first, *second;
    char future[AC_PATH_BYTES];
    if (!TAP_CALL(ac_event_file_open(folder, 0, &first)) || !TAP_CALL(ac_event_file_open(folder, 5, &second)) ||
        !TAP_CALL(ac_path_join(future, folder, "events.out.tfevents.9000000000.elsewhere.1.0")))
        return;
    TAP_OK(strcmp(ac_event_file_path(second), ac_event_file_path(first)) > 0, "a file opened in the same second sorts behind the one before");
    TAP_OK(ac_event_file_close(&first) == AC_OK && ac_event_file_close(&second) == AC_OK, "both closed");
    FILE *made = fopen(future, "w");
    TAP_OK(made && fclose(made) == 0, "a file of a clock far ahead");
    TAP_CALL(ac_event_file_open(folder, 7, &first));
    TAP_OK(strcmp(ac_event_file_path(first), future) > 0, "the next one sorts behind it all the same");
    TAP_CALL(ac_event_file_close(&first));
}

static void test_memory(const char *folder)
{
    ac_event_file *file = NULL;
    uint64_t live = ac_alloc_get_stats().n_live;
    for (uint64_t at = 1; at < 9 && !file; at++) {
        ac_alloc_fail_at(at);
        ac_status status = ac_event_file_open(folder, 0, &file);
        ac_alloc_fail_at(0);
        TAP_OK(status == AC_OK || (status == AC_ERR_MEMORY && ac_alloc_get_stats().n_live == live), "allocation %d fails, none leaks", (int)at);
    }
    TAP_OK(ac_event_file_close(&file) == AC_OK && ac_alloc_get_stats().n_live == live, "nothing is left");
}

int main(void)
{
    char folder[AC_PATH_BYTES];
    test_checksum();
    if (!tap_folder(folder))
        return tap_done();
    test_contents(folder);
    test_large(folder);
    test_killed(folder);
    test_full(folder);
    test_memory(folder);
    test_order(folder);
    tap_remove(folder);
    return tap_done();
}
