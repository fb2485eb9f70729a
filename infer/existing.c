/* What an output folder holds already of a set: which images have scores in complete files, and what a killed run left
 * in temporary ones. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "anyclass/log.h"
#include "infer/steps.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct name_table { /* file name -> number of the image */
    ac_source source;
    int64_t *slot; /* number + 1, 0: free */
    size_t n_slots;
} name_table;

typedef struct scan { /* of a set's files */
    const infer *in;
    const infer_set *set;
    name_table names;
    uint8_t *done;  /* [n] in complete files */
    uint8_t *found; /* [n] in the temporary file at hand */
    int64_t n_done;
    bool has_taken; /* rows of a temporary file */
    infer_rows *rows;
    size_t n_rows, rows_capacity;
    int64_t next_number;
} scan;

static size_t slot_of(const name_table *t, const char *name)
{
    size_t at = (size_t)ac_hash64_bytes(name, strlen(name)) & (t->n_slots - 1);
    while (t->slot[at] && strcmp(t->source.name(t->source.context, t->slot[at] - 1), name) != 0)
        at = (at + 1) & (t->n_slots - 1);
    return at;
}

static ac_status make_table(const infer_input *input, name_table *t)
{
    ac_status status = AC_OK;
    /* only names are asked for, which change nothing */
    t->source = infer_input_source((infer_input *)(uintptr_t)input);
    t->n_slots = 16;
    while (t->n_slots < 2 * (size_t)input->n)
        t->n_slots *= 2;
    AC_TRY(ac_calloc(t->n_slots, sizeof *t->slot, &t->slot));
    for (int64_t i = 0; i < input->n; i++) {
        const char *name = t->source.name(t->source.context, i);
        size_t at = slot_of(t, name);
        if (t->slot[at])
            return ac_error(AC_ERR_DATA, "the image %.200s occurs twice in the data", name);
        t->slot[at] = i + 1;
    }
out:
    return status;
}

static bool is_header(const scan *s, const ac_csv *csv)
{
    const infer_weights *w = s->set->weights;
    const char *name = infer_class_name(&s->in->jobs, w, 0);
    bool same = csv->n_fields == w->n_classes + 1 && strcmp(csv->field[0], "Filename") == 0;
    for (size_t c = 0; same && c < w->n_classes; c++, name += strlen(name) + 1)
        same = strcmp(csv->field[c + 1], name) == 0;
    return same;
}

/* As this program writes it: a score that was cut or changed hardly ever is. */
static bool is_score(const char *text)
{
    char back[AC_NUMBER_BYTES];
    char *end;
    float value = strtof(text, &end);
    if (*end || end == text || !(value >= 0 && value <= 1))
        return false;
    ac_format_float(value, back);
    return strcmp(back, text) == 0;
}

/* The image that a row is about; or why it is no row of this set. */
static ac_status read_row(const scan *s, const ac_csv *csv, int64_t *image)
{
    if (csv->n_fields != s->set->weights->n_classes + 1)
        return ac_error(AC_ERR_DATA, "%s line %zu: %zu fields, the header has %zu", csv->name, csv->line, csv->n_fields,
                        s->set->weights->n_classes + 1);
    *image = s->names.slot[slot_of(&s->names, csv->field[0])] - 1;
    if (*image < 0)
        return ac_error(AC_ERR_DATA, "%s line %zu: the image %.200s is not in the data", csv->name, csv->line,
                        csv->field[0]);
    for (size_t c = 1; c < csv->n_fields; c++)
        if (!is_score(csv->field[c]))
            return ac_error(AC_ERR_DATA, "%s line %zu: '%.40s' is no score of this program", csv->name, csv->line,
                            csv->field[c]);
    return AC_OK;
}

static ac_status add_rows(scan *s, int64_t number, int64_t n)
{
    ac_status status = ac_reserve(&s->rows, &s->rows_capacity, s->n_rows + 1, sizeof *s->rows);
    if (status == AC_OK)
        s->rows[s->n_rows++] = (infer_rows){number, n};
    return status;
}

/* A complete file: all of it is right, or something is wrong that the user should know. */
static ac_status scan_complete(scan *s, int64_t number)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_csv csv = {0};
    bool have_row;
    int64_t image, n = 0;
    AC_TRY(infer_rows_path(s->set, number, false, path));
    AC_TRY(ac_csv_open(&csv, path));
    AC_TRY(ac_csv_next(&csv, &have_row));
    if (!have_row || !is_header(s, &csv))
        AC_TRY(ac_error(AC_ERR_DATA, "%s line 1: not the header of these scores", csv.name));
    for (;; n++) {
        AC_TRY(ac_csv_next(&csv, &have_row));
        if (!have_row)
            break;
        AC_TRY(read_row(s, &csv, &image));
        if (s->done[image])
            AC_TRY(ac_error(AC_ERR_DATA, "%s line %zu: the image %.200s has scores twice", csv.name, csv.line,
                            csv.field[0]));
        s->done[image] = 1;
        s->n_done++;
    }
    AC_TRY(add_rows(s, number, n));
out:
    ac_csv_close(&csv);
    if (status == AC_ERR_DATA) {
        char text[AC_ERROR_TEXT_BYTES];
        snprintf(text, sizeof text, "%s", ac_error_text());
        ac_error(status, "%.900s: remove the file to have its images scored again", text);
    }
    return status;
}

static ac_status copy_row(const ac_csv *csv, infer_output *out)
{
    ac_status status = AC_OK;
    for (size_t i = 0; i < csv->n_fields; i++) {
        if (i)
            AC_TRY(infer_format_text(out, ",", false));
        AC_TRY(infer_format_text(out, csv->field[i], true));
    }
    AC_TRY(infer_format_text(out, "\n", false));
    out->n_rows++;
out:
    return status;
}

/* The whole rows at the beginning of a temporary file, behind a header in `out`; none is there twice or in a complete
 * file. What stands behind the first thing that is wrong counts for nothing. */
static ac_status read_part(scan *s, const char *path, infer_output *out)
{
    ac_status status = AC_OK;
    ac_csv csv = {0};
    uint8_t *bytes;
    size_t n;
    bool have_row = false;
    int64_t image;
    memset(s->found, 0, (size_t)s->set->input->n);
    AC_TRY(ac_file_read_all(path, 0, &bytes, &n));
    while (n > 0 && bytes[n - 1] != '\n')
        n--;
    bytes[n] = 0;
    AC_TRY(ac_csv_open_text(&csv, path, (char *)bytes, n));
    AC_TRY(infer_format_header(s->in, s->set->weights, out));
    bool good = ac_csv_next(&csv, &have_row) == AC_OK && have_row && is_header(s, &csv);
    while (good && ac_csv_next(&csv, &have_row) == AC_OK && have_row && read_row(s, &csv, &image) == AC_OK) {
        if (s->done[image] || s->found[image])
            continue;
        s->found[image] = 1;
        AC_TRY(copy_row(&csv, out));
    }
out:
    ac_csv_close(&csv);
    return status;
}

/* A rank that outlives its run for a moment may still have the file open and make it complete. A file that is gone is
 * one of those, and empty from now on. */
static ac_status lock_part(const char *part, int *fd)
{
    ac_lock lock;
    ac_status status = ac_file_lock(part, fd, &lock);
    if (status == AC_OK && lock == AC_LOCK_HELD)
        status = ac_error(AC_ERR_IO, "%s: a process of an earlier run still writes this file: wait until it has ended",
                          part);
    return status;
}

/* A killed run's temporary file becomes a complete one, under a number that is free: killed in between, the next run
 * finds nothing new in it. */
static ac_status take_part(scan *s, int64_t number, bool change)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES], part[AC_PATH_BYTES];
    infer_output out = {0};
    int fd = -1;
    AC_TRY(infer_rows_path(s->set, number, true, part));
    if (change)
        AC_TRY(lock_part(part, &fd));
    if (!change && !ac_path_exists(part))
        return AC_OK;
    AC_TRY(read_part(s, part, &out));
    if (out.n_rows && change) {
        AC_TRY(infer_rows_path(s->set, s->next_number, false, path));
        AC_TRY(ac_file_create(&out.file, path));
        AC_TRY(ac_file_write(&out.file, out.text, out.n_bytes));
        AC_TRY(ac_file_commit(&out.file));
        AC_TRY(add_rows(s, s->next_number, out.n_rows));
        s->has_taken = true;
        s->next_number++;
        ac_log(AC_LOG_INFO, "%s: %lld rows of a run that was cut off are taken over", part, (long long)out.n_rows);
    }
    for (int64_t i = 0; i < s->set->input->n; i++)
        s->done[i] |= s->found[i];
    s->n_done += out.n_rows;
    if (change && unlink(part) != 0)
        AC_TRY(ac_error_errno("%s: cannot be removed", part));
out:
    ac_file_discard(&out.file);
    ac_free(out.text);
    if (fd >= 0)
        close(fd);
    return status;
}

/* Temporary files are listed first, lest one that becomes complete now is in neither list, and looked at when all
 * complete ones are known. */
static ac_status scan_set(scan *s, bool with_parts, bool change)
{
    ac_status status = AC_OK;
    int64_t *complete = NULL, *parts = NULL;
    size_t n_complete, n_parts;
    AC_TRY(infer_list_files(s->set, true, &parts, &n_parts));
    AC_TRY(infer_list_files(s->set, false, &complete, &n_complete));
    s->next_number = n_complete ? complete[n_complete - 1] + 1 : 0;
    if (n_parts && parts[n_parts - 1] >= s->next_number)
        s->next_number = parts[n_parts - 1] + 1;
    if (s->next_number + s->in->run->size > INT32_MAX)
        AC_TRY(ac_error(AC_ERR_DATA, "%s_sigmoid.rank%lld.csv*: no numbers are left for files behind it: rename it",
                        s->set->stem, (long long)s->next_number - 1));
    for (size_t i = 0; i < n_complete; i++)
        AC_TRY(scan_complete(s, complete[i]));
    for (size_t i = 0; with_parts && i < n_parts; i++)
        AC_TRY(take_part(s, parts[i], change));
out:
    ac_free(complete);
    ac_free(parts);
    return status;
}

static ac_status refuse(const infer_set *set, const infer_found *found)
{
    return ac_error(AC_ERR_USAGE,
                    "%s_* are scores of %s: use another --results_output, or --overwrite, which removes them",
                    set->stem, found->reason);
}

static void forget(scan *s)
{
    memset(s->done, 0, (size_t)s->set->input->n);
    s->n_done = 0;
    s->n_rows = 0;
    s->next_number = 0;
}

ac_status infer_check_origins(const infer *in)
{
    ac_status status = AC_OK;
    infer_set set;
    infer_found found;
    for (size_t w = 0; w < in->jobs.n_weights; w++)
        for (size_t k = 0; k < in->jobs.weights[w].n_targets; k++)
            for (size_t i = 0; i < in->n_inputs; i++) {
                const infer_target *target = &in->jobs.target[in->jobs.weights[w].first_target + k];
                AC_TRY(infer_set_name(target, &in->jobs.weights[w], &in->input[i], &set));
                AC_TRY(infer_record_find(in, &set, &found));
                if (found.origin == INFER_OTHER && !in->config->overwrite)
                    return refuse(&set, &found);
            }
out:
    return status;
}

/* Of a checkpoint's names the one with most scores; the first of several. */
static ac_status choose_name(const infer *in, scan *s, const infer_weights *w, const infer_input *input, bool change,
                             infer_state *out)
{
    ac_status status = AC_OK;
    infer_set set;
    infer_found found;
    int64_t most = -1;
    for (size_t k = 0; k < w->n_targets; k++) {
        AC_TRY(infer_set_name(&in->jobs.target[w->first_target + k], w, input, &set));
        AC_TRY(infer_record_find(in, &set, &found));
        if (found.origin == INFER_OTHER && !in->config->overwrite) /* come since all were looked at */
            return refuse(&set, &found);
        if (found.origin == INFER_OTHER && change)
            AC_TRY(infer_remove_files(&set, true));
        s->set = &set;
        forget(s);
        if (found.origin == INFER_SAME && w->n_targets > 1)
            AC_TRY(scan_set(s, true, false));
        if (s->n_done > most) {
            most = s->n_done;
            out->set = set;
            status = change && found.origin != INFER_SAME ? infer_record_write(in, &set, false, 0, NULL, 0) : AC_OK;
            AC_TRY(status);
        }
    }
out:
    return status;
}

static ac_status look(const infer *in, const infer_weights *w, const infer_input *input, bool change, infer_state *out)
{
    ac_status status = AC_OK;
    infer_found found;
    scan s = {.in = in};
    size_t n = (size_t)input->n;
    AC_TRY(infer_check_locks(in));
    AC_TRY(make_table(input, &s.names));
    AC_TRY(ac_calloc(n, 1, &s.done));
    AC_TRY(ac_calloc(n, 1, &s.found));
    AC_TRY(choose_name(in, &s, w, input, change, out));
    s.set = &out->set;
    forget(&s);
    AC_TRY(infer_record_find(in, &out->set, &found));
    if (found.origin == INFER_SAME)
        AC_TRY(scan_set(&s, true, change));
    if (change && found.finished &&
        (s.n_done < input->n || s.has_taken)) /* files were removed, or pictures rejected: not finished any more */
        AC_TRY(infer_record_write(in, &out->set, false, 0, NULL, 0));
    out->n_done = s.n_done;
    out->next_number = s.next_number;
    out->done = s.done;
    out->rows = s.rows;
    out->n_rows = s.n_rows;
    out->rows_capacity = s.rows_capacity;
    s.done = NULL;
    s.rows = NULL;
    if (out->n_done && out->n_done < input->n)
        ac_log(AC_LOG_INFO, "%s: %lld of %lld images are scored already", out->set.stem, (long long)out->n_done,
               (long long)input->n);
out:
    ac_free(s.names.slot);
    ac_free(s.done);
    ac_free(s.found);
    ac_free(s.rows);
    return status;
}

ac_status infer_state_open(infer *in, const infer_weights *w, const infer_input *input, bool change, infer_state *out)
{
    ac_status status = AC_OK;
    MPI_Comm comm = in->run->comm;
    int rank = in->run->rank;
    memset(out, 0, sizeof *out);
    ac_watchdog_at(in->run->watchdog, "looking at the output", -1, rank > 0);
    status = rank == 0 ? look(in, w, input, change, out) : AC_OK;
    ac_watchdog_at(in->run->watchdog, "looking at the output", -1, true);
    AC_TRY(ac_comm_agree(comm, status));
    int64_t known[] = {out->n_done, out->next_number, out->set.target ? out->set.target - in->jobs.target : 0};
    AC_TRY(ac_comm_broadcast(comm, known, sizeof known));
    out->n_done = known[0];
    out->next_number = known[1];
    status = rank == 0 ? AC_OK : infer_set_name(&in->jobs.target[known[2]], w, input, &out->set);
    if (status == AC_OK && rank > 0)
        status = ac_calloc((size_t)input->n, 1, &out->done);
    AC_TRY(ac_comm_agree(comm, status));
    if (out->n_done > 0)
        AC_TRY(ac_comm_broadcast(comm, out->done, (size_t)input->n));
out:
    return status;
}

void infer_state_release(infer_state *state)
{
    ac_free(state->done);
    ac_free(state->rows);
    memset(state, 0, sizeof *state);
}
