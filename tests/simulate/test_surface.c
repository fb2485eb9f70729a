/* The surfaces: against what they are by probabilities, against the trainer's batch, slopes against differences, the
 * page's grids against values one by one. */
#include "anyclass/loss.h"
#include "anyclass/random.h"
#include "simulate/surface.h"
#include "tests/tap.h"
#include <float.h>
#include <math.h>
#include <string.h>

enum { GRID = 41, N_SCENES = 40 };

static double drawn(uint32_t scene, uint32_t k)
{
    ac_philox word = ac_random_block(3, AC_STREAM_TEST, scene, k);
    return ac_uniform_double(word.word[0], word.word[1]);
}

/* The first scenes are the edges: no labels, lambda 0, alpha 0, gamma 0, no weight, the most classes. */
static simulate_scene scene_of(uint32_t i)
{
    simulate_scene s = {.n_classes = i < 8 ? 2 : 2 + (int)(i % 7),
                        .lambda = drawn(i, 0),
                        .alpha = 2 * drawn(i, 1),
                        .gamma = i % 3 ? 4 * drawn(i, 2) : 0,
                        .weight = 3 * drawn(i, 3)};
    if (i == 39)
        s.n_classes = SIMULATE_MOST_CLASSES;
    for (int j = 0; j < s.n_classes; j++) {
        s.p[j] = j < 2 ? NAN : 0.02 + 0.96 * drawn(i, 100 + (uint32_t)j);
        s.y[j] = i < 8 ? (unsigned char)(i >> j & 1) : drawn(i, 300 + (uint32_t)j) < 0.4;
    }
    if (i < 4)
        s.gamma = 0, s.weight = 1, s.alpha = 1;
    s.lambda = i == 1 || i == 5 || i == 17 ? 0 : s.lambda;
    s.alpha = i == 2 || i == 6 ? 0 : s.alpha;
    s.weight = i == 20 ? 0 : s.weight;
    return s;
}

/* By probabilities and powers, as the paper writes it, for BCE, alpha 1 and W 1. */
static double by_probabilities(const simulate_scene *s, simulate_surface surface, double p1, double p2)
{
    double p[2] = {p1, p2}, base = 1, up = 1, down = 1, total = 0;
    int any = s->y[0] || s->y[1];
    for (int j = 0; j < 2; j++) {
        double w = any && !s->y[j] ? s->lambda : 1;
        base *= s->y[j] ? p[j] : 1 - p[j];
        up *= pow(p[j], w);
        down *= pow(1 - p[j], w);
        total += w;
    }
    double product = any ? up / (up + down) : down / (up + down);
    up = pow(up, 1 / total);
    down = pow(down, 1 / total);
    double mean = any ? up / (up + down) : down / (up + down);
    switch (surface) {
    case SIMULATE_PRODUCT:
        return p1 * p2;
    case SIMULATE_GEOMETRIC_MEAN:
        return sqrt(p1 * p2);
    case SIMULATE_BCE_LIKELIHOOD:
        return base;
    case SIMULATE_ANY_LIKELIHOOD:
        return mean;
    case SIMULATE_PRODUCT_LIKELIHOOD:
        return product;
    case SIMULATE_BCE_ANY_LIKELIHOOD:
        return base * mean;
    case SIMULATE_BCE_PRODUCT_LIKELIHOOD:
        return base * product;
    case SIMULATE_BCE_LOSS:
        return -log(base);
    case SIMULATE_ANY_LOSS:
        return -log(mean);
    case SIMULATE_PRODUCT_LOSS:
        return -log(product);
    case SIMULATE_BCE_ANY_LOSS:
        return -log(base * mean);
    case SIMULATE_BCE_PRODUCT_LOSS:
        return -log(base * product);
    default:
        return NAN;
    }
}

static double apart(double a, double b)
{
    return fabs(a - b) / fmax(1e-300, fmax(fabs(a), fabs(b)));
}

static void test_definitions(void)
{
    for (int surface = 0; surface < SIMULATE_N_SURFACES; surface++) {
        double worst = 0;
        for (uint32_t i = 0; i < 16; i++) {
            simulate_scene s = scene_of(i % 4);
            s.alpha = s.weight = 1;
            s.lambda = (double)(i / 4) / 3; /* 0, 1/3, 2/3, 1 */
            for (int k = 0; k < GRID * GRID; k++) {
                double p1 = simulate_axis(GRID, k % GRID), p2 = simulate_axis(GRID, k / GRID);
                double got = simulate_at(&s, (simulate_surface)surface, p1, p2, NULL),
                       wanted = by_probabilities(&s, (simulate_surface)surface, p1, p2);
                worst = fmax(worst, fabs(got - wanted));
                if (!isfinite(got))
                    worst = INFINITY;
            }
        }
        TAP_OK(worst < 1e-12, "surface %d is what the paper writes: largest difference %.2g", surface, worst);
    }
}

/* What is trained: the batch of one image. */
static void test_trainer(void)
{
    double worst = 0, worst_slope = 0;
    for (uint32_t i = 0; i < N_SCENES; i++) {
        simulate_scene s = scene_of(i);
        ac_loss_config config = {s.gamma > 0 ? AC_LOSS_FOCAL : AC_LOSS_BCE, s.gamma, s.alpha, s.lambda};
        double z[SIMULATE_MOST_CLASSES], weights[SIMULATE_MOST_CLASSES + 1], gradient[SIMULATE_MOST_CLASSES], slope[2];
        double p1 = 0.01 + 0.98 * drawn(i, 50), p2 = 0.01 + 0.98 * drawn(i, 51);
        int n_labels = 0;
        for (int j = 0; j < s.n_classes; j++) {
            double p = j == 0 ? p1 : j == 1 ? p2 : s.p[j];
            z[j] = log(p / (1 - p));
            n_labels += s.y[j];
        }
        for (int j = 0; j <= s.n_classes; j++)
            weights[j] = s.weight / (n_labels > 0 ? n_labels : 1);
        double wanted = ac_loss_batch(&config, z, s.y, 1, (size_t)s.n_classes, weights, 1, gradient);
        worst =
            fmax(worst, fabs(simulate_at(&s, SIMULATE_BCE_ANY_LOSS, p1, p2, slope) - wanted) / fmax(1, fabs(wanted)));
        for (int j = 0; j < 2; j++)
            worst_slope = fmax(worst_slope, fabs(slope[j] - gradient[j]));
    }
    TAP_OK(worst < 1e-13, "bce_any_loss is the trainer's loss of the image: %.2g", worst);
    TAP_OK(worst_slope < 1e-13, "and so are its slopes: %.2g", worst_slope);
}

static double moved(double p, double dz)
{
    return 1 / (1 + exp(-(log(p / (1 - p)) + dz)));
}

static void test_slopes(void)
{
    const double step = 1e-5; /* the error of central differences is about step^2 and 1e-16 / step */
    for (int surface = SIMULATE_BCE_LIKELIHOOD; surface < SIMULATE_N_SURFACES; surface++) {
        double worst = 0;
        simulate_surface loss =
            (simulate_surface)(surface < SIMULATE_BCE_LOSS ? surface + SIMULATE_BCE_LOSS - SIMULATE_BCE_LIKELIHOOD
                                                           : surface);
        for (uint32_t i = 0; i < N_SCENES; i++) {
            simulate_scene s = scene_of(i);
            double slope[2], p1 = 0.05 + 0.9 * drawn(i, 60), p2 = 0.05 + 0.9 * drawn(i, 61);
            (void)simulate_at(&s, (simulate_surface)surface, p1, p2, slope);
            double across =
                simulate_at(&s, loss, moved(p1, step), p2, NULL) - simulate_at(&s, loss, moved(p1, -step), p2, NULL);
            double up =
                simulate_at(&s, loss, p1, moved(p2, step), NULL) - simulate_at(&s, loss, p1, moved(p2, -step), NULL);
            double size = fmax(1, simulate_at(&s, loss, p1, p2, NULL));
            worst = fmax(worst, fmax(fabs(across / (2 * step) - slope[0]), fabs(up / (2 * step) - slope[1])) / size);
        }
        TAP_OK(worst < 2e-9, "slopes of surface %d's loss: %.2g from differences", surface, worst);
    }
    double slope[2] = {1, 1};
    simulate_scene s = scene_of(1);
    (void)simulate_at(&s, SIMULATE_PRODUCT, 0.3, 0.4, slope);
    TAP_OK(slope[0] == 0 && slope[1] == 0, "no slopes where there is no loss");
}

static void test_grids(void)
{
    static double value[SIMULATE_PAGE_GRID * SIMULATE_PAGE_GRID];
    static const int size[4] = {2, 3, GRID, SIMULATE_PAGE_GRID};
    for (int surface = 0; surface < SIMULATE_N_SURFACES; surface++) {
        double worst = 0;
        for (uint32_t i = 0; i < N_SCENES; i++) {
            simulate_scene s = scene_of(i);
            int n = size[i == 11 ? 3 : i % 3];
            simulate_grid(&s, (simulate_surface)surface, n, value);
            for (int k = 0; k < n * n; k++) {
                double wanted =
                    simulate_at(&s, (simulate_surface)surface, simulate_axis(n, k % n), simulate_axis(n, k / n), NULL);
                /* of a likelihood exp(-loss) the relative error is the loss's absolute one */
                double bound = surface < SIMULATE_BCE_LOSS && wanted > DBL_MIN
                                   ? apart(value[k], wanted) / fmax(1, -log(wanted))
                                   : fabs(value[k] - wanted) / fmax(1, fabs(wanted));
                worst = isfinite(value[k]) ? fmax(worst, bound) : INFINITY;
            }
        }
        TAP_OK(worst < 1e-14 * SIMULATE_MOST_CLASSES, "the page's grid of surface %d equals single values: %.2g",
               surface, worst);
    }
    TAP_OK(simulate_axis(200, 0) == 0.01 && fabs(simulate_axis(200, 199) - 0.99) < 1e-15 &&
               simulate_axis(2, 1) == simulate_axis(200, 199),
           "from 0.01 to 0.99");
}

static void test_presence(void)
{
    simulate_scene s = {.n_classes = 2, .y = {1, 0}, .lambda = 0.5, .alpha = 1, .weight = 1};
    double zbar = (log(0.3 / 0.7) + 0.5 * log(0.8 / 0.2)) / 1.5;
    TAP_OK(fabs(simulate_presence(&s, 0.3, 0.8) - 1 / (1 + exp(-zbar))) < 1e-15, "the presence of two classes");
    s.lambda = 0;
    TAP_OK(fabs(simulate_presence(&s, 0.3, 0.8) - 0.3) < 1e-15, "with lambda 0 it is the present class's probability");
    s.y[0] = 0;
    TAP_OK(fabs(simulate_presence(&s, 0.5, 0.5) - 0.5) < 1e-15, "without labels both count, whatever lambda is");
}

int main(void)
{
    test_definitions();
    test_trainer();
    test_slopes();
    test_grids();
    test_presence();
    return tap_done();
}
