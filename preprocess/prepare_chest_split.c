/* chest_split: lists of image names for train, val and test, with each patient in one of them only. */
#include "anyclass/alloc.h"
#include "anyclass/chest.h"
#include "anyclass/divide.h"
#include "anyclass/log.h"
#include "preprocess/prepare.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NO_PART = AC_N_SPLITS };

typedef struct chest_config {
    ac_common_config common;
    const char *ann_root, *output, *official;
    ac_double_list fractions, val_fraction;
    int64_t seed;
    bool overwrite;
} chest_config;

#define O(field) .offset = offsetof(chest_config, field)
static const ac_option option_table[] = {
    {.group = "Files",
     .name = "ann_root",
     .type = AC_OPTION_STRING,
     O(ann_root),
     .required = true,
     .unit = "PATH",
     .help = "Folder of Data_Entry_2017_v2020.csv or Data_Entry_2017.csv, or the file itself."},
    {.name = "output",
     .type = AC_OPTION_STRING,
     O(output),
     .unit = "FOLDER",
     .help = "train_val_test/{train,val,test}.txt are made in it. Default: the folder of the table."},
    PREPARE_OVERWRITE_OPTION(chest_config),
    {.group = "Choice",
     .name = "official",
     .type = AC_OPTION_STRING,
     O(official),
     .unit = "FOLDER",
     .help =
         "Folder of the official train_val_list.txt and test_list.txt: the test split is theirs, and patients of the "
         "other list are divided into train and val."},
    {.name = "val_fraction",
     .type = AC_OPTION_DOUBLES,
     O(val_fraction),
     .min = 0,
     .max = 1,
     .unit = "X",
     .help = "With --official: part of those patients that goes to val. Default: 0.125."},
    PREPARE_FRACTIONS_OPTION(chest_config),
    {.name = "seed",
     .type = AC_OPTION_INT,
     O(seed),
     .fallback = "1",
     .min = 0,
     .max = 1e15,
     .help = "The result is a function of the inputs and this number."},
    AC_COMMON_OPTIONS(chest_config),
};
static const ac_program program = {
    .name = "anyclass-preprocess",
    .summary = "Divide ChestX-ray14 by patients into train, val and test, or by the official lists.",
    .usage = "chest_split --ann_root FOLDER [--official FOLDER] [--seed N]",
    .notes = "Fractions are of patients, so those of images differ a little.",
    .options = option_table,
    .n_options = sizeof option_table / sizeof *option_table,
    .config_bytes = sizeof(chest_config),
};

typedef struct chest_job {
    const chest_config *config;
    char table_path[AC_PATH_BYTES], folder[AC_PATH_BYTES], path[AC_N_SPLITS][AC_PATH_BYTES];
    ac_chest_table table;
    uint8_t *part; /* [rows] or NO_PART */
    size_t *order; /* [n] rows in the order of the lists */
    size_t n;
} chest_job;

static ac_status find_table(chest_job *job)
{
    ac_status status = AC_OK;
    struct stat info;
    const char *root = job->config->ann_root;
    if (stat(root, &info) != 0)
        return ac_error_errno("--ann_root %s", root);
    if (S_ISDIR(info.st_mode)) {
        AC_TRY(ac_chest_find_table(root, job->table_path));
        AC_TRY(ac_path_join(job->folder, "", root));
    } else {
        AC_TRY(ac_path_join(job->table_path, "", root));
        AC_TRY(prepare_folder_of(root, job->folder));
    }
    if (job->config->output)
        AC_TRY(ac_path_join(job->folder, "", job->config->output));
out:
    return status;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Distinct patients of the rows, ascending. */
static ac_status list_patients(const chest_job *job, size_t first, uint64_t **patient, size_t *n)
{
    size_t n_rows = job->n - first, kept = 0;
    ac_status status = ac_malloc(n_rows + 1, sizeof **patient, patient);
    if (status != AC_OK)
        return status;
    for (size_t i = 0; i < n_rows; i++)
        (*patient)[i] = (uint64_t)job->table.patient[job->order[first + i]];
    qsort(*patient, n_rows, sizeof **patient, by_number);
    for (size_t i = 0; i < n_rows; i++)
        if (kept == 0 || (*patient)[kept - 1] != (*patient)[i])
            (*patient)[kept++] = (*patient)[i];
    *n = kept;
    return AC_OK;
}

static size_t find_patient(const uint64_t *patient, size_t n, int64_t number)
{
    const uint64_t key = (uint64_t)number;
    const uint64_t *found = n ? bsearch(&key, patient, n, sizeof *patient, by_number) : NULL;
    return found ? (size_t)(found - patient) : SIZE_MAX;
}

/* Divide the patients of the rows job->order[first .. n) among the first `n_parts` splits. */
static ac_status divide_patients(chest_job *job, size_t first, const double *fraction, size_t n_parts)
{
    ac_status status = AC_OK;
    uint64_t *patient = NULL;
    uint8_t *part = NULL;
    size_t n;
    AC_TRY(list_patients(job, first, &patient, &n));
    AC_TRY(ac_malloc(n + 1, 1, &part));
    AC_TRY(ac_divide((uint64_t)job->config->seed, fraction, n_parts, n, patient, NULL, part));
    for (size_t i = first; i < job->n; i++) {
        size_t row = job->order[i];
        job->part[row] = part[find_patient(patient, n, job->table.patient[row])];
    }
out:
    ac_free(patient);
    ac_free(part);
    return status;
}

static ac_status append_list(chest_job *job, const char *name, uint8_t part)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    size_t *row = NULL, n;
    AC_TRY(ac_path_join(path, job->config->official, name));
    AC_TRY(ac_chest_list_read(path, &job->table, &row, &n));
    for (size_t i = 0; i < n; i++) {
        if (job->part[row[i]] != NO_PART)
            AC_TRY(ac_error(AC_ERR_DATA, "%s: '%s' is in the other list too", path,
                            ac_dataset_name(&job->table.rows, row[i])));
        job->part[row[i]] = part;
        job->order[job->n++] = row[i];
    }
out:
    ac_free(row);
    return status;
}

/* A patient of the official test list who is in the other list too. */
static ac_status check_official(const chest_job *job, size_t n_test)
{
    ac_status status = AC_OK;
    uint64_t *patient = NULL;
    size_t n;
    AC_TRY(list_patients(job, n_test, &patient, &n));
    for (size_t i = 0; i < n_test; i++) {
        int64_t number = job->table.patient[job->order[i]];
        if (find_patient(patient, n, number) != SIZE_MAX)
            AC_TRY(ac_error(AC_ERR_DATA, "%s: patient %" PRId64 " is in both official lists (image %s)",
                            job->config->official, number, ac_dataset_name(&job->table.rows, job->order[i])));
    }
out:
    ac_free(patient);
    return status;
}

static ac_status divide_official(chest_job *job)
{
    ac_status status = AC_OK;
    double val = job->config->val_fraction.n_items ? job->config->val_fraction.item[0] : .125;
    double fraction[2] = {1 - val, val};
    AC_TRY(append_list(job, "test_list.txt", AC_SPLIT_TEST));
    size_t n_test = job->n;
    AC_TRY(append_list(job, "train_val_list.txt", AC_SPLIT_TRAIN));
    AC_TRY(check_official(job, n_test));
    status = divide_patients(job, n_test, fraction, 2);
    if (status == AC_ERR_USAGE)
        return ac_error(AC_ERR_USAGE, "--val_fraction must be between 0 and 1");
    if (job->n < job->table.rows.n_samples)
        ac_log(AC_LOG_WARN, "%zu images of %s are in neither official list: they are left out",
               job->table.rows.n_samples - job->n, job->table_path);
out:
    return status;
}

static ac_status divide_all(chest_job *job)
{
    ac_status status = AC_OK;
    double fraction[AC_N_SPLITS];
    AC_TRY(prepare_fractions(&job->config->fractions, fraction));
    job->n = job->table.rows.n_samples;
    for (size_t i = 0; i < job->n; i++)
        job->order[i] = i;
    AC_TRY(divide_patients(job, 0, fraction, AC_N_SPLITS));
out:
    return status;
}

static ac_status write_list(const chest_job *job, int part, ac_file *file)
{
    ac_status status = AC_OK;
    AC_TRY(ac_file_create(file, job->path[part]));
    for (size_t i = 0; i < job->n; i++)
        if (job->part[job->order[i]] == part)
            AC_TRY(ac_file_printf(file, "%s\n", ac_dataset_name(&job->table.rows, job->order[i])));
out:
    return status;
}

static ac_status write_lists(const chest_job *job)
{
    ac_status status = AC_OK;
    ac_file file[AC_N_SPLITS] = {0};
    for (int part = 0; part < AC_N_SPLITS; part++)
        AC_TRY(write_list(job, part, &file[part]));
    for (int part = 0; part < AC_N_SPLITS; part++)
        AC_TRY(ac_file_sync(&file[part]));
    for (int part = 0; part < AC_N_SPLITS; part++)
        AC_TRY(prepare_remove_old(job->path[part]));
    for (int part = 0; part < AC_N_SPLITS; part++)
        AC_TRY(ac_file_commit(&file[part]));
out:
    for (int part = 0; part < AC_N_SPLITS; part++)
        ac_file_discard(&file[part]);
    return status;
}

/* Images, patients, negative images and images per class of one split; AC_ERR_USAGE when it has none. */
static ac_status summarise(const chest_job *job, int part)
{
    ac_status status = AC_OK;
    const ac_dataset *rows = &job->table.rows;
    size_t m = rows->n_classes, n = 0, n_negative = 0, n_patients = 0, length = 0, count[64] = {0};
    uint64_t *patient = NULL;
    char text[600] = "";
    AC_TRY(ac_malloc(job->n + 1, sizeof *patient, &patient));
    for (size_t i = 0; i < job->n; i++) {
        size_t row = job->order[i], n_labels = 0;
        if (job->part[row] != part)
            continue;
        patient[n++] = (uint64_t)job->table.patient[row];
        for (size_t c = 0; c < m; c++) {
            count[c] += rows->label[row * m + c];
            n_labels += rows->label[row * m + c];
        }
        n_negative += n_labels == 0;
    }
    qsort(patient, n, sizeof *patient, by_number);
    for (size_t i = 0; i < n; i++)
        n_patients += i == 0 || patient[i] != patient[i - 1];
    for (size_t c = 0; c < m && length < sizeof text; c++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%s %zu", c ? ", " : "", rows->class_name[c],
                                   count[c]);
    if (n == 0)
        AC_TRY(ac_error(AC_ERR_USAGE, "too few patients: none is left for %s", ac_split_name((ac_split)part)));
    ac_log(AC_LOG_INFO, "%s: %zu images of %zu patients, %zu negative", ac_split_name((ac_split)part), n, n_patients,
           n_negative);
    ac_log(AC_LOG_INFO, "%s:   %s", ac_split_name((ac_split)part), text);
out:
    ac_free(patient);
    return status;
}

static ac_status check_usage(const chest_config *c)
{
    double fraction[AC_N_SPLITS];
    if (c->official && c->fractions.n_items)
        return ac_error(AC_ERR_USAGE, "--official and --fractions exclude each other: use --val_fraction");
    if (!c->official && c->val_fraction.n_items)
        return ac_error(AC_ERR_USAGE, "--val_fraction is for --official: use --fractions");
    if (c->val_fraction.n_items > 1)
        return ac_error(AC_ERR_USAGE, "--val_fraction needs one number");
    return prepare_fractions(&c->fractions, fraction);
}

static ac_status prepare_outputs(chest_job *job)
{
    ac_status status = AC_OK;
    char folder[AC_PATH_BYTES], name[32];
    AC_TRY(ac_path_join(folder, job->folder, "train_val_test"));
    for (int part = 0; part < AC_N_SPLITS; part++) {
        snprintf(name, sizeof name, "%s.txt", ac_split_name((ac_split)part));
        AC_TRY(ac_path_join(job->path[part], folder, name));
        AC_TRY(prepare_check_output(job->path[part], job->config->overwrite));
    }
    AC_TRY(prepare_make_folder(folder, job->config->common.dry_run));
out:
    return status;
}

static ac_status run_job(chest_job *job)
{
    ac_status status = AC_OK;
    AC_TRY(check_usage(job->config));
    AC_TRY(find_table(job));
    AC_TRY(prepare_outputs(job));
    AC_TRY(ac_chest_table_read(job->table_path, &job->table));
    if (!job->table.patient)
        AC_TRY(ac_error(AC_ERR_DATA, "%s line 1: the header has no column Patient ID", job->table_path));
    AC_TRY(ac_malloc(job->table.rows.n_samples, 1, &job->part));
    AC_TRY(ac_malloc(job->table.rows.n_samples, sizeof *job->order, &job->order));
    memset(job->part, NO_PART, job->table.rows.n_samples);
    AC_TRY(job->config->official ? divide_official(job) : divide_all(job));
    for (int part = 0; part < AC_N_SPLITS; part++)
        AC_TRY(summarise(job, part));
    if (!job->config->common.dry_run)
        AC_TRY(write_lists(job));
out:
    return status;
}

static ac_status run_chest(ac_run *run, const void *config)
{
    chest_job *job = NULL;
    ac_status status = ac_calloc(1, sizeof *job, &job);
    (void)run;
    if (status != AC_OK)
        return status;
    job->config = config;
    status = run_job(job);
    ac_chest_table_release(&job->table);
    ac_free(job->part);
    ac_free(job->order);
    ac_free(job);
    return status;
}

const prepare_command prepare_chest_split = {"chest_split", &program, run_chest, false};
