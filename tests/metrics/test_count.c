/* Counts at a threshold: by hand, in parts, with NaN. */
#include "anyclass/metrics.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

static bool same_class(ac_class_count a, int64_t tp, int64_t fp, int64_t fn, int64_t tn)
{
    return a.true_positive == tp && a.false_positive == fp && a.false_negative == fn && a.true_negative == tn;
}

/*            class 0                class 1               image
 * row 0  label 1 score .5  TP   label 0 score .9  FP    labelled, predicted
 * row 1  label 1 score .49 FN   label 0 score .1  TN    labelled, none predicted
 * row 2  label 0 score .7  FP   label 0 score .2  TN    negative, predicted
 * row 3  label 0 score 0   TN   label 0 score .4  TN    negative, none predicted
 * row 4  label 1 score 1   TP   label 1 score .3  FN    labelled, predicted
 * row 5  label 0 score .1  TN   label 0 score .1  TN    negative, none predicted */
static const float scores[] = {.5f, .9f, .49f, .1f, .7f, .2f, 0, .4f, 1, .3f, .1f, .1f};
static const uint8_t labels[] = {1, 0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0};
enum { N_ROWS = 6, N_CLASSES = 2 };

static bool expected(const ac_class_count *of, const ac_image_count *image)
{
    return same_class(of[0], 2, 1, 1, 2) && same_class(of[1], 0, 1, 1, 4) && image->true_positive == 2 &&
           image->false_negative == 1 && image->false_positive == 1 && image->true_negative == 2;
}

static void test_by_hand(void)
{
    ac_class_count of[N_CLASSES] = {0};
    ac_image_count image = {0};
    TAP_CALL(ac_metrics_count(scores, labels, N_ROWS, N_CLASSES, 0.5, of, &image));
    TAP_OK(expected(of, &image), "six images, two classes, a score on the threshold counts as predicted");
}

static void test_in_parts(void)
{
    for (size_t first = 0; first <= N_ROWS; first++) {
        ac_class_count of[N_CLASSES] = {0};
        ac_image_count image = {0};
        ac_status a = ac_metrics_count(scores, labels, first, N_CLASSES, 0.5, of, &image);
        ac_status b = ac_metrics_count(scores + first * N_CLASSES, labels + first * N_CLASSES, N_ROWS - first,
                                       N_CLASSES, 0.5, of, &image);
        TAP_OK(a == AC_OK && b == AC_OK && expected(of, &image), "the counts of %zu rows and of the rest add up",
               first);
    }
}

static void test_as_read(void)
{
    const double wide[] = {0.7};
    const float single[] = {0.7f};
    const uint8_t label[] = {1};
    ac_class_count of_wide = {0}, of_single = {0};
    ac_image_count image = {0};
    TAP_CALL(ac_metrics_count_double(wide, label, 1, 1, 0.7, &of_wide, &image));
    TAP_CALL(ac_metrics_count(single, label, 1, 1, 0.7, &of_single, &image));
    TAP_OK(of_wide.true_positive == 1, "0.7 as read reaches the threshold 0.7");
    TAP_OK(of_single.false_negative == 1, "the float below 0.7 does not");
}

static void test_not_a_number(void)
{
    const float bad[] = {.1f, .2f, .3f, NAN};
    const uint8_t label[] = {0, 1, 0, 1};
    ac_class_count of[2] = {0};
    ac_image_count image = {0};
    ac_status status = ac_metrics_count(bad, label, 2, 2, 0.5, of, &image);
    TAP_OK(status == AC_ERR_NUMERIC && strstr(ac_error_text(), "row 1, class 1"), "NaN is refused by name: %s",
           ac_error_text());
}

int main(void)
{
    test_by_hand();
    test_in_parts();
    test_as_read();
    test_not_a_number();
    return tap_done();
}
