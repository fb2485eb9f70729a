/* Augmentation: pixels against torchvision on Pillow images (fixtures/augment.tsv, made by make_augment.py, and the golden
 * values where they are), every colour there is, cpu against ref, any division of a batch and any number of threads, and
 * the draws. usage: test_augment [TSV]    (another file that make_augment.py made) */
#include "anyclass/alloc.h"
#include "anyclass/plan.h"
#include "backend/ref/ref.h"
#include "hdf5/hdf5_util.h"
#include "image/png_chunks.h"
#include "tests/tap.h"
#include <string.h>

typedef struct batch {
    int n, height, width;
    uint8_t *image;
    int64_t *key;
    float *out; /* as image */
} batch;

static size_t batch_bytes(const batch *b)
{
    return (size_t)b->n * (size_t)b->height * (size_t)b->width * 3;
}

/* The picture that make_augment.py draws: noise, greys, near-greys and corners of the colour cube, mixed. */
static void draw_picture(uint8_t *pixel, int n_pixels, uint32_t number)
{
    for (int i = 0; i < n_pixels; i++, pixel += 3) {
        ac_philox p = ac_random_block(5, AC_STREAM_TEST, (uint64_t)i, number);
        for (int c = 0; c < 3; c++) {
            const uint32_t value[4] = {p.word[c] >> 24, p.word[0] >> 24, (p.word[0] >> 25) + (p.word[c] & 3) + 60, (p.word[c] & 1) * 255};
            pixel[c] = (uint8_t)value[p.word[3] & 3];
        }
    }
}

static bool open_batch(batch *b, int n, int height, int width, uint32_t first_picture)
{
    memset(b, 0, sizeof *b);
    b->n = n;
    b->height = height;
    b->width = width;
    if (ac_malloc(batch_bytes(b), 1, &b->image) != AC_OK || ac_malloc((size_t)n, sizeof *b->key, &b->key) != AC_OK ||
        ac_calloc(batch_bytes(b), sizeof *b->out, &b->out) != AC_OK)
        return false;
    for (int i = 0; i < n; i++) {
        draw_picture(b->image + (size_t)(i * height * width) * 3, height * width, first_picture + (uint32_t)i);
        b->key[i] = ((int64_t)4 << 40) + i;
    }
    return true;
}

static void close_batch(batch *b)
{
    ac_free(b->image);
    ac_free(b->key);
    ac_free(b->out);
}

/* Images [first, first + n) of a batch through the operator in a plan of its own, into their place of out. */
static ac_status run_part(const char *backend, int n_threads, const ac_image_input_attribute *a, const batch *b, int first, int n)
{
    ac_status status = AC_OK;
    ac_graph *graph = NULL;
    ac_device *device = NULL;
    ac_params *params = NULL;
    ac_plan *plan = NULL;
    size_t image_bytes = (size_t)b->height * (size_t)b->width * 3, at = (size_t)first * image_bytes;
    AC_TRY(ac_graph_create(AC_F32, &graph));
    ac_value images = ac_graph_input(graph, "images", &(ac_shape){4, {n, b->height, b->width, 3}, AC_U8});
    ac_value keys = ac_graph_input(graph, "keys", &(ac_shape){1, {n}, AC_I64});
    ac_value out = ac_add_image_input(graph, "input", images, keys, a);
    ac_graph_result(graph, out);
    AC_TRY(ac_graph_finish(graph));
    AC_TRY(ac_backend_find(backend)->open(n_threads, &device));
    AC_TRY(ac_params_create(device, graph, false, &params));
    AC_TRY(ac_plan_create(graph, params, false, &plan));
    AC_TRY(ac_plan_bind_guarded(plan));
    AC_TRY(ac_plan_write(plan, images, b->image + at, (size_t)n * image_bytes));
    AC_TRY(ac_plan_write(plan, keys, b->key + first, (size_t)n * sizeof *b->key));
    AC_TRY(ac_plan_forward(plan));
    AC_TRY(ac_plan_check_guards(plan));
    AC_TRY(ac_plan_read(plan, out, b->out + at, (size_t)n * image_bytes * sizeof *b->out));
out:
    ac_plan_destroy(plan);
    ac_params_destroy(params);
    if (device)
        device->backend->close(device);
    ac_graph_destroy(graph);
    return status;
}

/* ---- against torchvision ---- */

/* mean 0 and std 1: the bytes can be read back from the operator's output */
static uint32_t crc_of_output(const batch *b)
{
    for (size_t i = 0; i < batch_bytes(b); i++)
        b->image[i] = (uint8_t)lrintf(b->out[i] * 255);
    return ac_png_crc32(b->image, batch_bytes(b));
}

static bool same_as_torchvision(const char *line, uint32_t number, const char *backend)
{
    ac_image_input_attribute a = {.std = {1, 1, 1}};
    char kind[16];
    unsigned long long key;
    unsigned seed, flip, crc;
    int width, height;
    batch b;
    if (sscanf(line, "%15s %u %llu %d %d %f %f %f %f %f %u %x", kind, &seed, &key, &width, &height, &a.augment.brightness, &a.augment.contrast,
               &a.augment.saturation, &a.augment.hue, &a.augment.rotation_degrees, &flip, &crc) != 12)
        return false;
    a.seed = seed;
    a.flip = flip;
    a.augment.kind = strcmp(kind, "colour") == 0 ? AC_AUGMENT_COLOUR : AC_AUGMENT_ROTATION;
    bool same = open_batch(&b, 1, height, width, number);
    if (same) {
        b.key[0] = (int64_t)key;
        same = run_part(backend, 1, &a, &b, 0, 1) == AC_OK && crc_of_output(&b) == crc;
    }
    close_batch(&b);
    if (!same)
        printf("# %s, line %u: %s", backend, (unsigned)number + 1, line);
    return same;
}

static void test_fixture(const char *path)
{
    static const char *const backends[] = {"ref", "cpu"};
    FILE *file = fopen(path, "r");
    char line[512];
    int n_lines = 0, n_same[2] = {0, 0};
    if (!TAP_OK(file != NULL, "%s is there", path))
        return;
    for (; fgets(line, sizeof line, file); n_lines++)
        for (int k = 0; k < 2; k++)
            n_same[k] += same_as_torchvision(line, (uint32_t)n_lines, backends[k]);
    fclose(file);
    for (int k = 0; k < 2; k++)
        TAP_OK(n_lines > 0 && n_same[k] == n_lines, "%s: %d of %d images are torchvision's, bit for bit", backends[k], n_same[k], n_lines);
}

enum { GOLDEN_PX = 64, GOLDEN_BYTES = GOLDEN_PX * GOLDEN_PX * 3 };

/* Largest difference in grey levels from a golden image; 256 when it cannot be read. */
static int golden_difference(hid_t file, const char *name, const uint8_t *pixel)
{
    static uint8_t wanted[GOLDEN_BYTES];
    int worst = 0;
    if (ac_hdf5_read(file, name, H5T_NATIVE_UINT8, GOLDEN_BYTES, wanted) != AC_OK)
        return 256;
    for (int i = 0; i < GOLDEN_BYTES; i++)
        worst = abs(pixel[i] - wanted[i]) > worst ? abs(pixel[i] - wanted[i]) : worst;
    return worst;
}

static void test_golden_colours(hid_t file, const uint8_t *input)
{
    static const struct {
        const char *name;
        int step;
        float value;
    } cases[] = {
        {"brightness/0.9", AC_BRIGHTNESS, .9f}, {"brightness/0.953", AC_BRIGHTNESS, .953f}, {"brightness/1.1", AC_BRIGHTNESS, 1.1f},
        {"contrast/0.9", AC_CONTRAST, .9f},     {"contrast/0.953", AC_CONTRAST, .953f},     {"contrast/1.1", AC_CONTRAST, 1.1f},
        {"saturation/0.9", AC_SATURATION, .9f}, {"saturation/0.953", AC_SATURATION, .953f}, {"saturation/1.1", AC_SATURATION, 1.1f},
        {"hue/-0.033", AC_HUE, -.033f},         {"hue/-0.1", AC_HUE, -.1f},                 {"hue/0.02", AC_HUE, .02f},
        {"hue/0.1", AC_HUE, .1f},
    };
    static uint8_t pixel[GOLDEN_BYTES];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ac_colour_draw draw = {{1, 1, 1}, 0, cases[i].step == AC_HUE, {AC_BRIGHTNESS, AC_CONTRAST, AC_SATURATION, AC_HUE}};
        if (cases[i].step == AC_HUE)
            draw.hue_shift = ac_hue_shift(cases[i].value);
        else
            draw.factor[cases[i].step] = cases[i].value;
        memcpy(pixel, input, sizeof pixel);
        ref_change_colours(&draw, pixel, GOLDEN_PX * GOLDEN_PX);
        TAP_OK(golden_difference(file, cases[i].name, pixel) == 0, "golden %s", cases[i].name);
    }
    ac_colour_draw chain = {{.94f, 1.06f, 1.08f}, ac_hue_shift(-.04f), true, {AC_CONTRAST, AC_HUE, AC_BRIGHTNESS, AC_SATURATION}};
    memcpy(pixel, input, sizeof pixel);
    ref_change_colours(&chain, pixel, GOLDEN_PX * GOLDEN_PX);
    TAP_OK(golden_difference(file, "chain_contrast1.06_hue-0.04_brightness0.94_saturation1.08", pixel) == 0, "golden chain of four");
}

static void test_golden(void)
{
    static const double angles[] = {-5, -2.3, 1, 4.9};
    static uint8_t input[GOLDEN_BYTES], pixel[GOLDEN_BYTES];
    char path[AC_PATH_BYTES], name[64];
    const char *shared = tap_shared();
    hid_t file;
    if (!shared) {
        TAP_SKIP("golden/augment.h5: no shared folder");
        return;
    }
    snprintf(path, sizeof path, "%s/golden/augment.h5", shared);
    ac_hdf5_begin();
    if (!TAP_CALL(ac_hdf5_open(path, &file)) || !TAP_CALL(ac_hdf5_read(file, "input", H5T_NATIVE_UINT8, sizeof input, input)))
        return;
    test_golden_colours(file, input);
    for (size_t i = 0; i < sizeof angles / sizeof *angles; i++) {
        ac_rotation rotation = ac_rotation_make(angles[i], GOLDEN_PX, GOLDEN_PX);
        ref_rotate(&rotation, input, pixel, GOLDEN_PX, GOLDEN_PX);
        snprintf(name, sizeof name, "rotate_nearest/%.1f", angles[i]);
        TAP_OK(golden_difference(file, name, pixel) == 0, "golden %s", name);
    }
    TAP_CALL(ac_hdf5_close(&file, path));
}

/* ---- one formula, two ways ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STRIDE = 5 };
#else
enum { STRIDE = 1 };
#endif

static void test_every_colour(void)
{
    int64_t n_there = 0, n_back = 0;
    for (int i = 0; i < 1 << 24; i += STRIDE) {
        const uint8_t in[3] = {(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        uint8_t wanted[3];
        int out[3];
        ref_hsv_from_rgb(in, wanted);
        ac_hsv_from_rgb(in[0], in[1], in[2], &out[0], &out[1], &out[2]);
        bool grey = wanted[1] == 0; /* any hue will do, inside a byte */
        n_there += (grey ? out[0] < 0 || out[0] > 255 : out[0] != wanted[0]) || out[1] != wanted[1] || out[2] != wanted[2];
        ref_rgb_from_hsv(in, wanted);
        ac_rgb_from_hsv(in[0], in[1], in[2], &out[0], &out[1], &out[2]);
        n_back += out[0] != wanted[0] || out[1] != wanted[1] || out[2] != wanted[2];
    }
    TAP_OK(n_there == 0, "hue, saturation and value of every colour (one in %d)", STRIDE);
    TAP_OK(n_back == 0, "and the colour of every hue, saturation and value");
}

static const ac_image_input_attribute kinds[] = {
    {{.4f, .5f, .6f}, {.2f, .25f, .3f}, true, 3, {AC_AUGMENT_NONE, 0, 0, 0, 0, 0}},
    {{.4f, .5f, .6f}, {.2f, .25f, .3f}, true, 3, {AC_AUGMENT_COLOUR, .4f, .4f, .4f, .3f, 0}},
    {{.4f, .5f, .6f}, {.2f, .25f, .3f}, true, 3, {AC_AUGMENT_ROTATION, 0, 0, 0, 0, 25}},
};
static const char *const kind_names[] = {"none", "colour", "rotation"};

static void test_backends(void)
{
    static const int sizes[][2] = {{1, 1}, {1, 300}, {300, 1}, {5, 7}, {33, 31}, {2, 257}, {16, 256}, {40, 513}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            batch a = {0}, b = {0};
            bool same = open_batch(&a, 6, sizes[i][0], sizes[i][1], 100) && open_batch(&b, 6, sizes[i][0], sizes[i][1], 100) &&
                        run_part("ref", 1, &kinds[k], &a, 0, a.n) == AC_OK && run_part("cpu", 2, &kinds[k], &b, 0, b.n) == AC_OK;
            TAP_OK(same && memcmp(a.out, b.out, batch_bytes(&a) * sizeof *a.out) == 0, "%s, %d x %d: cpu is ref, bit for bit", kind_names[k],
                   sizes[i][1], sizes[i][0]);
            close_batch(&a);
            close_batch(&b);
        }
}

static void test_division(void)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        batch whole = {0}, parts = {0};
        bool same = open_batch(&whole, 11, 37, 29, 200) && open_batch(&parts, 11, 37, 29, 200) && run_part("cpu", 1, &kinds[k], &whole, 0, whole.n) == AC_OK;
        for (int n_slices = 1; n_slices <= 5; n_slices++)
            for (int n_threads = 1; n_threads <= 4; n_threads++) {
                memset(parts.out, 0, batch_bytes(&parts) * sizeof *parts.out);
                for (int i = 0; i < n_slices; i++) {
                    int first = parts.n * i / n_slices, end = parts.n * (i + 1) / n_slices;
                    same = same && run_part("cpu", n_threads, &kinds[k], &parts, first, end - first) == AC_OK;
                }
                same = same && memcmp(whole.out, parts.out, batch_bytes(&whole) * sizeof *whole.out) == 0;
            }
        TAP_OK(same, "%s: the same pixels for 1 to 5 slices of a batch and 1 to 4 threads", kind_names[k]);
        close_batch(&whole);
        close_batch(&parts);
    }
}

static void test_epochs(void)
{
    for (size_t k = 1; k < sizeof kinds / sizeof *kinds; k++) {
        batch b[3] = {{0}};
        bool ran = true;
        for (int i = 0; i < 3; i++) { /* epochs 0, 1 and 0 again */
            ran = ran && open_batch(&b[i], 4, 24, 24, 300);
            for (int n = 0; ran && n < 4; n++)
                b[i].key[n] = ((int64_t)(i & 1) << 40) + 5 * n;
            ran = ran && run_part("cpu", 2, &kinds[k], &b[i], 0, 4) == AC_OK;
        }
        size_t image_bytes = batch_bytes(&b[0]) / 4 * sizeof(float);
        int n_other = 0;
        for (int n = 0; ran && n < 4; n++)
            n_other += memcmp((char *)b[0].out + (size_t)n * image_bytes, (char *)b[1].out + (size_t)n * image_bytes, image_bytes) != 0;
        TAP_OK(ran && n_other == 4, "%s: every image is another one in the next epoch", kind_names[k]);
        TAP_OK(ran && memcmp(b[0].out, b[2].out, batch_bytes(&b[0]) * sizeof(float)) == 0, "%s: and the same when the epoch is entered again", kind_names[k]);
        for (int i = 0; i < 3; i++)
            close_batch(&b[i]);
    }
}

/* ---- draws ---- */

enum { N_DRAWS = 24000, N_BINS = 10 };

/* Counts of a uniform draw lie within 5 standard deviations of their expectation. */
static bool is_even(const int *count, int n_bins)
{
    double expected = (double)N_DRAWS / n_bins, bound = 5 * sqrt(expected * (1 - 1.0 / n_bins));
    for (int i = 0; i < n_bins; i++)
        if (fabs(count[i] - expected) > bound)
            return false;
    return true;
}

/* Puts `value` into its bin of [low, high]; false when it lies outside. */
static bool put(int *count, double value, double low, double high)
{
    int bin = (int)((value - low) / (high - low) * N_BINS);
    count[bin < 0 ? 0 : bin >= N_BINS ? N_BINS - 1 : bin]++;
    return value >= low && value <= high;
}

static void test_draws(void)
{
    static const char *const names[] = {"brightness", "contrast", "saturation"};
    const ac_augment a = {AC_AUGMENT_COLOUR, .1f, .2f, 1.5f, .1f, 5};
    const double low[3] = {(double)(1 - .1f), (double)(1 - .2f), 0}, high[3] = {(double)(1 + .1f), (double)(1 + .2f), 2.5};
    int factor[3][N_BINS] = {{0}}, angle[N_BINS] = {0}, shift[51] = {0}, order[24] = {0}, mirror[2] = {0}, n_outside = 0;
    for (uint64_t i = 0; i < N_DRAWS; i++) {
        uint64_t key = (i % 7 << 40) + i; /* some epochs */
        ac_colour_draw draw = ac_draw_colour(&a, 9, key);
        for (int c = 0; c < 3; c++)
            n_outside += !put(factor[c], (double)draw.factor[c], low[c], high[c]);
        n_outside += !put(angle, (double)ac_draw_angle(&a, 9, key), -5, 5);
        int signed_shift = draw.hue_shift < 128 ? draw.hue_shift : draw.hue_shift - 256;
        n_outside += abs(signed_shift) > 25;
        shift[signed_shift >= -25 && signed_shift <= 25 ? signed_shift + 25 : 0]++;
        int index = draw.order[0] * 6, rest[3], n_rest = 0;
        for (int step = 0; step < AC_N_COLOUR_STEPS; step++) /* lexical number of the order, another way */
            if (step != draw.order[0])
                rest[n_rest++] = step;
        int second = draw.order[1] == rest[0] ? 0 : draw.order[1] == rest[1] ? 1 : 2;
        index += second * 2 + (draw.order[2] > draw.order[3]);
        order[index]++;
        mirror[ac_draw_mirror(9, key)]++;
    }
    TAP_OK(n_outside == 0, "no draw outside its range");
    for (int c = 0; c < 3; c++)
        TAP_OK(is_even(factor[c], N_BINS), "%s is uniform", names[c]);
    TAP_OK(is_even(angle, N_BINS), "the angle is uniform");
    /* cut towards zero, the shift 0 takes the room of two and +-25 half of one */
    int usual[48], n_usual = 0;
    for (int i = 1; i < 50; i++)
        if (i != 25)
            usual[n_usual++] = shift[i];
    bool even = true;
    for (int i = 0; i < n_usual; i++)
        even = even && fabs(usual[i] - N_DRAWS / 51.0) < 5 * sqrt(N_DRAWS / 51.0);
    TAP_OK(even && fabs(shift[25] - 2 * N_DRAWS / 51.0) < 5 * sqrt(2 * N_DRAWS / 51.0), "the shift of the hue is uniform");
    TAP_OK(is_even(order, 24), "all 24 orders are equally frequent");
    TAP_OK(is_even(mirror, 2), "half of the images are mirrored");
    TAP_OK(ac_mean_luminance(1, 2) == 1 && ac_mean_luminance(2, 5) == 0 && ac_mean_luminance(3, 5) == 1 && ac_mean_luminance(510, 2) == 255,
           "the mean is rounded, halves up");
}

static void refused(const ac_image_input_attribute *a, int height, int width, const char *wording)
{
    ac_graph *graph;
    if (!TAP_CALL(ac_graph_create(AC_F32, &graph)))
        return;
    ac_value images = ac_graph_input(graph, "images", &(ac_shape){4, {1, height, width, 3}, AC_U8});
    ac_add_image_input(graph, "input", images, ac_graph_input(graph, "keys", &(ac_shape){1, {1}, AC_I64}), a);
    TAP_OK(ac_graph_finish(graph) == AC_ERR_RANGE && strstr(ac_error_text(), wording), "refused: %s", wording);
    ac_graph_destroy(graph);
}

static void test_refusals(void)
{
    const ac_augment wrong[] = {{7, 0, 0, 0, 0, 0},
                                {AC_AUGMENT_COLOUR, -.1f, 0, 0, 0, 0},
                                {AC_AUGMENT_COLOUR, 0, NAN, 0, 0, 0},
                                {AC_AUGMENT_COLOUR, 0, 0, 101, 0, 0},
                                {AC_AUGMENT_COLOUR, 0, 0, 0, .51f, 0},
                                {AC_AUGMENT_ROTATION, 0, 0, 0, 0, 181}};
    const char *const wording[] = {"no augmentation of kind 7", "brightness, contrast and saturation", "brightness, contrast and saturation",
                                   "brightness, contrast and saturation", "hue may vary", "rotated by 0 to 180"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        refused(&(ac_image_input_attribute){.std = {1, 1, 1}, .augment = wrong[i]}, 8, 8, wording[i]);
    const ac_image_input_attribute rotation = {.std = {1, 1, 1}, .augment = {.kind = AC_AUGMENT_ROTATION, .rotation_degrees = 5}};
    refused(&rotation, AC_ROTATION_MAX_PX + 1, 1, "images beyond 8192 pixels");
    refused(&rotation, 1, AC_ROTATION_MAX_PX + 1, "images beyond 8192 pixels");
}

int main(int argc, char **argv)
{
    test_fixture(argc > 1 ? argv[1] : "tests/nn/fixtures/augment.tsv");
    test_golden();
    test_every_colour();
    test_backends();
    test_division();
    test_epochs();
    test_draws();
    test_refusals();
    return tap_done();
}
