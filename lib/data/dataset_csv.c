/* csv: first column the file name, the others 0 or 1 per class, strictly. */
#include "anyclass/csv.h"
#include "data/dataset_internal.h"

static ac_status read_header(const ac_csv *csv, ac_dataset *out)
{
    ac_status status = AC_OK;
    if (csv->n_fields < 2)
        return ac_error(AC_ERR_DATA, "the header needs the file name's column and one column per class");
    for (size_t i = 1; i < csv->n_fields; i++)
        AC_TRY(ac_dataset_add_class(out, csv->field[i]));
out:
    return status;
}

static ac_status read_row(const ac_csv *csv, ac_dataset *out)
{
    ac_status status = AC_OK;
    if (csv->n_fields != out->n_classes + 1)
        return ac_error(AC_ERR_DATA, "%zu fields, the header has %zu", csv->n_fields, out->n_classes + 1);
    AC_TRY(ac_dataset_add_sample(out, csv->field[0]));
    uint8_t *label = out->label + (out->n_samples - 1) * out->n_classes;
    for (size_t c = 0; c < out->n_classes; c++) {
        const char *text = csv->field[c + 1];
        if ((text[0] != '0' && text[0] != '1') || text[1] != 0)
            return ac_error(AC_ERR_DATA, "column %s: '%.40s' is neither 0 nor 1", out->class_name[c], text);
        label[c] = (uint8_t)(text[0] - '0');
    }
out:
    return status;
}

ac_status ac_dataset_read_csv(const char *path, const ac_dataset_options *options, ac_dataset *out)
{
    ac_status status = AC_OK;
    bool have_row;
    ac_csv csv = {0};
    (void)options;
    AC_TRY(ac_csv_open(&csv, path));
    AC_TRY(ac_csv_next(&csv, &have_row));
    if (!have_row)
        AC_TRY(ac_error(AC_ERR_DATA, "%s: is empty", path));
    for (bool header = true; have_row; header = false) {
        status = header ? read_header(&csv, out) : read_row(&csv, out);
        if (status != AC_OK)
            AC_TRY(ac_error_in(status, "%s line %zu", path, csv.line));
        AC_TRY(ac_csv_next(&csv, &have_row));
    }
out:
    ac_csv_close(&csv);
    return status;
}
