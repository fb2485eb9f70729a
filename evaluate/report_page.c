/* The page: head, selectors, sections. All that choosing needs is CSS on checked elements; the script adds read-outs
 * and sorting. */
#include "evaluate/report.h"
#include <math.h>
#include <string.h>

static const char dot[] = " <span class=\"sep\">\xC2\xB7</span> ";

static void write_styles(ac_markup *out, const report *r)
{
    static const char *const dashes[AC_CHART_DASHES] = {"none", "6 3", "1.5 2.5"};
    ac_markup_add(out, "<style>\n");
    ac_markup_add(out, ac_chart_colors_css);
    ac_markup_add(out, ac_chart_style_css);
    ac_markup_add(out, evaluate_report_css);
    ac_markup_add(out, "@supports selector(:has(a)){\n");
    for (size_t i = 0; i < r->n_versions; i++)
        ac_markup_format(out, ":root:has(#v%zu:not(:checked)) #p%zu{display:none}\n", i, i);
    for (size_t c = 0; c < r->labels->n_classes; c++)
        ac_markup_format(out,
                         ":root:has(#h%zu:checked) .c%zu{color:var(--k%zu);visibility:visible}\n"
                         ":root:has(#h%zu:checked) .ln.c%zu{stroke-width:1.9;stroke-opacity:1;stroke-dasharray:%s}\n",
                         c, c, c % AC_CHART_HUES, c, c, dashes[c / AC_CHART_HUES % AC_CHART_DASHES]);
    ac_markup_add(out, "}\n</style>\n");
}

static void write_title(ac_markup *out, const report *r)
{
    const char *split = ac_split_name((ac_split)r->config->split);
    ac_markup_format(out, "Evaluation on the %s split", split);
}

static int64_t n_negative(const report *r)
{
    int64_t n = 0;
    for (size_t i = 0; i < r->labels->n_images; i++)
        n += !r->labels->image_positive[i];
    return n;
}

static void write_absent(ac_markup *out, const report *r)
{
    size_t n = 0;
    for (size_t c = 0; c < r->labels->n_classes; c++) {
        if (r->result[0].profile[c].total.positive > 0)
            continue;
        ac_markup_add(out, n++ == 0 ? "<p class=\"warn\"><b>Absent:</b> no image shows " : ", ");
        ac_markup_add(out, "<b>");
        ac_markup_escape(out, r->labels->class_name[c]);
        ac_markup_add(out, "</b>");
    }
    if (n > 0)
        ac_markup_format(out, ". Metrics of %s are undefined (\xE2\x80\x93) and left out of means.</p>\n",
                         n == 1 ? "this class" : "these classes");
}

static void write_theme(ac_markup *out)
{
    static const char *const name[3] = {"auto", "light", "dark"};
    ac_markup_add(out, "<fieldset class=\"theme\"><legend>Colours</legend>");
    for (int i = 0; i < 3; i++)
        ac_markup_format(out,
                         "<label><input type=\"radio\" name=\"theme\" id=\"theme-%s\" "
                         "autocomplete=\"off\"%s><span>%s</span></label>",
                         name[i], i == 0 ? " checked" : "", name[i]);
    ac_markup_add(out, "</fieldset>");
}

void report_write_head(ac_markup *out, const report *r)
{
    int64_t n = (int64_t)r->labels->n_images, none = n_negative(r);
    ac_markup_add(out, "<header><div><h1>");
    write_title(out, r);
    ac_markup_add(out, "</h1>\n<p class=\"facts\"><span class=\"source\">");
    ac_markup_escape(out, r->labels->source);
    ac_markup_add(out, "</span>");
    ac_markup_add(out, dot);
    ac_markup_count(out, n);
    ac_markup_add(out, " images");
    ac_markup_add(out, dot);
    ac_markup_count(out, (int64_t)r->labels->n_classes);
    ac_markup_add(out, r->labels->n_classes == 1 ? " class" : " classes");
    ac_markup_add(out, dot);
    ac_markup_format(out, "%.1f %% show nothing", n > 0 ? 100 * (double)none / (double)n : 0);
    ac_markup_add(out, dot);
    ac_markup_format(out, "threshold %g", r->config->threshold);
    if (r->result[0].tuned)
        ac_markup_format(out, "%sthresholds for each class tuned on Val for F%g", dot, r->config->f_beta);
    if (r->config->compat == EVALUATE_COMPAT_REFERENCE)
        ac_markup_format(out, "%sthe reference's arithmetic", dot);
    ac_markup_add(out, "</p>\n");
    write_absent(out, r);
    ac_markup_add(out, "</div>");
    write_theme(out);
    ac_markup_add(out, "</header>\n");
}

static void write_tile(ac_markup *out, const report *r, const char *title, size_t offset)
{
    size_t best = 0;
    double most = NAN;
    for (size_t i = 0; i < r->sets->n_sets; i++) {
        double value;
        memcpy(&value, (const char *)&r->result[i].metrics + offset, sizeof value);
        if (!isnan(value) && !(value <= most)) {
            most = value;
            best = i;
        }
    }
    const score_set *set = &r->sets->set[best];
    ac_markup_format(out, "<div class=\"tile\"><dt>%s%s</dt><dd><b>", r->sets->n_sets > 1 ? "Highest " : "", title);
    report_value(out, most, 4);
    ac_markup_add(out, "</b><span>");
    ac_markup_escape(out, set->version[0] ? set->version : set->stem);
    if (set->checkpoint[0]) {
        ac_markup_add(out, dot);
        ac_markup_escape(out, set->checkpoint);
    }
    ac_markup_add(out, "</span></dd></div>\n");
}

static void write_summary(ac_markup *out, const report *r)
{
    ac_markup_add(out, "<section id=\"summary\" aria-labelledby=\"h-summary\"><h2 id=\"h-summary\">At a "
                       "glance</h2>\n<dl class=\"tiles\">\n");
    write_tile(out, r, "macro F1", offsetof(ac_metrics, macro_f1));
    write_tile(out, r, "macro F2", offsetof(ac_metrics, macro_f2));
    write_tile(out, r, "mAP", offsetof(ac_metrics, mean_average_precision));
    if (r->result[0].metrics.has_label_weight)
        write_tile(out, r, "CIW-F2", offsetof(ac_metrics, ciw_f2));
    write_tile(out, r, "F1-Neg", offsetof(ac_metrics, f1_negative));
    ac_markup_add(out, "</dl></section>\n");
}

void report_write_figures(ac_markup *out, const report_figure *figures, const report_drawing *d)
{
    ac_markup_add(out, "<div class=\"figures\">\n");
    for (const report_figure *f = figures; f->name; f++) {
        if (f->possible && !f->possible(d))
            continue;
        ac_markup_format(out, "<figure><figcaption>%s", f->caption);
        if (f->note)
            ac_markup_format(out, "<small>%s</small>", f->note);
        ac_markup_add(out, "</figcaption>\n<div class=\"plot\">");
        f->draw(out, d);
        ac_markup_add(out, "</div></figure>\n");
    }
    ac_markup_add(out, "</div>\n");
}

static void write_version_choice(ac_markup *out, const report *r)
{
    if (r->n_versions < 2)
        return;
    ac_markup_add(out, "<fieldset class=\"tabs\"><legend>Version</legend><div>");
    for (size_t i = 0; i < r->n_versions; i++) {
        ac_markup_format(out, "<label><input type=\"radio\" name=\"version\" id=\"v%zu\" autocomplete=\"off\"%s><span>",
                         i, i == 0 ? " checked" : "");
        ac_markup_escape(out, report_version_name(r, &r->version[i]));
        ac_markup_add(out, "</span></label>");
    }
    ac_markup_add(out, "</div></fieldset>\n");
}

static void write_class_choice(ac_markup *out, const report *r)
{
    ac_markup_add(out, "<fieldset class=\"chips\"><legend>Classes in colour</legend><div>");
    for (size_t c = 0; c < r->labels->n_classes; c++) {
        ac_markup_format(out,
                         "<label data-c=\"%zu\"><input type=\"checkbox\" id=\"h%zu\" autocomplete=\"off\"%s><svg "
                         "class=\"chart\" viewBox=\"0 0 18 8\" aria-hidden=\"true\">"
                         "<path class=\"ln k%zu d%zu\" d=\"M0 4h18\"/></svg><span>",
                         c, c, r->highlighted[c] ? " checked" : "", c % AC_CHART_HUES,
                         c / AC_CHART_HUES % AC_CHART_DASHES);
        ac_markup_escape(out, r->labels->class_name[c]);
        ac_markup_add(out, "</span></label>");
    }
    ac_markup_add(out, "</div></fieldset>\n");
}

static void write_class_summary(ac_markup *out, const report *r, const set_result *result, size_t c)
{
    const ac_profile *profile = &result->profile[c];
    ac_markup_add(out, "<summary><span class=\"class-name\">");
    ac_markup_escape(out, report_class_name(r, c));
    ac_markup_add(out, "</span><span class=\"class-facts\">");
    ac_markup_count(out, profile->total.positive);
    ac_markup_add(out, profile->total.positive == 1 ? " image" : " images");
    if (profile->total.positive > 0) {
        ac_ratios at;
        const ac_image_count *image = &result->metrics.image_count;
        ac_metrics_ratios(image->true_positive, image->false_positive, image->false_negative, &at);
        ac_markup_format(out, "%sAP <b>%.3f</b>%sF1 <b>%.3f</b>", dot, profile->average_precision, dot,
                         c < r->labels->n_classes ? result->metrics.class_metrics[c].f1 : at.f1);
    }
    ac_markup_add(out, "</span></summary>\n");
}

void report_write_classes(ac_markup *out, const report *r, const report_version *v)
{
    const set_result *result = &r->result[v->set];
    bool opened = false;
    for (size_t c = 0; c <= r->labels->n_classes; c++) {
        report_drawing d = {.report = r, .version = v, .class_index = c};
        bool open = !opened && c < r->labels->n_classes && r->highlighted[c];
        opened |= open;
        ac_markup_format(out, "<details class=\"class\" id=\"c%zu-%zu\"%s>", v->number, c, open ? " open" : "");
        write_class_summary(out, r, result, c);
        report_write_figures(out, report_class_figures, &d);
        report_write_wrong(out, r, v, c);
        ac_markup_add(out, "</details>\n");
    }
}

/* What the first figure draws, to read and to copy. */
static void write_thresholds(ac_markup *out, const report *r, const report_version *v)
{
    const report_curves *of = &v->curves;
    const double *threshold = r->result[v->set].threshold;
    ac_markup_format(out,
                     "<details class=\"numbers\"><summary>Numbers over the threshold</summary><div class=\"scroll\" "
                     "tabindex=\"0\" role=\"region\" "
                     "aria-label=\"Metrics over the threshold\"><table><thead><tr><th scope=\"col\">Threshold</th><th "
                     "scope=\"col\">Macro F1</th>"
                     "<th scope=\"col\">Macro F2</th><th scope=\"col\">F1-Neg</th><th "
                     "scope=\"col\">F1-Pos</th>%s</tr></thead>\n<tbody>\n",
                     of->has_label_weight ? "<th scope=\"col\">CIW-F2</th>" : "");
    for (size_t t = 4; t < EVALUATE_GRID; t += 5) { /* the reference's nineteen */
        const double value[5] = {of->macro_f1[t], of->macro_f2[t], of->f1_negative[t], of->f1_positive[t],
                                 of->ciw_f2[t]};
        ac_markup_format(out, "<tr><th scope=\"row\">%.2f</th>", threshold[t]);
        for (int k = 0; k < (of->has_label_weight ? 5 : 4); k++) {
            ac_markup_add(out, "<td>");
            report_value(out, value[k], 4);
            ac_markup_add(out, "</td>");
        }
        ac_markup_add(out, "</tr>\n");
    }
    ac_markup_add(out, "</tbody></table></div></details>\n");
}

static void write_version(ac_markup *out, const report *r, const report_version *v)
{
    const score_set *set = &r->sets->set[v->set];
    report_drawing d = {.report = r, .version = v};
    ac_markup_format(out, "<div class=\"version\" id=\"p%zu\"><h3>", v->number);
    ac_markup_escape(out, report_version_name(r, v));
    if (set->checkpoint[0]) {
        ac_markup_add(out, "<small>checkpoint ");
        ac_markup_escape(out, set->checkpoint);
        ac_markup_add(out, "</small>");
    }
    ac_markup_add(out, "</h3>\n");
    report_write_class_table(out, r, v);
    ac_markup_add(out, "<h4>Over all classes</h4>\n");
    report_write_figures(out, report_set_figures, &d);
    write_thresholds(out, r, v);
    if (report_has_log(&d)) {
        ac_markup_add(out, "<h4>Training</h4>\n");
        report_write_figures(out, report_training_figures, &d);
    } else if (r->config->log_dir)
        ac_markup_add(out, "<p>No metrics.csv of this version: no training curves.</p>\n");
    ac_markup_add(out, "<h4>Class by class</h4>\n");
    report_write_classes(out, r, v);
    ac_markup_add(out, "</div>\n");
}

static void write_details(ac_markup *out, const report *r)
{
    ac_markup_add(out, "<section id=\"details\" aria-labelledby=\"h-details\"><h2 id=\"h-details\">Details</h2>\n");
    write_version_choice(out, r);
    write_class_choice(out, r);
    for (size_t i = 0; i < r->n_versions; i++)
        write_version(out, r, &r->version[i]);
    ac_markup_add(out, "</section>\n");
}

static void write_data(ac_markup *out, const report *r)
{
    report_drawing d = {.report = r};
    ac_markup_add(out,
                  "<section id=\"data\" aria-labelledby=\"h-data\"><h2 id=\"h-data\">Labels that occur together</h2>\n"
                  "<p>Each row is a class; the colour is the share of its images that show the column's class too, the "
                  "number how many do. "
                  "On the diagonal all its images.</p>\n<div class=\"scroll wide\" tabindex=\"0\" role=\"region\" "
                  "aria-label=\"Labels that occur together\">");
    report_draw_together(out, &d);
    ac_markup_add(out, "</div></section>\n");
}

ac_status report_write_page(ac_markup *out, report *r)
{
    ac_status status = AC_OK;
    ac_markup_add(out,
                  "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                  "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                  "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>");
    write_title(out, r);
    ac_markup_add(out, "</title>\n");
    write_styles(out, r);
    ac_markup_add(out, "</head><body>\n<a class=\"skip\" href=\"#main\">Skip to the content</a>\n");
    report_write_head(out, r);
    ac_markup_format(
        out,
        "<nav aria-label=\"Sections\"><a href=\"#results\">Results</a>%s<a href=\"#details\">Details</a><a "
        "href=\"#data\">Labels</a></nav>\n<main id=\"main\" tabindex=\"-1\">\n",
        r->n_versions > 1 ? "<a href=\"#classes\">Classes</a>" : "");
    write_summary(out, r);
    report_write_table(out, r);
    report_write_comparison(out, r);
    write_details(out, r);
    write_data(out, r);
    ac_markup_add(out, "</main>\n<footer>Made by anyclass-evaluate.</footer>\n");
    AC_TRY(report_write_pixels(out, r));
    ac_markup_add(out, "<script>\n");
    ac_markup_add(out, evaluate_report_js);
    ac_markup_add(out, "</script>\n</body></html>\n");
    status = out->status;
out:
    return status;
}
