/* Limits of the table of annotations: refused with a reason while the file is read, not after the images are. */
#include "anyclass/alloc.h"
#include "anyclass/dataset.h"
#include "anyclass/file.h"
#include "anyclass/log.h"
#include "tests/tap.h"
#include <string.h>
#include <time.h>

/* Names of 3 characters, then of 6 until one is refused. */
static void test_class_names(void)
{
    ac_dataset d = {0};
    char name[16];
    ac_status status = AC_OK;
    const clock_t start = clock(); /* of the processor: others may share it */
    for (int i = 0; i < 4096 && status == AC_OK; i++) {
        snprintf(name, sizeof name, "%03x", i);
        status = ac_dataset_add_class(&d, name);
    }
    TAP_OK(status == AC_OK && d.n_classes == 4096, "4096 classes are taken");
    for (int i = 0; i < 20000 && status == AC_OK; i++) {
        snprintf(name, sizeof name, "%06d", i);
        status = ac_dataset_add_class(&d, name);
    }
    const size_t n = 4096 + (AC_CLASS_NAMES_BYTES - 4 * 4096) / 7;
    TAP_OK(status == AC_ERR_DATA && d.n_classes == n && strstr(ac_error_text(), "60000 bytes allowed"),
           "names of more than 60000 bytes are refused: %zu classes", d.n_classes);
    TAP_OK(clock() - start < 20 * CLOCKS_PER_SEC, "in less than 20 s");
    TAP_OK(strcmp(d.class_name[4095], "fff") == 0 && strcmp(d.class_name[n - 1], "006229") == 0, "all names are there");
    TAP_OK(ac_dataset_add_class(&d, "000") == AC_ERR_DATA && strstr(ac_error_text(), "occurs twice"), "a name twice is told");
    ac_dataset_release(&d);
}

static void test_labels(void)
{
    ac_dataset d = {0};
    TAP_CALL(ac_dataset_add_class(&d, "a"));
    TAP_CALL(ac_dataset_add_sample(&d, "a.png"));
    d.n_samples = (size_t)1 << 32; /* as if so many had been read */
    TAP_OK(ac_dataset_add_sample(&d, "b.png") == AC_ERR_DATA && strstr(ac_error_text(), "more than 4294967296 labels"),
           "more than 2^32 labels are refused");
    d.n_samples = 1;
    TAP_CALL(ac_dataset_add_sample(&d, "b.png"));
    ac_dataset_release(&d);
}

/* "info" is a text of so many bytes, or that number of digits. */
static ac_status read_long(const char *path, size_t n, bool digits)
{
    static const char before[] = "{\n\"info\": ", behind[] = ", \"images\": [{\"id\": 1, \"file_name\": \"a.jpg\"}], "
                                                         "\"annotations\": [], \"categories\": [{\"id\": 1, \"name\": \"a\"}]}";
    const char quote = digits ? '1' : '"';
    ac_status status = AC_OK;
    ac_dataset d = {0};
    char *text = NULL;
    ac_file file = {0};
    AC_TRY(ac_malloc(n, 1, &text));
    memset(text, '1', n);
    text[0] = text[n - 1] = quote;
    AC_TRY(ac_file_create(&file, path));
    AC_TRY(ac_file_write(&file, before, sizeof before - 1));
    AC_TRY(ac_file_write(&file, text, n));
    AC_TRY(ac_file_write(&file, behind, sizeof behind - 1));
    AC_TRY(ac_file_commit(&file));
    AC_TRY(ac_dataset_read(&(ac_dataset_options){"coco", path, AC_SPLIT_TRAIN}, &d));
out:
    ac_file_discard(&file);
    ac_free(text);
    ac_dataset_release(&d);
    return status;
}

static void test_long_texts(void)
{
    enum { LIMIT = 1 << 22, PIECE = 1 << 16 };
    char folder[AC_PATH_BYTES], path[AC_PATH_BYTES];
    if (!tap_folder(folder) || !TAP_CALL(ac_path_join(path, folder, "long.json")))
        return;
    TAP_CALL(read_long(path, LIMIT - 2 * PIECE, false));
    for (int digits = 0; digits < 2; digits++)
        TAP_OK(read_long(path, LIMIT + 2 * PIECE, digits) == AC_ERR_DATA &&
                   strstr(ac_error_text(), "long.json line 2 ") && strstr(ac_error_text(), "more than 4 MiB"),
               "coco: %s of more than 4 MiB are refused: %s", digits ? "digits" : "texts", ac_error_text());
    tap_remove(folder);
}

int main(void)
{
    test_long_texts();
    test_class_names();
    test_labels();
    TAP_OK(ac_alloc_get_stats().n_live == 0, "no memory is left behind");
    return tap_done();
}
