/* The program: option table, check, write. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/file.h"
#include "anyclass/log.h"
#include "anyclass/program.h"
#include "simulate/simulate.h"
#include "simulate/steps.h"
#include <stdio.h>
#include <string.h>

#define O(field) .offset = offsetof(simulate_config, field)

static const ac_option options[] = {
    {.group = "Image",
     .name = "y1",
     .type = AC_OPTION_INT,
     O(y1),
     .fallback = "1",
     .max = 1,
     .help = "Label of the class across."},
    {.name = "y2", .type = AC_OPTION_INT, O(y2), .fallback = "0", .max = 1, .help = "Label of the class upwards."},
    {.name = "other_p",
     .type = AC_OPTION_DOUBLES,
     O(other_p),
     .min = 1e-6,
     .max = 1 - 1e-6,
     .unit = "P ...",
     .help = "Probabilities of further classes, which stand still."},
    {.name = "other_y",
     .type = AC_OPTION_DOUBLES,
     O(other_y),
     .min = 0,
     .max = 1,
     .unit = "Y ...",
     .help = "Their labels; all 0 without it."},
    {.group = "Loss",
     .name = "lambda",
     .type = AC_OPTION_DOUBLE,
     O(lambda),
     .fallback = "0.1",
     .min = 0,
     .max = 1e6,
     .help =
         "Weight of absent classes in the any-class presence of a positive image (--meta_loss_beta of the trainer)."},
    {.name = "alpha",
     .type = AC_OPTION_DOUBLE,
     O(alpha),
     .fallback = "1",
     .min = 0,
     .max = 1e6,
     .help = "Weight of the any-class term (--meta_loss_weight); 0 is the base loss alone."},
    {.name = "gamma",
     .type = AC_OPTION_DOUBLE,
     O(gamma),
     .fallback = "0",
     .min = 0,
     .max = 100,
     .help = "Focal exponent (--focal_gamma); 0 is BCE."},
    {.name = "counts",
     .type = AC_OPTION_DOUBLES,
     O(counts),
     .min = 0,
     .max = 1e15,
     .unit = "N ...",
     .help = "Images that show each class: losses are multiplied by the image's class-balanced weight."},
    {.name = "negatives",
     .type = AC_OPTION_INT,
     O(negatives),
     .fallback = "0",
     .min = 0,
     .max = 1e15,
     .unit = "N",
     .help = "Images that show none, beside --counts."},
    {.name = "class_balancing_beta",
     .type = AC_OPTION_DOUBLE,
     O(class_balancing_beta),
     .fallback = "0.9999", /* SIMULATE_BALANCING_BETA */
     .min = 0,
     .max = 1,
     .help = "beta of the effective number of samples, beside --counts."},
    {.group = "Output",
     .name = "output",
     .type = AC_OPTION_STRING,
     O(output),
     .unit = "FILE",
     .help = "By its ending: the page (.html), a picture (.svg) or numbers (.csv); without it the CSV goes to stdout."},
    {.name = "surface",
     .type = AC_OPTION_STRINGS,
     O(surface),
     .fallback = "bce_any_loss",
     .unit = "NAME ...",
     .help = "Surfaces, or all; the page shows one large at first."},
    {.name = "grid",
     .type = AC_OPTION_INT,
     O(grid),
     .fallback = "200",
     .min = 2,
     .max = 1000,
     .unit = "N",
     .help = "Places on each axis, 0.01 to 0.99."},
    {.name = "levels",
     .type = AC_OPTION_INT,
     O(levels),
     .fallback = "16",
     .min = 0,
     .max = 16,
     .unit = "N",
     .help = "Contour lines, at most; 0: none."},
    {.name = "colormap",
     .type = AC_OPTION_CHOICE,
     O(colormap),
     .fallback = "blues",
     .choices = AC_COLOR_MAP_CHOICES,
     .help = "Colours of low to high values."},
    {.name = "arrows",
     .type = AC_OPTION_FLAG,
     O(arrows),
     .fallback = "false",
     .help = "Where training pushes the two logits."},
    AC_COMMON_OPTIONS(simulate_config),
};

static const ac_program program = {
    .name = "anyclass-simulate",
    .summary = "The loss over two classes' probabilities, to look at: a page, pictures, numbers.",
    .usage = "[--output page.html | FILE.svg | FILE.csv] [--surface NAME...] [--y1 1] [--y2 0] [--lambda 0.1]",
    .notes = "Surfaces: product geometric_mean (of probabilities), bce_likelihood any_likelihood product_likelihood\n"
             "bce_any_likelihood bce_product_likelihood, and -log of the last five: bce_loss any_loss product_loss\n"
             "bce_any_loss (which is trained) bce_product_loss. docs/simulate.md defines them.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .config_bytes = sizeof(simulate_config),
};

ac_status simulate_values(const simulate_plan *plan, simulate_surface surface, double **value)
{
    ac_status status = AC_OK;
    int n = (int)plan->config->grid;
    AC_TRY(ac_malloc((size_t)n * (size_t)n, sizeof **value, value));
    for (int j = 0; j < n; j++)
        for (int i = 0; i < n; i++)
            (*value)[j * n + i] = simulate_at(&plan->scene, surface, simulate_axis(n, i), simulate_axis(n, j), NULL);
out:
    return status;
}

static ac_status compose(ac_markup *out, const simulate_plan *plan)
{
    switch (plan->format) {
    case SIMULATE_CSV:
        return simulate_write_csv(out, plan);
    case SIMULATE_SVG:
        return simulate_write_svg(out, plan);
    case SIMULATE_PAGE:
        return simulate_write_page(out, plan);
    }
    return AC_OK;
}

/* The folder of a file, which may be "". */
static void folder_of(const char *path, char *folder)
{
    const char *slash = strrchr(path, '/');
    snprintf(folder, AC_PATH_BYTES, "%.*s", slash ? (int)(slash - path) + (slash == path) : 1, slash ? path : ".");
}

static ac_status save(const char *path, const ac_markup *text)
{
    ac_status status = AC_OK;
    ac_file file = {0};
    char folder[AC_PATH_BYTES];
    folder_of(path, folder);
    AC_TRY(ac_path_make_folders(folder));
    AC_TRY(ac_file_create(&file, path));
    AC_TRY(ac_file_write(&file, text->text, text->n_bytes));
    AC_TRY(ac_file_commit(&file));
    ac_log(AC_LOG_INFO, "wrote %s (%.0f kB)", path, (double)text->n_bytes / 1e3);
out:
    ac_file_discard(&file);
    return status;
}

static ac_status print(const ac_markup *text)
{
    if (fwrite(text->text, 1, text->n_bytes, stdout) != text->n_bytes || fflush(stdout) != 0)
        return ac_error_errno("stdout");
    return AC_OK;
}

static ac_status simulate(const simulate_config *config, const ac_options *given)
{
    ac_status status = AC_OK;
    ac_markup text = {0};
    simulate_plan plan;
    char folder[AC_PATH_BYTES];
    AC_TRY(simulate_check(config, given, &plan));
    if (config->output) {
        folder_of(config->output, folder);
        AC_TRY(ac_path_check_writable(folder));
    }
    if (config->common.dry_run) {
        ac_log(AC_LOG_INFO, "dry run: nothing was written");
        goto out;
    }
    AC_TRY(compose(&text, &plan));
    AC_TRY(text.status == AC_OK
               ? AC_OK
               : ac_error(text.status, "no memory for %s", config->output ? config->output : "the CSV"));
    AC_TRY(config->output ? save(config->output, &text) : print(&text));
out:
    ac_markup_release(&text);
    return status;
}

int ac_simulate_run(MPI_Comm parent, int argc, char **argv)
{
    ac_status status = AC_OK;
    ac_run run;
    simulate_config config;
    AC_TRY(ac_run_begin(&run, parent, &program, argc, argv, &config, NULL));
    if (run.go)
        AC_TRY(ac_comm_agree(run.comm, run.rank == 0 ? simulate(&config, run.options) : AC_OK));
out:
    return ac_run_end(&run, &program, status);
}
