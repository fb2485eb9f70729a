/* Values of the surfaces, one by one and as grids. */
#include "simulate/surface.h"
#include "anyclass/loss_formula.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct terms { /* what a surface is made of */
    bool base, any, product, likelihood;
} terms;

static terms terms_of(simulate_surface surface)
{
    static const terms of[SIMULATE_N_SURFACES] = {
        [SIMULATE_BCE_LIKELIHOOD] = {.base = true, .likelihood = true},
        [SIMULATE_ANY_LIKELIHOOD] = {.any = true, .likelihood = true},
        [SIMULATE_PRODUCT_LIKELIHOOD] = {.product = true, .likelihood = true},
        [SIMULATE_BCE_ANY_LIKELIHOOD] = {.base = true, .any = true, .likelihood = true},
        [SIMULATE_BCE_PRODUCT_LIKELIHOOD] = {.base = true, .product = true, .likelihood = true},
        [SIMULATE_BCE_LOSS] = {.base = true},
        [SIMULATE_ANY_LOSS] = {.any = true},
        [SIMULATE_PRODUCT_LOSS] = {.product = true},
        [SIMULATE_BCE_ANY_LOSS] = {.base = true, .any = true},
        [SIMULATE_BCE_PRODUCT_LOSS] = {.base = true, .product = true},
    };
    return of[surface];
}

static ac_loss_config config_of(const simulate_scene *scene, double alpha)
{
    return (ac_loss_config){scene->gamma > 0 ? AC_LOSS_FOCAL : AC_LOSS_BCE, scene->gamma, alpha, scene->lambda};
}

static double logit(double p)
{
    return log(p) - log1p(-p);
}

double simulate_axis(int n, int i)
{
    return i == n - 1 ? 0.99 : 0.01 + 0.98 * i / (n - 1);
}

static double product_of(const simulate_scene *scene, double p1, double p2)
{
    double product = p1 * p2;
    for (int j = 2; j < scene->n_classes; j++)
        product *= scene->p[j];
    return product;
}

static double of_probabilities(const simulate_scene *scene, simulate_surface surface, double product)
{
    return surface == SIMULATE_PRODUCT ? product : exp(log(product) / scene->n_classes);
}

static void logits_of(const simulate_scene *scene, double p1, double p2, double *z)
{
    for (int j = 0; j < scene->n_classes; j++)
        z[j] = logit(j == 0 ? p1 : j == 1 ? p2 : scene->p[j]);
}

/* The presence's loss at zbar or, for the product, at sum_j w_j z_j; adds factor times its gradient by the first two
 * logits. */
static double presence_loss(const simulate_scene *scene, const double *z, bool product, double factor, double *gradient)
{
    ac_loss_config config = config_of(scene, 1);
    int any = ac_any_label(scene->y, scene->n_classes);
    double value, total, sum = ac_presence_sum_double(&config, z, scene->y, scene->n_classes, any, &total);
    double divisor = product ? 1 : total;
    double slope = ac_logit_loss_double(config.base, config.gamma, sum / divisor, any, &value);
    for (int j = 0; gradient && j < 2; j++)
        gradient[j] += factor * slope * ac_presence_weight_double(&config, any, scene->y[j]) / divisor;
    return factor * value;
}

double simulate_at(const simulate_scene *scene, simulate_surface surface, double p1, double p2, double *gradient)
{
    double z[SIMULATE_MOST_CLASSES], slope[SIMULATE_MOST_CLASSES] = {0}, loss = 0;
    terms of = terms_of(surface);
    if (surface <= SIMULATE_GEOMETRIC_MEAN) {
        if (gradient)
            gradient[0] = gradient[1] = 0;
        return of_probabilities(scene, surface, product_of(scene, p1, p2));
    }
    logits_of(scene, p1, p2, z);
    if (of.base) {
        ac_loss_config config = config_of(scene, of.any ? scene->alpha : 0);
        loss = ac_image_loss_double(&config, z, scene->y, scene->n_classes, scene->weight, slope);
    }
    if (of.product ||
        !of.base) /* the trainer has no such loss: its terms alone, or with the product in the mean's place */
        loss += presence_loss(scene, z, of.product, scene->weight * (of.base ? scene->alpha : 1), slope);
    if (gradient) {
        gradient[0] = slope[0];
        gradient[1] = slope[1];
    }
    return of.likelihood ? exp(-loss) : loss;
}

double simulate_presence(const simulate_scene *scene, double p1, double p2)
{
    double z[SIMULATE_MOST_CLASSES], total;
    ac_loss_config config = config_of(scene, 1);
    logits_of(scene, p1, p2, z);
    double sum = ac_presence_sum_double(&config, z, scene->y, scene->n_classes,
                                        ac_any_label(scene->y, scene->n_classes), &total);
    return exp(-ac_softplus_double(-sum / total));
}

typedef struct axis { /* of one of the two classes, at each place */
    double loss[SIMULATE_PAGE_GRID], weighted[SIMULATE_PAGE_GRID];
} axis;

static void fill_axis(const ac_loss_config *config, double presence_weight, int y, int n, axis *out)
{
    for (int i = 0; i < n; i++) {
        double z = logit(simulate_axis(n, i));
        (void)ac_logit_loss_double(config->base, config->gamma, z, y, &out->loss[i]);
        out->weighted[i] = presence_weight * z;
    }
}

static void fill_probabilities(const simulate_scene *scene, simulate_surface surface, int n, double *value)
{
    double rest = product_of(scene, 1, 1);
    for (int j = 0; j < n; j++)
        for (int i = 0; i < n; i++)
            value[j * n + i] = of_probabilities(scene, surface, simulate_axis(n, i) * simulate_axis(n, j) * rest);
}

void simulate_grid(const simulate_scene *scene, simulate_surface surface, int n, double *value)
{
    terms of = terms_of(surface);
    ac_loss_config config = config_of(scene, 1);
    int any = ac_any_label(scene->y, scene->n_classes);
    double weight[2], loss = 0, sum = 0, total = 0, factor = of.base ? scene->alpha : 1, term;
    axis across, up;
    if (surface <= SIMULATE_GEOMETRIC_MEAN) {
        fill_probabilities(scene, surface, n, value);
        return;
    }
    for (int j = 0; j < scene->n_classes; j++) {
        double w = ac_presence_weight_double(&config, any, scene->y[j]);
        total += w;
        if (j < 2) {
            weight[j] = w;
            continue;
        }
        double z = logit(scene->p[j]);
        (void)ac_logit_loss_double(config.base, config.gamma, z, scene->y[j], &term);
        loss += term;
        sum += w * z;
    }
    fill_axis(&config, weight[0], scene->y[0], n, &across);
    fill_axis(&config, weight[1], scene->y[1], n, &up);
    for (int j = 0; j < n; j++)
        for (int i = 0; i < n; i++) {
            double at = of.base ? across.loss[i] + up.loss[j] + loss : 0;
            if (of.any || of.product) {
                double presence = across.weighted[i] + up.weighted[j] + sum;
                (void)ac_logit_loss_double(config.base, config.gamma, of.any ? presence / total : presence, any, &term);
                at += factor * term;
            }
            at *= scene->weight;
            value[j * n + i] = of.likelihood ? exp(-at) : at;
        }
}
