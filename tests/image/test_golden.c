/* Every line of ../shared/golden/resize.tsv: the verdict, and the CRC-32 of the decoded pixels and of three resized
 * images, as Pillow 9.4 and torchvision 0.14 gave them. Skipped where the shared inputs are absent. */
#include "tests/tap.h"
#include "anyclass/alloc.h"
#include "anyclass/image.h"
#include "image/png_chunks.h"
#include "image/resize.h"
#include <string.h>

enum { N_SIZES = 3, N_FIELDS = 8, MAX_LINE = 1024 };
static const int sizes[N_SIZES] = {224, 64, 448};

typedef struct bench {
    const char *shared;
    ac_image image;
    uint8_t *scratch, *resized;
    size_t scratch_bytes;
    ac_resizer *resizers[2][N_SIZES]; /* the best kernels and the plain ones */
    int n_ok, n_refused, n_strict;
} bench;

/* split at tabs, in place; missing fields are "" */
static void split(char *line, char *fields[N_FIELDS])
{
    static char empty[1];
    for (int i = 0; i < N_FIELDS; i++) {
        fields[i] = line ? line : empty;
        char *tab = line ? strchr(line, '\t') : NULL;
        if (tab)
            *tab = 0;
        line = tab ? tab + 1 : NULL;
    }
}

static bool same_crc(const uint8_t *bytes, size_t n, const char *want, char *seen, size_t seen_bytes)
{
    char text[9];
    snprintf(text, sizeof text, "%08x", (unsigned)ac_png_crc32(bytes, n));
    if (strcmp(text, want) == 0)
        return true;
    const size_t used = strlen(seen);
    snprintf(seen + used, seen_bytes - used, " %s instead of %s", text, want);
    return false;
}

static void compare_pixels(bench *b, char *fields[N_FIELDS])
{
    char seen[256] = "";
    const size_t n_bytes = (size_t)b->image.width_px * (size_t)b->image.height_px * 3;
    bool good = b->image.width_px == atoi(fields[2]) && b->image.height_px == atoi(fields[3]);
    good = same_crc(b->image.pixel, n_bytes, fields[4], seen, sizeof seen) && good;
    for (int i = 0; i < N_SIZES; i++) {
        const size_t n = (size_t)sizes[i] * (size_t)sizes[i] * 3;
        for (int k = 0; k < 2; k++) {
            memset(b->resized, 0xa5, n);
            if (ac_resizer_run(b->resizers[k][i], &b->image, b->resized) != AC_OK)
                good = false;
            good = same_crc(b->resized, n, fields[5 + i], seen, sizeof seen) && good;
        }
    }
    TAP_OK(good, "%s: decoded and resized as Pillow does%s", fields[0], seen);
}

static void compare_line(bench *b, char *line)
{
    static const ac_decode_options lenient = {.allow_warnings = true}, strict = {0};
    char *fields[N_FIELDS], path[2 * MAX_LINE];
    split(line, fields);
    snprintf(path, sizeof path, "%s/data/%s", b->shared, fields[0]);
    if (ac_image_load(path, &strict, &b->image, &b->scratch, &b->scratch_bytes) == AC_OK)
        b->n_strict++;
    else if (strcmp(fields[1], "ok") == 0)
        printf("# strict: %s\n", ac_error_text());
    ac_error_clear();
    const ac_status status = ac_image_load(path, &lenient, &b->image, &b->scratch, &b->scratch_bytes);
    if (strcmp(fields[1], "ok") != 0) {
        b->n_refused++;
        TAP_OK(status == AC_ERR_DATA && strstr(ac_error_text(), fields[0]), "refused: %s", ac_error_text());
        return;
    }
    b->n_ok++;
    if (status == AC_OK)
        compare_pixels(b, fields);
    else
        TAP_OK(false, "%s is read", fields[0]);
}

int main(void)
{
    bench b = {.shared = tap_shared()};
    char line[MAX_LINE];
    if (!b.shared) {
        TAP_SKIP("../shared is absent");
        return tap_done();
    }
    snprintf(line, sizeof line, "%s/golden/resize.tsv", b.shared);
    FILE *file = fopen(line, "r");
    if (!file) {
        TAP_SKIP("../shared/golden/resize.tsv is absent");
        return tap_done();
    }
    for (int i = 0; i < N_SIZES; i++) {
        TAP_CALL(ac_resizer_create(sizes[i], &b.resizers[0][i]));
        TAP_CALL(ac_resizer_create_with(sizes[i], &ac_resize_plain, &b.resizers[1][i]));
    }
    TAP_CALL(ac_malloc(448 * 448, 3, &b.resized));
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0] != '#' && strncmp(line, "file\t", 5) != 0)
            compare_line(&b, line);
    }
    fclose(file);
    TAP_OK(b.n_ok >= 190 && b.n_refused >= 12, "%d images read, %d refused; %d read without allowing warnings", b.n_ok,
           b.n_refused, b.n_strict);
    for (int i = 0; i < N_SIZES; i++) {
        ac_resizer_destroy(b.resizers[0][i]);
        ac_resizer_destroy(b.resizers[1][i]);
    }
    ac_image_release(&b.image);
    ac_free(b.scratch);
    ac_free(b.resized);
    TAP_OK(ac_alloc_get_stats().n_live == 0, "no memory is left behind");
    return tap_done();
}
