/* What completes a set of scores: the list of rejected pictures, the record, and the same scores under the checkpoint's
 * other names. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "anyclass/log.h"
#include "infer/steps.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

typedef struct rejected { /* a picture without scores */
    int64_t image;
    char reason[AC_IMAGE_REASON_BYTES];
} rejected;

/* Those that this rank found. */
static ac_status list_rejected(const infer_input *input, const infer_state *state, rejected **list, size_t *n)
{
    ac_status status = AC_OK;
    size_t capacity = 0;
    *n = 0;
    *list = NULL;
    for (int64_t i = 0; input->is_pictures && i < input->n; i++) {
        const char *reason = input->pictures.reason[i];
        if (!reason || state->done[i])
            continue;
        AC_TRY(ac_reserve(list, &capacity, *n + 1, sizeof **list));
        rejected *one = &(*list)[(*n)++];
        memset(one, 0, sizeof *one);
        one->image = i;
        snprintf(one->reason, sizeof one->reason, "%s", reason);
    }
out:
    return status;
}

/* Ranks have ascending parts of the list, so what they found is in order. */
static ac_status write_rejected(const infer_set *set, const rejected *list, size_t n)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_file file = {0};
    infer_output out = {0};
    AC_TRY(infer_set_path(set, "_rejected.csv", path));
    if (n == 0)
        return infer_remove_file(set, "_rejected.csv");
    AC_TRY(infer_format_text(&out, "file,reason\n", false));
    for (size_t i = 0; i < n; i++) {
        const ac_pictures *p = &set->input->pictures;
        AC_TRY(infer_format_text(&out, p->names + p->name_at[list[i].image], true));
        AC_TRY(infer_format_text(&out, ",", false));
        AC_TRY(infer_format_text(&out, list[i].reason, true));
        AC_TRY(infer_format_text(&out, "\n", false));
    }
    AC_TRY(ac_file_create(&file, path));
    AC_TRY(ac_file_write(&file, out.text, out.n_bytes));
    AC_TRY(ac_file_commit(&file));
out:
    ac_file_discard(&file);
    ac_free(out.text);
    return status;
}

/* One file, or a copy where there are no hard links. */
static ac_status has_same_bytes(const char *a, const char *b, bool *same)
{
    ac_status status = AC_OK;
    struct stat x, y;
    uint8_t *bytes_a = NULL, *bytes_b = NULL;
    size_t n_a, n_b;
    if (stat(a, &x) != 0)
        return ac_error_errno("%s", a);
    if (stat(b, &y) != 0)
        return ac_error_errno("%s", b);
    *same = x.st_ino == y.st_ino && x.st_dev == y.st_dev;
    if (*same || x.st_size != y.st_size)
        return AC_OK;
    AC_TRY(ac_file_read_all(a, 0, &bytes_a, &n_a));
    AC_TRY(ac_file_read_all(b, 0, &bytes_b, &n_b));
    *same = n_a == n_b && memcmp(bytes_a, bytes_b, n_a) == 0;
out:
    ac_free(bytes_a);
    ac_free(bytes_b);
    return status;
}

/* True when the files under a name of the checkpoint are those of the complete set. */
static ac_status is_linked(const infer *in, const infer_set *set, const infer_state *state, bool *linked)
{
    ac_status status = AC_OK;
    infer_found found;
    char from[AC_PATH_BYTES], to[AC_PATH_BYTES];
    int64_t *numbers = NULL, *parts = NULL;
    size_t n, n_parts;
    AC_TRY(infer_record_find(in, set, &found));
    AC_TRY(infer_list_files(set, false, &numbers, &n));
    AC_TRY(infer_list_files(set, true, &parts, &n_parts));
    *linked = found.origin == INFER_SAME && n == state->n_rows && n_parts == 0;
    for (size_t i = 0; *linked && i < n; i++) {
        *linked = numbers[i] == state->rows[i].number;
        AC_TRY(infer_rows_path(&state->set, state->rows[i].number, false, from));
        AC_TRY(infer_rows_path(set, state->rows[i].number, false, to));
        if (*linked)
            AC_TRY(has_same_bytes(from, to, linked));
    }
out:
    ac_free(numbers);
    ac_free(parts);
    return status;
}

/* The files of a complete set in the place of what is there under another of the checkpoint's names. */
static ac_status link_files(const infer *in, const infer_set *set, const infer_state *state)
{
    ac_status status = AC_OK;
    char from[AC_PATH_BYTES], to[AC_PATH_BYTES];
    AC_TRY(infer_record_write(in, set, false, 0, NULL, 0));
    AC_TRY(infer_remove_files(set, false));
    for (size_t i = 0; i < state->n_rows; i++) {
        AC_TRY(infer_rows_path(&state->set, state->rows[i].number, false, from));
        AC_TRY(infer_rows_path(set, state->rows[i].number, false, to));
        AC_TRY(ac_file_link(from, to));
    }
out:
    return status;
}

static ac_status link_set(const infer *in, const infer_set *set, const infer_state *state, const rejected *list,
                          size_t n, bool finished)
{
    ac_status status = AC_OK;
    bool linked;
    AC_TRY(is_linked(in, set, state, &linked));
    if (!linked)
        AC_TRY(link_files(in, set, state));
    AC_TRY(write_rejected(set, list, n));
    AC_TRY(infer_record_write(in, set, finished, (int64_t)n, state->rows, state->n_rows));
out:
    return status;
}

/* Rank 0's part. */
static ac_status complete(infer *in, const infer_weights *w, const infer_input *input, infer_state *state,
                          const rejected *list, size_t n)
{
    ac_status status = AC_OK;
    infer_set set;
    bool finished = (int64_t)n <= in->config->max_bad;
    AC_TRY(infer_check_locks(in));
    AC_TRY(write_rejected(&state->set, list, n));
    AC_TRY(infer_record_write(in, &state->set, finished, (int64_t)n, state->rows, state->n_rows));
    for (size_t k = 0; k < w->n_targets; k++) {
        const infer_target *target = &in->jobs.target[w->first_target + k];
        if (target == state->set.target)
            continue;
        AC_TRY(infer_set_name(target, w, input, &set));
        AC_TRY(link_set(in, &set, state, list, n, finished));
    }
    if (!finished && n > in->n_rejected)
        AC_TRY(infer_set_path(&state->set, "_rejected.csv", in->rejected_path));
out:
    return status;
}

ac_status infer_finish(infer *in, const infer_weights *w, const infer_input *input, infer_state *state)
{
    ac_status status = AC_OK;
    MPI_Comm comm = in->run->comm;
    rejected *mine = NULL, *all = NULL;
    size_t n, n_bytes;
    AC_TRY(ac_comm_agree(comm, list_rejected(input, state, &mine, &n)));
    AC_TRY(ac_comm_gather_all(comm, mine, n * sizeof *mine, (void **)&all, &n_bytes, NULL));
    n = n_bytes / sizeof *all;
    if (state->n_done + (int64_t)n != input->n)
        AC_TRY(ac_error(AC_ERR_SYNC, "%s: %lld images scored and %zu rejected are not all %lld", state->set.stem,
                        (long long)state->n_done, n, (long long)input->n));
    ac_watchdog_at(in->run->watchdog, "completing scores", -1, in->run->rank > 0);
    status = in->run->rank == 0 ? complete(in, w, input, state, all, n) : AC_OK;
    ac_watchdog_at(in->run->watchdog, "completing scores", -1, true);
    AC_TRY(ac_comm_agree(comm, status));
    if ((int64_t)n > in->config->max_bad) {
        in->n_over++;
        in->n_rejected = n > in->n_rejected ? n : in->n_rejected;
    } else if (n) {
        ac_log(AC_LOG_WARN, "%s_rejected.csv: %zu pictures were rejected and have no scores", state->set.stem, n);
    }
out:
    ac_free(mine);
    ac_free(all);
    return status;
}
