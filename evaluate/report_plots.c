/* Figures as files: each complete or absent. Names are in docs/report.md. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "evaluate/report.h"
#include <stdio.h>
#include <string.h>

static ac_status save(ac_markup *figure, const char *path)
{
    ac_status status = AC_OK;
    ac_file file = {0};
    AC_TRY(figure->status);
    AC_TRY(ac_file_create(&file, path));
    AC_TRY(ac_file_write(&file, figure->text, figure->n_bytes));
    AC_TRY(ac_file_commit(&file));
out:
    ac_file_discard(&file);
    return status;
}

static ac_status draw_to(const char *path, report_draw draw, const report_drawing *d)
{
    ac_markup figure = {0};
    draw(&figure, d);
    ac_status status = save(&figure, path);
    ac_markup_release(&figure);
    return status;
}

/* What a file name may hold of a class's name: its letters and digits, everything else an underscore. */
static void plain_name(const char *name, char *out, size_t capacity)
{
    size_t n = 0;
    for (; *name && n + 1 < capacity; name++) {
        bool plain = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') || (*name >= '0' && *name <= '9');
        out[n++] = plain ? *name : '_';
    }
    out[n] = '\0';
}

/* {folder}/{prefix}_{name}.svg */
static ac_status draw_figures(const char *folder, const char *prefix, const report_figure *figures,
                              const report_drawing *d, size_t *n)
{
    ac_status status = AC_OK;
    char name[AC_PATH_BYTES], path[AC_PATH_BYTES];
    for (const report_figure *f = figures; f->name; f++) {
        if (f->possible && !f->possible(d))
            continue;
        int length = snprintf(name, sizeof name, "%s%s%s.svg", prefix, *prefix ? "_" : "", f->name);
        if (length < 0 || (size_t)length >= sizeof name)
            AC_TRY(ac_error(AC_ERR_USAGE, "%s: the plots' names are too long", folder));
        AC_TRY(ac_path_join(path, folder, name));
        AC_TRY(draw_to(path, f->draw, d));
        ++*n;
    }
out:
    return status;
}

static const report_figure thresholds_figure[] = {
    {"metrics", NULL, NULL, report_draw_thresholds, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static ac_status draw_version(const report *r, const report_version *v, size_t *n)
{
    ac_status status = AC_OK;
    const score_set *set = &r->sets->set[v->set];
    char folder[AC_PATH_BYTES], name[SET_NAME_BYTES + 16], prefix[2 * SET_NAME_BYTES], plain[64];
    report_drawing d = {.report = r, .version = v, .standalone = true};
    snprintf(name, sizeof name, "version_%s", set->version);
    AC_TRY(ac_path_join(folder, r->config->plots, set->version[0] && strcmp(set->version, ".") != 0 ? name : ""));
    AC_TRY(ac_path_make_folders(folder));
    AC_TRY(draw_figures(folder, set->stem, thresholds_figure, &d, n));
    AC_TRY(draw_figures(folder, set->stem, report_set_figures + 1, &d, n)); /* the first is part of the one above */
    AC_TRY(draw_figures(folder, set->stem, report_training_figures, &d, n));
    for (size_t c = 0; c <= r->labels->n_classes; c++) {
        d.class_index = c;
        plain_name(c < r->labels->n_classes ? r->labels->class_name[c] : "any", plain, sizeof plain);
        snprintf(prefix, sizeof prefix, "%s_%02zu_%s", set->stem, c + 1, plain);
        AC_TRY(draw_figures(folder, prefix, report_class_figures, &d, n));
    }
out:
    return status;
}

/* Files of different folders may have the same names. */
static ac_status check_names(const report *r)
{
    for (size_t i = 0; i < r->n_versions; i++)
        for (size_t k = 0; k < i; k++) {
            const score_set *one = &r->sets->set[r->version[i].set], *other = &r->sets->set[r->version[k].set];
            if (strcmp(one->version, other->version) == 0 && strcmp(one->stem, other->stem) == 0)
                return ac_error(AC_ERR_USAGE, "%s/%s and %s/%s: their plots would have the same names", other->folder,
                                other->stem, one->folder, one->stem);
        }
    return AC_OK;
}

ac_status report_write_plots(const report *r)
{
    ac_status status = AC_OK;
    size_t n = 0;
    report_drawing d = {.report = r, .standalone = true};
    AC_TRY(ac_path_make_folders(r->config->plots));
    AC_TRY(check_names(r));
    AC_TRY(draw_figures(r->config->plots, "", report_data_figures, &d, &n));
    for (size_t i = 0; i < r->n_versions; i++)
        AC_TRY(draw_version(r, &r->version[i], &n));
    ac_log(AC_LOG_INFO, "wrote %zu plots to %s", n, r->config->plots);
out:
    return status;
}

ac_status evaluate_threshold_plot_output(const score_set *set, char *out)
{
    snprintf(out, AC_PATH_BYTES, "%s", set->output);
    char *ending = strrchr(out, '.');
    if (!ending || strcmp(ending, ".json") != 0)
        return ac_error(AC_ERR_USAGE, "%s: the plot's name is that of a .json file", out);
    memcpy(ending, ".svg", sizeof ".svg");
    return AC_OK;
}

ac_status evaluate_write_threshold_plot(const evaluate_config *config, const score_set *set, const label_table *labels,
                                        const set_result *result)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    score_sets sets = {.set = (score_set *)set, .n_sets = 1};
    report_version version = {0};
    report r = {
        .config = config, .sets = &sets, .labels = labels, .result = result, .version = &version, .n_versions = 1};
    report_drawing d = {.report = &r, .version = &version, .standalone = true};
    AC_TRY(evaluate_threshold_plot_output(set, path));
    AC_TRY(report_choose_classes(&r));
    AC_TRY(report_compute_curves(labels, result, config->compat == EVALUATE_COMPAT_REFERENCE, &version.curves));
    AC_TRY(draw_to(path, report_draw_thresholds, &d));
out:
    report_release_curves(&version.curves);
    ac_free(r.highlighted);
    return status;
}
