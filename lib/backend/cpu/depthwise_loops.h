/* Vector loops of depthwise convolutions, for the one file that includes them: it has defined CPU_VECTOR, the width of its processors'
 * vectors; DEPTHWISE_TARGET, their attribute; DEPTHWISE_ROWS, the name of the table. Kernel, stride, number of pixels done together and
 * element type are constants wherever these functions are inlined, so that sums of several pixels stay in registers. */
#ifndef ANYCLASS_LIB_CPU_DEPTHWISE_LOOPS_H
#define ANYCLASS_LIB_CPU_DEPTHWISE_LOOPS_H

#include "backend/cpu/depthwise_rows.h"
#include "anyclass/activation_formula.h"
#include "backend/cpu/lanes.h"

enum { MOST_PIXELS = 4 };

typedef struct span {
    int64_t first, end;
} span;

static span clip(int64_t first, int64_t end, int64_t n)
{
    return (span){first > 0 ? first : 0, end < n ? end : n};
}

/* First channel of the vector at a slot. */
AC_INLINE int64_t channel_at(const depthwise_pass *p, int64_t slot)
{
    return p->channels < CPU_LANES ? slot : cpu_block_first(slot / CPU_LANES * CPU_LANES, p->channels) + slot % CPU_LANES;
}

/* How many of the vector's channels there are: all, but where a pixel has fewer than a block. */
AC_INLINE int lanes_at(const depthwise_pass *p, int64_t slot, int n)
{
    return n == CPU_VECTOR ? n : p->channels - slot < CPU_VECTOR ? (int)(p->channels - slot) : CPU_VECTOR;
}

/* Which taps of a window at `o` lie on one of n pixels. */
AC_INLINE span taps_at(const depthwise_pass *p, int64_t o, int64_t n)
{
    int64_t at = o * p->stride - p->padding;
    return clip(-at, n - at, p->kernel);
}

/* Outputs of a row that see whole windows. */
static span inner_pixels(const depthwise_pass *p, int64_t in_w, int64_t out_w)
{
    int64_t last = in_w + p->padding - p->kernel;
    span s = clip((p->padding + p->stride - 1) / p->stride, last < 0 ? 0 : last / p->stride + 1, out_w);
    return s;
}

AC_INLINE void finish_pixels(const depthwise_pass *p, int64_t to, int n_pixels, int n, bool bf16, const cpu_lanes *sum)
{
    for (int k = 0; k < n_pixels; k++) {
        float v[CPU_VECTOR];
        cpu_lanes out = sum[k];
        if (p->add)
            out += cpu_load_lanes(p->out, to + k * p->channels, n, bf16);
        memcpy(v, &out, sizeof v);
        if (p->gelu)
            for (int l = 0; l < CPU_VECTOR; l++)
                v[l] = ac_gelu(v[l]);
        else
            for (int l = 0; l < CPU_VECTOR; l++)
                v[l] = v[l] > 0 ? v[l] : p->slope * v[l];
        memcpy(&out, v, sizeof out);
        cpu_store_lanes(p->out, to + k * p->channels, n, bf16, &out);
    }
}

/* n_pixels outputs from (row, ox) on, one block; `rows` and `columns` are the taps they see. */
AC_INLINE void sum_pixels(const depthwise_pass *p, int64_t top, span rows, span columns, int64_t to, int64_t ox, int64_t slot, int n_pixels, int kernel,
                          int stride, int n, bool bf16)
{
    int64_t c = channel_at(p, slot);
    n = lanes_at(p, slot, n);
    cpu_lanes sum[MOST_PIXELS], shift = {0};
    if (p->shift)
        shift = cpu_load_lanes(p->shift, slot, CPU_VECTOR, false);
    for (int k = 0; k < n_pixels; k++)
        sum[k] = shift;
    for (int64_t ky = rows.first; ky < rows.end; ky++) {
        const float *w = p->weight + ky * kernel * p->slots + slot;
        int64_t i = ((top + ky) * p->in_w + ox * stride - p->padding) * p->channels + c;
        for (int64_t kx = columns.first; kx < columns.end; kx++) {
            cpu_lanes weight = cpu_load_lanes(w, kx * p->slots, CPU_VECTOR, false);
            for (int k = 0; k < n_pixels; k++)
                sum[k] += cpu_load_lanes(p->in, i + (k * stride + kx) * p->channels, n, bf16) * weight;
        }
    }
    to += ox * p->channels + c;
    if (p->finish) {
        cpu_lanes copy[MOST_PIXELS]; /* `sum` stays in registers */
        for (int k = 0; k < n_pixels; k++)
            copy[k] = sum[k];
        finish_pixels(p, to, n_pixels, n, bf16, copy);
        return;
    }
    for (int k = 0; k < n_pixels; k++)
        cpu_store_lanes(p->out, to + k * p->channels, n, bf16, &sum[k]);
}

AC_INLINE void sum_row(const depthwise_pass *given, int64_t row, int64_t first, int64_t end, int kernel, int stride, int n, bool bf16)
{
    const depthwise_pass pass = *given, *p = &pass;
    if (n < CPU_VECTOR && end > p->channels) /* a short block has no channels behind */
        end = p->channels;
    int64_t oy = row % p->out_h, top = row / p->out_h * p->in_h + oy * stride - p->padding, to = row * p->out_w * p->channels;
    span rows = taps_at(p, oy, p->in_h), inner = inner_pixels(p, p->in_w, p->out_w), whole = {0, kernel};
    int n_pixels = 1;
    for (int64_t ox = 0; ox < p->out_w; ox += n_pixels) {
        int64_t left = ox >= inner.first ? inner.end - ox : 0;
        n_pixels = left >= 4 && kernel == 3 ? 4 : left >= 2 && kernel == 3 ? 2 : 1;
        span columns = taps_at(p, ox, p->in_w);
        for (int64_t slot = first; slot < end; slot += CPU_VECTOR)
            if (n_pixels == 4)
                sum_pixels(p, top, rows, whole, to, ox, slot, 4, kernel, stride, n, bf16);
            else if (n_pixels == 2)
                sum_pixels(p, top, rows, whole, to, ox, slot, 2, kernel, stride, n, bf16);
            else
                sum_pixels(p, top, rows, columns, to, ox, slot, 1, kernel, stride, n, bf16);
    }
}

/* `loop` with kernel, stride and number of lanes as constants where that pays. */
#define FOR_KIND(loop, p, ...)                                                                                                          \
    if ((p)->channels < CPU_LANES)                                                                                                      \
        loop(__VA_ARGS__, (p)->kernel, (p)->stride, 0, (p)->bf16);                                                     \
    else if ((p)->kernel == 3 && (p)->stride == 1 && (p)->bf16)                                                                         \
        loop(__VA_ARGS__, 3, 1, CPU_VECTOR, true);                                                                                       \
    else if ((p)->kernel == 3 && (p)->stride == 1)                                                                                      \
        loop(__VA_ARGS__, 3, 1, CPU_VECTOR, false);                                                                                      \
    else if ((p)->kernel == 3 && (p)->stride == 2 && (p)->bf16)                                                                         \
        loop(__VA_ARGS__, 3, 2, CPU_VECTOR, true);                                                                                       \
    else if ((p)->kernel == 3 && (p)->stride == 2)                                                                                      \
        loop(__VA_ARGS__, 3, 2, CPU_VECTOR, false);                                                                                      \
    else                                                                                                                                \
        loop(__VA_ARGS__, (p)->kernel, (p)->stride, CPU_VECTOR, (p)->bf16)

DEPTHWISE_TARGET static void row_of(const depthwise_pass *pass, int64_t row, int64_t first, int64_t end)
{
    FOR_KIND(sum_row, pass, pass, row, first, end);
}

/* One pixel of the input's gradient, any kernel and stride. */
AC_INLINE void gather_pixel(const depthwise_pass *p, int64_t image, int64_t iy, int64_t ix, int64_t to, int64_t slot, int n, bool bf16)
{
    int64_t c = channel_at(p, slot);
    n = lanes_at(p, slot, n);
    cpu_lanes sum = {0};
    for (int64_t ky = (iy + p->padding) % p->stride; ky < p->kernel && ky <= iy + p->padding; ky += p->stride)
        for (int64_t kx = (ix + p->padding) % p->stride; kx < p->kernel && kx <= ix + p->padding; kx += p->stride) {
            int64_t oy = (iy + p->padding - ky) / p->stride, ox = (ix + p->padding - kx) / p->stride;
            if (oy >= p->in_h || ox >= p->in_w)
                continue;
            sum += cpu_load_lanes(p->in, ((image * p->in_h + oy) * p->in_w + ox) * p->channels + c, n, bf16) *
                   cpu_load_lanes(p->weight, (ky * p->kernel + kx) * p->slots + slot, CPU_VECTOR, false);
        }
    cpu_store_lanes(p->out, to + c, n, bf16, &sum);
}

/* 3x3, stride 2, padding 1: four pixels from the even column 2 ox on. A row meets one row of the output, or two. */
AC_INLINE void gather_four(const depthwise_pass *p, const int64_t *out_row, const int *tap, int n_rows, int64_t ox, int64_t to, int64_t slot, bool bf16)
{
    int64_t c = channel_at(p, slot);
    cpu_lanes sum[4] = {{0}};
    for (int r = 0; r < n_rows; r++) {
        int64_t i = (out_row[r] * p->in_w + ox) * p->channels + c, w = tap[r] * 3 * p->slots + slot;
        cpu_lanes left = cpu_load_lanes(p->in, i, CPU_VECTOR, bf16), middle = cpu_load_lanes(p->in, i + p->channels, CPU_VECTOR, bf16);
        cpu_lanes right = cpu_load_lanes(p->in, i + 2 * p->channels, CPU_VECTOR, bf16);
        cpu_lanes w0 = cpu_load_lanes(p->weight, w, CPU_VECTOR, false), w1 = cpu_load_lanes(p->weight, w + p->slots, CPU_VECTOR, false);
        cpu_lanes w2 = cpu_load_lanes(p->weight, w + 2 * p->slots, CPU_VECTOR, false);
        sum[0] += left * w1;
        sum[1] += left * w2;
        sum[1] += middle * w0;
        sum[2] += middle * w1;
        sum[3] += middle * w2;
        sum[3] += right * w0;
    }
    for (int k = 0; k < 4; k++)
        cpu_store_lanes(p->out, to + k * p->channels + c, CPU_VECTOR, bf16, &sum[k]);
}

AC_INLINE void gather_row(const depthwise_pass *given, int64_t row, int64_t first, int64_t end, int n, bool bf16)
{
    const depthwise_pass pass = *given, *p = &pass;
    if (n < CPU_VECTOR && end > p->channels) /* a short block has no channels behind */
        end = p->channels;
    int64_t image = row / p->out_h, iy = row % p->out_h, out_row[2];
    int tap[2], n_rows = 0;
    for (int ky = 0; ky < 3; ky++)
        if ((iy + 1 - ky) % 2 == 0 && (iy + 1 - ky) / 2 < p->in_h) {
            tap[n_rows] = ky;
            out_row[n_rows++] = image * p->in_h + (iy + 1 - ky) / 2;
        }
    bool special = n == CPU_VECTOR && p->kernel == 3 && p->stride == 2 && p->padding == 1, four = false;
    for (int64_t ix = 0; ix < p->out_w; ix += four ? 4 : 1) {
        int64_t to = (row * p->out_w + ix) * p->channels;
        four = special && ix % 2 == 0 && ix + 4 <= p->out_w && ix / 2 + 2 < p->in_w;
        for (int64_t slot = first; slot < end; slot += CPU_VECTOR)
            if (four)
                gather_four(p, out_row, tap, n_rows, ix / 2, to, slot, bf16);
            else
                gather_pixel(p, image, iy, ix, to, slot, n, bf16);
    }
}

DEPTHWISE_TARGET static void gradient_row_of(const depthwise_pass *pass, int64_t row, int64_t first, int64_t end)
{
    if (pass->channels < CPU_LANES)
        gather_row(pass, row, first, end, 0, pass->bf16);
    else if (pass->bf16)
        gather_row(pass, row, first, end, CPU_VECTOR, true);
    else
        gather_row(pass, row, first, end, CPU_VECTOR, false);
}

/* What n_pixels outputs from (row, ox) on add, one block. */
AC_INLINE void add_pixels(const depthwise_pass *p, const void *dy, float *sum, int64_t top, span rows, span columns, int64_t from, int64_t ox, int64_t slot,
                          int n_pixels, int kernel, int stride, int n, bool bf16)
{
    int64_t c = channel_at(p, slot);
    n = lanes_at(p, slot, n);
    cpu_lanes g[MOST_PIXELS], total = cpu_load_lanes(sum, kernel * kernel * p->slots + slot, CPU_VECTOR, false);
    for (int k = 0; k < n_pixels; k++) {
        g[k] = cpu_load_lanes(dy, from + (ox + k) * p->channels + c, n, bf16);
        total += g[k];
    }
    cpu_store_lanes(sum, kernel * kernel * p->slots + slot, CPU_VECTOR, false, &total);
    for (int64_t ky = rows.first; ky < rows.end; ky++) {
        int64_t i = ((top + ky) * p->in_w + ox * stride - p->padding) * p->channels + c;
        for (int64_t kx = columns.first; kx < columns.end; kx++) {
            int64_t at = (ky * kernel + kx) * p->slots + slot;
            cpu_lanes tap = cpu_load_lanes(sum, at, CPU_VECTOR, false);
            for (int k = 0; k < n_pixels; k++)
                tap += cpu_load_lanes(p->in, i + (k * stride + kx) * p->channels, n, bf16) * g[k];
            cpu_store_lanes(sum, at, CPU_VECTOR, false, &tap);
        }
    }
}

AC_INLINE void add_row(const depthwise_pass *given, const void *dy, int64_t row, int64_t first, int64_t end, float *sum, int kernel, int stride, int n,
                       bool bf16)
{
    const depthwise_pass pass = *given, *p = &pass;
    if (n < CPU_VECTOR && end > p->channels) /* a short block has no channels behind */
        end = p->channels;
    int64_t oy = row % p->out_h, top = row / p->out_h * p->in_h + oy * stride - p->padding, from = row * p->out_w * p->channels;
    span rows = taps_at(p, oy, p->in_h), inner = inner_pixels(p, p->in_w, p->out_w), whole = {0, kernel};
    int n_pixels = 1;
    for (int64_t ox = 0; ox < p->out_w; ox += n_pixels) {
        int64_t left = ox >= inner.first ? inner.end - ox : 0;
        n_pixels = left >= 4 && kernel == 3 ? 4 : left >= 2 && kernel == 3 ? 2 : 1;
        span columns = taps_at(p, ox, p->in_w);
        for (int64_t slot = first; slot < end; slot += CPU_VECTOR)
            if (n_pixels == 4)
                add_pixels(p, dy, sum, top, rows, whole, from, ox, slot, 4, kernel, stride, n, bf16);
            else if (n_pixels == 2)
                add_pixels(p, dy, sum, top, rows, whole, from, ox, slot, 2, kernel, stride, n, bf16);
            else
                add_pixels(p, dy, sum, top, rows, columns, from, ox, slot, 1, kernel, stride, n, bf16);
    }
}

DEPTHWISE_TARGET static void weights_row_of(const depthwise_pass *pass, const void *dy, int64_t row, int64_t first, int64_t end, float *sum)
{
    FOR_KIND(add_row, pass, pass, dy, row, first, end, sum);
}

const depthwise_rows DEPTHWISE_ROWS = {row_of, gradient_row_of, weights_row_of};

#endif
