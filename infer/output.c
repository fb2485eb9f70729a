/* Rows of scores as CSV, and this rank's file of them. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "infer/steps.h"
#include <string.h>

ac_status infer_format_text(infer_output *out, const char *text, bool quoted)
{
    ac_status status = AC_OK;
    AC_TRY(ac_reserve(&out->text, &out->capacity, out->n_bytes + 2 * strlen(text) + 3, 1));
    if (quoted) {
        out->n_bytes += ac_csv_quote(text, out->text + out->n_bytes, out->capacity - out->n_bytes) - 1;
    } else {
        memcpy(out->text + out->n_bytes, text, strlen(text));
        out->n_bytes += strlen(text);
    }
out:
    return status;
}

ac_status infer_format_header(const infer *in, const infer_weights *w, infer_output *out)
{
    ac_status status = AC_OK;
    const char *name = infer_class_name(&in->jobs, w, 0);
    AC_TRY(infer_format_text(out, "Filename", false));
    for (size_t c = 0; c < w->n_classes; c++, name += strlen(name) + 1) {
        AC_TRY(infer_format_text(out, ",", false));
        AC_TRY(infer_format_text(out, name, true));
    }
    AC_TRY(infer_format_text(out, "\n", false));
out:
    return status;
}

static ac_status format_row(infer_output *out, const char *name, const float *score, size_t m)
{
    ac_status status = AC_OK;
    AC_TRY(infer_format_text(out, name, true));
    AC_TRY(ac_reserve(&out->text, &out->capacity, out->n_bytes + m * (AC_NUMBER_BYTES + 1) + 1, 1));
    char *at = out->text + out->n_bytes;
    for (size_t c = 0; c < m; c++) {
        *at++ = ',';
        at += ac_format_float(score[c], at);
    }
    *at++ = '\n';
    out->n_bytes = (size_t)(at - out->text);
    out->n_rows++;
out:
    return status;
}

/* Flushed row by row of batches: what a killed run leaves can be used. */
static ac_status write_text(infer_output *out)
{
    ac_status status = AC_OK;
    if (out->n_bytes == 0)
        return AC_OK;
    AC_TRY(ac_file_write(&out->file, out->text, out->n_bytes));
    AC_TRY(ac_file_flush(&out->file));
    out->n_bytes = 0;
out:
    return status;
}

ac_status infer_output_add(const infer *in, const infer_state *state, infer_output *out, const ac_batch *batch,
                           const ac_source *source)
{
    ac_status status = AC_OK;
    const infer_session *s = &in->session;
    size_t m = s->shape.n_classes;
    char path[AC_PATH_BYTES];
    for (int i = 0; i < batch->n; i++) {
        if (!batch->usable[i])
            continue;
        if (!out->file.stream && out->n_rows == 0) {
            AC_TRY(infer_rows_path(&state->set, state->next_number + in->run->rank, false, path));
            AC_TRY(ac_file_create(&out->file, path));
            AC_TRY(infer_format_header(in, state->set.weights, out));
        }
        AC_TRY(format_row(out, source->name(source->context, batch->sample[i]), s->scores + (size_t)i * m, m));
    }
    AC_TRY(write_text(out));
out:
    return status;
}
