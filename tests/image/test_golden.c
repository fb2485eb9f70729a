/* Every line of ../shared/golden/resize.tsv: the verdict, and the CRC-32 of the decoded pixels and of three resized
 * images, as Pillow 9.4 and torchvision 0.14 gave them, for every level of SIMD that this processor has. Then every file
 * of data/bad/INDEX.tsv: it had such a line, or it is refused with a reason. Skipped where the shared inputs are absent. */
#include "tests/tap.h"
#include "anyclass/alloc.h"
#include "anyclass/image.h"
#include "image/png_chunks.h"
#include "image/resize.h"
#include <string.h>

enum { N_SIZES = 3, N_FIELDS = 8, MAX_LINE = 1024, MAX_BAD = 400, MAX_NAME = 200 };
static const int sizes[N_SIZES] = {224, 64, 448};

typedef struct bench {
    const char *shared;
    ac_image image;
    uint8_t *scratch, *resized;
    size_t scratch_bytes;
    ac_resizer *resizers[AC_N_SIMD][N_SIZES]; /* NULL: this processor has no such level */
    char seen_bad[MAX_BAD][MAX_NAME];         /* files of data/bad with a line in resize.tsv */
    int n_bad, n_ok, n_refused, n_strict;
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
        for (int k = AC_SIMD_PLAIN; k < AC_N_SIMD; k++) {
            if (!b->resizers[k][i])
                continue;
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
    if (strncmp(fields[0], "bad/", 4) == 0 && b->n_bad < MAX_BAD)
        snprintf(b->seen_bad[b->n_bad++], MAX_NAME, "%s", fields[0] + 4);
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

static bool has_line(const bench *b, const char *name)
{
    for (int i = 0; i < b->n_bad; i++)
        if (strcmp(b->seen_bad[i], name) == 0)
            return true;
    return false;
}

/* With the EXIF orientation applied the verdict is the same, and the sides are the same or swapped. */
static bool turns_soundly(bench *b, const char *path, const ac_decode_options *options)
{
    ac_decode_options turn = *options;
    ac_image turned = {0};
    turn.apply_orientation = true;
    const ac_status status = ac_image_load(path, options, &b->image, &b->scratch, &b->scratch_bytes);
    const ac_status turned_status = ac_image_load(path, &turn, &turned, &b->scratch, &b->scratch_bytes);
    bool good = status == turned_status && (status == AC_OK || status == AC_ERR_DATA);
    if (good && status == AC_OK)
        good = (int64_t)turned.width_px * turned.height_px == (int64_t)b->image.width_px * b->image.height_px &&
               (turned.width_px == b->image.width_px || turned.width_px == b->image.height_px);
    ac_image_release(&turned);
    return good;
}

static void compare_index(bench *b)
{
    static const ac_decode_options lenient = {.allow_warnings = true}, strict = {0};
    char line[MAX_LINE], path[2 * MAX_LINE], *fields[N_FIELDS];
    int n = 0, n_with_line = 0, n_turned = 0;
    snprintf(line, sizeof line, "%s/data/bad/INDEX.tsv", b->shared);
    FILE *file = fopen(line, "r");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        split(line, fields);
        if (strcmp(fields[0], "file") == 0)
            continue;
        n++;
        snprintf(path, sizeof path, "%s/data/bad/%s", b->shared, fields[0]);
        n_turned += turns_soundly(b, path, &strict) && turns_soundly(b, path, &lenient);
        if (has_line(b, fields[0]))
            n_with_line++;
        else
            TAP_OK(ac_image_load(path, &lenient, &b->image, &b->scratch, &b->scratch_bytes) == AC_ERR_DATA &&
                       strstr(ac_error_text(), fields[0]), "without a line, refused: %s", ac_error_text());
    }
    if (file)
        fclose(file);
    TAP_OK(n >= 135 && n_with_line == b->n_bad && n_turned == n,
           "%d files in bad/INDEX.tsv: %d compared with Pillow, %d refused; the same verdict with EXIF applied for %d", n,
           n_with_line, n - n_with_line, n_turned);
}

int main(void)
{
    static bench b;
    char line[MAX_LINE];
    b.shared = tap_shared();
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
        for (ac_simd level = AC_SIMD_PLAIN; level < AC_N_SIMD; level++)
            if (ac_simd_check(level) == AC_OK)
                TAP_CALL(ac_resizer_create_with(sizes[i], level, &b.resizers[level][i]));
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
    compare_index(&b);
    for (int i = 0; i < N_SIZES; i++) {
        for (int level = 0; level < AC_N_SIMD; level++)
            ac_resizer_destroy(b.resizers[level][i]);
    }
    ac_image_release(&b.image);
    ac_free(b.scratch);
    ac_free(b.resized);
    TAP_OK(ac_alloc_get_stats().n_live == 0, "no memory is left behind");
    return tap_done();
}
