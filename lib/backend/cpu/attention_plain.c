/* Attention's vector code for every processor: plain loops, compiled for several x86-64 levels. Sums run over fixed lanes or in order of k. */
#include "backend/cpu/attention.h"
#include <math.h>

enum { LANES = 16, PLAIN_ROWS = 2 };

static const float LOG2_E = 1.44269504f;

/* Rows first .. first + rows of one panel of c. */
AC_INLINE void plain_rows(const attention_product *p, int64_t first, int64_t panel, int rows)
{
    float sum[PLAIN_ROWS][TILE_COLUMNS] = {{0}};
    int64_t a_row = p->by_columns ? 1 : p->lda, a_k = p->by_columns ? p->lda : 1;
    const float *b = p->b + panel * p->b_stride;
    for (int64_t run = 0; run < p->n_runs; run++) {
        const float *a = p->a + first * a_row + run * p->run_stride;
        for (int64_t k = 0; k < p->k; k++, a += a_k, b += TILE_COLUMNS)
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < TILE_COLUMNS; j++)
                    sum[i][j] += a[i * a_row] * b[j];
    }
    for (int i = 0; i < rows; i++) {
        float *c = p->c + (first + i) * p->ldc + panel * TILE_COLUMNS;
        for (int j = 0; j < TILE_COLUMNS; j++)
            c[j] = p->add ? c[j] + sum[i][j] : sum[i][j];
    }
}

AC_SIMD static void multiply(const attention_product *p)
{
    for (int64_t panel = 0; panel < p->n_panels; panel++) {
        int64_t i = 0;
        for (; i + PLAIN_ROWS <= p->rows; i += PLAIN_ROWS)
            plain_rows(p, i, panel, PLAIN_ROWS);
        for (; i < p->rows; i++)
            plain_rows(p, i, panel, 1);
    }
}

static void transpose(const float *from, int rows, float *to)
{
    for (int k = 0; k < TILE_COLUMNS; k++)
        for (int i = 0; i < TILE_COLUMNS; i++)
            to[k * TILE_COLUMNS + i] = i < rows ? from[i * TILE_COLUMNS + k] : 0;
}

AC_INLINE void pack_any(const attention_place *from, const void *const *values, int n_values, float *restrict to, bool bf16)
{
    for (int64_t c = 0; c < from->head; c += TILE_COLUMNS, to += from->rows * TILE_COLUMNS) {
        int64_t n = from->head - c < TILE_COLUMNS ? from->head - c : TILE_COLUMNS;
        for (int64_t i = 0; i < from->rows; i++) {
            int64_t at = from->place[i] * from->row_channels + from->first + c;
            float *row = to + i * TILE_COLUMNS;
            for (int64_t j = 0; j < TILE_COLUMNS; j++)
                row[j] = j < n ? cpu_load(values[0], at + j, bf16) : 0;
            for (int part = 1; part < n_values; part++)
                for (int64_t j = 0; j < n; j++)
                    row[j] += cpu_load(values[part], at + j, bf16);
        }
    }
}

AC_SIMD static void pack(const attention_place *from, const void *const *values, int n, float *to)
{
    if (from->bf16)
        pack_any(from, values, n, to, true);
    else
        pack_any(from, values, n, to, false);
}

AC_INLINE void unpack_any(const float *restrict from, int64_t ld, float factor, const float *by_row, const attention_place *to, void *values, bool bf16)
{
    for (int64_t i = 0; i < to->rows; i++) {
        int64_t at = to->place[i] * to->row_channels + to->first;
        float f = by_row ? factor * by_row[i] : factor;
        for (int64_t j = 0; j < to->head; j++)
            cpu_store(values, at + j, from[i * ld + j] * f, bf16);
    }
}

AC_SIMD static void unpack(const float *from, int64_t ld, float factor, const float *by_row, const attention_place *to, void *values)
{
    if (to->bf16)
        unpack_any(from, ld, factor, by_row, to, values, true);
    else
        unpack_any(from, ld, factor, by_row, to, values, false);
}

/* 2^x for x <= 1 or so; exact 0 below -100, which no sum notices, so that nothing becomes denormal. The polynomial is the minimax
 * one of 2^r on [-1/2, 1/2]. NaN stays NaN. */
AC_INLINE float exp2_of(float x)
{
    const float shift = 12582912.f; /* 1.5 * 2^23: what is added to it becomes an integer */
    float t = x + shift, r = x - (t - shift), y, power;
    uint32_t bits, from;
    memcpy(&bits, &t, sizeof bits);
    memcpy(&from, &shift, sizeof from);
    bits = (bits - from + 127) << 23;
    memcpy(&power, &bits, sizeof power);
    y = 1.5353362e-4f;
    y = y * r + 1.33988747e-3f;
    y = y * r + 9.61843736e-3f;
    y = y * r + 5.55033247e-2f;
    y = y * r + 0.240226479f;
    y = y * r + 0.693147203f;
    y = y * r + 1.f;
    return x < -100.f ? 0.f : y * power;
}

AC_INLINE float sum_lanes(const float *lane)
{
    float sum = 0;
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}

AC_SIMD static void exponentials_of_row(float *restrict p, const float *restrict bias, float scale, int64_t seen, int64_t ld, float *most, float *sum)
{
    float high[LANES], lane[LANES] = {0};
    if (bias)
        for (int64_t j = 0; j < ld; j++)
            p[j] = p[j] * scale + bias[j];
    else
        for (int64_t j = 0; j < ld; j++)
            p[j] = p[j] * scale;
    for (int64_t j = seen; j < ld; j++)
        p[j] = -INFINITY;
    for (int k = 0; k < LANES; k++)
        high[k] = p[k];
    for (int64_t j = LANES; j < ld; j += LANES)
        for (int k = 0; k < LANES; k++)
            high[k] = p[j + k] > high[k] ? p[j + k] : high[k];
    for (int k = 1; k < LANES; k++)
        high[0] = high[k] > high[0] ? high[k] : high[0];
    *most = high[0];
    for (int64_t j = 0; j < ld; j += LANES)
        for (int k = 0; k < LANES; k++) {
            p[j + k] = exp2_of(p[j + k] - *most);
            lane[k] += p[j + k];
        }
    *sum = sum_lanes(lane);
}

static void exponentials(const attention_rows *r, float *inverse, float *log_sum)
{
    float most, sum;
    for (int64_t i = 0; i < r->rows; i++) {
        exponentials_of_row(r->p + i * r->ld, r->bias ? r->bias + i * r->ld : NULL, r->scale, r->seen, r->ld, &most, &sum);
        inverse[i] = 1 / sum;
        if (log_sum)
            log_sum[i] = (float)(((double)most + log2((double)sum)) * M_LN2);
    }
}

AC_SIMD static void gradient_of_row(float *restrict p, const float *restrict bias, float scale, float log_sum, int64_t seen, int64_t ld, float *restrict dp,
                                    float *restrict sum)
{
    float lane[LANES] = {0}, mean;
    float high = -log_sum * LOG2_E;
    for (int64_t j = 0; j < ld; j++)
        p[j] = exp2_of(p[j] * scale + (bias ? bias[j] : 0) + high);
    for (int64_t j = seen; j < ld; j++)
        p[j] = 0;
    for (int64_t j = 0; j < ld; j += LANES)
        for (int k = 0; k < LANES; k++)
            lane[k] += p[j + k] * dp[j + k];
    mean = sum_lanes(lane);
    for (int64_t j = 0; j < ld; j++)
        dp[j] = p[j] * (dp[j] - mean);
    if (sum)
        for (int64_t j = 0; j < ld; j++)
            sum[j] += dp[j];
}

static void gradient(const attention_rows *r, const float *log_sum, float *dp, float *sum)
{
    for (int64_t i = 0; i < r->rows; i++)
        gradient_of_row(r->p + i * r->ld, r->bias ? r->bias + i * r->ld : NULL, r->scale, log_sum[i], r->seen, r->ld, dp + i * r->ld,
                        sum ? sum + i * r->ld : NULL);
}

const attention_code cpu_attention_plain = {multiply, transpose, pack, unpack, exponentials, gradient};
