/* coco_filter: drop categories, number the others from 1, keep every image. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "preprocess/prepare_coco.h"
#include <string.h>

typedef struct filter_config {
    ac_common_config common;
    ac_string_list input, drop, keep;
    const char *output;
    bool overwrite;
} filter_config;

#define O(field) .offset = offsetof(filter_config, field)
static const ac_option option_table[] = {
    {.group = "Files",
     .name = "input",
     .type = AC_OPTION_STRINGS,
     O(input),
     .required = true,
     .unit = "FILE ...",
     .help = "Instances files (JSON) with the same categories."},
    {.name = "output",
     .type = AC_OPTION_STRING,
     O(output),
     .required = true,
     .unit = "FOLDER",
     .help = "Folder of the files to write; they keep their names."},
    PREPARE_OVERWRITE_OPTION(filter_config),
    {.group = "Choice",
     .name = "drop",
     .type = AC_OPTION_STRINGS,
     O(drop),
     .help = "Categories to drop. Default: the 39 the paper drops (docs/data.md)."},
    {.name = "keep",
     .type = AC_OPTION_STRINGS,
     O(keep),
     .help = "Categories to keep, instead of --drop: all others are dropped."},
    AC_COMMON_OPTIONS(filter_config),
};
static const ac_program program = {
    .name = "anyclass-preprocess",
    .summary = "Drop COCO categories and give the others ids without gaps.",
    .usage = "coco_filter --input FILE ... --output FOLDER [--drop NAME ... | --keep NAME ...]",
    .notes = "Annotations of dropped categories vanish, images stay: one without annotations is a negative image.",
    .options = option_table,
    .n_options = sizeof option_table / sizeof *option_table,
    .config_bytes = sizeof(filter_config),
};

/* What the paper drops: 41 of COCO's 80 remain. */
static const char *const paper_dropped[] = {
    "person",       "wine glass",     "cup",           "bicycle",       "potted plant", "bowl",    "snowboard",
    "surfboard",    "baseball glove", "baseball bat",  "tennis racket", "kite",         "frisbee", "skis",
    "sports ball",  "skateboard",     "backpack",      "umbrella",      "handbag",      "tie",     "suitcase",
    "car",          "motorcycle",     "airplane",      "bus",           "train",        "truck",   "traffic light",
    "fire hydrant", "stop sign",      "parking meter", "bench",         "horse",        "sheep",   "cow",
    "elephant",     "bear",           "zebra",         "giraffe"};

/* Mark the categories of the list; those that are missing are an error, or counted for the default list. */
static ac_status mark(const coco_input *input, const char *option, const char *const *names, size_t n, bool *marked,
                      size_t *n_found)
{
    const ac_coco_table *table = &input->table;
    for (size_t k = 0; k < n; k++) {
        size_t i = 0;
        while (i < table->n_categories && strcmp(table->category[i].name, names[k]) != 0)
            i++;
        if (i < table->n_categories) {
            *n_found += !marked[i];
            marked[i] = true;
        } else if (option) {
            return ac_error(AC_ERR_USAGE, "--%s: %s has no category '%s'", option, input->path, names[k]);
        }
    }
    return AC_OK;
}

static ac_status choose(const filter_config *c, coco_rewrite *r)
{
    ac_status status = AC_OK;
    size_t n_found = 0, n_paper = sizeof paper_dropped / sizeof *paper_dropped, n = r->input[0].table.n_categories;
    int64_t next = 1;
    bool *marked = NULL;
    AC_TRY(ac_calloc(n + 1, sizeof *marked, &marked));
    AC_TRY(ac_calloc(n + 1, sizeof *r->new_category, &r->new_category));
    if (c->keep.n_items)
        AC_TRY(mark(&r->input[0], "keep", c->keep.item, c->keep.n_items, marked, &n_found));
    else if (c->drop.n_items)
        AC_TRY(mark(&r->input[0], "drop", c->drop.item, c->drop.n_items, marked, &n_found));
    else
        AC_TRY(mark(&r->input[0], NULL, paper_dropped, n_paper, marked, &n_found));
    if (!c->keep.n_items && !c->drop.n_items && n_found < n_paper)
        ac_log(AC_LOG_WARN, "%s has %zu of the %zu categories the paper drops", r->input[0].path, n_found, n_paper);
    for (size_t i = 0; i < n; i++)
        r->new_category[i] = marked[i] == (c->keep.n_items > 0) ? next++ : -1;
    if (next == 1)
        AC_TRY(ac_error(AC_ERR_USAGE, "no category would be left"));
out:
    ac_free(marked);
    return status;
}

/* Each input makes its own output, of the same name. */
static ac_status name_outputs(const filter_config *c, coco_rewrite *r)
{
    ac_status status = AC_OK;
    AC_TRY(coco_rewrite_add_outputs(r, r->n_inputs));
    for (size_t i = 0; i < r->n_inputs; i++) {
        const char *slash = strrchr(r->input[i].path, '/');
        AC_TRY(ac_path_join(r->output[i].path, c->output, slash ? slash + 1 : r->input[i].path));
        r->output[i].others_from = i;
        memset(r->output_of + r->input[i].first_image, (int)i, r->input[i].table.n_images);
        for (size_t k = 0; k < i; k++)
            if (strcmp(r->output[k].path, r->output[i].path) == 0)
                return ac_error(AC_ERR_USAGE, "%s and %s would both become %s: filter them into different folders",
                                r->input[k].path, r->input[i].path, r->output[i].path);
    }
    AC_TRY(coco_rewrite_check_outputs(r, c->overwrite));
out:
    return status;
}

static void log_summary(const coco_rewrite *r)
{
    size_t n_kept = 0, n = r->input[0].table.n_categories;
    for (size_t i = 0; i < n; i++)
        n_kept += r->new_category[i] >= 0;
    for (size_t i = 0; i < r->n_inputs; i++)
        ac_log(AC_LOG_INFO, "%s: %zu of %zu categories, %zu of %zu annotations, %zu images", r->output[i].path, n_kept,
               n, r->output[i].n_annotations, r->input[i].table.n_annotations, r->output[i].n_images);
}

static ac_status run_filter(ac_run *run, const void *config)
{
    ac_status status = AC_OK;
    const filter_config *c = config;
    coco_rewrite r = {0};
    (void)run;
    if (c->drop.n_items && c->keep.n_items)
        return ac_error(AC_ERR_USAGE, "--drop and --keep exclude each other");
    AC_TRY(coco_rewrite_open(&r, &c->input));
    AC_TRY(choose(c, &r));
    AC_TRY(name_outputs(c, &r));
    AC_TRY(prepare_make_folder(c->output, c->common.dry_run));
    if (c->common.dry_run) {
        coco_rewrite_log_dry_run(&r);
        goto out;
    }
    AC_TRY(coco_rewrite_write(&r));
    log_summary(&r);
out:
    coco_rewrite_close(&r);
    return status;
}

const prepare_command prepare_coco_filter = {"coco_filter", &program, run_filter, false};
