/* Class weights of CIW-F2: sewer's own, or from a CSV. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/csv.h"
#include "anyclass/sewer.h"
#include "evaluate/labels.h"
#include <math.h>
#include <string.h>

/* NaN where the class is none of sewer's. */
static double sewer_weight(const char *class_name)
{
    for (size_t c = 0; c < AC_SEWER_N_CLASSES; c++)
        if (strcmp(ac_sewer_class(c), class_name) == 0)
            return ac_sewer_class_weight(c);
    return NAN;
}

/* The first class without a weight; n_classes: all have one. */
static size_t find_unweighted(const label_table *labels)
{
    size_t c = 0;
    while (c < labels->n_classes && !isnan(labels->label_weight[c]))
        c++;
    return c;
}

static ac_status read_weight_row(const ac_csv *csv, label_table *labels)
{
    double weight;
    size_t c = 0;
    if (csv->n_fields != 2)
        return ac_error(AC_ERR_DATA, "%zu fields, two are wanted: class,weight", csv->n_fields);
    while (c < labels->n_classes && strcmp(labels->class_name[c], csv->field[0]) != 0)
        c++;
    if (c == labels->n_classes)
        return ac_error(AC_ERR_DATA, "%.100s is no class of the labels in %s", csv->field[0], labels->source);
    if (!isnan(labels->label_weight[c]))
        return ac_error(AC_ERR_DATA, "the class %.100s occurs twice", csv->field[0]);
    ac_status status = ac_parse_double(csv->field[1], &weight);
    if (status != AC_OK)
        return ac_error_in(status, "column weight");
    if (weight < 0)
        return ac_error(AC_ERR_DATA, "column weight: %.40s is below 0", csv->field[1]);
    labels->label_weight[c] = weight;
    return AC_OK;
}

static ac_status check_weights(const char *path, const label_table *labels)
{
    double sum = 0;
    size_t c = find_unweighted(labels);
    if (c < labels->n_classes)
        return ac_error(AC_ERR_DATA, "%s: no weight for the class %s", path, labels->class_name[c]);
    for (c = 0; c < labels->n_classes; c++)
        sum += labels->label_weight[c];
    if (!(sum > 0 && isfinite(sum)))
        return ac_error(AC_ERR_DATA, "%s: the sum of the weights is %g", path, sum);
    return AC_OK;
}

static ac_status read_weight_file(const char *path, label_table *labels)
{
    ac_status status = AC_OK;
    ac_csv csv = {0};
    bool have_row = true;
    AC_TRY(ac_csv_open(&csv, path));
    AC_TRY(ac_csv_next(&csv, &have_row));
    if (!have_row || csv.n_fields != 2 || strcmp(csv.field[0], "class") != 0 || strcmp(csv.field[1], "weight") != 0)
        AC_TRY(ac_error(AC_ERR_DATA, "%s line 1: the header class,weight is wanted", path));
    for (;;) {
        AC_TRY(ac_csv_next(&csv, &have_row));
        if (!have_row)
            break;
        status = read_weight_row(&csv, labels);
        if (status != AC_OK)
            AC_TRY(ac_error_in(status, "%s line %zu", path, csv.line));
    }
    AC_TRY(check_weights(path, labels));
out:
    ac_csv_close(&csv);
    return status;
}

/* Sewer's where all classes are its; else `needed` decides whether that is an error. */
static ac_status use_sewer_weights(label_table *labels, bool needed)
{
    for (size_t c = 0; c < labels->n_classes; c++)
        labels->label_weight[c] = sewer_weight(labels->class_name[c]);
    size_t c = find_unweighted(labels);
    if (c == labels->n_classes)
        return AC_OK;
    if (needed)
        return ac_error(AC_ERR_USAGE, "--label_weights sewer: the class %s of %s is none of its", labels->class_name[c],
                        labels->source);
    ac_free(labels->label_weight);
    labels->label_weight = NULL;
    return AC_OK;
}

ac_status evaluate_read_label_weights(MPI_Comm comm, const char *which, label_table *labels)
{
    ac_status status = AC_OK;
    int rank;
    MPI_Comm_rank(comm, &rank);
    if (!which || strcmp(which, "none") == 0)
        return AC_OK;
    AC_TRY(ac_comm_agree(comm, ac_malloc(labels->n_classes, sizeof *labels->label_weight, &labels->label_weight)));
    for (size_t c = 0; c < labels->n_classes; c++)
        labels->label_weight[c] = NAN;
    if (strcmp(which, "auto") == 0 || strcmp(which, "sewer") == 0)
        return use_sewer_weights(labels, which[0] == 's');
    AC_TRY(ac_comm_agree(comm, rank == 0 ? read_weight_file(which, labels) : AC_OK));
    AC_TRY(ac_comm_broadcast(comm, labels->label_weight, labels->n_classes * sizeof *labels->label_weight));
out:
    return status;
}
