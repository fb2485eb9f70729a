/* What the options say together: surfaces by name, the other classes, class weights, the kind of output. */
#include "anyclass/loss.h"
#include "anyclass/loss_formula.h"
#include "anyclass/file.h"
#include "anyclass/log.h"
#include "simulate/steps.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define LAMBDA "\xCE\xBB"
#define ALPHA "\xCE\xB1"
#define GAMMA "\xCE\xB3"
#define SUB_J "\xE2\xB1\xBC"
#define SUM "\xE2\x88\x91 "
#define LOSS "\xE2\x84\x93"
#define OF_MEAN LOSS "(z\xCC\x84, any y)"
#define OF_SUM LOSS "(" SUM "w" SUB_J "z" SUB_J ", any y)"
#define OF_ALL SUM LOSS "(z" SUB_J ", y" SUB_J ")"
#define MINUS "\xE2\x88\x92"

const simulate_name simulate_names[SIMULATE_N_SURFACES] = {
    {"product", "Product of probabilities", "\xE2\x88\x8F p" SUB_J},
    {"geometric_mean", "Geometric mean of probabilities", "(\xE2\x88\x8F p" SUB_J ")^(1/M)"},
    {"bce_likelihood", "BCE likelihood", "exp(" MINUS OF_ALL ")"},
    {"any_likelihood", "Any-class likelihood", "exp(" MINUS OF_MEAN ")"},
    {"product_likelihood", "Product likelihood", "exp(" MINUS OF_SUM ")"},
    {"bce_any_likelihood", "BCE \xC3\x97 any-class likelihood",
     "exp(" MINUS OF_ALL " " MINUS " " ALPHA " " OF_MEAN ")"},
    {"bce_product_likelihood", "BCE \xC3\x97 product likelihood",
     "exp(" MINUS OF_ALL " " MINUS " " ALPHA " " OF_SUM ")"},
    {"bce_loss", "BCE loss", OF_ALL},
    {"any_loss", "Any-class loss", OF_MEAN},
    {"product_loss", "Product loss", OF_SUM},
    {"bce_any_loss", "BCE + any-class loss", OF_ALL " + " ALPHA " " OF_MEAN},
    {"bce_product_loss", "BCE + product loss", OF_ALL " + " ALPHA " " OF_SUM},
};

static ac_status find_surfaces(const simulate_config *config, simulate_plan *out)
{
    bool wanted[SIMULATE_N_SURFACES] = {false};
    for (size_t i = 0; i < config->surface.n_items; i++) {
        const char *name = config->surface.item[i];
        bool all = strcmp(name, "all") == 0, known = all;
        for (int k = 0; k < SIMULATE_N_SURFACES; k++)
            if (all || strcmp(name, simulate_names[k].name) == 0)
                known = wanted[k] = true;
        if (!known)
            return ac_error(AC_ERR_USAGE, "--surface %s: no such surface; --help lists them", name);
    }
    for (int k = 0; k < SIMULATE_N_SURFACES; k++)
        if (wanted[k])
            out->surface[out->n_surfaces++] = (simulate_surface)k;
    return AC_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcasecmp(text + n - m, end) == 0;
}

static ac_status find_format(const simulate_config *config, const ac_options *given, simulate_plan *out)
{
    const char *path = config->output;
    struct stat info;
    out->format = SIMULATE_CSV;
    if (!path)
        return AC_OK;
    if (ends_with(path, ".html") || ends_with(path, ".htm"))
        out->format = SIMULATE_PAGE;
    else if (ends_with(path, ".svg"))
        out->format = SIMULATE_SVG;
    else if (!ends_with(path, ".csv"))
        return ac_error(AC_ERR_USAGE, "--output %s: the name must end in .html (the page), .svg or .csv", path);
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return ac_error(AC_ERR_IO, "--output %s: is a folder", path);
    if (out->format == SIMULATE_PAGE && ac_options_given(given, "grid") && config->grid != SIMULATE_PAGE_GRID)
        return ac_error(AC_ERR_USAGE, "--grid %d: the page's grid is %d x %d; SVG and CSV take others",
                        (int)config->grid, SIMULATE_PAGE_GRID, SIMULATE_PAGE_GRID);
    if (out->format == SIMULATE_PAGE && out->n_surfaces != 1)
        return ac_error(AC_ERR_USAGE, "--surface: the page shows one large and all small; name the one");
    return out->format == SIMULATE_PAGE ? simulate_check_page() : AC_OK;
}

static ac_status find_classes(const simulate_config *config, simulate_scene *out)
{
    size_t n = config->other_p.n_items;
    if (n > SIMULATE_MOST_CLASSES - 2)
        return ac_error(AC_ERR_USAGE, "--other_p: %zu classes beside the two; %d are the most", n,
                        SIMULATE_MOST_CLASSES - 2);
    if (config->other_y.n_items != n && config->other_y.n_items != 0)
        return ac_error(AC_ERR_USAGE, "--other_y: %zu labels for %zu probabilities of --other_p",
                        config->other_y.n_items, n);
    out->n_classes = (int)n + 2;
    out->y[0] = (unsigned char)config->y1;
    out->y[1] = (unsigned char)config->y2;
    for (size_t i = 0; i < n; i++) {
        double y = config->other_y.n_items > 0 ? config->other_y.item[i] : 0;
        if (y != 0 && y != 1)
            return ac_error(AC_ERR_USAGE, "--other_y: %g is no label; 0 or 1", y);
        out->p[i + 2] = config->other_p.item[i];
        out->y[i + 2] = y != 0;
    }
    return AC_OK;
}

static ac_status find_weights(const simulate_config *config, simulate_plan *out)
{
    ac_status status = AC_OK;
    int64_t count[SIMULATE_MOST_CLASSES];
    size_t n = (size_t)out->scene.n_classes;
    for (size_t i = 0; i <= n; i++)
        out->class_weight[i] = 1;
    if (config->counts.n_items == 0)
        return AC_OK;
    if (config->counts.n_items != n)
        return ac_error(AC_ERR_USAGE, "--counts: %zu numbers for %zu classes", config->counts.n_items, n);
    for (size_t i = 0; i < n; i++) {
        count[i] = (int64_t)config->counts.item[i];
        if ((double)count[i] != config->counts.item[i])
            return ac_error(AC_ERR_USAGE, "--counts: %g is no number of images", config->counts.item[i]);
    }
    status = ac_loss_class_weights(count, config->negatives, n, config->class_balancing_beta, out->class_weight, NULL);
    if (status == AC_ERR_DATA)
        return ac_error(AC_ERR_USAGE, "--counts, --negatives: no image at all to weigh classes by");
    out->scene.weight = ac_image_weight(out->class_weight, out->scene.y, (int)n);
    return status;
}

static void warn_unused(const simulate_config *config, simulate_format format)
{
    if (format != SIMULATE_PAGE && config->counts.n_items == 0 &&
        config->class_balancing_beta != SIMULATE_BALANCING_BETA)
        ac_log(AC_LOG_WARN, "--class_balancing_beta goes with --counts");
    if (format != SIMULATE_SVG && config->levels != SIMULATE_LEVELS)
        ac_log(AC_LOG_WARN, "--levels is the SVG's alone");
    if (format == SIMULATE_CSV && (config->arrows || config->colormap != AC_MAP_BLUES))
        ac_log(AC_LOG_WARN, "--arrows and --colormap are the SVG's and the page's alone");
}

ac_status simulate_check(const simulate_config *config, const ac_options *given, simulate_plan *out)
{
    ac_status status = AC_OK;
    memset(out, 0, sizeof *out);
    out->config = config;
    out->scene.lambda = config->lambda;
    out->scene.alpha = config->alpha;
    out->scene.gamma = config->gamma;
    out->scene.weight = 1;
    AC_TRY(find_surfaces(config, out));
    AC_TRY(find_format(config, given, out));
    AC_TRY(find_classes(config, &out->scene));
    if (config->counts.n_items == 0 && config->negatives > 0)
        AC_TRY(ac_error(AC_ERR_USAGE, "--negatives: they go with --counts"));
    AC_TRY(find_weights(config, out));
    warn_unused(config, out->format);
out:
    return status;
}

void simulate_title(const simulate_plan *plan, simulate_surface surface, char *out, size_t n_bytes)
{
    const char *title = simulate_names[surface].title;
    bool focal = plan->scene.gamma > 0 && strncmp(title, "BCE", 3) == 0;
    snprintf(out, n_bytes, "%s%s", focal ? "Focal" : "", focal ? title + 3 : title);
}

void simulate_describe(ac_markup *out, const simulate_plan *plan)
{
    const simulate_scene *s = &plan->scene;
    const char *end = s->n_classes > 8 ? ", \xE2\x80\xA6)" : ")";
    ac_markup_format(out, "y = (%d, %d", s->y[0], s->y[1]);
    for (int j = 2; j < s->n_classes && j < 8; j++)
        ac_markup_format(out, ", %d", s->y[j]);
    ac_markup_add(out, end);
    if (s->n_classes > 2)
        ac_markup_add(out, ", p = (p\xE2\x82\x81, p\xE2\x82\x82");
    for (int j = 2; j < s->n_classes && j < 8; j++)
        ac_markup_format(out, ", %.4g", s->p[j]);
    ac_markup_add(out, s->n_classes > 2 ? end : "");
    ac_markup_format(out, ", " LAMBDA " = %g, " ALPHA " = %g", s->lambda, s->alpha);
    if (s->gamma > 0)
        ac_markup_format(out, ", " GAMMA " = %g", s->gamma);
    if (plan->config->counts.n_items > 0)
        ac_markup_format(out, ", W = %.4g", s->weight);
}
