/* csv: first column the file name, the others 0 or 1 per class. */
#include "anyclass/csv.h"
#include "data/dataset_internal.h"
#include <stdio.h>

static ac_status read_row(const ac_csv *csv, ac_dataset *out)
{
    ac_status status = AC_OK;
    if (csv->n_fields != out->n_classes + 1)
        return ac_error(AC_ERR_DATA, "%s line %zu: %zu fields, the header has %zu", csv->name, csv->line, csv->n_fields, out->n_classes + 1);
    AC_TRY(ac_dataset_add_sample(out, csv->field[0]));
    uint8_t *label = out->label + (out->n_samples - 1) * out->n_classes;
    for (size_t c = 0; c < out->n_classes; c++) {
        const char *text = csv->field[c + 1];
        if ((text[0] != '0' && text[0] != '1') || text[1] != 0)
            return ac_error(AC_ERR_DATA, "%s line %zu, column %s: '%.40s' is neither 0 nor 1", csv->name, csv->line, out->class_name[c], text);
        label[c] = (uint8_t)(text[0] - '0');
    }
out:
    return status == AC_OK ? AC_OK : ac_error_in(status, "%s line %zu", csv->name, csv->line);
}

ac_status ac_dataset_read_csv(const ac_dataset_options *options, ac_dataset *out)
{
    static const char *const names[][2] = {{"train.csv", "Train.csv"}, {"val.csv", "Val.csv"}, {"test.csv", "Test.csv"}};
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    bool have_row;
    ac_csv csv = {0};
    AC_TRY(ac_dataset_find_file(options, names[options->split], 2, path));
    AC_TRY(ac_dataset_set_source(out, path));
    ac_dataset_use_coco_constants(out);
    AC_TRY(ac_csv_open(&csv, path));
    AC_TRY(ac_csv_next(&csv, &have_row));
    if (!have_row || csv.n_fields < 2)
        AC_TRY(ac_error(AC_ERR_DATA, "%s: needs a header with the file name's column and one column per class", path));
    for (size_t i = 1; i < csv.n_fields; i++) {
        status = ac_dataset_add_class(out, csv.field[i]);
        if (status != AC_OK)
            AC_TRY(ac_error_in(status, "%s line 1", path));
    }
    for (;;) {
        AC_TRY(ac_csv_next(&csv, &have_row));
        if (!have_row)
            break;
        AC_TRY(read_row(&csv, out));
    }
    if (out->n_samples == 0)
        AC_TRY(ac_error(AC_ERR_DATA, "%s: no rows", path));
    AC_TRY(ac_dataset_check_unique(out, path));
out:
    ac_csv_close(&csv);
    return status;
}
