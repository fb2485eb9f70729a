/* Scores of one set: reads a rank's share of its CSV files, matches columns and rows by name, and checks over all ranks
 * that every image is there once. Leaves the metrics to measure.c. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/csv.h"
#include "evaluate/steps.h"
#include <stdlib.h>
#include <string.h>

static const char name_column[] = "Filename";

typedef struct score_row { /* which image a row of scores is about, and where it was read */
    uint32_t image, file;
    uint64_t line;
} score_row;

typedef struct row_table { /* rows while they are read */
    double *score;
    score_row *row;
    size_t n_rows, score_capacity, row_capacity;
} row_table;

typedef struct share { /* which rows of a file are this rank's: every `step`-th data row, from `first` on */
    size_t first, step;
} share;

typedef struct layout { /* of one file */
    int name_at;        /* column of the file name */
    size_t n_fields;    /* of the header */
    size_t *field_of;   /* [n_classes] column of each class */
} layout;

static int find_class(const label_table *labels, const char *name)
{
    for (size_t c = 0; c < labels->n_classes; c++) {
        if (strcmp(labels->class_name[c], name) == 0)
            return (int)c;
    }
    return -1;
}

/* The column of the file names is "Filename", else the first one. Every other column must be a class, each class must
 * have one: a column that is not understood is more likely a wrong label file than something to ignore. */
static ac_status read_header(const ac_csv *csv, const label_table *labels, layout *out)
{
    for (size_t c = 0; c < labels->n_classes; c++)
        out->field_of[c] = SIZE_MAX;
    out->n_fields = csv->n_fields;
    out->name_at = ac_csv_find(csv, name_column);
    if (out->name_at < 0)
        out->name_at = 0;
    if (find_class(labels, csv->field[out->name_at]) >= 0)
        return ac_error(AC_ERR_DATA, "%s line %zu: the header has no column %s", csv->name, csv->line, name_column);
    for (size_t i = 0; i < csv->n_fields; i++) {
        if ((int)i == out->name_at)
            continue;
        int c = find_class(labels, csv->field[i]);
        if (c < 0)
            return ac_error(AC_ERR_DATA, "%s line %zu: column %.100s is no class of the labels in %s", csv->name,
                            csv->line, csv->field[i], labels->source);
        if (out->field_of[c] != SIZE_MAX)
            return ac_error(AC_ERR_DATA, "%s line %zu: two columns are named %s", csv->name, csv->line, csv->field[i]);
        out->field_of[c] = i;
    }
    for (size_t c = 0; c < labels->n_classes; c++) {
        if (out->field_of[c] == SIZE_MAX)
            return ac_error(AC_ERR_DATA, "%s line %zu: the header has no column for the class %s", csv->name, csv->line,
                            labels->class_name[c]);
    }
    return AC_OK;
}

static ac_status read_score(const ac_csv *csv, const char *text, const char *class_name, double *out)
{
    ac_status status = ac_parse_double(text, out);
    if (status != AC_OK)
        return ac_error_in(status, "%s line %zu, column %s", csv->name, csv->line, class_name);
    if (!(*out >= 0 && *out <= 1))
        return ac_error(AC_ERR_DATA, "%s line %zu, column %s: the score %.40s is not in 0..1", csv->name, csv->line,
                        class_name, text);
    return AC_OK;
}

static ac_status read_row(const ac_csv *csv, const layout *columns, const label_table *labels, size_t file,
                          row_table *out)
{
    ac_status status = AC_OK;
    const char *name = csv->field[columns->name_at];
    int64_t image = evaluate_find_label(labels, name);
    if (image < 0)
        return ac_error(AC_ERR_DATA, "%s line %zu: the image %.200s has no labels in %s", csv->name, csv->line, name,
                        labels->source);
    AC_TRY(ac_reserve(&out->row, &out->row_capacity, out->n_rows + 1, sizeof *out->row));
    AC_TRY(ac_reserve(&out->score, &out->score_capacity, (out->n_rows + 1) * labels->n_classes, sizeof *out->score));
    double *score = out->score + out->n_rows * labels->n_classes;
    for (size_t c = 0; c < labels->n_classes; c++)
        AC_TRY(read_score(csv, csv->field[columns->field_of[c]], labels->class_name[c], &score[c]));
    out->row[out->n_rows++] = (score_row){.image = (uint32_t)image, .file = (uint32_t)file, .line = csv->line};
out:
    return status;
}

static ac_status read_rows(ac_csv *csv, const label_table *labels, share mine, size_t file, layout *columns,
                           row_table *out)
{
    ac_status status = AC_OK;
    bool have_row;
    AC_TRY(ac_csv_next(csv, &have_row));
    if (!have_row)
        return ac_error(AC_ERR_DATA, "%s line 1: the file is empty, a header is wanted", csv->name);
    AC_TRY(read_header(csv, labels, columns));
    for (size_t i = 0;; i++) {
        AC_TRY(ac_csv_next(csv, &have_row));
        if (!have_row)
            break;
        if (i % mine.step != mine.first)
            continue;
        if (csv->n_fields != columns->n_fields)
            return ac_error(AC_ERR_DATA, "%s line %zu: the row has %zu fields, the header %zu", csv->name, csv->line,
                            csv->n_fields, columns->n_fields);
        AC_TRY(read_row(csv, columns, labels, file, out));
    }
out:
    return status;
}

static ac_status read_file(const score_sets *sets, const score_set *set, size_t file, const label_table *labels,
                           share mine, row_table *out)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_csv csv;
    layout columns = {0};
    AC_TRY(evaluate_file_path(sets, set, file, path));
    AC_TRY(ac_csv_open(&csv, path));
    status = ac_malloc(labels->n_classes, sizeof *columns.field_of, &columns.field_of);
    if (status == AC_OK)
        status = read_rows(&csv, labels, mine, file, &columns, out);
    ac_free(columns.field_of);
    ac_csv_close(&csv);
out:
    return status;
}

/* With fewer files than ranks, ranks r, r + n_files, ... share file r row by row. */
static ac_status read_share(const score_sets *sets, const score_set *set, const label_table *labels, int rank,
                            int size, row_table *out)
{
    ac_status status = AC_OK;
    size_t me = (size_t)rank, n_ranks = (size_t)size;
    memset(out, 0, sizeof *out);
    for (size_t file = 0; file < set->n_files; file++) {
        share mine = {.first = 0, .step = 1};
        if (n_ranks > set->n_files) {
            mine.first = me / set->n_files;
            mine.step = n_ranks / set->n_files + (file < n_ranks % set->n_files);
        }
        if (me % set->n_files == file % n_ranks)
            AC_TRY(read_file(sets, set, file, labels, mine, out));
    }
out:
    return status;
}

void evaluate_release_scores(score_table *scores)
{
    ac_free(scores->score);
    ac_free(scores->image);
    memset(scores, 0, sizeof *scores);
}

typedef struct gaps { /* what is wrong with a set, known to all ranks */
    size_t n_missing, first_missing, n_twice, first_twice;
} gaps;

static void note_gap(gaps *found, size_t image, int32_t times)
{
    if (times == 0 && found->n_missing++ == 0)
        found->first_missing = image;
    if (times > 1 && found->n_twice++ == 0)
        found->first_twice = image;
}

/* How often each image occurs, summed over ranks in blocks, so that the extra memory is one number per image here. */
static ac_status find_gaps(MPI_Comm comm, const int32_t *seen, size_t n_images, gaps *found)
{
    ac_status status = AC_OK;
    enum { BLOCK = 1 << 16 };
    int32_t *sum = NULL;
    AC_TRY(ac_comm_agree(comm, ac_malloc(BLOCK, sizeof *sum, &sum)));
    for (size_t first = 0; first < n_images; first += BLOCK) {
        size_t n = n_images - first < BLOCK ? n_images - first : BLOCK;
        AC_TRY(ac_comm_check(MPI_Allreduce(seen + first, sum, (int)n, MPI_INT32_T, MPI_SUM, comm), "counting images"));
        for (size_t i = 0; i < n; i++)
            note_gap(found, first + i, sum[i]);
    }
out:
    ac_free(sum);
    return status;
}

static int by_place(const void *a, const void *b)
{
    const score_row *left = a, *right = b;
    if (left->file != right->file)
        return left->file < right->file ? -1 : 1;
    return left->line < right->line ? -1 : left->line > right->line;
}

/* Names the first two places where `image` stands. */
static ac_status report_twice(MPI_Comm comm, const score_sets *sets, const score_set *set, const label_table *labels,
                              const row_table *scores, const gaps *found)
{
    ac_status status = AC_OK;
    score_row *mine = NULL;
    void *all = NULL;
    size_t n_mine = 0, capacity = 0, n_bytes = 0;
    for (size_t i = 0; i < scores->n_rows && status == AC_OK; i++) {
        if (scores->row[i].image != found->first_twice)
            continue;
        status = ac_reserve(&mine, &capacity, n_mine + 1, sizeof *mine);
        if (status == AC_OK)
            mine[n_mine++] = scores->row[i];
    }
    AC_TRY(ac_comm_agree(comm, status));
    AC_TRY(ac_comm_gather_all(comm, mine, n_mine * sizeof *mine, &all, &n_bytes, NULL));
    score_row *place = all;
    qsort(place, n_bytes / sizeof *place, sizeof *place, by_place);
    const score_file *file = sets->file + set->first_file;
    status = ac_error(AC_ERR_DATA,
                      "%s: the image %.200s has scores twice, in %s line %zu and in %s line %zu (%zu such images)",
                      set->folder, labels->name[found->first_twice], file[place[0].file].name, (size_t)place[0].line,
                      file[place[1].file].name, (size_t)place[1].line, found->n_twice);
out:
    ac_free(mine);
    ac_free(all);
    return status;
}

static ac_status check_complete(MPI_Comm comm, const score_sets *sets, const score_set *set,
                                const label_table *labels, const row_table *scores)
{
    ac_status status = AC_OK;
    int32_t *seen = NULL;
    gaps found = {0};
    AC_TRY(ac_comm_agree(comm, ac_calloc(labels->n_images, sizeof *seen, &seen)));
    for (size_t i = 0; i < scores->n_rows; i++)
        seen[scores->row[i].image]++;
    AC_TRY(find_gaps(comm, seen, labels->n_images, &found));
    if (found.n_twice > 0)
        AC_TRY(report_twice(comm, sets, set, labels, scores, &found));
    if (found.n_missing > 0)
        status =
            ac_error(AC_ERR_DATA,
                     "%s/%s (%zu file%s): %zu of %zu images of %s have no scores, the first is %.200s: "
                     "is inference complete?",
                     set->folder, sets->file[set->first_file].name, (size_t)set->n_files, set->n_files == 1 ? "" : "s",
                     found.n_missing, labels->n_images, labels->source, labels->name[found.first_missing]);
out:
    ac_free(seen);
    return status;
}

ac_status evaluate_read_scores(MPI_Comm comm, const score_sets *sets, const score_set *set, const label_table *labels,
                               score_table *out)
{
    ac_status status = AC_OK;
    int rank, size;
    row_table rows;
    memset(out, 0, sizeof *out);
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    AC_TRY(ac_comm_agree(comm, read_share(sets, set, labels, rank, size, &rows)));
    AC_TRY(check_complete(comm, sets, set, labels, &rows));
    AC_TRY(ac_comm_agree(comm, ac_malloc(rows.n_rows, sizeof *out->image, &out->image)));
    for (size_t i = 0; i < rows.n_rows; i++)
        out->image[i] = rows.row[i].image;
    out->n_rows = rows.n_rows;
    out->score = rows.score;
    rows.score = NULL;
out:
    ac_free(rows.score);
    ac_free(rows.row);
    return status;
}
