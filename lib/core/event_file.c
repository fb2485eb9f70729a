/* TensorBoard event files: TFRecord frames around `Event` messages in protobuf's wire format. Only the fields that are
 * written are known here. */
#include "anyclass/event_file.h"
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAME_PREFIX "events.out.tfevents."

enum {
    FLUSH_BYTES = 32768,  /* pending records are written when they are more than this */
    FRAME_HEAD_BYTES = 12, /* length and its checksum */
    FRAME_TAIL_BYTES = 4,  /* checksum of the message */
    FIELDS_BYTES = 128     /* more than all keys, lengths and numbers of a message */
};

/* fields of tensorflow.Event and of the messages in it */
enum { EVENT_WALL_TIME = 1, EVENT_STEP, EVENT_FILE_VERSION, EVENT_SUMMARY = 5, EVENT_SESSION_LOG = 7 };
enum { SESSION_LOG_STATUS = 1, SESSION_START = 1 };
enum { SUMMARY_VALUE = 1 };
enum { VALUE_TAG = 1, VALUE_SIMPLE_VALUE, VALUE_TENSOR = 8, VALUE_METADATA };
enum { METADATA_PLUGIN_DATA = 1, METADATA_DATA_CLASS = 4, DATA_CLASS_TENSOR = 2 };
enum { PLUGIN_DATA_NAME = 1 };
enum { TENSOR_DTYPE = 1, TENSOR_SHAPE, TENSOR_STRING_VAL = 8, DT_STRING = 7 };

typedef enum wire { WIRE_VARINT, WIRE_64_BIT, WIRE_LENGTH, WIRE_32_BIT = 5 } wire;

struct ac_event_file {
    int fd;
    char path[AC_PATH_BYTES];
    uint64_t n_written;              /* bytes of the file that are whole records */
    uint8_t *pending;                /* records not yet written */
    size_t n_pending, capacity;
};

uint32_t ac_event_crc32c(const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78u & -(crc & 1));
    }
    return ~crc;
}

static void put_little_endian(uint8_t *out, uint64_t value, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++)
        out[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t masked_crc(const uint8_t *bytes, size_t n)
{
    uint32_t crc = ac_event_crc32c(bytes, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* A message is written from its last byte to its first: so the length of a part is known when it goes in front of it.
 * ac_event_file.pending has the room; `at` is the first byte written so far. */
typedef struct message {
    uint8_t *at, *end;
} message;

static void put_bytes(message *m, const void *bytes, size_t n)
{
    m->at -= n;
    memcpy(m->at, bytes, n);
}

static void put_varint(message *m, uint64_t value)
{
    uint8_t bytes[10];
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (uint8_t)(value | 0x80);
    bytes[n++] = (uint8_t)value;
    put_bytes(m, bytes, n);
}

static void put_key(message *m, int field, wire type)
{
    put_varint(m, (uint64_t)field << 3 | type);
}

static void put_number(message *m, int field, int64_t value)
{
    put_varint(m, (uint64_t)value);
    put_key(m, field, WIRE_VARINT);
}

/* Make what was written since `end` was the first byte a part. */
static void put_part(message *m, int field, const uint8_t *end)
{
    put_varint(m, (uint64_t)(end - m->at));
    put_key(m, field, WIRE_LENGTH);
}

static void put_string(message *m, int field, const char *text)
{
    const uint8_t *end = m->at;
    put_bytes(m, text, strlen(text));
    put_part(m, field, end);
}

/* Room for a record of at most n_bytes besides FIELDS_BYTES, behind the pending ones; these are written when they are many. */
static ac_status begin_event(ac_event_file *file, size_t n_bytes, message *m)
{
    ac_status status = AC_OK;
    if (file->n_pending > FLUSH_BYTES)
        AC_TRY(ac_event_file_flush(file));
    size_t room = FRAME_HEAD_BYTES + FIELDS_BYTES + n_bytes + FRAME_TAIL_BYTES;
    AC_TRY(ac_reserve(&file->pending, &file->capacity, file->n_pending + room, 1));
    m->at = m->end = file->pending + file->capacity;
out:
    return status;
}

/* Add time and step, frame the message and move it to the pending ones. */
static void end_event(ac_event_file *file, message *m, int64_t step)
{
    struct timespec now;
    uint64_t bits;
    uint8_t little_endian[8];
    clock_gettime(CLOCK_REALTIME, &now);
    double wall_time_s = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    put_number(m, EVENT_STEP, step);
    memcpy(&bits, &wall_time_s, sizeof bits);
    put_little_endian(little_endian, bits, 8);
    put_bytes(m, little_endian, 8);
    put_key(m, EVENT_WALL_TIME, WIRE_64_BIT);

    uint8_t *frame = file->pending + file->n_pending, *body = frame + FRAME_HEAD_BYTES;
    size_t n = (size_t)(m->end - m->at);
    memmove(body, m->at, n);
    put_little_endian(frame, n, 8);
    put_little_endian(frame + 8, masked_crc(frame, 8), 4);
    put_little_endian(body + n, masked_crc(body, n), 4);
    file->n_pending += FRAME_HEAD_BYTES + n + FRAME_TAIL_BYTES;
}

/* What every file begins with: its version, and the mark from which readers drop what earlier files hold. */
static ac_status put_head(ac_event_file *file, int64_t first_step)
{
    ac_status status = AC_OK;
    message m;
    AC_TRY(begin_event(file, 0, &m));
    put_string(&m, EVENT_FILE_VERSION, "brain.Event:2");
    end_event(file, &m, first_step);
    AC_TRY(begin_event(file, 0, &m));
    put_number(&m, SESSION_LOG_STATUS, SESSION_START);
    put_part(&m, EVENT_SESSION_LOG, m.end);
    end_event(file, &m, first_step);
    AC_TRY(ac_event_file_flush(file));
out:
    return status;
}

/* The latest time in the names of a folder's event files; 0 when there is none. */
static ac_status latest_time(const char *folder, int64_t *time_s)
{
    DIR *listing = opendir(folder);
    *time_s = 0;
    if (!listing)
        return ac_error_errno("%s", folder);
    for (struct dirent *entry; (entry = readdir(listing));)
        if (strncmp(entry->d_name, NAME_PREFIX, sizeof NAME_PREFIX - 1) == 0) {
            int64_t other_s = strtoll(entry->d_name + sizeof NAME_PREFIX - 1, NULL, 10);
            *time_s = other_s > *time_s && other_s < INT64_MAX ? other_s : *time_s;
        }
    closedir(listing);
    return AC_OK;
}

static ac_status create_file(ac_event_file *file, const char *folder)
{
    ac_status status = AC_OK;
    char host[256] = "", name[512];
    int64_t latest_s, now_s = (int64_t)time(NULL);
    AC_TRY(latest_time(folder, &latest_s));
    if (gethostname(host, sizeof host - 1) != 0 || !host[0])
        strcpy(host, "localhost");
    for (int n = 0; file->fd < 0; n++) {
        snprintf(name, sizeof name, NAME_PREFIX "%010" PRId64 ".%s.%ld.%d", now_s > latest_s ? now_s : latest_s + 1, host, (long)getpid(), n);
        AC_TRY(ac_path_join(file->path, folder, name));
        file->fd = open(file->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file->fd < 0 && errno != EEXIST)
            AC_TRY(ac_error_errno("%s", file->path));
    }
out:
    return status;
}

ac_status ac_event_file_open(const char *folder, int64_t first_step, ac_event_file **out)
{
    ac_status status = AC_OK;
    ac_event_file *file = NULL;
    *out = NULL;
    AC_TRY(ac_calloc(1, sizeof *file, &file));
    file->fd = -1;
    AC_TRY(create_file(file, folder));
    AC_TRY(put_head(file, first_step));
    *out = file;
    return AC_OK;
out:
    if (file && file->fd >= 0) {
        close(file->fd);
        unlink(file->path);
    }
    if (file)
        ac_free(file->pending);
    ac_free(file);
    return status;
}

const char *ac_event_file_path(const ac_event_file *file)
{
    return file->path;
}

ac_status ac_event_file_scalar(ac_event_file *file, const char *tag, int64_t step, double value)
{
    ac_status status = AC_OK;
    message m;
    float single = (float)value;
    uint32_t bits;
    uint8_t little_endian[4];
    AC_TRY(begin_event(file, strlen(tag), &m));
    memcpy(&bits, &single, sizeof bits);
    put_little_endian(little_endian, bits, 4);
    put_bytes(&m, little_endian, 4);
    put_key(&m, VALUE_SIMPLE_VALUE, WIRE_32_BIT);
    put_string(&m, VALUE_TAG, tag);
    put_part(&m, SUMMARY_VALUE, m.end);
    put_part(&m, EVENT_SUMMARY, m.end);
    end_event(file, &m, step);
out:
    return status;
}

static size_t count_lines(const char *text)
{
    size_t n = 1;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* The text with each line indented, from its last line to its first. */
static void put_indented(message *m, const char *text)
{
    const char *end = text + strlen(text), *line = end;
    for (;; line--)
        if (line == text || line[-1] == '\n') {
            put_bytes(m, line, (size_t)(end - line));
            put_bytes(m, "    ", 4);
            end = line;
            if (line == text)
                break;
        }
}

ac_status ac_event_file_text(ac_event_file *file, const char *tag, int64_t step, const char *text)
{
    ac_status status = AC_OK;
    message m;
    const uint8_t *end;
    AC_TRY(begin_event(file, strlen(tag) + strlen(text) + 4 * count_lines(text), &m));
    /* SummaryMetadata: which of TensorBoard's pages shows it */
    put_number(&m, METADATA_DATA_CLASS, DATA_CLASS_TENSOR);
    end = m.at;
    put_string(&m, PLUGIN_DATA_NAME, "text");
    put_part(&m, METADATA_PLUGIN_DATA, end);
    put_part(&m, VALUE_METADATA, m.end);
    /* TensorProto: one string, without dimensions */
    end = m.at;
    put_indented(&m, text);
    put_part(&m, TENSOR_STRING_VAL, end);
    put_part(&m, TENSOR_SHAPE, m.at);
    put_number(&m, TENSOR_DTYPE, DT_STRING);
    put_part(&m, VALUE_TENSOR, end);
    put_string(&m, VALUE_TAG, tag);
    put_part(&m, SUMMARY_VALUE, m.end);
    put_part(&m, EVENT_SUMMARY, m.end);
    end_event(file, &m, step);
out:
    return status;
}

ac_status ac_event_file_flush(ac_event_file *file)
{
    /* at its place in the file, so that another try covers what a failed one has left */
    ac_status status = ac_file_write_at(file->fd, file->n_written, file->pending, file->n_pending);
    if (status != AC_OK)
        return ac_error_in(status, "%s", file->path);
    file->n_written += file->n_pending;
    file->n_pending = 0;
    return AC_OK;
}

ac_status ac_event_file_close(ac_event_file **inout)
{
    ac_event_file *file = *inout;
    *inout = NULL;
    if (!file)
        return AC_OK;
    ac_status status = ac_event_file_flush(file);
    if (status == AC_OK && fsync(file->fd) != 0)
        status = ac_error_errno("%s: sync", file->path);
    if (close(file->fd) != 0 && status == AC_OK)
        status = ac_error_errno("%s", file->path);
    ac_free(file->pending);
    ac_free(file);
    return status;
}
