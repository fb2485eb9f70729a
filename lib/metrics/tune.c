/* The threshold of each class with the highest F-beta, out of thresholds at which was counted. Leaves thresholds that
 * are scores to profile.c. */
#include "anyclass/metrics.h"
#include "lib/metrics/formula.h"
#include <math.h>

static double f_at(const ac_split_count *total, const ac_split_count *reached, double beta, bool reference)
{
    int64_t found = reached->positive, wrong = reached->negative_in_positive + reached->negative_in_negative;
    ac_ratios ratios;
    if (!reference)
        return total->positive > 0 ? ac_metrics_f_beta(found, wrong, total->positive - found, beta) : NAN;
    ac_reference_ratios(found, found + wrong, total->positive, &ratios);
    return ac_reference_f_beta(ratios.precision, ratios.recall, beta);
}

void ac_metrics_tune(const ac_split_count *total, const ac_split_count *reached, size_t n_classes,
                     const double *threshold, size_t n_thresholds, double beta, bool reference, size_t *best,
                     double *mean_f)
{
    double sum = 0;
    size_t n = 0;
    (void)threshold;
    for (size_t c = 0; c < n_classes; c++) {
        double most = NAN;
        best[c] = 0;
        for (size_t t = 0; t < n_thresholds; t++) {
            double f = f_at(&total[c], &reached[c * n_thresholds + t], beta, reference);
            if (f > most || (isnan(most) && !isnan(f))) {
                most = f;
                best[c] = t;
            }
        }
        if (isnan(most) && !reference)
            continue;
        sum += most;
        n++;
    }
    if (mean_f)
        *mean_f = n > 0 ? sum / (double)n : NAN;
}
