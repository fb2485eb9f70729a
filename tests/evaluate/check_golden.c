/* usage: check_golden GOLDEN.json OURS.json [BETA TUNED.json]...
 * Every number of the reference's three dictionaries against ours from --compat reference, and its best thresholds. Not a
 * test of its own: golden.t runs it. */
#include "anyclass/json.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOLERANCE_EXPONENT = -12 };

static double worst;
static size_t n_compared, n_failed;

static double number_of(const ac_json_value *value, const char *what)
{
    double out;
    if (ac_json_read_double(value, what, &out) != AC_OK) {
        printf("# %s\n", ac_error_text());
        n_failed++;
        return INFINITY;
    }
    return out;
}

static void compare(const char *what, double golden, double ours)
{
    double error = isnan(golden) && isnan(ours) ? 0 : fabs(golden - ours);
    n_compared++;
    if (!(error <= pow(10, TOLERANCE_EXPONENT))) {
        printf("# %s: %.17g, wanted %.17g\n", what, ours, golden);
        n_failed++;
    }
    if (error > worst)
        worst = error;
}

static void compare_values(const char *what, const ac_json_value *golden, const ac_json_value *ours)
{
    size_t n = ac_json_count(golden);
    char name[256];
    if (n == 0) {
        compare(what, number_of(golden, what), number_of(ours, what));
        return;
    }
    if (ac_json_count(ours) != n) {
        printf("# %s: %zu values, wanted %zu\n", what, ac_json_count(ours), n);
        n_failed++;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%s[%zu]", what, i);
        compare_values(name, ac_json_at(golden, i), ac_json_at(ours, i));
    }
}

static void compare_dictionary(const char *what, const ac_json_value *golden, const ac_json_value *ours)
{
    for (size_t i = 0; i < ac_json_count(golden); i++) {
        const char *key = ac_json_key_at(golden, i);
        char name[256];
        snprintf(name, sizeof name, "%s %s", what, key);
        compare_values(name, ac_json_at(golden, i), ac_json_get(ours, key));
    }
}

static void compare_tuned(const ac_json_value *golden, const char *beta, const ac_json_value *tuned)
{
    char key[64];
    const ac_json_value *best = ac_json_get(ac_json_get(golden, "max_fbeta"), beta);
    const ac_json_value *highlights = ac_json_get(tuned, "Highlights");
    snprintf(key, sizeof key, "VAL_MAX_F%s", beta);
    compare_values(key, ac_json_at(best, 0), ac_json_get(highlights, key));
    snprintf(key, sizeof key, "VAL_MAX_F%s_THRESHOLDS", beta);
    compare_values(key, ac_json_at(best, 1), ac_json_get(highlights, key));
}

static ac_json_value *load(const char *path)
{
    ac_json_value *document = NULL;
    if (ac_json_load(path, &document) != AC_OK) {
        fprintf(stderr, "check_golden: %s\n", ac_error_text());
        exit(2);
    }
    return document;
}

int main(int argc, char **argv)
{
    static const char *const dictionary[] = {"Main", "Meta", "Class"};
    if (argc < 3 || argc % 2 == 0) {
        fprintf(stderr, "usage: check_golden GOLDEN.json OURS.json [BETA TUNED.json]...\n");
        return 2;
    }
    ac_json_value *golden = load(argv[1]), *ours = load(argv[2]);
    for (size_t i = 0; i < 3; i++)
        compare_dictionary(dictionary[i], ac_json_at(ac_json_get(golden, "reference"), i),
                           ac_json_get(ours, dictionary[i]));
    for (int i = 3; i < argc; i += 2) {
        ac_json_value *tuned = load(argv[i + 1]);
        compare_tuned(golden, argv[i], tuned);
        ac_json_release(tuned);
    }
    ac_json_release(golden);
    ac_json_release(ours);
    printf("# %zu numbers, the largest error %.1e, %zu wrong\n", n_compared, worst, n_failed);
    return n_failed > 0 || n_compared == 0;
}
