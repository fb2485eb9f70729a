/* The images that have no scores yet, dealt to the ranks, a batch after the other. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "anyclass/stop.h"
#include "infer/steps.h"
#include <stdio.h>
#include <string.h>

typedef struct scorer { /* one rank's share */
    infer *in;
    const infer_weights *weights;
    infer_input *input;
    infer_state *state;
    ac_source source;
    int64_t *list;     /* [n] images */
    int64_t n, n_left; /* here, on all ranks */
    infer_output out;
    bool cannot_write; /* the failure is one of the file's */
} scorer;

/* Ranks get contiguous parts of what is left, in the data's order. */
static ac_status deal(scorer *s)
{
    ac_status status = AC_OK;
    const infer_state *state = s->state;
    int64_t first, at = 0;
    s->n_left = s->input->n - state->n_done;
    ac_comm_slice(s->n_left, s->in->run->rank, s->in->run->size, &first, &s->n);
    AC_TRY(ac_malloc((size_t)s->n + 1, sizeof *s->list, &s->list));
    for (int64_t i = 0; i < s->input->n; i++) {
        if (state->done[i])
            continue;
        if (at >= first && at < first + s->n)
            s->list[at - first] = i;
        at++;
    }
out:
    return status;
}

/* Ask for the next batch; write what is answered, at the end of the list everything. */
static ac_status one_batch(scorer *s, bool last)
{
    ac_status status = AC_OK;
    const ac_batch *asked, *answered;
    infer_session *session = &s->in->session;
    AC_TRY(ac_loader_next(s->input->loader, &asked, NULL));
    if (asked)
        AC_TRY(infer_session_ask(session, asked, &s->source));
    while (infer_session_has_answer(session, last || !asked)) {
        status = infer_session_answer(session, &s->source, &answered);
        if (status != AC_OK)
            AC_TRY(ac_error_in(status, "%s", s->weights->path));
        status = infer_output_add(s->in, s->state, &s->out, answered, &s->source);
        s->cannot_write = status != AC_OK;
        AC_TRY(status);
    }
out:
    return status;
}

/* All ranks make the same number of steps, so that failures and signals can be agreed on after each. */
static ac_status all_batches(scorer *s, ac_progress *progress)
{
    ac_status status = AC_OK;
    const infer *in = s->in;
    int64_t rows = in->session.rows, most = (s->n_left + in->run->size - 1) / in->run->size;
    for (int64_t step = 0; step * rows < most; step++) {
        ac_watchdog_at(in->run->watchdog, "inference batch", step, false);
        ac_status one = one_batch(s, (step + 1) * rows >= most);
        ac_watchdog_at(in->run->watchdog, "inference batch", step, true);
        int events[2] = {one != AC_OK, ac_stop_signal()};
        AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, events, 2, MPI_INT, MPI_MAX, in->run->comm), "MPI_Allreduce"));
        if (events[0])
            AC_TRY(ac_comm_agree(in->run->comm, one));
        int64_t done = (step + 1) * rows * in->run->size;
        ac_progress_update(progress, (uint64_t)(done < s->n_left ? done : s->n_left), NULL);
        if (events[1] && done < s->n_left)
            return infer_check_stop(in);
    }
out:
    return status;
}

/* Whatever happened, rows that are whole become a complete file; only what cannot be written is left as it is. So it is
 * when ranks have lost each other: another run may have begun, and would not see a file that becomes complete only now.
 */
static ac_status close_output(scorer *s, bool apart)
{
    ac_status status = AC_OK;
    if (s->cannot_write || apart) {
        ac_file_leave(&s->out.file);
        return AC_OK;
    }
    s->out.file.keep_part = true;
    if (s->out.file.stream)
        status = ac_file_commit(&s->out.file);
    return status;
}

/* Which rank has written how many rows: for the record. */
static ac_status note_rows(scorer *s)
{
    ac_status status = AC_OK;
    infer_state *state = s->state;
    int64_t *all = NULL;
    size_t n_bytes;
    AC_TRY(ac_comm_gather_all(s->in->run->comm, &s->out.n_rows, sizeof s->out.n_rows, (void **)&all, &n_bytes, NULL));
    for (int r = 0; r < s->in->run->size; r++) {
        state->n_done += all[r];
        if (all[r] == 0 || s->in->run->rank > 0)
            continue;
        AC_TRY(ac_reserve(&state->rows, &state->rows_capacity, state->n_rows + 1, sizeof *state->rows));
        state->rows[state->n_rows++] = (infer_rows){state->next_number + r, all[r]};
    }
out:
    ac_free(all);
    return ac_comm_agree(s->in->run->comm, status);
}

static ac_status begin(scorer *s)
{
    ac_status status = AC_OK;
    infer *in = s->in;
    AC_TRY(infer_input_begin(in, s->input, s->weights->image_size_px, in->session.rows));
    s->source = infer_input_source(s->input);
    AC_TRY(deal(s));
    AC_TRY(ac_loader_begin_list(s->input->loader, s->list, s->n));
out:
    return status;
}

ac_status infer_score(infer *in, const infer_weights *weights, infer_input *input, infer_state *state)
{
    ac_status status = AC_OK;
    scorer s = {.in = in, .weights = weights, .input = input, .state = state};
    ac_progress progress;
    char label[128], text[AC_ERROR_TEXT_BYTES];
    snprintf(label, sizeof label, "%.60s %.40s %s", state->set.target->version, state->set.target->checkpoint,
             input->title);
    AC_TRY(ac_comm_agree(in->run->comm, begin(&s)));
    ac_progress_begin(&progress, label, "images", (uint64_t)s.n_left);
    status = all_batches(&s, &progress);
    snprintf(text, sizeof text, "%s", ac_error_text());
    infer_session_forget(&in->session);
    ac_watchdog_at(in->run->watchdog, "closing a score file", -1, false);
    ac_status held = status == AC_ERR_SYNC ? AC_OK : ac_comm_agree(in->run->comm, infer_check_locks(in));
    if (held != AC_OK) { /* the folder is another's: nothing of this run belongs into it */
        ac_file_discard(&s.out.file);
        status = held;
        goto out;
    }
    ac_status closed = close_output(&s, status == AC_ERR_SYNC);
    ac_watchdog_at(in->run->watchdog, "closing a score file", -1, true);
    closed = ac_comm_agree(in->run->comm, closed);
    if (status != AC_OK)
        AC_TRY(ac_error(status, "%s", text));
    AC_TRY(closed);
    ac_progress_end(&progress);
    AC_TRY(note_rows(&s));
out:
    if (s.list) /* the loader must not look at it any more */
        (void)!ac_loader_begin_list(input->loader, s.list, 0);
    ac_free(s.list);
    ac_free(s.out.text);
    return status;
}
