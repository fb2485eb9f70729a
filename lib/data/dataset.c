/* The table of annotated images, and which reader fills it. The formats themselves are in dataset_KIND.c. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "data/dataset_internal.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_NAMES = 2 };
static const size_t MAX_LABELS = (size_t)1 << 32;

typedef struct reader { /* one row per annotation format, in the order of AC_DATASET_CHOICES */
    const char *kind;
    const char *file[AC_N_SPLITS][MAX_NAMES]; /* names it may have in ann_root, the first that exists is taken */
    float mean[3], std[3];
    ac_dataset_reader *read;
} reader;

static const reader readers[] = {
    {"sewer",
     {{"SewerML_Train.csv"}, {"SewerML_Val.csv", "SewerML_Valid.csv"}, {"SewerML_Test.csv"}},
     {.523f, .453f, .345f},
     {.210f, .199f, .154f},
     ac_dataset_read_sewer},
    {"coco",
     {{"instances_train.json", "instances_train2017.json"},
      {"instances_val.json", "instances_val2017.json"},
      {"instances_test.json", "instances_test2017.json"}},
     {.470f, .447f, .408f},
     {.233f, .228f, .231f},
     ac_dataset_read_coco},
    {"chest",
     {{"train_val_test/train.txt"}, {"train_val_test/val.txt"}, {"train_val_test/test.txt"}},
     {.506f, .506f, .506f},
     {.230f, .230f, .230f},
     ac_dataset_read_chest},
    {"csv",
     {{"train.csv", "Train.csv"}, {"val.csv", "Val.csv"}, {"test.csv", "Test.csv"}},
     {.470f, .447f, .408f},
     {.233f, .228f, .231f},
     ac_dataset_read_csv},
};

const char *ac_dataset_kind(size_t i)
{
    return i < sizeof readers / sizeof *readers ? readers[i].kind : NULL;
}

const char *ac_split_name(ac_split split)
{
    static const char *const name[AC_N_SPLITS] = {"train", "val", "test"};
    return name[split];
}

static const reader *find_reader(const char *kind)
{
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (strcmp(readers[i].kind, kind) == 0)
            return &readers[i];
    return NULL;
}

/* The annotation file of a split: ann_root itself unless it is a folder. */
static ac_status find_file(const reader *row, const ac_dataset_options *options, char path[AC_PATH_BYTES])
{
    ac_status status = AC_OK;
    const char *const *names = row->file[options->split];
    struct stat info;
    if (stat(options->ann_root, &info) != 0)
        return ac_error_errno("annotations %s", options->ann_root);
    if (!S_ISDIR(info.st_mode)) {
        if (strlen(options->ann_root) >= AC_PATH_BYTES)
            return ac_error(AC_ERR_USAGE, "path of more than %d bytes: %.60s...", AC_PATH_BYTES - 1, options->ann_root);
        strcpy(path, options->ann_root);
        return AC_OK;
    }
    for (size_t i = 0; i < MAX_NAMES && names[i]; i++) {
        AC_TRY(ac_path_join(path, options->ann_root, names[i]));
        if (ac_path_exists(path))
            return AC_OK;
    }
    status = ac_error(AC_ERR_IO, "%s: no annotation file %s%s%s in it", options->ann_root, names[0],
                      names[1] ? " or " : "", names[1] ? names[1] : "");
out:
    return status;
}

bool ac_dataset_available(const ac_dataset_options *options)
{
    const reader *row = find_reader(options->kind);
    char path[AC_PATH_BYTES];
    return row && find_file(row, options, path) == AC_OK;
}

ac_status ac_dataset_read(const ac_dataset_options *options, ac_dataset *out)
{
    ac_status status = AC_OK;
    const reader *row = find_reader(options->kind);
    char path[AC_PATH_BYTES];
    memset(out, 0, sizeof *out);
    if (!row)
        return ac_error(AC_ERR_USAGE, "no reader for data set '%s', only %s", options->kind, AC_DATASET_CHOICES);
    AC_TRY(find_file(row, options, path));
    const char *slash = strrchr(path, '/');
    AC_TRY(ac_strdup(slash ? slash + 1 : path, &out->source));
    memcpy(out->mean, row->mean, sizeof out->mean);
    memcpy(out->std, row->std, sizeof out->std);
    AC_TRY(row->read(path, options, out));
    if (out->n_samples == 0)
        AC_TRY(ac_error(AC_ERR_DATA, "%s: names no image", path));
    AC_TRY(ac_dataset_check_unique(out, path));
out:
    if (status != AC_OK)
        ac_dataset_release(out);
    return status;
}

void ac_dataset_release(ac_dataset *dataset)
{
    for (size_t c = 0; c < dataset->n_classes; c++)
        ac_free(dataset->class_name[c]);
    ac_free(dataset->class_name);
    ac_free(dataset->source);
    ac_free(dataset->name_offset);
    ac_free(dataset->name_pool);
    ac_free(dataset->label);
    ac_free(dataset->line);
    memset(dataset, 0, sizeof *dataset);
}

const char *ac_dataset_name(const ac_dataset *dataset, size_t i)
{
    return dataset->name_pool + dataset->name_offset[i];
}

/* UTF-8 without control characters: what every output (attributes, JSON, CSV, one line of a log) can hold as it is. */
static bool is_plain_text(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at) {
        if (*at < 0x20 || *at == 0x7F || (*at >= 0x80 && *at < 0xC2) || *at > 0xF4)
            return false;
        int n_more = *at < 0x80 ? 0 : *at < 0xE0 ? 1 : *at < 0xF0 ? 2 : 3;
        /* overlong forms, surrogates, beyond U+10FFFF show in the second byte */
        unsigned low = *at == 0xE0   ? 0xA0
                       : *at == 0xF0 ? 0x90
                                     : 0x80,
                 high = *at == 0xED   ? 0x9F
                        : *at == 0xF4 ? 0x8F
                                      : 0xBF;
        for (at++; n_more > 0; n_more--, at++, low = 0x80, high = 0xBF)
            if (*at < low || *at > high)
                return false;
    }
    return true;
}

ac_status ac_dataset_add_class(ac_dataset *dataset, const char *name)
{
    ac_status status = AC_OK;
    char *copy = NULL;
    size_t n = dataset->n_classes, n_bytes = strlen(name) + 1;
    if (!name[0])
        return ac_error(AC_ERR_DATA, "class %zu has no name", dataset->n_classes + 1);
    if (!is_plain_text(name))
        return ac_error(AC_ERR_DATA, "the name of class %zu is no UTF-8 or has control characters",
                        dataset->n_classes + 1);
    for (size_t c = 0; c < n; c++) {
        if (strcmp(dataset->class_name[c], name) == 0)
            return ac_error(AC_ERR_DATA, "class '%s' occurs twice", name);
        n_bytes += strlen(dataset->class_name[c]) + 1;
    }
    if (n_bytes > AC_CLASS_NAMES_BYTES)
        return ac_error(AC_ERR_DATA, "the names of the first %zu classes take more than the %d bytes allowed", n + 1,
                        AC_CLASS_NAMES_BYTES);
    AC_TRY(ac_strdup(name, &copy));
    if ((n & (n - 1)) == 0) /* full: room is made in powers of two */
        AC_TRY(ac_realloc(&dataset->class_name, n ? 2 * n : 1, sizeof *dataset->class_name));
    dataset->class_name[dataset->n_classes++] = copy;
    copy = NULL;
out:
    ac_free(copy);
    return status;
}

ac_status ac_dataset_add_sample(ac_dataset *dataset, const char *file_name)
{
    ac_status status = AC_OK;
    size_t length = strlen(file_name) + 1, n = dataset->n_samples, m = dataset->n_classes;
    if (length == 1)
        return ac_error(AC_ERR_DATA, "an empty file name");
    for (const char *at = file_name; *at; at++) /* lists and logs have a name per line */
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            return ac_error(AC_ERR_DATA, "the file name '%.80s' has control characters", file_name);
    if (n + 1 > MAX_LABELS / (m ? m : 1))
        return ac_error(AC_ERR_DATA, "more than %zu labels: %zu images of %zu classes", MAX_LABELS, n + 1, m);
    AC_TRY(ac_reserve(&dataset->name_offset, &dataset->name_capacity, n + 2, sizeof *dataset->name_offset));
    AC_TRY(ac_reserve(&dataset->name_pool, &dataset->pool_capacity, dataset->pool_bytes + length, 1));
    AC_TRY(ac_reserve(&dataset->label, &dataset->label_capacity, (n + 1) * m + 1, 1));
    memcpy(dataset->name_pool + dataset->pool_bytes, file_name, length);
    memset(dataset->label + n * m, 0, m);
    dataset->name_offset[n] = dataset->pool_bytes;
    dataset->pool_bytes += length;
    dataset->name_offset[n + 1] = dataset->pool_bytes;
    dataset->n_samples++;
out:
    return status;
}

ac_status ac_dataset_set_line(ac_dataset *dataset, size_t line)
{
    ac_status status =
        ac_reserve(&dataset->line, &dataset->line_capacity, dataset->n_samples, sizeof *dataset->line);
    if (status == AC_OK)
        dataset->line[dataset->n_samples - 1] = line;
    return status;
}

ac_status ac_dataset_check_unique(const ac_dataset *dataset, const char *where)
{
    ac_status status = AC_OK;
    ac_name_index index = {0};
    size_t twice[2];
    AC_TRY(ac_name_index_create(dataset->name_pool, dataset->name_offset, dataset->n_samples, &index, twice));
    if (twice[1] == 0)
        goto out;
    const char *name = ac_dataset_name(dataset, twice[1]);
    if (dataset->line)
        status = ac_error(AC_ERR_DATA, "%s line %zu: file name '%s' occurs twice, first in line %zu", where,
                          dataset->line[twice[1]], name, dataset->line[twice[0]]);
    else
        status = ac_error(AC_ERR_DATA, "%s: file name '%s' occurs twice (images %zu and %zu)", where, name,
                          twice[0] + 1, twice[1] + 1);
out:
    ac_name_index_release(&index);
    return status;
}

ac_status ac_dataset_parse_label(const char *text, const char *column, uint8_t *out)
{
    if ((text[0] != '0' && text[0] != '1') || text[1] != 0)
        return ac_error(AC_ERR_DATA, "column %s: '%.40s' is neither 0 nor 1", column, text);
    *out = (uint8_t)(text[0] - '0');
    return AC_OK;
}

ac_status ac_csv_for_each(const char *path, ac_csv_visit *visit, void *context)
{
    ac_status status = AC_OK;
    bool have_row;
    ac_csv csv = {0};
    AC_TRY(ac_csv_open(&csv, path));
    AC_TRY(ac_csv_next(&csv, &have_row));
    if (!have_row)
        AC_TRY(ac_error(AC_ERR_DATA, "%s: is empty", path));
    for (bool header = true; have_row; header = false) {
        status = visit(context, &csv, header);
        if (status != AC_OK)
            AC_TRY(ac_error_in(status, "%s line %zu", path, csv.line));
        AC_TRY(ac_csv_next(&csv, &have_row));
    }
out:
    ac_csv_close(&csv);
    return status;
}
