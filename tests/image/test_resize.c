/* The resize against Pillow's numbers in fixtures/resize.tsv (made by fixtures/make.py), every level of SIMD against
 * plain C, the memory around its buffers, and its behaviour when memory runs out. Needs no JPEG or PNG library, so that it
 * can be built for another processor alone (make check-neon). */
#include "tests/tap.h"
#include "anyclass/alloc.h"
#include "image/png_chunks.h"
#include "image/resize.h"
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUARD = 64 };

/* The patterns of make.py. The buffer is as large as the image: a read past it is seen by AddressSanitizer. */
static ac_status make_pattern(const char *kind, int width, int height, ac_image *image)
{
    uint32_t state = 12345u + (uint32_t)width * 7919u + (uint32_t)height;
    *image = (ac_image){.capacity = (size_t)width * (size_t)height * 3, .width_px = width, .height_px = height};
    const ac_status status = ac_malloc(image->capacity, 1, &image->pixel);
    if (status != AC_OK)
        return status;
    for (size_t i = 0; i < image->capacity; i++) {
        const size_t c = i % 3, x = i / 3 % (size_t)width, y = i / 3 / (size_t)width;
        state = state * 1664525u + 1013904223u;
        const uint32_t noise = state >> 24;
        if (strcmp(kind, "noise") == 0)
            image->pixel[i] = (uint8_t)noise;
        else if (strcmp(kind, "sharp") == 0)
            image->pixel[i] = noise & 1 ? 255 : 0;
        else if (strcmp(kind, "slope") == 0)
            image->pixel[i] = (uint8_t)(x * 3 + y * 5 + c * 80 + noise / 16);
        else if (strcmp(kind, "check") == 0)
            image->pixel[i] = (x + y) & 1 ? 255 : 0;
        else
            image->pixel[i] = 255;
    }
    return AC_OK;
}

/* Resize between two guards; true if it went well and the guards are whole. *crc is that of the result. */
static bool run_guarded(ac_resizer *r, const ac_image *image, int size, uint32_t *crc)
{
    const size_t n = (size_t)size * (size_t)size * 3;
    uint8_t *buffer = NULL;
    bool good = ac_malloc(n + 2 * GUARD, 1, &buffer) == AC_OK;
    if (!good)
        return false;
    memset(buffer, 0x5a, n + 2 * GUARD);
    good = ac_resizer_run(r, image, buffer + GUARD) == AC_OK;
    for (size_t i = 0; i < GUARD; i++)
        good = good && buffer[i] == 0x5a && buffer[GUARD + n + i] == 0x5a;
    *crc = ac_png_crc32(buffer + GUARD, n);
    ac_free(buffer);
    return good;
}

static bool run_once(ac_simd level, const ac_image *image, int size, uint32_t *crc)
{
    ac_resizer *r = NULL;
    const bool good = ac_resizer_create_with(size, level, &r) == AC_OK && run_guarded(r, image, size, crc);
    ac_resizer_destroy(r);
    return good;
}

static void test_fixtures(ac_simd level)
{
    FILE *file = fopen("tests/image/fixtures/resize.tsv", "r");
    char line[256], kind[16];
    int width, height, size, n = 0, n_good = 0;
    uint32_t want, crc;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%d\t%d\t%15s\t%d\t%" SCNx32, &width, &height, kind, &size, &want) != 5)
            continue;
        ac_image image;
        n++;
        if (make_pattern(kind, width, height, &image) == AC_OK && run_once(level, &image, size, &crc) && crc == want)
            n_good++;
        else
            printf("# %s %d x %d to %d differs from Pillow\n", kind, width, height, size);
        ac_image_release(&image);
    }
    if (file)
        fclose(file);
    TAP_OK(n == 75 && n_good == n, "%s: %d of %d results equal Pillow's", ac_resize_kernels_of(level)->name, n_good, n);
}

static uint32_t draw(uint32_t *state, uint32_t below)
{
    *state = *state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)*state * below >> 32);
}

/* shapes that are easy to get wrong, for every size; {0, 0} stands for the size itself */
static const int odd_shapes[][2] = {{1, 1}, {1, 300}, {300, 1}, {0, 0}, {0, 77}, {77, 0}, {2, 3}, {5, 9}, {20000, 1}, {1, 20000},
                                    {9001, 3}, {3, 9001}, {1187, 40}, {1201, 33}, {640, 480}};
static const char *const patterns[] = {"noise", "sharp", "white", "check"};
enum { N_ODD = sizeof odd_shapes / sizeof *odd_shapes, N_SHAPES = N_ODD + 40 };

/* one resizer for all shapes of a size, so that tables and buffers are used again */
static void test_twins(ac_simd level)
{
    static const int sizes[] = {1, 2, 3, 7, 31, 64, 201};
    uint32_t state = 7;
    int n_equal = 0, n = 0;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const int size = sizes[s];
        ac_resizer *fast = NULL, *plain = NULL;
        TAP_CALL(ac_resizer_create_with(size, level, &fast));
        TAP_CALL(ac_resizer_create_with(size, AC_SIMD_PLAIN, &plain));
        for (int k = 0; k < N_SHAPES; k++, n++) {
            ac_image image;
            uint32_t a = 0, b = 1, again = 2;
            int width = 1 + (int)draw(&state, 256), height = 1 + (int)draw(&state, 256);
            if (k < N_ODD) {
                width = odd_shapes[k][0] ? odd_shapes[k][0] : size;
                height = odd_shapes[k][1] ? odd_shapes[k][1] : size;
            }
            const char *pattern = patterns[draw(&state, 4)];
            if (make_pattern(pattern, width, height, &image) == AC_OK && run_guarded(fast, &image, size, &a) &&
                run_guarded(plain, &image, size, &b) && run_guarded(fast, &image, size, &again) && a == b && a == again)
                n_equal++;
            else
                printf("# %s %d x %d to %d differs\n", pattern, width, height, size);
            ac_image_release(&image);
        }
        ac_resizer_destroy(fast);
        ac_resizer_destroy(plain);
    }
    TAP_OK(n_equal == n, "%s equals plain for %d of %d shapes", ac_resize_kernels_of(level)->name, n_equal, n);
}

enum { MAX_TAPS = 44, MAX_OUTPUTS = 23, MAX_WIDTH = 300, ROW_BYTES = MAX_WIDTH * 3 + AC_RESIZE_SLACK_BYTES };

/* n weights of any size with a sum of at most 1 << AC_RESIZE_BITS, then zeros */
static void draw_weights(uint32_t *state, int n, int32_t *weight)
{
    int32_t left = 1 << AC_RESIZE_BITS;
    memset(weight, 0, MAX_TAPS * sizeof *weight);
    for (int t = 0; t < n; t++) {
        const uint32_t below = (uint32_t)left + 1;
        weight[t] = (int32_t)draw(state, draw(state, 3) ? below : below < 999 ? below : 999);
        left -= weight[t];
    }
}

/* The kernels alone on weights that no filter has: every digit of every size. */
static void test_horizontal(const ac_resize_kernels *k)
{
    static int32_t first[MAX_OUTPUTS], n_taps[MAX_OUTPUTS], weight[MAX_OUTPUTS * MAX_TAPS];
    static uint8_t pixels[AC_RESIZE_ROWS][ROW_BYTES], seen[2][AC_RESIZE_ROWS][ROW_BYTES];
    const uint8_t *source[AC_RESIZE_ROWS];
    uint8_t *target[2][AC_RESIZE_ROWS], *packed = NULL;
    size_t packed_bytes = 0;
    uint32_t state = 3;
    int n_equal = 0;
    for (int row = 0; row < AC_RESIZE_ROWS; row++) {
        source[row] = pixels[row];
        target[0][row] = seen[0][row];
        target[1][row] = seen[1][row];
    }
    for (int round = 0; round < 2000; round++) {
        ac_resize_filter f = {.n_in = 1 + (int)draw(&state, MAX_WIDTH), .n_out = 1 + (int)draw(&state, MAX_OUTPUTS),
                              .stride = MAX_TAPS, .first = first, .n_taps = n_taps, .weight = weight};
        const int most = 1 + (int)draw(&state, MAX_TAPS < (uint32_t)f.n_in ? MAX_TAPS : (uint32_t)f.n_in);
        f.stride = (most + AC_RESIZE_TAP_GROUP - 1) / AC_RESIZE_TAP_GROUP * AC_RESIZE_TAP_GROUP;
        const int last = f.n_in > f.stride ? f.n_in - f.stride : 0;
        for (int i = 0; i < f.n_out; i++) {
            int32_t drawn[MAX_TAPS];
            n_taps[i] = 1 + (int)draw(&state, (uint32_t)most);
            first[i] = (int)((int64_t)last * i / f.n_out);
            draw_weights(&state, n_taps[i], drawn);
            memcpy(weight + i * f.stride, drawn, (size_t)f.stride * sizeof *weight);
        }
        for (size_t i = 0; i < sizeof pixels; i++)
            ((uint8_t *)pixels)[i] = draw(&state, 3) ? 255 : (uint8_t)draw(&state, 256);
        memset(seen, 0, sizeof seen);
        if (k->pack && ac_reserve(&packed, &packed_bytes, k->packed_bytes(&f), 1) == AC_OK) {
            f.packed = packed;
            k->pack(&f);
        }
        ac_resize_plain.horizontal(&f, source, target[0]);
        k->horizontal(&f, source, target[1]);
        bool equal = true;
        for (int row = 0; row < AC_RESIZE_ROWS; row++)
            equal = equal && memcmp(seen[0][row], seen[1][row], (size_t)f.n_out * 3) == 0;
        n_equal += equal;
    }
    ac_free(packed);
    TAP_OK(n_equal == 2000, "%s: horizontal equals plain for %d of 2000 filters", k->name, n_equal);
}

/* The rows end where a page begins that may not be read. */
static void test_vertical(const ac_resize_kernels *k)
{
    static uint8_t seen[2][211 + GUARD];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (MAX_TAPS * 211 / page + 1) * page;
    uint8_t *rows = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int32_t weight[MAX_TAPS];
    uint32_t state = 4;
    int n_equal = 0;
    if (!TAP_OK(rows != MAP_FAILED && mprotect(rows + room, page, PROT_NONE) == 0, "a page is guarded"))
        return;
    for (int round = 0; round < 2000; round++) {
        const size_t row_bytes = 1 + draw(&state, 211), n_bytes = 1 + draw(&state, (uint32_t)row_bytes);
        const int n_taps = 1 + (int)draw(&state, MAX_TAPS);
        uint8_t *first = rows + room - (size_t)n_taps * row_bytes;
        for (size_t i = 0; i < (size_t)n_taps * row_bytes; i++)
            first[i] = draw(&state, 3) ? 255 : (uint8_t)draw(&state, 256);
        draw_weights(&state, n_taps, weight);
        memset(seen, 0x5a, sizeof seen);
        ac_resize_plain.vertical(first, row_bytes, weight, n_taps, n_bytes, seen[0]);
        k->vertical(first, row_bytes, weight, n_taps, n_bytes, seen[1]);
        n_equal += memcmp(seen[0], seen[1], sizeof seen[0]) == 0;
    }
    munmap(rows, room + page);
    TAP_OK(n_equal == 2000, "%s: vertical equals plain for %d of 2000 sets of weights", k->name, n_equal);
}

/* Levels by name, those that are there and those that are not. */
static void test_levels(void)
{
    char names[64] = "auto";
    ac_resizer *r = NULL;
    for (ac_simd level = AC_SIMD_PLAIN; level < AC_N_SIMD; level++) {
        const char *name = ac_resize_kernels_of(level)->name;
        snprintf(names + strlen(names), sizeof names - strlen(names), "|%s", name);
        const ac_status status = ac_resizer_create_with(9, level, &r);
        if (ac_resize_kernels_of(level)->supported())
            TAP_OK(status == AC_OK && strcmp(ac_resizer_simd(r), name) == 0, "%s can be chosen", name);
        else
            TAP_OK(status == AC_ERR_USAGE && !r && strstr(ac_error_text(), name) && strstr(ac_error_text(), "plain"), "refused: %s",
                   ac_error_text());
        ac_resizer_destroy(r);
    }
    TAP_OK(strcmp(names, AC_SIMD_CHOICES) == 0, "the names are %s", names);
    TAP_OK(ac_resizer_create_with(9, AC_N_SIMD, &r) == AC_ERR_USAGE && !r, "no such level: %s", ac_error_text());
    TAP_CALL(ac_resizer_create(9, &r));
    ac_simd best = AC_N_SIMD - 1;
    while (!ac_resize_kernels_of(best)->supported())
        best--;
    TAP_OK(strcmp(ac_resizer_simd(r), ac_resize_kernels_of(best)->name) == 0, "auto is %s", ac_resizer_simd(r));
    ac_resizer_destroy(r);
}

static void test_identity(void)
{
    ac_image image;
    ac_resizer *r = NULL;
    uint8_t out[33 * 33 * 3];
    TAP_CALL(make_pattern("noise", 33, 33, &image));
    TAP_CALL(ac_resizer_create(33, &r));
    TAP_CALL(ac_resizer_run(r, &image, out));
    TAP_OK(memcmp(out, image.pixel, sizeof out) == 0, "an image of the right size is copied");
    ac_resizer_destroy(r);
    ac_image_release(&image);
}

static void test_range(void)
{
    ac_resizer *r = NULL;
    TAP_OK(ac_resizer_create(0, &r) == AC_ERR_RANGE && !r, "size 0 is refused");
    TAP_OK(ac_resizer_create(4097, &r) == AC_ERR_RANGE && !r, "size 4097 is refused");
    TAP_CALL(ac_resizer_create(4096, &r));
    ac_resizer_destroy(r);
    ac_resizer_destroy(NULL);
}

/* A failure at the n-th request, in the middle of a change of size; afterwards both sizes give what they gave before. */
static bool fails_soundly(const ac_image *small, const ac_image *large, const uint8_t *want, uint64_t n, bool *done)
{
    static uint8_t out[16 * 16 * 3];
    ac_resizer *r = NULL;
    bool clean = ac_resizer_create(16, &r) == AC_OK && ac_resizer_run(r, small, out) == AC_OK;
    ac_alloc_fail_at(n);
    const ac_status status = clean ? ac_resizer_run(r, large, out) : AC_ERR_MEMORY;
    ac_alloc_fail_at(0);
    *done = status == AC_OK;
    clean = clean && (*done || status == AC_ERR_MEMORY) && ac_resizer_run(r, small, out) == AC_OK &&
            memcmp(out, want, sizeof out) == 0;
    clean = clean && ac_resizer_run(r, large, out) == AC_OK && memcmp(out, want + sizeof out, sizeof out) == 0;
    ac_resizer_destroy(r);
    return clean;
}

static void test_memory(void)
{
    static uint8_t want[2][16 * 16 * 3];
    ac_image small, large;
    ac_resizer *r = NULL;
    int n_failed = 0;
    bool clean = true, done = false;
    TAP_CALL(make_pattern("noise", 40, 30, &small));
    TAP_CALL(make_pattern("noise", 400, 300, &large));
    const uint64_t n_live = ac_alloc_get_stats().n_live;
    for (int i = 0; i < 2; i++) { /* of each size a resizer of its own */
        TAP_CALL(ac_resizer_create(16, &r));
        TAP_CALL(ac_resizer_run(r, i ? &large : &small, want[i]));
        ac_resizer_destroy(r);
    }
    for (; clean && !done && n_failed < 100; n_failed += !done)
        clean = fails_soundly(&small, &large, want[0], (uint64_t)n_failed + 1, &done) && ac_alloc_get_stats().n_live == n_live;
    TAP_OK(clean && done && n_failed >= 6, "each of %d requests for memory may fail at a change of size", n_failed);
    ac_alloc_fail_at(1);
    TAP_OK(ac_resizer_create(16, &r) == AC_ERR_MEMORY && !r, "so may the first");
    ac_alloc_fail_at(0);
    ac_image_release(&small);
    ac_image_release(&large);
}

static void test_level(ac_simd level)
{
    test_fixtures(level);
    if (level == AC_SIMD_PLAIN)
        return;
    test_twins(level);
    test_horizontal(ac_resize_kernels_of(level));
    test_vertical(ac_resize_kernels_of(level));
}

int main(void)
{
    for (ac_simd level = AC_SIMD_PLAIN; level < AC_N_SIMD; level++)
        if (ac_simd_check(level) == AC_OK)
            test_level(level);
        else
            TAP_SKIP(ac_error_text());
    test_levels();
    test_identity();
    test_range();
    test_memory();
    TAP_OK(ac_alloc_get_stats().n_live == 0, "no memory is left behind");
    return tap_done();
}
