/* sewer_subset: some defective images of a SewerML split and normal ones in proportion; rows stay as they are. */
#include "anyclass/alloc.h"
#include "anyclass/divide.h"
#include "anyclass/hash.h"
#include "anyclass/log.h"
#include "anyclass/sewer.h"
#include "preprocess/prepare.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct subset_config {
    ac_common_config common;
    const char *ann_root, *output;
    int split;
    int64_t n_defective, seed;
    double normal_ratio;
    bool overwrite;
} subset_config;

#define O(field) .offset = offsetof(subset_config, field)
static const ac_option option_table[] = {
    {.group = "Files",
     .name = "ann_root",
     .type = AC_OPTION_STRING,
     O(ann_root),
     .required = true,
     .unit = "PATH",
     .help = "Folder of SewerML_{Split}.csv, or the file itself."},
    {.name = "split",
     .type = AC_OPTION_CHOICE,
     O(split),
     .fallback = "Train",
     .choices = AC_SPLIT_CHOICES,
     .help = "Which split to draw from."},
    {.name = "output",
     .type = AC_OPTION_STRING,
     O(output),
     .required = true,
     .unit = "FOLDER",
     .help = "Folder of the SewerML_{Split}.csv to write."},
    PREPARE_OVERWRITE_OPTION(subset_config),
    PREPARE_SEED_OPTION(subset_config),
    {.name = "n_defective",
     .type = AC_OPTION_INT,
     O(n_defective),
     .required = true,
     .min = 1,
     .max = 1e12,
     .unit = "IMAGES",
     .help = "Images with at least one of the 17 classes."},
    {.name = "normal_ratio",
     .type = AC_OPTION_DOUBLE,
     O(normal_ratio),
     .fallback = "1",
     .min = 0,
     .max = 1e6,
     .unit = "X",
     .help = "Normal images for each defective one."},
    AC_COMMON_OPTIONS(subset_config),
};
static const ac_program program = {
    .name = "anyclass-preprocess",
    .summary = "Draw a smaller SewerML split: so many defective images, and normal ones in proportion.",
    .usage = "sewer_subset --ann_root FOLDER --output FOLDER --n_defective N [--normal_ratio X] [--seed N]",
    .notes = "Header and chosen rows are copied byte for byte, in the order of the file. With the same seed a larger\n"
             "subset holds the smaller one.",
    .options = option_table,
    .n_options = sizeof option_table / sizeof *option_table,
    .config_bytes = sizeof(subset_config),
};

typedef struct row {
    size_t begin, end; /* bytes of the file */
    uint64_t key;      /* hash of the file name */
    bool is_defective, chosen;
} row;

typedef struct subset { /* the file and its rows */
    const subset_config *config;
    char in[AC_PATH_BYTES], out[AC_PATH_BYTES];
    uint8_t *bytes; /* as they are in the file; reading the CSV changes its own copy */
    size_t n_bytes, header_end;
    row *row;
    size_t n, capacity;
} subset;

static ac_status find_files(subset *s)
{
    static const char *const names[AC_N_SPLITS] = {"SewerML_Train.csv", "SewerML_Val.csv", "SewerML_Test.csv"};
    ac_status status = AC_OK;
    struct stat info, target;
    const char *root = s->config->ann_root, *name = names[s->config->split];
    if (stat(root, &info) != 0)
        return ac_error_errno("--ann_root %s", root);
    AC_TRY(ac_path_join(s->in, S_ISDIR(info.st_mode) ? root : "", S_ISDIR(info.st_mode) ? name : root));
    if (S_ISDIR(info.st_mode) && s->config->split == AC_SPLIT_VAL && !ac_path_exists(s->in))
        AC_TRY(ac_path_join(s->in, root, "SewerML_Valid.csv"));
    AC_TRY(ac_path_join(s->out, s->config->output, name));
    if (stat(s->in, &info) == 0 && stat(s->out, &target) == 0 && info.st_ino == target.st_ino &&
        info.st_dev == target.st_dev)
        return ac_error(AC_ERR_USAGE, "%s is the input: use another --output", s->out);
    AC_TRY(prepare_check_output(s->out, s->config->overwrite));
out:
    return status;
}

/* Blank lines in front of a row do not belong to it. */
static size_t skip_blank_lines(const uint8_t *bytes, size_t at)
{
    for (;;) {
        size_t n = bytes[at] == '\n' ? 1 : bytes[at] == '\r' && bytes[at + 1] == '\n' ? 2 : 0;
        if (n == 0)
            return at;
        at += n;
    }
}

static ac_status read_rows(subset *s, ac_csv *csv)
{
    ac_status status = AC_OK;
    ac_sewer_columns columns;
    uint8_t label[AC_SEWER_N_CLASSES];
    bool have_row;
    size_t from = 0;
    AC_TRY(ac_csv_next(csv, &have_row));
    if (!have_row)
        return ac_error(AC_ERR_DATA, "%s: is empty", s->in);
    status = ac_sewer_find_columns(csv, &columns);
    if (status != AC_OK)
        return ac_error_in(status, "%s line %zu", s->in, csv->line);
    s->header_end = from = csv->at;
    for (;; from = csv->at) {
        AC_TRY(ac_csv_next(csv, &have_row));
        if (!have_row)
            return AC_OK;
        status = ac_sewer_read_row(csv, &columns, label);
        if (status != AC_OK)
            return ac_error_in(status, "%s line %zu", s->in, csv->line);
        const char *name = csv->field[columns.file_name];
        AC_TRY(ac_reserve(&s->row, &s->capacity, s->n + 1, sizeof *s->row));
        s->row[s->n++] = (row){.begin = skip_blank_lines(s->bytes, from),
                               .end = csv->at,
                               .key = ac_hash64_bytes(name, strlen(name)),
                               .is_defective = memchr(label, 1, sizeof label) != NULL};
    }
out:
    return status;
}

static int by_key(const void *a, const void *b)
{
    const row *x = *(const row *const *)a, *y = *(const row *const *)b;
    return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : (x->begin > y->begin) - (x->begin < y->begin);
}

/* A file name has one row: whoever reads the subset would refuse it otherwise. */
static ac_status check_unique(const subset *s)
{
    ac_status status = AC_OK;
    const row **sorted = NULL;
    AC_TRY(ac_malloc(s->n + 1, sizeof *sorted, &sorted));
    for (size_t i = 0; i < s->n; i++)
        sorted[i] = &s->row[i];
    qsort(sorted, s->n, sizeof *sorted, by_key);
    for (size_t i = 1; i < s->n; i++)
        if (sorted[i]->key == sorted[i - 1]->key) {
            const uint8_t *text = s->bytes + sorted[i]->begin, *end = s->bytes + sorted[i]->end;
            size_t n = 0, line = 1;
            while (text + n < end && text[n] != '\r' && text[n] != '\n' && n < 40)
                n++;
            for (const uint8_t *at = s->bytes; at < text; at++)
                line += *at == '\n';
            AC_TRY(ac_error(AC_ERR_DATA, "%s line %zu: the file name of '%.*s...' occurs twice", s->in, line, (int)n, text));
        }
out:
    ac_free(sorted);
    return status;
}

static ac_status read_file(subset *s)
{
    ac_status status = AC_OK;
    ac_csv csv = {0};
    char *copy = NULL;
    AC_TRY(ac_file_read_all(s->in, 0, &s->bytes, &s->n_bytes));
    AC_TRY(ac_malloc(s->n_bytes + 1, 1, &copy));
    memcpy(copy, s->bytes, s->n_bytes + 1);
    AC_TRY(ac_csv_open_text(&csv, s->in, copy, s->n_bytes)); /* owns the copy, also after a failure */
    AC_TRY(read_rows(s, &csv));
    AC_TRY(check_unique(s));
out:
    ac_csv_close(&csv);
    return status;
}

/* Mark the first `wanted` images of one kind, in the order of their draws. */
static ac_status choose(subset *s, bool is_defective, size_t wanted)
{
    ac_status status = AC_OK;
    uint64_t *key = NULL;
    size_t *number = NULL, *order = NULL, n = 0;
    AC_TRY(ac_malloc(s->n + 1, sizeof *key, &key));
    AC_TRY(ac_malloc(s->n + 1, sizeof *number, &number));
    AC_TRY(ac_malloc(s->n + 1, sizeof *order, &order));
    for (size_t i = 0; i < s->n; i++)
        if (s->row[i].is_defective == is_defective) {
            key[n] = s->row[i].key;
            number[n++] = i;
        }
    if (n < wanted)
        AC_TRY(ac_error(AC_ERR_USAGE, "%s has %zu %s images, %zu are wanted: lower %s", s->in, n,
                        is_defective ? "defective" : "normal", wanted,
                        is_defective ? "--n_defective" : "--normal_ratio or --n_defective"));
    AC_TRY(ac_divide_order((uint64_t)s->config->seed, n, key, order));
    for (size_t i = 0; i < wanted; i++)
        s->row[number[order[i]]].chosen = true;
out:
    ac_free(key);
    ac_free(number);
    ac_free(order);
    return status;
}

static ac_status write_rows(const subset *s)
{
    ac_status status = AC_OK;
    ac_file file = {0};
    AC_TRY(ac_file_create(&file, s->out));
    AC_TRY(ac_file_write(&file, s->bytes, s->header_end));
    for (size_t i = 0; i < s->n; i++)
        if (s->row[i].chosen)
            AC_TRY(ac_file_write(&file, s->bytes + s->row[i].begin, s->row[i].end - s->row[i].begin));
    AC_TRY(ac_file_commit(&file));
out:
    ac_file_discard(&file);
    return status;
}

static ac_status run_steps(subset *s)
{
    ac_status status = AC_OK;
    const subset_config *c = s->config;
    double n_normal = round((double)c->n_defective * c->normal_ratio);
    AC_TRY(find_files(s));
    AC_TRY(read_file(s));
    AC_TRY(choose(s, true, (size_t)c->n_defective));
    AC_TRY(choose(s, false, (size_t)n_normal));
    AC_TRY(prepare_make_folder(c->output, c->common.dry_run));
    if (!c->common.dry_run)
        AC_TRY(write_rows(s));
    ac_log(AC_LOG_INFO, "%s: %" PRId64 " defective and %.0f normal images of %zu", s->out, c->n_defective, n_normal,
           s->n);
out:
    return status;
}

static ac_status run_subset(ac_run *run, const void *config)
{
    subset *s = NULL;
    ac_status status = ac_calloc(1, sizeof *s, &s);
    (void)run;
    if (status != AC_OK)
        return status;
    s->config = config;
    status = run_steps(s);
    ac_free(s->bytes);
    ac_free(s->row);
    ac_free(s);
    return status;
}

const prepare_command prepare_sewer_subset = {"sewer_subset", &program, run_subset, false};
