/* Damaged checkpoints: cut at, or with a bit flipped in, every block, every byte of the seal and of HDF5's own, and
 * random places. Each is refused by name with a reason and changes nothing; the one before it is chosen. */
#include "anyclass/file.h"
#include "anyclass/log.h"
#include "hdf5/hdf5_util.h"
#include "checkpoint/checkpoint_internal.h"
#include "tests/checkpoint/holder.h"
#include "tests/tap.h"
#include <fcntl.h>
#include <omp.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_BYTES = 1 << 16 };

static char folder[AC_PATH_BYTES], last[AC_PATH_BYTES], previous[AC_PATH_BYTES];

typedef struct subject { /* a whole file, and the file at hand */
    uint8_t *bytes;
    size_t n;
    int fd;
    holder h, untouched; /* h: into which the damaged file is not loaded */
    int n_tried, n_refused, n_before, n_named;
} subject;

/* The file is damaged now: what do its readers say? @param part  the dataset that is damaged; NULL: another word will
 * do */
static void try_it(subject *s, const char *part)
{
    static const char *const words[] = {"truncated", "appended", "seal", "no checkpoint", "structure", "format"};
    char path[AC_PATH_BYTES];
    ac_checkpoint_info info;
    s->n_tried++;
    const ac_status status = ac_checkpoint_load(last, s->h.params, s->h.optimizer);
    const char *text = ac_error_text();
    bool named = part ? strstr(text, part) != NULL : false;
    for (size_t i = 0; !part && i < sizeof words / sizeof *words; i++)
        named = named || strstr(text, words[i]);
    s->n_refused += status == AC_ERR_DATA && strstr(text, last);
    s->n_named += named;
    if (!named)
        printf("# %s, wanted %s\n", text, part ? part : "a reason");
    s->n_before += ac_checkpoint_choose(folder, path, &info) == AC_OK && strcmp(path, previous) == 0 && info.epoch == 3;
    ac_checkpoint_info_release(&info);
}

static void flip(subject *s, size_t at, const char *part)
{
    const uint8_t byte = s->bytes[at] ^ (uint8_t)(1u << at * 5 % 8);
    if (pwrite(s->fd, &byte, 1, (off_t)at) != 1)
        abort();
    try_it(s, part);
    if (pwrite(s->fd, &s->bytes[at], 1, (off_t)at) != 1)
        abort();
}

static void cut(subject *s, size_t n)
{
    if (ftruncate(s->fd, (off_t)n) != 0)
        abort();
    try_it(s, NULL);
    if (pwrite(s->fd, s->bytes + n, s->n - n, (off_t)n) != (ssize_t)(s->n - n))
        abort();
}

/* Since the last report: every one was refused by file and part, the one before was chosen, nothing was loaded. */
static void report(subject *s, const char *what)
{
    TAP_OK(s->n_tried > 0 && s->n_refused == s->n_tried && s->n_named == s->n_tried && s->n_before == s->n_tried,
           "%s: of %d, %d refused by the file's name, %d by the part's; the one before is chosen (%d)", what,
           s->n_tried, s->n_refused, s->n_named, s->n_before);
    s->n_tried = s->n_refused = s->n_named = s->n_before = 0;
}

/* Which dataset a byte is in; NULL: the seal or HDF5's own. */
static const char *part_of(const ac_seal *seal, size_t at)
{
    for (size_t k = 0; k < seal->n_parts; k++)
        if (at >= seal->part[k].at && at < seal->part[k].at + seal->part[k].n_bytes)
            return seal->part[k].name;
    return NULL;
}

static void open_subject(subject *s, int64_t width)
{
    memset(s, 0, sizeof *s);
    holder saved;
    bool good = TAP_CALL(open_holder(&saved, 1, width, AC_OPTIMIZER_ADAMW)) &&
                TAP_CALL(open_holder(&s->h, 2, width, AC_OPTIMIZER_ADAMW)) &&
                TAP_CALL(open_holder(&s->untouched, 2, width, AC_OPTIMIZER_ADAMW));
    saved.info.epoch = 3;
    good = good && TAP_CALL(ac_checkpoint_save(previous, &saved.info, saved.params, saved.optimizer));
    saved.info.epoch = 4;
    good = good && TAP_CALL(ac_checkpoint_save(last, &saved.info, saved.params, saved.optimizer)) &&
           TAP_CALL(ac_file_read_all(last, 0, &s->bytes, &s->n));
    s->fd = open(last, O_RDWR | O_CLOEXEC);
    if (!good || s->fd < 0)
        abort();
    close_holder(&saved);
}

static void close_subject(subject *s)
{
    ac_checkpoint_info info;
    char path[AC_PATH_BYTES];
    TAP_OK(memcmp(s->h.params->value, s->untouched.params->value, s->h.params->n_values * sizeof(float)) == 0 &&
               memcmp(s->h.optimizer->moment[1], s->untouched.optimizer->moment[1],
                      s->h.params->n_values * sizeof(float)) == 0 &&
               s->h.optimizer->step == 0,
           "nothing was loaded");
    TAP_OK(ac_checkpoint_choose(folder, path, &info) == AC_OK && strcmp(path, last) == 0 && info.epoch == 4,
           "mended, the newest is chosen");
    ac_checkpoint_info_release(&info);
    close(s->fd);
    ac_free(s->bytes);
    close_holder(&s->h);
    close_holder(&s->untouched);
}

static void test_every_byte(void)
{
    subject s;
    ac_seal seal;
    open_subject(&s, 8);
    if (!TAP_CALL(ac_seal_read(s.fd, &ac_checkpoint_seal_kind, &seal)))
        return;
    for (size_t at = 0; at < seal.block_bytes; at++)
        flip(&s, at, NULL);
    report(&s, "a bit of every byte of the seal's block");
    for (size_t at = seal.block_bytes; at < s.n; at++)
        if (!part_of(&seal, at))
            flip(&s, at, "structure");
    report(&s, "a bit of every byte of HDF5's own");
    for (size_t at = seal.block_bytes; at < s.n; at += 7)
        if (part_of(&seal, at))
            flip(&s, at, part_of(&seal, at));
    report(&s, "a bit of every seventh byte of the tensors");
    for (size_t n = 0; n < s.n; n += 1 + n % 61)
        cut(&s, n);
    report(&s, "cut");
    if (pwrite(s.fd, "x", 1, (off_t)s.n) == 1)
        try_it(&s, NULL);
    report(&s, "a byte appended");
    if (ftruncate(s.fd, (off_t)s.n) != 0)
        abort();
    ac_seal_release(&seal);
    close_subject(&s);
}

static void test_blocks(void)
{
    subject s;
    ac_seal seal;
    open_subject(&s, 1500);
    if (!TAP_CALL(ac_seal_read(s.fd, &ac_checkpoint_seal_kind, &seal)))
        return;
    for (size_t at = 0; at < s.n; at += BLOCK_BYTES) {
        const size_t behind = at + BLOCK_BYTES < s.n ? at + BLOCK_BYTES : s.n;
        const size_t inside = at + ac_random_block(1, AC_STREAM_TEST, at, 0).word[0] % (behind - at);
        const size_t places[] = {at, inside, behind - 1};
        for (int i = 0; i < 3; i++)
            flip(&s, places[i], part_of(&seal, places[i]));
        cut(&s, at);
        cut(&s, inside);
    }
    report(&s, "every block of 64 KiB");
    for (uint64_t i = 0; i < 200; i++) {
        const size_t at = ac_random_block(1, AC_STREAM_TEST, i, 1).word[0] % s.n;
        flip(&s, at, part_of(&seal, at));
        cut(&s, at);
    }
    report(&s, "random places");
    TAP_OK(s.n > 8 * BLOCK_BYTES, "in a file of %zu bytes", s.n);
    ac_seal_release(&seal);
    close_subject(&s);
}

static void test_nothing_left(void)
{
    char path[AC_PATH_BYTES], none[AC_PATH_BYTES];
    ac_checkpoint_info info;
    if (truncate(last, 5000) != 0 || truncate(previous, 100) != 0)
        abort();
    TAP_OK(ac_checkpoint_choose(folder, path, &info) == AC_ERR_DATA && strstr(ac_error_text(), "last.h5") &&
               strstr(ac_error_text(), "previous.h5") && !path[0] && !info.config,
           "both damaged: an error that names both: %s", ac_error_text());
    unlink(last);
    TAP_OK(ac_checkpoint_choose(folder, path, &info) == AC_ERR_DATA && strstr(ac_error_text(), "previous.h5"),
           "one there, damaged: an error");
    unlink(previous);
    TAP_OK(ac_checkpoint_choose(folder, path, &info) == AC_OK && !path[0] && !info.config, "none there: nothing yet");
    TAP_OK(ac_path_join(none, folder, "none") == AC_OK && ac_checkpoint_choose(none, path, &info) == AC_OK && !path[0],
           "no folder: nothing yet");
}

int main(void)
{
    omp_set_num_threads(1); /* the loops are short */
    ac_hdf5_begin();
    ac_log_init("test", 0, 1, AC_LOG_ERROR, false);
    if (!tap_folder(folder) || !TAP_CALL(ac_path_join(last, folder, "last.h5")) ||
        !TAP_CALL(ac_path_join(previous, folder, "previous.h5")))
        return tap_done();
    test_every_byte();
    test_blocks();
    test_nothing_left();
    tap_remove(folder);
    return tap_done();
}
