/* Reads the table of a sweep. Writing is anyclass-train's. */
#include "anyclass/alloc.h"
#include "anyclass/sweep.h"
#include <string.h>

enum { FIRST_KEY = 2, N_OTHERS = 3 }; /* index, version, keys ..., command */

static ac_status read_heading(ac_sweep_file *file)
{
    ac_status status = AC_OK;
    bool have;
    const ac_csv *csv = &file->csv;
    AC_TRY(ac_csv_next(&file->csv, &have));
    if (!have || csv->n_fields < N_OTHERS || strcmp(csv->field[0], "index") != 0 || strcmp(csv->field[1], "version") != 0 ||
        strcmp(csv->field[csv->n_fields - 1], "command") != 0)
        return ac_error(AC_ERR_DATA, "%s: the columns index, version, ..., command are wanted: is it a table of anyclass-train sweep?", csv->name);
    file->n_keys = csv->n_fields - N_OTHERS;
    AC_TRY(ac_malloc(file->n_keys, sizeof *file->key, &file->key));
    for (size_t k = 0; k < file->n_keys; k++)
        file->key[k] = csv->field[FIRST_KEY + k];
out:
    return status;
}

static ac_status add_row(ac_sweep_file *file)
{
    ac_status status = AC_OK;
    const ac_csv *csv = &file->csv;
    int64_t index;
    size_t n = file->n_elements;
    if (csv->n_fields != file->n_keys + N_OTHERS)
        return ac_error(AC_ERR_DATA, "%s line %zu: %zu fields, the heading has %zu", csv->name, csv->line, csv->n_fields, file->n_keys + N_OTHERS);
    if (ac_parse_int64(csv->field[0], (int64_t)n, (int64_t)n, &index) != AC_OK)
        return ac_error(AC_ERR_DATA, "%s line %zu: the index is %.40s, wanted %zu: rows are missing or out of order", csv->name, csv->line, csv->field[0], n);
    if (!csv->field[1][0] || strchr(csv->field[1], '/'))
        return ac_error(AC_ERR_DATA, "%s line %zu: '%.60s' is no name of a version", csv->name, csv->line, csv->field[1]);
    AC_TRY(ac_reserve(&file->version, &file->version_capacity, n + 1, sizeof *file->version));
    AC_TRY(ac_reserve(&file->command, &file->command_capacity, n + 1, sizeof *file->command));
    AC_TRY(ac_reserve(&file->value, &file->value_capacity, (n + 1) * file->n_keys + 1, sizeof *file->value));
    file->version[n] = csv->field[1];
    file->command[n] = csv->field[csv->n_fields - 1];
    for (size_t k = 0; k < file->n_keys; k++)
        file->value[n * file->n_keys + k] = csv->field[FIRST_KEY + k];
    file->n_elements++;
out:
    return status;
}

ac_status ac_sweep_file_read(const char *path, ac_sweep_file *out)
{
    ac_status status = AC_OK;
    memset(out, 0, sizeof *out);
    AC_TRY(ac_csv_open(&out->csv, path));
    AC_TRY(read_heading(out));
    for (;;) {
        bool have;
        AC_TRY(ac_csv_next(&out->csv, &have));
        if (!have)
            break;
        AC_TRY(add_row(out));
    }
    if (out->n_elements == 0)
        return ac_error(AC_ERR_DATA, "%s: has no elements", out->csv.name);
out:
    return status;
}

void ac_sweep_file_release(ac_sweep_file *file)
{
    ac_free(file->key);
    ac_free(file->version);
    ac_free(file->value);
    ac_free(file->command);
    ac_csv_close(&file->csv);
    memset(file, 0, sizeof *file);
}
