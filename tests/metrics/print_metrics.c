/* Measures the cases of a file and prints what peer_sklearn.py compares: of each class AP, ROC-AUC, log loss and F-beta
 * for beta 0.5, 1 and 2 at the case's threshold, as many digits as a double has. A case is int64 n, n_classes; double
 * threshold, score [n_classes, n]; uint8 label [n, n_classes].   usage: print_metrics FILE */
#include "anyclass/alloc.h"
#include "anyclass/metrics.h"
#include <math.h>
#include <stdio.h>

typedef struct table {
    int64_t n, n_classes;
    double threshold, *score;
    uint8_t *label, *image_positive;
} table;

static bool read_items(FILE *file, void *items, size_t n, size_t size)
{
    return fread(items, size, n, file) == n;
}

static ac_status read_case(FILE *file, table *out, bool *have)
{
    ac_status status = AC_OK;
    size_t n, n_items;
    *have = read_items(file, &out->n, 1, sizeof out->n);
    if (!*have)
        goto out;
    *have = read_items(file, &out->n_classes, 1, sizeof out->n_classes) &&
            read_items(file, &out->threshold, 1, sizeof out->threshold);
    n = (size_t)out->n;
    n_items = n * (size_t)out->n_classes;
    AC_TRY(ac_malloc(n_items, sizeof *out->score, &out->score));
    AC_TRY(ac_malloc(n_items, 1, &out->label));
    AC_TRY(ac_calloc(n, 1, &out->image_positive));
    if (!*have || !read_items(file, out->score, n_items, sizeof *out->score) ||
        !read_items(file, out->label, n_items, 1))
        AC_TRY(ac_error(AC_ERR_DATA, "the file ends inside a case"));
    for (size_t i = 0; i < n_items; i++)
        out->image_positive[i / (size_t)out->n_classes] |= out->label[i];
out:
    return status;
}

static ac_status print_class(const table *of, size_t c)
{
    static ac_profile profile;
    ac_status status = AC_OK;
    ac_split_count reached;
    size_t n = (size_t)of->n;
    ac_column column = {.score = of->score + c * n,
                        .label = of->label + c,
                        .label_stride = (size_t)of->n_classes,
                        .image_positive = of->image_positive,
                        .n = n};
    ac_profile_options options = {.threshold = &of->threshold, .n_thresholds = 1, .beta = 1};
    AC_TRY(ac_profile_measure(&column, &options, &profile, &reached));
    printf("%.17g %.17g %.17g", profile.average_precision, profile.roc_auc, profile.log_loss);
    for (double beta = 0.5; beta <= 2; beta *= 2) {
        double best = NAN;
        ac_metrics_tune(&profile.total, &reached, 1, &of->threshold, 1, beta, false, &(size_t){0}, &best);
        printf(" %.17g", best);
    }
    printf("\n");
out:
    return status;
}

int main(int argc, char **argv)
{
    ac_status status = AC_OK;
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    bool have = file != NULL;
    if (!file)
        status = ac_error(AC_ERR_IO, "usage: print_metrics FILE");
    while (status == AC_OK && have) {
        table of = {0};
        status = read_case(file, &of, &have);
        for (size_t c = 0; status == AC_OK && have && c < (size_t)of.n_classes; c++)
            status = print_class(&of, c);
        ac_free(of.score);
        ac_free(of.label);
        ac_free(of.image_positive);
    }
    if (file)
        fclose(file);
    if (status != AC_OK)
        fprintf(stderr, "print_metrics: %s\n", ac_error_text());
    return ac_status_exit_code(status);
}
