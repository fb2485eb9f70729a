/* image_input: a thread takes a sample. Colours go through in two passes over pieces of rows, held as planes of int32 in
 * L1 so that every step is vector code: up to contrast, summing luminances, into planes of bytes; then from contrast on. */
#include "anyclass/augment_formula.h"
#include "backend/cpu/cpu.h"
#include <omp.h>
#include <string.h>

enum { PIECE = 256, ALIGN = 64 }; /* pixels of a piece; bytes */

typedef struct piece {
    int r[PIECE], g[PIECE], b[PIECE];
} piece;

typedef struct sample {
    int64_t height, width;
    const uint8_t *from; /* [height, width, 3] */
    void *to;            /* same */
    uint8_t *plane;      /* [3, height, width], scratch */
    bool mirror;
    bool bf16;
    const uint32_t (*table)[256]; /* normalised value of each byte: the bits of a float, or in the lower half those of a bf16 */
} sample;

/* Channel c of the pixel at element i. */
AC_INLINE void put(const sample *s, int64_t i, int c, int value, bool bf16)
{
    if (bf16)
        ((uint16_t *)s->to)[i + c] = (uint16_t)s->table[c][value];
    else
        ((uint32_t *)s->to)[i + c] = s->table[c][value];
}

AC_INLINE void blend(int *restrict value, int n, int from, float factor)
{
    for (int i = 0; i < n; i++)
        value[i] = ac_blend(from, value[i], factor);
}

AC_INLINE void change_saturation(piece *restrict p, int n, float factor)
{
    for (int i = 0; i < n; i++) {
        int luminance = ac_luminance(p->r[i], p->g[i], p->b[i]);
        p->r[i] = ac_blend(luminance, p->r[i], factor);
        p->g[i] = ac_blend(luminance, p->g[i], factor);
        p->b[i] = ac_blend(luminance, p->b[i], factor);
    }
}

AC_INLINE void change_hue(piece *restrict p, int n, int shift)
{
    for (int i = 0; i < n; i++) {
        int h, s, v, r, g, b;
        ac_hsv_from_rgb(p->r[i], p->g[i], p->b[i], &h, &s, &v);
        ac_rgb_from_hsv((h + shift) & 255, s, v, &r, &g, &b);
        p->r[i] = r;
        p->g[i] = g;
        p->b[i] = b;
    }
}

/* Steps first .. last - 1 of the order. */
AC_INLINE void change_colours(const ac_colour_draw *draw, int first, int last, int mean, piece *restrict p, int n)
{
    for (int i = first; i < last; i++) {
        int step = draw->order[i];
        if (step == AC_BRIGHTNESS || step == AC_CONTRAST) {
            int from = step == AC_CONTRAST ? mean : 0;
            blend(p->r, n, from, draw->factor[step]);
            blend(p->g, n, from, draw->factor[step]);
            blend(p->b, n, from, draw->factor[step]);
        } else if (step == AC_SATURATION) {
            change_saturation(p, n, draw->factor[step]);
        } else if (draw->with_hue) {
            change_hue(p, n, draw->hue_shift);
        }
    }
}

/* Up to contrast, which is step number `n_steps`: from -> plane. Returns the mean luminance. */
AC_SIMD static int colours_before(const sample *s, const ac_colour_draw *draw, int n_steps)
{
    piece p;
    int64_t n_pixels = s->height * s->width;
    uint8_t *restrict red = s->plane, *restrict green = red + n_pixels, *restrict blue = green + n_pixels;
    uint64_t total = 0;
    for (int64_t at = 0; at < n_pixels; at += PIECE) {
        int n = n_pixels - at < PIECE ? (int)(n_pixels - at) : PIECE, sum = 0;
        const uint8_t *restrict from = s->from + 3 * at;
        for (int i = 0; i < n; i++) {
            p.r[i] = from[3 * i];
            p.g[i] = from[3 * i + 1];
            p.b[i] = from[3 * i + 2];
        }
        change_colours(draw, 0, n_steps, 0, &p, n);
        for (int i = 0; i < n; i++) {
            sum += ac_luminance(p.r[i], p.g[i], p.b[i]);
            red[at + i] = (uint8_t)p.r[i];
            green[at + i] = (uint8_t)p.g[i];
            blue[at + i] = (uint8_t)p.b[i];
        }
        total += (uint64_t)sum;
    }
    return ac_mean_luminance(total, (uint64_t)n_pixels);
}

/* From contrast on: plane -> to. Pieces end where rows end, because of the mirror. */
AC_INLINE void colours_after_of(const sample *s, const ac_colour_draw *draw, int n_steps, int mean, bool bf16)
{
    piece p;
    int64_t n_pixels = s->height * s->width;
    const uint8_t *restrict red = s->plane, *restrict green = red + n_pixels, *restrict blue = green + n_pixels;
    for (int64_t row = 0; row < s->height; row++)
        for (int64_t x = 0; x < s->width; x += PIECE) {
            int n = s->width - x < PIECE ? (int)(s->width - x) : PIECE;
            int64_t at = row * s->width + x, step = s->mirror ? -3 : 3;
            for (int i = 0; i < n; i++) {
                p.r[i] = red[at + i];
                p.g[i] = green[at + i];
                p.b[i] = blue[at + i];
            }
            change_colours(draw, n_steps, AC_N_COLOUR_STEPS, mean, &p, n);
            int64_t to = 3 * (row * s->width + (s->mirror ? s->width - 1 - x : x));
            for (int i = 0; i < n; i++, to += step) {
                put(s, to, 0, p.r[i], bf16);
                put(s, to, 1, p.g[i], bf16);
                put(s, to, 2, p.b[i], bf16);
            }
        }
}

AC_SIMD static void colours_after(const sample *s, const ac_colour_draw *draw, int n_steps, int mean)
{
    if (s->bf16)
        colours_after_of(s, draw, n_steps, mean, true);
    else
        colours_after_of(s, draw, n_steps, mean, false);
}

static void change_colours_of(const sample *s, const ac_colour_draw *draw)
{
    int n_before = 0;
    while (draw->order[n_before] != AC_CONTRAST)
        n_before++;
    int mean = colours_before(s, draw, n_before);
    colours_after(s, draw, n_before, mean);
}

static void rotate(const sample *s, const ac_rotation *rotation)
{
    static const uint8_t black[3];
    int width = (int)s->width, height = (int)s->height;
    for (int row = 0; row < height; row++) {
        int64_t to = 3 * (int64_t)row * width;
        for (int x = 0; x < width; x++, to += 3) {
            int from_x, from_y;
            bool inside = ac_rotation_source(rotation, s->mirror ? width - 1 - x : x, row, width, height, &from_x, &from_y);
            const uint8_t *from = inside ? s->from + 3 * ((int64_t)from_y * width + from_x) : black;
            for (int c = 0; c < 3; c++)
                put(s, to, c, from[c], s->bf16);
        }
    }
}

static void copy(const sample *s)
{
    const uint8_t *from = s->from;
    for (int64_t row = 0; row < s->height; row++) {
        int64_t to = 3 * (row * s->width + (s->mirror ? s->width - 1 : 0));
        for (int64_t x = 0; x < s->width; x++, from += 3, to += s->mirror ? -3 : 3)
            for (int c = 0; c < 3; c++)
                put(s, to, c, from[c], s->bf16);
    }
}

/* Bytes of a thread's planes. */
static size_t scratch_bytes(const ac_shape *image)
{
    return ((size_t)(image->dim[1] * image->dim[2] * 3) + ALIGN - 1) / ALIGN * ALIGN;
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants_dinput, ac_kernel_plan *out)
{
    (void)training, (void)wants_dinput;
    ac_dtype activations = ac_graph_shape(graph, node->output[0])->dtype;
    if (((const ac_image_input_attribute *)(const void *)node->attribute)->augment.kind == AC_AUGMENT_COLOUR)
        out->workspace_bytes = (size_t)((cpu_device *)device)->n_threads * scratch_bytes(ac_graph_shape(graph, node->input[0]));
    return cpu_check_precision(device, activations);
}

static ac_status forward(const ac_call *call)
{
    const ac_image_input_attribute *a = (const void *)call->node->attribute;
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]);
    int64_t height = x->dim[1], width = x->dim[2];
    bool bf16 = ac_graph_shape(call->graph, call->node->output[0])->dtype == AC_BF16;
    size_t bytes = bf16 ? sizeof(uint16_t) : sizeof(float);
    uint32_t table[3][256];
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) {
            float value = ((float)v / 255.0f - a->mean[c]) / a->std[c];
            memcpy(&table[c][v], &value, sizeof value);
            table[c][v] = bf16 ? ac_bf16_from_float(value) : table[c][v];
        }
    /* no more threads than plan() counted on, whatever the caller's setting is by now */
#pragma omp parallel for schedule(static) num_threads(((cpu_device *)call->device)->n_threads)
    for (int64_t n = 0; n < x->dim[0]; n++) {
        uint64_t key = (uint64_t)((const int64_t *)call->input[1])[n];
        int64_t first = n * height * width * 3;
        sample s = {height, width, (const uint8_t *)call->input[0] + first, (char *)call->output[0] + (size_t)first * bytes, NULL, false, bf16, table};
        s.mirror = a->flip && ac_draw_mirror(a->seed, key);
        if (a->augment.kind == AC_AUGMENT_COLOUR) {
            ac_colour_draw draw = ac_draw_colour(&a->augment, a->seed, key);
            s.plane = (uint8_t *)call->workspace + (size_t)omp_get_thread_num() * scratch_bytes(x);
            change_colours_of(&s, &draw);
        } else if (a->augment.kind == AC_AUGMENT_ROTATION) {
            ac_rotation rotation = ac_rotation_make((double)ac_draw_angle(&a->augment, a->seed, key), (int)width, (int)height);
            rotate(&s, &rotation);
        } else {
            copy(&s);
        }
    }
    return AC_OK;
}

const ac_kernel ac_cpu_image_input = {.op = &ac_op_image_input, .plan = plan, .forward = forward};
