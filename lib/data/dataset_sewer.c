/* sewer: SewerML_{Split}.csv. Columns by name; the 17 defect classes are the labels. VA (water level), ND (no defect
 * noted), WaterLevel and Defect are none: Defect is compared with the labels. */
#include "anyclass/log.h"
#include "anyclass/sewer.h"
#include "data/dataset_internal.h"
#include <stdio.h>
#include <string.h>

static const char *const class_code[AC_SEWER_N_CLASSES] = {"RB", "OB", "PF", "DE", "FS", "IS", "RO", "IN", "AF",
                                                           "BE", "FO", "GR", "PH", "PB", "OS", "OP", "OK"};

const char *ac_sewer_class(size_t c)
{
    return class_code[c];
}

double ac_sewer_class_weight(size_t c)
{
    static const double weight[AC_SEWER_N_CLASSES] = {1.0,   .5518, .2896, .1622, .6419, .1847, .3559, .3131, .0811,
                                                      .2275, .2477, .0901, .4167, .4167, .9009, .3829, .4396};
    return weight[c];
}

/* -1 when it is missing, -2 when it occurs twice. */
static int find_once(const ac_csv *csv, const char *name)
{
    int found = ac_csv_find(csv, name);
    for (size_t i = (size_t)(found + 1); found >= 0 && i < csv->n_fields; i++)
        if (strcmp(csv->field[i], name) == 0)
            return -2;
    return found;
}

ac_status ac_sewer_find_columns(const ac_csv *csv, ac_sewer_columns *out)
{
    char missing[128] = "";
    size_t n = 0, n_missing = 0;
    int file_name = find_once(csv, "Filename");
    *out = (ac_sewer_columns){.n_fields = csv->n_fields, .defect = find_once(csv, "Defect")};
    if (file_name < 0)
        return ac_error(AC_ERR_DATA, "the header has %s column Filename", file_name == -1 ? "no" : "more than one");
    if (out->defect == -2)
        return ac_error(AC_ERR_DATA, "the header has more than one column Defect");
    out->file_name = (size_t)file_name;
    for (size_t c = 0; c < AC_SEWER_N_CLASSES; c++) {
        int found = find_once(csv, class_code[c]);
        if (found == -2)
            return ac_error(AC_ERR_DATA, "the header has more than one column %s", class_code[c]);
        if (found == -1)
            n += (size_t)snprintf(missing + n, sizeof missing - n, "%s%s", n_missing++ ? " " : "", class_code[c]);
        else
            out->label[c] = (size_t)found;
    }
    if (n_missing == 0)
        return AC_OK;
    return ac_error(AC_ERR_DATA, "the header has no column %s%s", missing,
                    n_missing == AC_SEWER_N_CLASSES
                        ? ": no labels, as in the published test file (docs/data.md says how to infer on it)"
                        : "");
}

ac_status ac_sewer_read_row(const ac_csv *csv, const ac_sewer_columns *columns, uint8_t *label)
{
    ac_status status = AC_OK;
    if (csv->n_fields != columns->n_fields)
        return ac_error(AC_ERR_DATA, "%zu fields, the header has %zu", csv->n_fields, columns->n_fields);
    if (!csv->field[columns->file_name][0])
        return ac_error(AC_ERR_DATA, "column Filename: an empty file name");
    for (size_t c = 0; c < AC_SEWER_N_CLASSES; c++)
        AC_TRY(ac_dataset_parse_label(csv->field[columns->label[c]], class_code[c], &label[c]));
out:
    return status;
}

typedef struct reading {
    ac_dataset *out;
    ac_sewer_columns columns;
    size_t n_contradictions, first_line; /* rows whose Defect is not what their labels say */
} reading;

static ac_status read_row(void *context, const ac_csv *csv, bool header)
{
    ac_status status = AC_OK;
    reading *r = context;
    uint8_t label[AC_SEWER_N_CLASSES];
    if (header) {
        for (size_t c = 0; c < AC_SEWER_N_CLASSES; c++)
            AC_TRY(ac_dataset_add_class(r->out, class_code[c]));
        return ac_sewer_find_columns(csv, &r->columns);
    }
    AC_TRY(ac_sewer_read_row(csv, &r->columns, label));
    AC_TRY(ac_dataset_add_sample(r->out, csv->field[r->columns.file_name]));
    AC_TRY(ac_dataset_set_line(r->out, csv->line));
    memcpy(r->out->label + (r->out->n_samples - 1) * AC_SEWER_N_CLASSES, label, sizeof label);
    if (r->columns.defect >= 0) {
        bool any = memchr(label, 1, sizeof label) != NULL;
        if (strcmp(csv->field[r->columns.defect], any ? "1" : "0") != 0 && r->n_contradictions++ == 0)
            r->first_line = csv->line;
    }
out:
    return status;
}

ac_status ac_dataset_read_sewer(const char *path, const ac_dataset_options *options, ac_dataset *out)
{
    ac_status status = AC_OK;
    reading r = {.out = out};
    (void)options;
    AC_TRY(ac_csv_for_each(path, read_row, &r));
    if (r.n_contradictions)
        ac_log(AC_LOG_WARN,
               "%s line %zu: column Defect is not what the 17 classes say (so in %zu rows): the classes count", path,
               r.first_line, r.n_contradictions);
out:
    return status;
}
