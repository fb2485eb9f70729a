/* Which elements of a sweep can be evaluated. Leaves the table to table.c and table_sweep.c. */
#include "evaluate/sweep.h"
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include <stdio.h>
#include <string.h>

static ac_status find_state(const evaluate_config *config, const char *version, char out[SWEEP_STATE_BYTES])
{
    ac_status status = AC_OK;
    char name[SET_NAME_BYTES + 16], folder[AC_PATH_BYTES], text[AC_PROGRESS_BYTES] = "";
    ac_progress_state progress = {.kind = AC_PROGRESS_FINISHED};
    bool have_scores = false;
    if (strlen(version) >= SET_NAME_BYTES)
        return ac_error(AC_ERR_DATA, "--sweep: the name of the version %.100s... is too long", version);
    if (config->log_dir) {
        snprintf(name, sizeof name, "version_%s", version);
        AC_TRY(ac_path_join(folder, config->log_dir, name));
        AC_TRY(ac_checkpoint_progress(folder, &progress));
        ac_checkpoint_progress_text(&progress, text);
    }
    AC_TRY(evaluate_has_scores(config, version, &have_scores));
    if (progress.kind != AC_PROGRESS_FINISHED)
        snprintf(out, SWEEP_STATE_BYTES, "%s", text);
    else if (!have_scores)
        snprintf(out, SWEEP_STATE_BYTES, "%s%sno scores of %s", text, *text ? ", " : "", ac_split_name((ac_split)config->split));
    else
        out[0] = '\0';
out:
    return status;
}

ac_status evaluate_open_sweep(const evaluate_config *config, evaluate_sweep *out)
{
    ac_status status = AC_OK;
    memset(out, 0, sizeof *out);
    AC_TRY(ac_sweep_file_read(config->sweep, &out->file));
    AC_TRY(ac_calloc(out->file.n_elements, sizeof *out->state, &out->state));
    AC_TRY(ac_calloc(out->file.n_elements, sizeof *out->version, &out->version));
    for (size_t i = 0; i < out->file.n_elements; i++) {
        AC_TRY(find_state(config, out->file.version[i], out->state[i]));
        if (out->state[i][0] == '\0')
            out->version[out->n_versions++] = out->file.version[i];
    }
    if (out->n_versions == 0)
        return ac_error(AC_ERR_DATA, "%s: none of the %zu elements is there to evaluate; the first, %s: %s", config->sweep, out->file.n_elements,
                        out->file.version[0], out->state[0]);
out:
    return status;
}

void evaluate_release_sweep(evaluate_sweep *sweep)
{
    ac_sweep_file_release(&sweep->file);
    ac_free(sweep->state);
    ac_free(sweep->version);
    memset(sweep, 0, sizeof *sweep);
}

ac_status evaluate_check_sweep(const evaluate_config *config, const evaluate_sweep *sweep)
{
    size_t n = sweep->file.n_elements, first = 0;
    if (sweep->n_versions == n)
        return AC_OK;
    while (sweep->state[first][0] == '\0')
        first++;
    return ac_error(AC_ERR_DATA, "%zu of the %zu elements of %s are missing, the first is %s (%s): train and infer them, then evaluate again",
                    n - sweep->n_versions, n, config->sweep, sweep->file.version[first], sweep->state[first]);
}

size_t evaluate_find_element(const evaluate_sweep *sweep, const char *version)
{
    size_t i = 0;
    while (i < sweep->file.n_elements && strcmp(sweep->file.version[i], version) != 0)
        i++;
    return i;
}
