/* Files that are complete or absent: one writer at a time, and a set of files of which none changes before all are safe. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "tests/tap.h"
#include <string.h>
#include <unistd.h>

enum { N = 2 };

static bool holds(const char *path, const char *text)
{
    uint8_t *bytes = NULL;
    size_t n = 0;
    bool good = ac_file_read_all(path, 0, &bytes, &n) == AC_OK && n == strlen(text) && memcmp(bytes, text, n) == 0;
    ac_free(bytes);
    return good;
}

/* Write the set; the `at`-th operation fails (0: none). */
static ac_status write_set(char path[N][AC_PATH_BYTES], const char *text, uint64_t at)
{
    ac_status status = AC_OK;
    ac_file file[N];
    memset(file, 0, sizeof file);
    ac_file_fail_at(at);
    for (int k = 0; k < N; k++) {
        AC_TRY(ac_file_create(&file[k], path[k]));
        AC_TRY(ac_file_printf(&file[k], "%s", text));
    }
    for (int k = 0; k < N; k++)
        AC_TRY(ac_file_sync(&file[k]));
    for (int k = 0; k < N; k++)
        AC_TRY(ac_file_commit(&file[k]));
out:
    ac_file_fail_at(0);
    for (int k = 0; k < N; k++)
        ac_file_discard(&file[k]);
    return status;
}

/* A second name, in the place of an older file; and what it does when an operation fails. */
static void test_link(char path[N][AC_PATH_BYTES])
{
    TAP_CALL(write_set(path, "old", 0));
    ac_file first = {0};
    TAP_OK(ac_file_create(&first, path[0]) == AC_OK && ac_file_printf(&first, "new") == AC_OK && ac_file_commit(&first) == AC_OK, "a file to link");
    ac_file_fail_at(1);
    TAP_OK(ac_file_link(path[0], path[1]) == AC_ERR_IO && holds(path[1], "old"), "a link whose rename fails leaves the older file");
    ac_file_fail_at(0);
    TAP_OK(ac_file_link(path[0], path[1]) == AC_OK && holds(path[0], "new") && holds(path[1], "new"), "both names have the new file");
    TAP_OK(ac_file_link(path[0], path[1]) == AC_OK && holds(path[1], "new"), "again, when they are one file already");
    char part[AC_PATH_BYTES + 8];
    snprintf(part, sizeof part, "%s.part", path[1]);
    TAP_OK(!ac_path_exists(part), "nothing is left behind");
    TAP_OK(ac_file_link(part, path[1]) == AC_ERR_IO && strstr(ac_error_text(), part) && holds(path[1], "new"), "a missing file is not linked");
}

static void test_lock(const char *path)
{
    ac_lock lock;
    int fd = -1;
    TAP_OK(ac_file_lock(path, &fd, &lock) == AC_OK && lock == AC_LOCK_TAKEN && ac_file_lock_holds(path, fd), "a lock holds");
    ac_file_unlock(path, &fd);
    TAP_OK(fd == -1 && !ac_path_exists(path), "its file goes with it");
    TAP_CALL(ac_file_lock(path, &fd, &lock));
    unlink(path);
    TAP_OK(!ac_file_lock_holds(path, fd), "not one whose file was removed");
    FILE *other = fopen(path, "w");
    TAP_OK(other && !ac_file_lock_holds(path, fd), "or replaced");
    ac_file_unlock(path, &fd);
    TAP_OK(ac_path_exists(path), "the other's stays");
    if (other)
        fclose(other);
    unlink(path);
}

/* A writer that wants to keep what cannot be committed. */
static void test_keep_part(const char *path)
{
    char part[AC_PATH_BYTES + 8];
    enum { UNTIL_RENAMED = 4 }; /* write, flush and sync, close, rename */
    snprintf(part, sizeof part, "%s.part", path);
    for (uint64_t at = 2; at <= UNTIL_RENAMED; at++) {
        ac_file file = {0};
        TAP_CALL(ac_file_create(&file, path));
        file.keep_part = true;
        ac_file_fail_at(at);
        TAP_CALL(ac_file_printf(&file, "kept"));
        TAP_OK(ac_file_commit(&file) == AC_ERR_IO && holds(part, "kept") && !holds(path, "kept"),
               "failure of operation %llu: the temporary file is kept", (unsigned long long)at);
        ac_file_fail_at(0);
        TAP_OK(ac_file_create(&file, path) == AC_OK, "and nobody has it locked");
        ac_file_discard(&file);
    }
}

int main(void)
{
    enum { UNTIL_SAFE = N + 2 * N }; /* a write each, then flush and sync as one operation, and close */
    char folder[AC_PATH_BYTES], path[N][AC_PATH_BYTES];
    ac_file first = {0}, second = {0};
    if (!tap_folder(folder) || !TAP_CALL(ac_path_join(path[0], folder, "a")) || !TAP_CALL(ac_path_join(path[1], folder, "b")))
        return tap_done();
    TAP_CALL(write_set(path, "old", 0));
    for (uint64_t at = 1; at <= UNTIL_SAFE; at++) {
        ac_status status = write_set(path, "new", at);
        TAP_OK(status == AC_ERR_IO && holds(path[0], "old") && holds(path[1], "old"), "failure of operation %llu: both old files are there",
               (unsigned long long)at);
    }
    TAP_OK(write_set(path, "new", 0) == AC_OK && holds(path[0], "new") && holds(path[1], "new"), "without one both are replaced");
    TAP_CALL(ac_file_create(&first, path[0]));
    TAP_OK(ac_file_create(&second, path[0]) == AC_ERR_IO && strstr(ac_error_text(), "another program"), "a second writer is refused");
    TAP_CALL(ac_file_printf(&first, "mine"));
    TAP_OK(ac_file_sync(&first) == AC_OK && ac_file_create(&second, path[0]) == AC_ERR_IO, "until the first has given its file the final name");
    TAP_OK(ac_file_commit(&first) == AC_OK && holds(path[0], "mine"), "whose bytes are its own");
    TAP_CALL(ac_file_create(&second, path[0]));
    ac_file_discard(&second);
    TAP_OK(holds(path[0], "mine"), "a file given up leaves the one before");
    test_link(path);
    test_keep_part(path[0]);
    test_lock(path[1]);
    tap_remove(folder);
    return tap_done();
}
