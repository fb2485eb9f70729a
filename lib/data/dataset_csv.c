/* csv: first column the file name, the others 0 or 1 per class, strictly. */
#include "data/dataset_internal.h"

static ac_status read_header(const ac_csv *csv, ac_dataset *out)
{
    ac_status status = AC_OK;
    if (csv->n_fields < 2)
        return ac_error(AC_ERR_DATA, "the header needs the file name's column and one column per class");
    for (size_t i = 1; i < csv->n_fields; i++) {
        status = ac_dataset_add_class(out, csv->field[i]);
        if (status != AC_OK)
            return ac_error_in(status, "column %zu", i + 1);
    }
    return status;
}

static ac_status read_row(void *context, const ac_csv *csv, bool header)
{
    ac_status status = AC_OK;
    ac_dataset *out = context;
    if (header)
        return read_header(csv, out);
    if (csv->n_fields != out->n_classes + 1)
        return ac_error(AC_ERR_DATA, "%zu fields, the header has %zu", csv->n_fields, out->n_classes + 1);
    status = ac_dataset_add_sample(out, csv->field[0]);
    if (status != AC_OK)
        return ac_error_in(status, "column 1");
    AC_TRY(ac_dataset_set_line(out, csv->line));
    uint8_t *label = out->label + (out->n_samples - 1) * out->n_classes;
    for (size_t c = 0; c < out->n_classes; c++)
        AC_TRY(ac_dataset_parse_label(csv->field[c + 1], out->class_name[c], &label[c]));
out:
    return status;
}

ac_status ac_dataset_read_csv(const char *path, const ac_dataset_options *options, ac_dataset *out)
{
    (void)options;
    return ac_csv_for_each(path, read_row, out);
}
