/* chest: a split is a list of image names; what they show stands in the table of all images. */
#include "anyclass/alloc.h"
#include "anyclass/chest.h"
#include "data/dataset_internal.h"
#include <string.h>

enum { N_CLASSES = 14 };

static const char *const class_name[N_CLASSES] = {
    "Infiltration",       "Effusion",     "Atelectasis", "Nodule", "Mass",     "Pneumothorax", "Consolidation",
    "Pleural_Thickening", "Cardiomegaly", "Emphysema",   "Edema",  "Fibrosis", "Pneumonia",    "Hernia"};
static const char *const name_column = "Image Index", *const finding_column = "Finding Labels",
                         *const patient_column = "Patient ID";

typedef struct reading {
    ac_chest_table *out;
    size_t n_fields; /* of the header, without an empty one at its end */
    size_t name, findings, patient;
    bool has_patient;
} reading;

static ac_status find_column(const ac_csv *csv, const char *name, size_t *out)
{
    int found = ac_csv_find(csv, name);
    if (found < 0)
        return ac_error(AC_ERR_DATA, "the header has no column %s", name);
    for (size_t i = (size_t)found + 1; i < csv->n_fields; i++)
        if (strcmp(csv->field[i], name) == 0)
            return ac_error(AC_ERR_DATA, "the header has more than one column %s", name);
    *out = (size_t)found;
    return AC_OK;
}

/* The first edition's header ends with a comma: one more field, which rows lack or leave empty. */
static size_t count_fields(const ac_csv *csv)
{
    return csv->n_fields - (csv->n_fields > 1 && !csv->field[csv->n_fields - 1][0]);
}

static ac_status read_header(reading *r, const ac_csv *csv)
{
    ac_status status = AC_OK;
    r->n_fields = count_fields(csv);
    AC_TRY(find_column(csv, name_column, &r->name));
    AC_TRY(find_column(csv, finding_column, &r->findings));
    r->has_patient = ac_csv_find(csv, patient_column) >= 0;
    if (r->has_patient)
        AC_TRY(find_column(csv, patient_column, &r->patient));
    for (size_t c = 0; c < N_CLASSES; c++)
        AC_TRY(ac_dataset_add_class(&r->out->rows, class_name[c]));
out:
    return status;
}

static int find_class(const char *text, size_t n)
{
    for (int c = 0; c < N_CLASSES; c++)
        if (strlen(class_name[c]) == n && memcmp(class_name[c], text, n) == 0)
            return c;
    return -1;
}

/* "A|B|C", or "No Finding" alone. */
static ac_status read_findings(const char *text, uint8_t *label)
{
    if (strcmp(text, "No Finding") == 0)
        return AC_OK;
    for (const char *at = text;; at++) {
        size_t n = strcspn(at, "|");
        int c = find_class(at, n);
        if (c < 0)
            return ac_error(AC_ERR_DATA, "column %s: '%.*s' in '%.80s' is none of the 14 findings%s", finding_column,
                            (int)(n < 40 ? n : 40), at, text,
                            n == 10 && strncmp(at, "No Finding", n) == 0 ? ", it stands alone" : "");
        if (label[c])
            return ac_error(AC_ERR_DATA, "column %s: '%s' occurs twice", finding_column, class_name[c]);
        label[c] = 1;
        at += n;
        if (!*at)
            return AC_OK;
    }
}

static ac_status read_row(void *context, const ac_csv *csv, bool header)
{
    ac_status status = AC_OK;
    reading *r = context;
    ac_dataset *rows = &r->out->rows;
    if (header)
        return read_header(r, csv);
    if (csv->n_fields != r->n_fields && !(csv->n_fields == r->n_fields + 1 && !csv->field[r->n_fields][0]))
        return ac_error(AC_ERR_DATA, "%zu fields, the header has %zu", csv->n_fields, r->n_fields);
    status = ac_dataset_add_sample(rows, csv->field[r->name]);
    if (status != AC_OK)
        return ac_error_in(status, "column %s", name_column);
    AC_TRY(ac_dataset_set_line(rows, csv->line));
    AC_TRY(read_findings(csv->field[r->findings], rows->label + (rows->n_samples - 1) * N_CLASSES));
    if (!r->has_patient)
        return AC_OK;
    AC_TRY(ac_reserve(&r->out->patient, &r->out->patient_capacity, rows->n_samples, sizeof *r->out->patient));
    status = ac_parse_int64(csv->field[r->patient], 0, INT64_MAX, &r->out->patient[rows->n_samples - 1]);
    if (status != AC_OK)
        return ac_error_in(status, "column %s", patient_column);
out:
    return status;
}

ac_status ac_chest_find_table(const char *folder, char path[AC_PATH_BYTES])
{
    static const char *const edition[] = {"Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv"};
    ac_status status = AC_OK;
    for (size_t i = 0; i < sizeof edition / sizeof *edition; i++) {
        AC_TRY(ac_path_join(path, folder, edition[i]));
        if (ac_path_exists(path))
            return AC_OK;
    }
    status = ac_error(AC_ERR_IO, "%s: neither %s nor %s in it", folder, edition[0], edition[1]);
out:
    return status;
}

static ac_name_index index_of(const ac_chest_table *t)
{
    return (ac_name_index){t->rows.name_pool, t->rows.name_offset, t->slot, t->n_slots};
}

ac_status ac_chest_table_read(const char *path, ac_chest_table *out)
{
    ac_status status = AC_OK;
    reading r = {.out = out};
    ac_name_index index = {0};
    size_t twice[2];
    memset(out, 0, sizeof *out);
    AC_TRY(ac_csv_for_each(path, read_row, &r));
    if (out->rows.n_samples == 0)
        AC_TRY(ac_error(AC_ERR_DATA, "%s: names no image", path));
    AC_TRY(ac_dataset_check_unique(&out->rows, path));
    AC_TRY(ac_name_index_create(out->rows.name_pool, out->rows.name_offset, out->rows.n_samples, &index, twice));
    out->slot = index.slot;
    out->n_slots = index.n_slots;
out:
    if (status != AC_OK)
        ac_chest_table_release(out);
    return status;
}

void ac_chest_table_release(ac_chest_table *table)
{
    ac_dataset_release(&table->rows);
    ac_free(table->patient);
    ac_free(table->slot);
    memset(table, 0, sizeof *table);
}

/* Cut the next line out of *at; NULL at the end. */
static char *next_line(char **at, size_t *line, const char *end)
{
    while (*at < end) {
        char *start = *at;
        size_t n = strcspn(start, "\n");
        *at += n + 1;
        (*line)++;
        if (n && start[n - 1] == '\r')
            n--;
        start[n] = 0;
        if (n)
            return start;
    }
    return NULL;
}

ac_status ac_chest_list_read(const char *path, const ac_chest_table *table, size_t **row, size_t *n)
{
    ac_status status = AC_OK;
    uint8_t *bytes = NULL;
    size_t n_bytes, capacity = 0, line = 0, *line_of = NULL;
    ac_name_index index = index_of(table);
    *row = NULL;
    *n = 0;
    AC_TRY(ac_file_read_all(path, 0, &bytes, &n_bytes));
    AC_TRY(ac_calloc(table->rows.n_samples, sizeof *line_of, &line_of));
    char *at = (char *)bytes, *end = at + n_bytes, *name;
    if (memchr(bytes, 0, n_bytes))
        AC_TRY(ac_error(AC_ERR_DATA, "%s: a zero byte: this is no list of image names", path));
    if (n_bytes >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0)
        at += 3;
    while ((name = next_line(&at, &line, end)) != NULL) {
        size_t found = ac_name_index_find(&index, name);
        if (found == SIZE_MAX)
            AC_TRY(ac_error(AC_ERR_DATA, "%s line %zu: the image '%.80s' is not in the table of all images", path, line,
                            name));
        if (line_of[found])
            AC_TRY(ac_error(AC_ERR_DATA, "%s line %zu: the image '%.80s' occurs twice, first in line %zu", path, line,
                            name, line_of[found]));
        line_of[found] = line;
        AC_TRY(ac_reserve(row, &capacity, *n + 1, sizeof **row));
        (*row)[(*n)++] = found;
    }
out:
    ac_free(bytes);
    ac_free(line_of);
    if (status != AC_OK) {
        ac_free(*row);
        *row = NULL;
    }
    return status;
}

/* `path` becomes the folder it lies in. */
static void go_up(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash)
        slash[slash == path] = 0;
    else
        strcpy(path, strcmp(path, ".") == 0 ? ".." : ".");
}

/* The table lies beside the list or in the folder above. */
static ac_status find_table_of(const char *list, char path[AC_PATH_BYTES])
{
    char folder[AC_PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", list);
    go_up(folder);
    if (ac_chest_find_table(folder, path) == AC_OK)
        return AC_OK;
    go_up(folder);
    ac_status status = ac_chest_find_table(folder, path);
    return status == AC_OK ? AC_OK : ac_error_in(status, "the table of all images for %s", list);
}

ac_status ac_dataset_read_chest(const char *path, const ac_dataset_options *options, ac_dataset *out)
{
    ac_status status = AC_OK;
    ac_chest_table table = {0};
    char table_path[AC_PATH_BYTES], source[600];
    size_t *row = NULL, n;
    (void)options;
    AC_TRY(find_table_of(path, table_path));
    AC_TRY(ac_chest_table_read(table_path, &table));
    AC_TRY(ac_chest_list_read(path, &table, &row, &n));
    snprintf(source, sizeof source, "%s, %s", strrchr(table_path, '/') + 1, out->source);
    ac_free(out->source);
    out->source = NULL;
    AC_TRY(ac_strdup(source, &out->source));
    for (size_t c = 0; c < N_CLASSES; c++)
        AC_TRY(ac_dataset_add_class(out, class_name[c]));
    for (size_t i = 0; i < n; i++) {
        AC_TRY(ac_dataset_add_sample(out, ac_dataset_name(&table.rows, row[i])));
        memcpy(out->label + i * N_CLASSES, table.rows.label + row[i] * N_CLASSES, N_CLASSES);
    }
out:
    ac_free(row);
    ac_chest_table_release(&table);
    return status;
}
