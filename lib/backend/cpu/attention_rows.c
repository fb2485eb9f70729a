/* Softmax over rows of logits and its gradient. Sums run over fixed lanes, which are added in order. */
#include "backend/cpu/attention.h"
#include <math.h>

enum { LANES = 16 };

static const float LOG2_E = 1.44269504f;

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

void cpu_attention_exponentials(const attention_rows *r, float *inverse, float *log_sum)
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

void cpu_attention_gradient(const attention_rows *r, const float *log_sum, float *dp, float *sum)
{
    for (int64_t i = 0; i < r->rows; i++)
        gradient_of_row(r->p + i * r->ld, r->bias ? r->bias + i * r->ld : NULL, r->scale, log_sum[i], r->seen, r->ld, dp + i * r->ld,
                        sum ? sum + i * r->ld : NULL);
}
