/* A shard that goes by in pieces of any size is whole; with any byte of it changed, cut off or added it is not, and the dataset and sample are named as
 * verifying names them. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/shard.h"
#include "tests/tap.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { N = 5, SIDE = 6, M = 2, IMAGE = SIDE * SIDE * 3 };
static char folder[AC_PATH_BYTES], path[AC_PATH_BYTES];
static ac_hash hash;

static ac_status write_shard(size_t n, size_t n_rejected)
{
    static uint8_t images[N * IMAGE], labels[N * M];
    static const char *const names[N] = {"a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"}, *const rejected[2] = {"f.jpg", "is no picture"};
    static char *classes[M] = {"x", "y"};
    ac_shard_meta meta = {"train", "csv", "list.csv", "{}", classes, M, SIDE, {.5f, .5f, .5f}, {.1f, .2f, .3f}};
    for (int i = 0; i < N * IMAGE; i++)
        images[i] = (uint8_t)(i * 7);
    labels[1] = labels[4] = 1;
    ac_shard_content content = {.n = n, .names = names, .labels = labels, .images = images, .n_rejected = n_rejected, .rejected = rejected};
    return ac_shard_write(path, &meta, 0, 1, &content, &hash);
}

/* The whole file in pieces of `piece` bytes. */
static ac_status pass(const char *file, size_t piece)
{
    ac_status status = AC_OK;
    ac_shard_pass *p = NULL;
    uint8_t *bytes = NULL;
    size_t n;
    int fd = open(file, O_RDONLY);
    AC_TRY(ac_file_read_all(file, 0, &bytes, &n));
    AC_TRY(ac_shard_pass_begin(fd, hash, &p));
    for (size_t at = 0; at < n; at += piece)
        AC_TRY(ac_shard_pass_add(p, bytes + at, n - at < piece ? n - at : piece));
    AC_TRY(ac_shard_pass_end(p));
out:
    ac_shard_pass_destroy(p);
    ac_free(bytes);
    close(fd);
    return status;
}

static void test_pieces(const char *what)
{
    static const size_t pieces[] = {1, 7, 107, 108, 109, 2047, 2048, 2049, 1 << 20};
    bool good = true;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        good = good && pass(path, pieces[i]) == AC_OK;
    TAP_OK(good, "%s: whole in pieces of any size", what);
}

/* Bytes of the file that go by are not those that lay there when the seal was read, or lie there now: both ways, with byte `at` changed. */
static bool finds(const uint8_t *bytes, size_t n, size_t at, char expected[64])
{
    ac_shard_pass *p = NULL;
    int fd = open(path, O_RDWR);
    uint8_t changed = bytes[at] ^ 4;
    bool found = pwrite(fd, &changed, 1, (off_t)at) == 1;
    bool refused = pass(path, 4096) == AC_ERR_DATA;
    char text[AC_ERROR_TEXT_BYTES];
    snprintf(text, sizeof text, "%s", ac_error_text());
    ac_shard shard;
    if (ac_shard_open(path, &shard) == AC_OK) { /* pixels */
        uint8_t image[IMAGE];
        for (size_t i = 0; i < shard.n; i++)
            if (ac_shard_read_image(&shard, i, true, image) != AC_OK)
                snprintf(expected, 64, "dataset images, sample %zu", i);
        ac_shard_close(&shard);
    } else {
        const char *said = strstr(ac_error_text(), "dataset ");
        snprintf(expected, 64, "%.*s", said ? (int)(strstr(said, " is damaged") - said) : 0, said ? said : "");
    }
    found = found && refused && strstr(text, expected) != NULL && pwrite(fd, bytes + at, 1, (off_t)at) == 1;
    /* changed after the seal was read */
    found = found && ac_shard_pass_begin(fd, hash, &p) == AC_OK;
    ac_status status = AC_OK;
    if (found) {
        status = at > 0 ? ac_shard_pass_add(p, bytes, at) : AC_OK;
        status = status == AC_OK ? ac_shard_pass_add(p, &changed, 1) : status;
        status = status == AC_OK && at + 1 < n ? ac_shard_pass_add(p, bytes + at + 1, n - at - 1) : status;
        status = status == AC_OK ? ac_shard_pass_end(p) : status;
    }
    ac_shard_pass_destroy(p);
    close(fd);
    return found && status == AC_ERR_DATA;
}

static void test_damage(void)
{
    uint8_t *bytes = NULL;
    size_t n = 0, n_found = 0, n_tried = 0, n_pixels = 0;
    char expected[64];
    if (!TAP_CALL(ac_file_read_all(path, 0, &bytes, &n)))
        return;
    for (size_t at = 0; at < n; at += at < 2048 ? 17 : 3) {
        n_tried++;
        bool found = finds(bytes, n, at, expected);
        n_pixels += strstr(expected, "dataset images, sample") != NULL;
        n_found += found;
        if (!found && n_found + 3 > n_tried)
            printf("# byte %zu of %zu, '%s': %s\n", at, n, expected, ac_error_text());
    }
    TAP_OK(n_found == n_tried, "%zu of %zu changed bytes are found and named", n_found, n_tried);
    TAP_OK(n_pixels > 100, "%zu of them in pixels", n_pixels);
    ac_free(bytes);
}

static void test_length(void)
{
    uint8_t *bytes = NULL;
    size_t n = 0;
    ac_shard_pass *p = NULL;
    int fd = open(path, O_RDONLY);
    if (!TAP_CALL(ac_file_read_all(path, 0, &bytes, &n)) || !TAP_CALL(ac_shard_pass_begin(fd, hash, &p)))
        return;
    TAP_OK(ac_shard_pass_bytes(p) == n, "its size is known");
    TAP_CALL(ac_shard_pass_add(p, bytes, n - 1));
    TAP_OK(ac_shard_pass_end(p) == AC_ERR_DATA && strstr(ac_error_text(), "truncated"), "a byte is missing: %s", ac_error_text());
    TAP_CALL(ac_shard_pass_add(p, bytes + n - 1, 1));
    TAP_CALL(ac_shard_pass_end(p));
    TAP_OK(ac_shard_pass_add(p, bytes, 1) == AC_ERR_DATA && strstr(ac_error_text(), "appended"), "a byte too many: %s", ac_error_text());
    ac_shard_pass_destroy(p);
    hash.low ^= 1;
    TAP_OK(ac_shard_pass_begin(fd, hash, &p) == AC_ERR_DATA && p == NULL, "another shard than expected: %s", ac_error_text());
    hash.low ^= 1;
    close(fd);
    ac_free(bytes);
}

static void test_memory(void)
{
    ac_shard_pass *p = NULL;
    uint64_t before = ac_alloc_get_stats().n_live, n = 0;
    int fd = open(path, O_RDONLY);
    ac_status status = AC_ERR_MEMORY;
    while (status == AC_ERR_MEMORY && n < 100) {
        ac_alloc_fail_at(++n);
        status = ac_shard_pass_begin(fd, hash, &p);
    }
    ac_alloc_fail_at(0);
    ac_shard_pass_destroy(p);
    TAP_OK(status == AC_OK && n > 3 && ac_alloc_get_stats().n_live == before, "each of %llu allocations may fail", (unsigned long long)n - 1);
    close(fd);
}

int main(void)
{
    if (!tap_folder(folder))
        return tap_done();
    snprintf(path, sizeof path, "%.4000s/train-00000-of-00001.h5", folder);
    TAP_CALL(write_shard(N, 1));
    test_pieces("five images");
    test_damage();
    test_length();
    test_memory();
    TAP_CALL(write_shard(N, 0));
    test_pieces("no rejected images");
    TAP_CALL(write_shard(0, 0));
    test_pieces("no image");
    tap_remove(folder);
    return tap_done();
}
