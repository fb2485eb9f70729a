/* Counts at a threshold, per class and per image. Integers only, so that ranks can add them in any order.
 * Leaves ratios and means to summary.c. */
#include "anyclass/metrics.h"
#include <math.h>
#include <stdbool.h>

typedef struct table { /* scores [n, n_classes], one of the two types */
    const float *single;
    const double *wide;
} table;

static double score_at(table scores, size_t i)
{
    return scores.wide ? scores.wide[i] : (double)scores.single[i];
}

static void count_image(ac_image_count *count, bool labelled, bool predicted)
{
    if (labelled) {
        count->true_positive += predicted;
        count->false_negative += !predicted;
    } else {
        count->false_positive += predicted;
        count->true_negative += !predicted;
    }
}

static ac_status count_rows(table scores, const uint8_t *labels, size_t n, size_t n_classes, double threshold,
                            ac_class_count *class_count, ac_image_count *image_count)
{
    for (size_t row = 0; row < n; row++) {
        bool any_label = false, any_predicted = false;
        for (size_t c = 0; c < n_classes; c++) {
            double score = score_at(scores, row * n_classes + c);
            if (isnan(score))
                return ac_error(AC_ERR_NUMERIC, "the score of row %zu, class %zu is not a number", row, c);
            bool label = labels[row * n_classes + c] != 0, predicted = score >= threshold;
            class_count[c].true_positive += label & predicted;
            class_count[c].false_positive += !label & predicted;
            class_count[c].false_negative += label & !predicted;
            class_count[c].true_negative += !label & !predicted;
            any_label |= label;
            any_predicted |= predicted;
        }
        count_image(image_count, any_label, any_predicted);
    }
    return AC_OK;
}

ac_status ac_metrics_count(const float *scores, const uint8_t *labels, size_t n, size_t n_classes, double threshold,
                           ac_class_count *class_count, ac_image_count *image_count)
{
    return count_rows((table){.single = scores}, labels, n, n_classes, threshold, class_count, image_count);
}

ac_status ac_metrics_count_double(const double *scores, const uint8_t *labels, size_t n, size_t n_classes,
                                  double threshold, ac_class_count *class_count, ac_image_count *image_count)
{
    return count_rows((table){.wide = scores}, labels, n, n_classes, threshold, class_count, image_count);
}
