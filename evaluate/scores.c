/* Scores of one set: reads a rank's share of its CSV files, matches columns and rows by name, and checks over all ranks
 * that every image is there once. Leaves which bytes are whose to shares.c, and the metrics to measure.c. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/log.h"
#include "evaluate/shares.h"
#include "evaluate/steps.h"
#include <stdlib.h>
#include <string.h>

static const char name_column[] = "Filename";

typedef struct layout { /* of one file */
    int name_at;      /* column of the file name */
    size_t n_fields;  /* of the header */
    size_t *field_of; /* [n_classes] column of each class */
    bool in_order;    /* the name, then the classes as the labels have them */
} layout;

typedef struct name_batch { /* names of the rows read last, to be looked up together */
    char *text;
    size_t capacity, n;
    size_t start[EVALUATE_LOOK_UPS + 1];
} name_batch;

typedef struct reading { /* rows while they are read */
    const label_table *labels;
    const row_share *share;
    layout columns;
    double *score;   /* [capacity + 1, n_classes] the last for a row that is read to tell what is wrong with it */
    uint32_t *image; /* [capacity] known but for those in the batch */
    uint64_t *place; /* [capacity] first byte in the string of all files */
    size_t n_rows, capacity;
    double *field;   /* [n_classes] numbers of a row in the file's order */
    name_batch batch;
} reading;

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

/* A row that is cut into fields. The score goes to the place of the next row, which it does not yet become. */
static ac_status check_row(const ac_csv *csv, reading *in)
{
    ac_status status = AC_OK;
    const label_table *labels = in->labels;
    const layout *columns = &in->columns;
    if (csv->n_fields != columns->n_fields)
        return ac_error(AC_ERR_DATA, "%s line %zu: the row has %zu fields, the header %zu", csv->name, csv->line,
                        csv->n_fields, columns->n_fields);
    const char *name = csv->field[columns->name_at];
    if (evaluate_find_label(labels, name) < 0)
        return ac_error(AC_ERR_DATA, "%s line %zu: the image %.200s has no labels in %s", csv->name, csv->line, name,
                        labels->source);
    double *score = in->score + in->n_rows * labels->n_classes;
    for (size_t c = 0; c < labels->n_classes; c++)
        AC_TRY(read_score(csv, csv->field[columns->field_of[c]], labels->class_name[c], &score[c]));
out:
    return status;
}

/* Any row, with a word about what is wrong with it and in which line. */
static ac_status read_any_row(reading *in, ac_rows *rows)
{
    ac_status status = AC_OK;
    AC_TRY(ac_rows_split(rows));
    status = check_row(&rows->fields, in);
    if (status != AC_ERR_DATA)
        return status;
    AC_TRY(ac_rows_count_lines(rows));
    AC_TRY(check_row(&rows->fields, in));
out:
    return status;
}

/* The name at the begin of a row: its bytes, and what follows the comma. NULL when there is more to it than bytes, perhaps in quotes. */
static const char *take_name(const ac_rows *rows, const char **name, size_t *n_bytes)
{
    const char *end = rows->row + rows->n_bytes;
    bool quoted = rows->has_quote && *rows->row == '"';
    *name = rows->row + quoted;
    const char *stop = memchr(*name, quoted ? '"' : ',', (size_t)(end - *name));
    if (!stop || (rows->has_quote && !quoted) || stop[quoted] != ',')
        return NULL;
    *n_bytes = (size_t)(stop - *name);
    return stop + quoted + 1;
}

/* The usual row: name, decimals in 0..1, nothing more. False: perhaps another row, perhaps a wrong one. */
static bool read_usual_row(reading *in, const ac_rows *rows, const char **name, size_t *n_bytes)
{
    size_t n_classes = in->labels->n_classes;
    double *score = in->score + in->n_rows * n_classes, *field = in->columns.in_order ? score : in->field, most = 0;
    if (in->columns.name_at != 0)
        return false;
    const char *at = take_name(rows, name, n_bytes), *end = rows->row + rows->n_bytes;
    if (!at || ac_parse_decimals(at, end, n_classes, field) != end)
        return false;
    for (size_t c = 0; c < n_classes; c++)
        most = field[c] > most ? field[c] : most;
    for (size_t c = 0; field != score && c < n_classes; c++)
        score[c] = field[in->columns.field_of[c] - 1];
    return most <= 1;
}

/* A name without labels in row `at` of what was read: the row is read again and says so. */
static ac_status report_unknown(reading *in, size_t at)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_rows rows = {0};
    bool have_row;
    size_t file = row_share_find_file(in->share, in->place[at]);
    uint64_t offset = in->place[at] - in->share->start[file];
    AC_TRY(in->share->path(in->share->context, file, path));
    AC_TRY(ac_rows_open(&rows, path, offset, offset + 1, AC_ROWS_AT_ROW));
    AC_TRY(ac_rows_next(&rows, &have_row));
    AC_TRY(have_row ? read_any_row(in, &rows) : AC_OK);
    status = ac_error(AC_ERR_DATA, "%s changed while it was read", path);
out:
    ac_rows_close(&rows);
    return status;
}

static ac_status look_up(reading *in)
{
    ac_status status = AC_OK;
    name_batch *batch = &in->batch;
    int64_t image[EVALUATE_LOOK_UPS];
    size_t first = in->n_rows - batch->n;
    evaluate_find_labels(in->labels, batch->text, batch->start, batch->n, image);
    for (size_t i = 0; i < batch->n; i++) {
        if (image[i] < 0)
            AC_TRY(report_unknown(in, first + i));
        in->image[first + i] = (uint32_t)image[i];
    }
    batch->n = 0;
out:
    return status;
}

static ac_status add_row(reading *in, uint64_t place, const char *name, size_t n_bytes)
{
    ac_status status = AC_OK;
    name_batch *batch = &in->batch;
    size_t at = batch->n > 0 ? batch->start[batch->n] : 0;
    AC_TRY(ac_reserve(&batch->text, &batch->capacity, at + n_bytes + 1, 1));
    memcpy(batch->text + at, name, n_bytes);
    batch->start[batch->n] = at;
    batch->start[++batch->n] = at + n_bytes;
    in->place[in->n_rows++] = place;
    if (batch->n == EVALUATE_LOOK_UPS)
        AC_TRY(look_up(in));
out:
    return status;
}

/* Room for one row more; at first for as many as the share will have when they are as long as this one, and some. */
static ac_status make_room(reading *in, size_t row_bytes)
{
    ac_status status = AC_OK;
    if (in->n_rows < in->capacity)
        return AC_OK;
    size_t expected = (size_t)row_share_bytes(in->share) / (row_bytes + 1), n = in->n_rows + in->n_rows / 2 + 16;
    n = in->n_rows == 0 ? expected + expected / 32 + 16 : n;
    AC_TRY(ac_realloc(&in->score, (n + 1) * in->labels->n_classes, sizeof *in->score));
    AC_TRY(ac_realloc(&in->image, n, sizeof *in->image));
    AC_TRY(ac_realloc(&in->place, n, sizeof *in->place));
    in->capacity = n;
out:
    return status;
}

static ac_status visit_header(void *context, size_t file, const ac_csv *csv)
{
    reading *in = context;
    (void)file;
    ac_status status = read_header(csv, in->labels, &in->columns);
    in->columns.in_order = in->columns.name_at == 0;
    for (size_t c = 0; status == AC_OK && c < in->labels->n_classes; c++)
        in->columns.in_order &= in->columns.field_of[c] == c + 1;
    return status;
}

static ac_status visit_rows(void *context, size_t file, ac_rows *rows)
{
    ac_status status = AC_OK;
    reading *in = context;
    for (;;) {
        bool have_row;
        const char *name;
        size_t n_bytes;
        AC_TRY(ac_rows_next(rows, &have_row));
        if (!have_row)
            break;
        AC_TRY(make_room(in, rows->n_bytes));
        if (!read_usual_row(in, rows, &name, &n_bytes)) {
            AC_TRY(look_up(in)); /* a wrong row before this one is named first */
            AC_TRY(read_any_row(in, rows));
            name = rows->fields.field[in->columns.name_at];
            n_bytes = strlen(name);
        }
        AC_TRY(add_row(in, in->share->start[file] + rows->offset, name, n_bytes));
    }
    AC_TRY(look_up(in));
out:
    return status;
}

static void release_reading(reading *in)
{
    ac_free(in->score);
    ac_free(in->image);
    ac_free(in->place);
    ac_free(in->field);
    ac_free(in->columns.field_of);
    ac_free(in->batch.text);
}

static ac_status read_share(reading *in)
{
    ac_status status = AC_OK;
    static const row_visitor visitor = {.header = visit_header, .rows = visit_rows};
    AC_TRY(ac_malloc(in->labels->n_classes, sizeof *in->columns.field_of, &in->columns.field_of));
    AC_TRY(ac_malloc(in->labels->n_classes, sizeof *in->field, &in->field));
    AC_TRY(row_share_read(in->share, &visitor, in));
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
    const uint64_t *left = a, *right = b;
    return *left < *right ? -1 : *left > *right;
}

/* File and line of the row at a place. */
static ac_status find_line(const row_share *share, uint64_t place, size_t *file, size_t *line)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_rows rows = {0};
    bool have_row;
    *file = row_share_find_file(share, place);
    uint64_t offset = place - share->start[*file];
    AC_TRY(share->path(share->context, *file, path));
    AC_TRY(ac_rows_open(&rows, path, offset, offset + 1, AC_ROWS_AT_ROW));
    AC_TRY(ac_rows_next(&rows, &have_row));
    AC_TRY(have_row ? ac_rows_split(&rows) : ac_error(AC_ERR_DATA, "%s changed while it was read", path));
    AC_TRY(ac_rows_count_lines(&rows));
    *line = rows.fields.line;
out:
    ac_rows_close(&rows);
    return status;
}

/* Names the first two places where `image` stands. Collective. */
static ac_status report_twice(MPI_Comm comm, const score_sets *sets, const score_set *set, const reading *in,
                              const gaps *found)
{
    ac_status status = AC_OK;
    uint64_t *mine = NULL, *all = NULL;
    void *gathered = NULL;
    size_t n_mine = 0, capacity = 0, n_bytes = 0, file[2] = {0}, line[2] = {0};
    for (size_t i = 0; i < in->n_rows && status == AC_OK; i++) {
        if (in->image[i] != found->first_twice)
            continue;
        status = ac_reserve(&mine, &capacity, n_mine + 1, sizeof *mine);
        if (status == AC_OK)
            mine[n_mine++] = in->place[i];
    }
    AC_TRY(ac_comm_agree(comm, status));
    AC_TRY(ac_comm_gather_all(comm, mine, n_mine * sizeof *mine, &gathered, &n_bytes, NULL));
    all = gathered;
    qsort(all, n_bytes / sizeof *all, sizeof *all, by_place);
    for (int i = 0; i < 2 && status == AC_OK; i++)
        status = find_line(in->share, all[i], &file[i], &line[i]);
    AC_TRY(evaluate_agree(comm, status));
    const score_file *names = sets->file + set->first_file;
    status = ac_error(AC_ERR_DATA,
                      "%s: the image %.200s has scores twice, in %s line %zu and in %s line %zu (%zu such images)",
                      set->folder, in->labels->name[found->first_twice], names[file[0]].name, line[0],
                      names[file[1]].name, line[1], found->n_twice);
out:
    ac_free(mine);
    ac_free(gathered);
    return status;
}

/* Which images are missing or there twice. Collective; for a set that is known not to be complete. */
static ac_status report_gaps(MPI_Comm comm, const score_sets *sets, const score_set *set, const reading *in)
{
    ac_status status = AC_OK;
    int32_t *seen = NULL;
    gaps found = {0};
    const label_table *labels = in->labels;
    AC_TRY(ac_comm_agree(comm, ac_calloc(labels->n_images, sizeof *seen, &seen)));
    for (size_t i = 0; i < in->n_rows; i++)
        seen[in->image[i]]++;
    AC_TRY(find_gaps(comm, seen, labels->n_images, &found));
    if (found.n_twice > 0)
        AC_TRY(report_twice(comm, sets, set, in, &found));
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

/* As many rows as images, and one bit for each image: then each is there once. */
static ac_status check_complete(MPI_Comm comm, const score_sets *sets, const score_set *set, const reading *in)
{
    ac_status status = AC_OK;
    enum { BITS = 64, BLOCK = 1 << 20 };
    uint64_t *seen = NULL, n_rows = in->n_rows, n_seen = 0;
    size_t n_words = in->labels->n_images / BITS + 1;
    AC_TRY(ac_comm_agree(comm, ac_calloc(n_words, sizeof *seen, &seen)));
    for (size_t i = 0; i < in->n_rows; i++)
        seen[in->image[i] / BITS] |= (uint64_t)1 << in->image[i] % BITS;
    for (size_t first = 0; first < n_words; first += BLOCK) {
        int n = (int)(n_words - first < BLOCK ? n_words - first : BLOCK);
        AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, seen + first, n, MPI_UINT64_T, MPI_BOR, comm), "comparing images"));
    }
    AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, &n_rows, 1, MPI_UINT64_T, MPI_SUM, comm), "counting rows"));
    for (size_t i = 0; i < n_words; i++)
        n_seen += (uint64_t)__builtin_popcountll(seen[i]);
    if (n_rows != in->labels->n_images || n_seen != in->labels->n_images)
        AC_TRY(report_gaps(comm, sets, set, in));
out:
    ac_free(seen);
    return status;
}

typedef struct set_files { /* context of path_of_file() */
    const score_sets *sets;
    const score_set *set;
} set_files;

static ac_status path_of_file(const void *context, size_t file, char *out)
{
    const set_files *of = context;
    return evaluate_file_path(of->sets, of->set, file, out);
}

ac_status evaluate_read_scores(MPI_Comm comm, const score_sets *sets, const score_set *set, const label_table *labels,
                               score_table *out)
{
    ac_status status = AC_OK;
    row_share share = {0};
    reading in = {.labels = labels, .share = &share};
    set_files files = {.sets = sets, .set = set};
    double start_s = MPI_Wtime();
    memset(out, 0, sizeof *out);
    AC_TRY(row_share_divide(comm, path_of_file, &files, set->n_files, &share));
    double divided_s = MPI_Wtime();
    AC_TRY(evaluate_agree(comm, read_share(&in)));
    double read_s = MPI_Wtime();
    AC_TRY(check_complete(comm, sets, set, &in));
    *out = (score_table){.score = in.score, .image = in.image, .n_rows = in.n_rows};
    in.score = NULL;
    in.image = NULL;
    ac_log(AC_LOG_DEBUG, "read the scores of %s in %.3f s (dividing %.3f, checking %.3f): %zu rows, %.1f MB, %.0f MB/s on this rank",
           set->stem, MPI_Wtime() - start_s, divided_s - start_s, MPI_Wtime() - read_s, in.n_rows,
           (double)row_share_bytes(&share) * 1e-6, (double)row_share_bytes(&share) * 1e-6 / (read_s - divided_s + 1e-9));
out:
    release_reading(&in);
    row_share_release(&share);
    return status;
}
