/* A precision-recall curve of millions of places as a few hundred that look the same. */
#include "lib/metrics/sort.h"

enum { N_STEPS = (AC_PROFILE_POINTS - 2) / 3 };

/* Steps are equal in the square root of recall: precision swings most where little was found yet, by about one over
 * that root. */
static size_t step_end(const ac_curve *of, size_t step)
{
    double root = (double)step / N_STEPS;
    return (size_t)ceil((double)of->n_positive * root * root);
}

static double precision_at(const ac_curve_place *place)
{
    return (double)place->found / (double)(place->found + place->wrong);
}

static void keep(const ac_curve *of, const ac_curve_place *place, ac_profile *out)
{
    uint32_t at = out->n_points;
    float threshold = (float)place->score;
    out->point_recall[at] = (float)((double)place->found / (double)of->n_positive);
    out->point_precision[at] = (float)precision_at(place);
    out->point_threshold[at] = threshold;
    out->n_points++;
}

static bool is_after(const ac_curve_place *a, const ac_curve_place *b)
{
    return a->found + a->wrong > b->found + b->wrong;
}

/* Lowest, highest and last of the step in the order of the curve, each once. */
static void close_step(ac_curve *of, ac_profile *out)
{
    const ac_curve_place *first = &of->low, *second = &of->high;
    if (of->n_in_step == 0)
        return;
    if (is_after(first, second)) {
        first = &of->high;
        second = &of->low;
    }
    keep(of, first, out);
    if (is_after(second, first))
        keep(of, second, out);
    if (is_after(&of->last, second))
        keep(of, &of->last, out);
    of->n_in_step = 0;
}

void ac_curve_begin(ac_curve *of, size_t n_positive, bool whole)
{
    *of = (ac_curve){.whole = whole, .n_positive = n_positive};
}

void ac_curve_add(ac_curve *of, ac_curve_place place, ac_profile *out)
{
    if (of->whole || out->n_points == 0) {
        keep(of, &place, out);
        return;
    }
    if (place.found > of->end_of_step) {
        close_step(of, out);
        while (place.found > of->end_of_step)
            of->end_of_step = step_end(of, ++of->next_step);
    }
    double precision = precision_at(&place);
    if (of->n_in_step == 0 || precision < of->low_precision) {
        of->low = place;
        of->low_precision = precision;
    }
    if (of->n_in_step == 0 || precision > of->high_precision) {
        of->high = place;
        of->high_precision = precision;
    }
    of->last = place;
    of->n_in_step++;
}

void ac_curve_end(ac_curve *of, ac_profile *out)
{
    close_step(of, out);
}
