/* The order in which NumPy's argsort leaves equal scores (fixtures/orders.csv, made by make_fixtures.py with
 * NumPy 1.23), and the average precision that follows from it. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "anyclass/profile.h"
#include "lib/metrics/sort.h"
#include "tests/tap.h"
#include <inttypes.h>
#include <string.h>

enum { MOST = 100000, KILLER = 3000 };

static double score[MOST], killer[KILLER];
static uint32_t order[MOST];

static uint64_t fingerprint(size_t n)
{
    uint64_t value = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < n; i++)
        value = (value ^ order[i]) * UINT64_C(1099511628211);
    return value;
}

static void make_levels(size_t n, uint32_t count)
{
    for (size_t i = 0; i < n; i++)
        score[i] = (double)(((uint32_t)i * UINT32_C(2654435761) >> 7) % count) / count;
}

/* Fill score[] with the list `name`; returns its length, 0 for a name that is not known. */
static size_t make_list(const char *name)
{
    size_t n = 0;
    uint32_t count;
    if (sscanf(name, "levels %zu %" SCNu32, &n, &count) == 2)
        make_levels(n, count);
    else if (sscanf(name, "sorted %zu", &n) == 1)
        for (size_t i = 0; i < n; i++)
            score[i] = (double)(i / 3) / (double)n;
    else if (sscanf(name, "reversed %zu", &n) == 1)
        for (size_t i = 0; i < n; i++)
            score[i] = (double)((n - i) / 3) / (double)n;
    else if (sscanf(name, "pipe %zu", &n) == 1)
        for (size_t i = 0; i < n; i++)
            score[i] = (double)(i < n - 1 - i ? i : n - 1 - i) / (double)n;
    else if (strncmp(name, "killer", 6) == 0) {
        n = KILLER;
        for (size_t i = 0; i < n; i++)
            score[i] = name[6] && killer[i] >= 0.0625 ? floor(killer[i] * 64) / 64 : killer[i];
    }
    return n;
}

static ac_status read_killer(void)
{
    ac_status status = AC_OK;
    ac_csv csv;
    bool have_row;
    AC_TRY(ac_csv_open(&csv, "tests/metrics/fixtures/killer.csv"));
    status = ac_csv_next(&csv, &have_row);
    for (size_t i = 0; status == AC_OK && i < KILLER; i++) {
        status = ac_csv_next(&csv, &have_row);
        if (status == AC_OK && have_row)
            status = ac_parse_double(csv.field[0], &killer[i]);
        killer[i] /= KILLER;
    }
    ac_csv_close(&csv);
out:
    return status;
}

static ac_status test_orders(void)
{
    ac_status status = AC_OK;
    ac_csv csv;
    bool have_row;
    size_t n_lists = 0;
    AC_TRY(ac_csv_open(&csv, "tests/metrics/fixtures/orders.csv"));
    status = ac_csv_next(&csv, &have_row);
    for (; status == AC_OK; n_lists++) {
        status = ac_csv_next(&csv, &have_row);
        if (status != AC_OK || !have_row)
            break;
        size_t n = make_list(csv.field[0]);
        ac_reference_argsort(score, order, n);
        TAP_OK(n > 0 && fingerprint(n) == strtoull(csv.field[1], NULL, 10), "NumPy's order of %s", csv.field[0]);
    }
    ac_csv_close(&csv);
    TAP_OK(n_lists == 58, "%zu lists", n_lists);
out:
    return status;
}

static double reference_ap(const double *scores, const uint8_t *labels, size_t n)
{
    static ac_profile profile;
    ac_column column = {.score = scores, .label = labels, .label_stride = 1, .image_positive = labels, .n = n};
    ac_profile_options options = {.beta = 1, .reference = true};
    TAP_CALL(ac_profile_measure(&column, &options, &profile, NULL));
    return profile.reference_average_precision;
}

static void test_average_precision(void)
{
    const double three[] = {.2, .9, .5}, equal[] = {.5, .5, .5};
    const uint8_t first[] = {1, 0, 0}, last[] = {0, 0, 1}, none[] = {0, 0, 0}, two[] = {1, 0, 1};
    TAP_OK(reference_ap(three, two, 3) == (1. / 2 + 2. / 3) / 2, "the running precision at each positive");
    TAP_OK(reference_ap(equal, last, 3) == 1 && reference_ap(equal, first, 3) == 1. / 3,
           "of equal scores the last image counts as the highest");
    TAP_OK(reference_ap(equal, none, 3) == 0 && reference_ap(equal, none, 0) == 0, "0 without positives");
}

int main(void)
{
    TAP_CALL(read_killer());
    TAP_CALL(test_orders());
    test_average_precision();
    TAP_OK(ac_alloc_get_stats().n_live == 0, "no memory is left");
    return tap_done();
}
