/* Class weights, and the loss of a batch. The formulas are in loss_formula.h. */
#include "anyclass/loss.h"
#include "anyclass/loss_formula.h"

/* 1 / E_n = (1 - beta) / (1 - beta^n), without cancellation for beta near 1. */
static double inverse_effective_number(double beta, int64_t n)
{
    if (n == 0)
        return 0;
    if (beta >= 1)
        return 1.0 / (double)n;
    if (beta <= 0)
        return 1;
    return (1 - beta) / -expm1((double)n * log(beta));
}

ac_status ac_loss_class_weights(const int64_t *counts, int64_t n_negative, size_t n_classes, double beta, double *weights,
                                size_t *n_absent)
{
    double sum = 0;
    size_t absent = 0;
    for (size_t c = 0; c <= n_classes; c++) {
        int64_t n = c < n_classes ? counts[c] : n_negative;
        weights[c] = inverse_effective_number(beta, n);
        absent += n == 0;
        sum += weights[c];
    }
    if (!(sum > 0))
        return ac_error(AC_ERR_DATA, "no image at all to weigh classes by");
    for (size_t c = 0; c <= n_classes; c++)
        weights[c] *= (double)(n_classes + 1) / sum;
    if (n_absent)
        *n_absent = absent;
    return AC_OK;
}

int64_t ac_loss_denominator(const uint8_t *labels, size_t n, size_t n_classes)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t of_image = 0;
        for (size_t j = 0; j < n_classes; j++)
            of_image += labels[i * n_classes + j];
        sum += of_image > 1 ? of_image : 1;
    }
    return sum;
}

double ac_loss_batch(const ac_loss_config *config, const double *logits, const uint8_t *labels, size_t n, size_t n_classes,
                     const double *class_weights, double scale, double *gradient)
{
    double sum = 0;
    int m = (int)n_classes;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *y = labels + i * n_classes;
        double weight = ac_image_weight(class_weights, y, m) * scale;
        sum += ac_image_loss_double(config, logits + i * n_classes, y, m, weight, gradient ? gradient + i * n_classes : NULL);
    }
    return sum;
}

double ac_loss_batch_float(const ac_loss_config *config, const float *logits, const uint8_t *labels, size_t n, size_t n_classes,
                           const double *class_weights, double scale, float *gradient)
{
    double sum = 0;
    int m = (int)n_classes;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *y = labels + i * n_classes;
        float weight = (float)(ac_image_weight(class_weights, y, m) * scale);
        sum += (double)ac_image_loss_float(config, logits + i * n_classes, y, m, weight, gradient ? gradient + i * n_classes : NULL);
    }
    return sum;
}
