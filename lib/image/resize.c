/* Pillow's antialiased bilinear resize of 8-bit RGB, bit for bit: filter tables as Pillow's Resample.c forms them,
 * a horizontal pass over the rows that are needed, a vertical pass over its rounded result; a pass whose sizes agree is
 * left out. The inner loops are in resize_plain.c and its faster twins. */
#include "resize.h"
#include "anyclass/alloc.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_SIZE_PX = 4096,
    MAX_PACKED_TAPS = 4096 /* packed weights take more memory; an image with longer filters is resized by plain C */
};

struct ac_resizer {
    int size_px;
    const ac_resize_kernels *kernels;
    ac_resize_filter x, y;
    uint8_t *narrow; /* rows behind the horizontal pass */
    size_t narrow_bytes;
    uint8_t *edge; /* copies of source rows behind which nothing may be read */
    size_t edge_bytes;
};

/* in the order of ac_simd; a later one that is supported is faster */
static const ac_resize_kernels *const levels[AC_N_SIMD] = {
    [AC_SIMD_PLAIN] = &ac_resize_plain,
    [AC_SIMD_AVX2] = &ac_resize_avx2,
    [AC_SIMD_AVX512] = &ac_resize_avx512,
    [AC_SIMD_NEON] = &ac_resize_neon,
};

const ac_resize_kernels *ac_resize_kernels_of(ac_simd level)
{
    return (unsigned)level < AC_N_SIMD ? levels[level] : NULL;
}

static const ac_resize_kernels *fastest(void)
{
    int level = AC_N_SIMD - 1;
    while (!levels[level]->supported())
        level--;
    return levels[level];
}

ac_status ac_simd_check(ac_simd level)
{
    char names[64] = "";
    const ac_resize_kernels *wanted = ac_resize_kernels_of(level);
    if (level == AC_SIMD_AUTO || (wanted && wanted->supported()))
        return AC_OK;
    for (int i = AC_SIMD_PLAIN; i < AC_N_SIMD; i++)
        if (levels[i]->supported()) {
            const size_t used = strlen(names);
            snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", levels[i]->name);
        }
    return ac_error(AC_ERR_USAGE, "this processor has no %s; available: %s", wanted ? wanted->name : "such level",
                    names);
}

/* Kernels for the horizontal pass with filters of that stride. */
static const ac_resize_kernels *for_stride(const ac_resize_kernels *kernels, int64_t stride)
{
    return kernels->pack && stride > MAX_PACKED_TAPS ? &ac_resize_plain : kernels;
}

static void filter_release(ac_resize_filter *f)
{
    ac_free(f->first);
    ac_free(f->n_taps);
    ac_free(f->weight);
    ac_free(f->packed);
}

static inline double triangle(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Where the filter of output i stands. The order of the operations and the types, here and in the weights, are
 * Pillow's: they decide the last bit. */
static void filter_window(ac_resize_filter *f, int i, int n_in, double scale, double filter_scale)
{
    const double centre = (i + 0.5) * scale;
    int first = (int)(centre - filter_scale + 0.5), end = (int)(centre + filter_scale + 0.5);
    first = first < 0 ? 0 : first;
    end = end > n_in ? n_in : end;
    f->first[i] = first;
    f->n_taps[i] = end - first;
}

/* Weights of output i. Where `stride` taps would pass the end of the input, the window starts earlier, with zeros.
 * `raw` has room for stride weights. */
static void filter_weights(ac_resize_filter *f, int i, int n_in, double scale, double filter_scale, double *raw)
{
    const double centre = (i + 0.5) * scale, step = 1.0 / filter_scale;
    const int first = f->first[i], n = f->n_taps[i], over = first + (f->stride - n_in);
    const int lead = over < 0 ? 0 : over < first ? over : first;
    int32_t *weight = f->weight + (size_t)i * (size_t)f->stride;
    double sum = 0.0;
    for (int t = 0; t < n; t++) {
        raw[t] = triangle((t + first - centre + 0.5) * step);
        sum += raw[t];
    }
    memset(weight, 0, (size_t)f->stride * sizeof *weight);
    for (int t = 0; t < n; t++)
        weight[lead + t] = (int32_t)(0.5 + (sum != 0.0 ? raw[t] / sum : raw[t]) * (1 << AC_RESIZE_BITS));
    f->first[i] = first - lead;
    f->n_taps[i] = n + lead;
}

/* Make the weights from n_in to f->n_out, for `kernels` if they are for the horizontal pass; nothing to do when they
 * are there. */
static ac_status filter_prepare(ac_resize_filter *f, int n_in, const ac_resize_kernels *kernels)
{
    ac_status status = AC_OK;
    double *raw = NULL;
    int64_t stride = 1;
    if (f->n_in == n_in)
        return AC_OK;
    const double scale = (double)(float)n_in / f->n_out; /* Pillow hands the box over in single precision */
    const double filter_scale = scale < 1.0 ? 1.0 : scale;
    f->n_in = 0; /* nothing is there until all is */
    if (!f->first)
        AC_TRY(ac_malloc((size_t)f->n_out, sizeof *f->first, &f->first));
    if (!f->n_taps)
        AC_TRY(ac_malloc((size_t)f->n_out, sizeof *f->n_taps, &f->n_taps));
    for (int i = 0; i < f->n_out; i++) {
        filter_window(f, i, n_in, scale, filter_scale);
        stride = f->n_taps[i] > stride ? f->n_taps[i] : stride;
    }
    stride = (stride + AC_RESIZE_TAP_GROUP - 1) / AC_RESIZE_TAP_GROUP * AC_RESIZE_TAP_GROUP;
    if (stride > INT32_MAX)
        AC_TRY(ac_error(AC_ERR_DATA, "%d pixels are too many to resize", n_in));
    AC_TRY(ac_reserve(&f->weight, &f->n_weights, (size_t)f->n_out * (size_t)stride, sizeof *f->weight));
    AC_TRY(ac_malloc((size_t)stride, sizeof *raw, &raw));
    f->stride = (int)stride;
    for (int i = 0; i < f->n_out; i++)
        filter_weights(f, i, n_in, scale, filter_scale, raw);
    if (kernels && for_stride(kernels, stride)->pack) {
        AC_TRY(ac_reserve(&f->packed, &f->packed_bytes, kernels->packed_bytes(f), 1));
        kernels->pack(f);
    }
    f->n_in = n_in;
out:
    ac_free(raw);
    return status;
}

ac_status ac_resizer_create_with(int size_px, ac_simd level, ac_resizer **out)
{
    ac_status status = AC_OK;
    ac_resizer *r = NULL;
    *out = NULL;
    if (size_px < 1 || size_px > MAX_SIZE_PX)
        return ac_error(AC_ERR_RANGE, "image size %d is not in 1 .. %d", size_px, MAX_SIZE_PX);
    AC_TRY(ac_simd_check(level));
    AC_TRY(ac_calloc(1, sizeof *r, &r));
    r->size_px = r->x.n_out = r->y.n_out = size_px;
    r->kernels = level == AC_SIMD_AUTO ? fastest() : levels[level];
    *out = r;
out:
    return status;
}

ac_status ac_resizer_create(int size_px, ac_resizer **out)
{
    return ac_resizer_create_with(size_px, AC_SIMD_AUTO, out);
}

const char *ac_resizer_simd(const ac_resizer *r)
{
    return r->kernels->name;
}

void ac_resizer_destroy(ac_resizer *r)
{
    if (!r)
        return;
    filter_release(&r->x);
    filter_release(&r->y);
    ac_free(r->narrow);
    ac_free(r->edge);
    ac_free(r);
}

/* Rows first .. first + n_rows of the image through the horizontal filter into r->narrow, row_bytes apart. */
static ac_status pass_horizontal(ac_resizer *r, const ac_image *image, int first, int n_rows, size_t row_bytes)
{
    const size_t width_bytes = (size_t)image->width_px * 3, edge_row = width_bytes + AC_RESIZE_SLACK_BYTES;
    const size_t image_bytes = width_bytes * (size_t)image->height_px;
    ac_status status = AC_OK;
    AC_TRY(ac_reserve(&r->narrow, &r->narrow_bytes, (size_t)n_rows * row_bytes + AC_RESIZE_SLACK_BYTES, 1));
    AC_TRY(ac_reserve(&r->edge, &r->edge_bytes, edge_row * AC_RESIZE_ROWS, 1));
    memset(r->edge, 0, edge_row * AC_RESIZE_ROWS);
    for (int start = 0; start < n_rows; start += AC_RESIZE_ROWS) {
        const uint8_t *source[AC_RESIZE_ROWS];
        uint8_t *target[AC_RESIZE_ROWS];
        for (int k = 0; k < AC_RESIZE_ROWS; k++) {
            const int row = start + k < n_rows ? start + k : n_rows - 1;
            const size_t at = (size_t)(first + row) * width_bytes;
            source[k] = image->pixel + at;
            target[k] = r->narrow + (size_t)row * row_bytes;
            if (at + edge_row > image_bytes)
                source[k] = memcpy(r->edge + (size_t)k * edge_row, source[k], width_bytes);
        }
        for_stride(r->kernels, r->x.stride)->horizontal(&r->x, source, target);
    }
out:
    return status;
}

ac_status ac_resizer_run(ac_resizer *r, const ac_image *image, uint8_t *out)
{
    const int size = r->size_px;
    const size_t out_bytes = (size_t)size * 3;
    const bool need_x = image->width_px != size, need_y = image->height_px != size;
    const uint8_t *rows = image->pixel; /* what the vertical pass reads */
    size_t row_bytes = (size_t)image->width_px * 3;
    int first = 0, n_rows = size;
    ac_status status = AC_OK;
    if (need_y) {
        AC_TRY(filter_prepare(&r->y, image->height_px, NULL));
        first = r->y.first[0];
        n_rows = r->y.first[size - 1] + r->y.n_taps[size - 1] - first;
    }
    if (need_x) {
        AC_TRY(filter_prepare(&r->x, image->width_px, r->kernels));
        row_bytes = out_bytes + AC_RESIZE_SLACK_BYTES;
        AC_TRY(pass_horizontal(r, image, first, n_rows, row_bytes));
        rows = r->narrow;
    } else {
        rows += (size_t)first * row_bytes;
    }
    for (int y = 0; y < size; y++) {
        uint8_t *to = out + (size_t)y * out_bytes;
        if (need_y)
            r->kernels->vertical(rows + (size_t)(r->y.first[y] - first) * row_bytes, row_bytes,
                                 r->y.weight + (size_t)y * (size_t)r->y.stride, r->y.n_taps[y], out_bytes, to);
        else
            memcpy(to, rows + (size_t)y * row_bytes, out_bytes);
    }
out:
    return status;
}
