/* A loader on a source of its own: lists of samples, samples without pixels, failures; and the list of a folder of
 * pictures. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/pictures.h"
#include "tests/tap.h"
#include <stdio.h>
#include <string.h>

enum { N = 40, BYTES = 12, SLICE = 4, NO_PIXELS = 9, FAILS = 30 };

/* Every byte of sample i is i. */
static ac_status read_sample(void *context, int thread, int64_t i, uint8_t *out, bool *usable)
{
    int *n_threads = context;
    if (thread < 0 || thread >= *n_threads)
        return ac_error(AC_ERR_RANGE, "thread %d", thread);
    if (i == FAILS)
        return ac_error(AC_ERR_IO, "sample %d cannot be read", FAILS);
    memset(out, (int)i, BYTES);
    *usable = i != NO_PIXELS;
    return AC_OK;
}

static const char *name_sample(const void *context, int64_t i)
{
    (void)context;
    return i == 0 ? "first" : "other";
}

/* True when the loader brings list[0 .. n) in batches of SLICE and then nothing. */
static bool brings(ac_loader *loader, const int64_t *list, int64_t n)
{
    const ac_batch *batch = NULL;
    int64_t at = 0;
    if (ac_loader_begin_list(loader, list, n) != AC_OK)
        return false;
    for (;; at += batch->n) {
        if (ac_loader_next(loader, &batch, NULL) != AC_OK)
            return false;
        if (!batch)
            return at == n;
        if (batch->n != (n - at < SLICE ? n - at : SLICE))
            return false;
        for (int row = 0; row < batch->n; row++) {
            const int64_t i = list[at + row];
            if (batch->sample[row] != i || batch->usable[row] != (i != NO_PIXELS) ||
                batch->image[row * BYTES + BYTES - 1] != i)
                return false;
        }
    }
}

static void test_lists(void)
{
    int n_threads = 3;
    const ac_source source = {
        .context = &n_threads, .n_samples = N, .image_bytes = BYTES, .read = read_sample, .name = name_sample};
    const ac_loader_config config = {
        .source = &source, .global_batch = SLICE, .slice_n = SLICE, .n_threads = n_threads, .n_prefetch = 2};
    ac_loader *loader = NULL;
    const ac_batch *batch;
    int64_t list[FAILS];
    if (!TAP_CALL(ac_loader_create(&config, &loader)))
        return;
    for (int64_t i = 0; i < FAILS; i++)
        list[i] = FAILS - 1 - i;
    int n_good = 0, n_tried = 0;
    for (int round = 0; round < 20; round++)
        for (int64_t n = 0; n <= FAILS; n++, n_tried++)
            n_good += brings(loader, list, n);
    TAP_OK(n_good == n_tried, "%d of %d lists of 0 to %d samples come as they are", n_good, n_tried, FAILS);
    const int64_t failing[] = {1, 2, FAILS, 3, 4, 5};
    ac_status status = ac_loader_begin_list(loader, failing, 6);
    for (int k = 0; k < 3 && status == AC_OK; k++)
        status = ac_loader_next(loader, &batch, NULL);
    TAP_OK(status == AC_ERR_IO && strcmp(ac_error_text(), "sample 30 cannot be read") == 0,
           "what the source cannot read ends the list: %s", ac_error_text());
    TAP_OK(brings(loader, list, 7), "another list after that");
    TAP_OK(ac_loader_begin_list(loader, list, FAILS) == AC_OK && ac_loader_next(loader, &batch, NULL) == AC_OK &&
               brings(loader, list + 3, 5),
           "a list that is left amid its batches");
    ac_loader_destroy(loader);
}

static void write_empty(const char *folder, const char *name)
{
    char path[AC_PATH_BYTES];
    FILE *file = ac_path_join(path, folder, name) == AC_OK ? fopen(path, "w") : NULL;
    if (file)
        fclose(file);
}

static void test_pictures(void)
{
    static const char *const given[] = {"b.jpg",     "a.PNG",        "c.jpeg",  "c.gif", ".jpg",
                                        "x.jpg.txt", "below/d.Jpeg", "below/e", "Z.jpg"};
    static const char *const wanted[] = {"Z.jpg", "a.PNG", "b.jpg", "below/d.Jpeg", "c.jpeg"};
    char folder[AC_PATH_BYTES], path[AC_PATH_BYTES];
    ac_pictures pictures = {0}, copy = {0};
    char *names = NULL;
    if (!tap_folder(folder) || !TAP_CALL(ac_path_join(path, folder, "below")) || !TAP_CALL(ac_path_make_folders(path)))
        return;
    TAP_OK(ac_pictures_list(folder, &pictures) == AC_ERR_DATA && strstr(ac_error_text(), "no picture"),
           "no picture: %s", ac_error_text());
    ac_pictures_release(&pictures);
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        write_empty(folder, given[i]);
    TAP_CALL(ac_pictures_list(folder, &pictures));
    bool same = pictures.n == 5;
    for (size_t i = 0; same && i < pictures.n; i++)
        same = strcmp(pictures.names + pictures.name_at[i], wanted[i]) == 0;
    TAP_OK(same, "%zu pictures, in the order of their names' bytes", pictures.n);
    TAP_CALL(ac_malloc(pictures.n_name_bytes, 1, &names));
    memcpy(names, pictures.names, pictures.n_name_bytes);
    TAP_CALL(ac_pictures_take(folder, names, pictures.n_name_bytes, &copy));
    TAP_OK(copy.n == 5 && ac_hash_equal(ac_pictures_hash(&copy), ac_pictures_hash(&pictures)),
           "the same list from its names");
    bool usable = true;
    uint8_t pixels[8 * 8 * 3];
    TAP_CALL(ac_pictures_begin(&copy, 8, &(ac_decode_options){.allow_warnings = false}, 1));
    ac_source source = ac_pictures_source(&copy);
    TAP_CALL(source.read(source.context, 0, 0, pixels, &usable));
    TAP_OK(!usable && copy.reason[0], "an empty file is bad: %s", copy.reason[0]);
    ac_pictures_release(&copy);
    ac_pictures_release(&pictures);
    tap_remove(folder);
}

int main(void)
{
    test_lists();
    test_pictures();
    TAP_OK(ac_alloc_get_stats().n_live == 0, "no memory is left behind");
    return tap_done();
}
