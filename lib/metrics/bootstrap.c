/* Weights of the bootstrap, the loss of a replicate, and intervals. Leaves what needs sorted scores to
 * bootstrap_order.c. */
#include "anyclass/bootstrap.h"
#include "anyclass/random.h"
#include "lib/metrics/bootstrap_lanes.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* 2^32 times the probability that a draw from Poisson(1) is at most 0, 1, ... */
static const uint32_t at_most[AC_BOOTSTRAP_MOST_WEIGHT] = {1580030169, 3160060337, 3950075422, 4213413783,
                                                           4279248374, 4292415292, 4294609778, 4294923276,
                                                           4294962463, 4294966817, 4294967253, 4294967292};

static unsigned poisson(uint32_t word)
{
    unsigned weight = (word >= at_most[0]) + (word >= at_most[1]) + (word >= at_most[2]) + (word >= at_most[3]);
    while (weight >= 4 && weight < AC_BOOTSTRAP_MOST_WEIGHT && word >= at_most[weight])
        weight++;
    return weight;
}

static uint64_t draw_image(uint64_t seed, uint32_t first, uint64_t key)
{
    uint64_t packed = 0;
    uint32_t block = first / 4, skip = first % 4;
    ac_philox words = ac_random_block(seed, AC_STREAM_BOOTSTRAP, key, block);
    for (int lane = 0; lane < AC_BOOTSTRAP_LANES; lane++) {
        uint32_t at = skip + (uint32_t)lane;
        if (lane > 0 && at % 4 == 0)
            words = ac_random_block(seed, AC_STREAM_BOOTSTRAP, key, block + at / 4);
        packed |= (uint64_t)poisson(words.word[at % 4]) << ac_lane_shift(lane);
    }
    return packed;
}

void ac_bootstrap_draw(uint64_t seed, uint32_t first, const uint64_t *key, ac_bootstrap_weights *weights)
{
    for (size_t i = 0; i < weights->n; i++)
        weights->packed[i] = draw_image(seed, first, key[i]);
    for (size_t i = 0; first == 0 && i < weights->n; i++)
        weights->packed[i] = (weights->packed[i] & ~((uint64_t)0xFF << ac_lane_shift(0))) | (uint64_t)1
                                                                                                << ac_lane_shift(0);
    memset(weights->total, 0, sizeof weights->total);
    for (size_t i = 0; i < weights->n; i++)
        for (int lane = 0; lane < AC_BOOTSTRAP_LANES; lane++)
            weights->total[lane] += ac_bootstrap_weight(weights, i, lane);
}

unsigned ac_bootstrap_weight(const ac_bootstrap_weights *weights, size_t i, int lane)
{
    return (unsigned)(weights->packed[i] >> ac_lane_shift(lane)) & 0xFF;
}

static const double loss_unit = 0x1p-44;

void ac_bootstrap_add_loss(const ac_column *column, int64_t *loss)
{
    const double least = 0x1p-52;
    for (size_t i = 0; i < column->n; i++) {
        double score = column->score[i], p = score < least ? least : score > 1 - least ? 1 - least : score;
        loss[i] += (int64_t)(-log(column->label[i * column->label_stride] ? p : 1 - p) / loss_unit + 0.5);
    }
}

/* The halves of a loss are added apart: with all weights of all images neither sum passes 64 bits. */
void ac_bootstrap_mean_loss(const int64_t *loss, size_t n_classes, const ac_bootstrap_weights *weights,
                            double out[AC_BOOTSTRAP_LANES])
{
    uint64_t high[AC_BOOTSTRAP_LANES] = {0}, low[AC_BOOTSTRAP_LANES] = {0};
    for (size_t i = 0; i < weights->n; i++) {
        uint64_t upper = (uint64_t)loss[i] >> 32, lower = (uint64_t)loss[i] & 0xFFFFFFFFu;
        for (int lane = 0; lane < AC_BOOTSTRAP_LANES; lane++) {
            uint64_t weight = ac_bootstrap_weight(weights, i, lane);
            high[lane] += weight * upper;
            low[lane] += weight * lower;
        }
    }
    for (int lane = 0; lane < AC_BOOTSTRAP_LANES; lane++) {
        double sum = ((double)high[lane] * 0x1p32 + (double)low[lane]) * loss_unit;
        out[lane] = weights->total[lane] > 0 ? sum / ((double)weights->total[lane] * (double)n_classes) : NAN;
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t n, double at)
{
    double place = at * (double)(n - 1);
    size_t below = (size_t)place, above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (place - (double)below) * (sorted[above] - sorted[below]);
}

ac_bootstrap_interval ac_bootstrap_percentiles(double *value, size_t n, double confidence)
{
    ac_bootstrap_interval out = {.low = NAN, .high = NAN};
    for (size_t i = 0; i < n; i++)
        if (!isnan(value[i]))
            value[out.n_defined++] = value[i];
    if (out.n_defined == 0)
        return out;
    qsort(value, out.n_defined, sizeof *value, by_value);
    out.low = quantile(value, out.n_defined, (1 - confidence) / 2);
    out.high = quantile(value, out.n_defined, (1 + confidence) / 2);
    return out;
}
