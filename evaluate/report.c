/* The report: choose what is shown, gather it, write the page and the plots. Leaves drawing to the other report files.
 */
#include "evaluate/report.h"
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include <math.h>
#include <string.h>

enum { FEW_CLASSES = AC_CHART_HUES, N_HIGHLIGHTED = 3, MOST_PICTURES = 640, LEAST_WRONG = 2 };

const char *report_version_name(const report *r, const report_version *v)
{
    const score_set *set = &r->sets->set[v->set];
    for (size_t i = 0; i < r->n_versions; i++) /* files of one folder */
        if (i != v->number && strcmp(r->sets->set[r->version[i].set].version, set->version) == 0)
            return set->stem;
    return set->version[0] ? set->version : set->stem;
}

const char *report_class_name(const report *r, size_t c)
{
    return c < r->labels->n_classes ? r->labels->class_name[c] : "shows something";
}

void report_value(ac_markup *out, double value, int decimals)
{
    if (isfinite(value))
        ac_markup_format(out, "%.*f", decimals, value);
    else
        ac_markup_add(out, "\xE2\x80\x93");
}

/* Sets of one version follow each other; its details are those of config->checkpoint, else of its first set. Of sets
 * given as files each is its own. */
static ac_status choose_versions(report *r)
{
    ac_status status = AC_OK;
    AC_TRY(ac_calloc(r->sets->n_sets, sizeof *r->version, &r->version));
    for (size_t i = 0; i < r->sets->n_sets; i++) {
        const score_set *set = &r->sets->set[i];
        report_version *last = r->n_versions > 0 ? &r->version[r->n_versions - 1] : NULL;
        bool same =
            last && r->config->scores.n_items == 0 && strcmp(set->version, r->sets->set[last->set].version) == 0;
        if (!same) {
            r->version[r->n_versions] = (report_version){.number = r->n_versions, .set = i};
            r->n_versions++;
        } else if (strcmp(set->checkpoint, r->config->checkpoint) == 0 &&
                   strcmp(r->sets->set[last->set].checkpoint, r->config->checkpoint) != 0)
            last->set = i;
    }
out:
    return status;
}

/* All classes where they are few, otherwise those with the lowest AP in the first version. */
ac_status report_choose_classes(report *r)
{
    ac_status status = AC_OK;
    size_t n = r->labels->n_classes;
    const ac_class_metrics *of = r->result[r->version[0].set].metrics.class_metrics;
    AC_TRY(ac_calloc(n, sizeof *r->highlighted, &r->highlighted));
    for (size_t k = 0; k < (n <= FEW_CLASSES ? n : N_HIGHLIGHTED); k++) {
        size_t lowest = n;
        for (size_t c = 0; c < n; c++)
            if (!r->highlighted[c] && (n <= FEW_CLASSES || !isnan(of[c].average_precision)) &&
                (lowest == n || of[c].average_precision < of[lowest].average_precision))
                lowest = c;
        if (lowest < n)
            r->highlighted[lowest] = true;
    }
out:
    return status;
}

static ac_status count_together(report *r)
{
    size_t n = r->labels->n_classes;
    ac_status status = ac_calloc(n * n, sizeof *r->together, &r->together);
    for (size_t i = 0; status == AC_OK && i < r->labels->n_images; i++) {
        const uint8_t *label = r->labels->label + i * n;
        for (size_t a = 0; r->labels->image_positive[i] && a < n; a++)
            for (size_t b = 0; label[a] && b < n; b++)
                r->together[a * n + b] += label[b];
    }
    return status;
}

/* `warn`: of each that is not there. */
static ac_status read_logs(report *r, bool warn)
{
    ac_status status = AC_OK;
    size_t n_found = 0;
    for (size_t i = 0; i < r->n_versions; i++) {
        const char *name = r->sets->set[r->version[i].set].version;
        AC_TRY(report_read_log(r->config->log_dir, name, &r->version[i].log));
        n_found += !r->version[i].log.missing;
        if (warn && r->version[i].log.missing)
            ac_log(AC_LOG_WARN, "%s/version_%s/metrics.csv is not there: the report has no training curves of %s",
                   r->config->log_dir, name, report_version_name(r, &r->version[i]));
    }
    if (n_found == 0)
        status = ac_error(AC_ERR_IO, "%s: no metrics.csv of any version (--log_dir is the trainer's --log_save_dir)",
                          r->config->log_dir);
out:
    return status;
}

/* The shards must be those whose labels were read: samples are found by their index. */
static ac_status open_pixels(report *r)
{
    ac_status status = AC_OK;
    AC_TRY(ac_store_open(r->config->data_root, ac_split_name((ac_split)r->config->split), &r->store));
    r->has_pixels = true;
    if ((size_t)r->store.n_samples != r->labels->n_images ||
        strcmp(ac_store_name(&r->store, 0), r->labels->name[0]) != 0)
        status = ac_error(AC_ERR_DATA, "%s: the shards changed while they were evaluated", r->config->data_root);
out:
    return status;
}

static ac_status begin_report(report *r)
{
    ac_status status = AC_OK;
    bool reference = r->config->compat == EVALUATE_COMPAT_REFERENCE;
    AC_TRY(choose_versions(r));
    AC_TRY(report_choose_classes(r));
    AC_TRY(count_together(r));
    for (size_t i = 0; i < r->n_versions; i++)
        AC_TRY(report_compute_curves(r->labels, &r->result[r->version[i].set], reference, &r->version[i].curves));
    if (r->config->log_dir)
        AC_TRY(read_logs(r, true));
    size_t n_lists = 2 * r->labels->n_classes * r->n_versions;
    size_t n_wrong = MOST_PICTURES / n_lists < LEAST_WRONG ? LEAST_WRONG : MOST_PICTURES / n_lists;
    r->n_wrong = n_wrong < AC_PROFILE_WRONG ? (uint32_t)n_wrong : AC_PROFILE_WRONG;
    if (r->config->data_root && r->config->report)
        AC_TRY(open_pixels(r));
out:
    return status;
}

static void end_report(report *r)
{
    for (size_t i = 0; r->version && i < r->n_versions; i++) {
        report_release_curves(&r->version[i].curves);
        report_release_log(&r->version[i].log);
    }
    ac_free(r->version);
    ac_free(r->highlighted);
    ac_free(r->together);
    ac_store_close(&r->store);
}

ac_status evaluate_check_report(const evaluate_config *config, const score_sets *sets)
{
    ac_status status = AC_OK;
    report r = {.config = config, .sets = sets};
    if (!config->log_dir)
        return AC_OK;
    AC_TRY(choose_versions(&r));
    AC_TRY(read_logs(&r, false));
out:
    end_report(&r);
    return status;
}

static ac_status save_page(report *r)
{
    ac_status status = AC_OK;
    ac_markup page = {0};
    ac_file file = {0};
    char folder[AC_PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", r->config->report);
    char *slash = strrchr(folder, '/');
    if (slash && slash != folder) {
        *slash = '\0';
        AC_TRY(ac_path_make_folders(folder));
    }
    AC_TRY(report_write_page(&page, r));
    AC_TRY(page.status);
    AC_TRY(ac_file_create(&file, r->config->report));
    AC_TRY(ac_file_write(&file, page.text, page.n_bytes));
    AC_TRY(ac_file_commit(&file));
    ac_log(AC_LOG_INFO, "wrote %s (%.1f MB)", r->config->report, (double)page.n_bytes / 1e6);
out:
    ac_file_discard(&file);
    ac_markup_release(&page);
    return status;
}

ac_status evaluate_write_report(const evaluate_config *config, const score_sets *sets, const label_table *labels,
                                const set_result *result)
{
    ac_status status = AC_OK;
    report r = {.config = config, .sets = sets, .labels = labels, .result = result};
    AC_TRY(begin_report(&r));
    if (config->report)
        AC_TRY(save_page(&r));
    if (config->plots)
        AC_TRY(report_write_plots(&r));
out:
    end_report(&r);
    return status;
}
