/* coco_split: merge instances files and divide their images anew. Strata are the classes of the images' first
 * annotations; images without one are a stratum of their own. */
#include "anyclass/alloc.h"
#include "anyclass/divide.h"
#include "anyclass/hash.h"
#include "anyclass/log.h"
#include "preprocess/prepare_coco.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct split_config {
    ac_common_config common;
    ac_string_list input, image_folders;
    const char *output;
    ac_double_list fractions;
    int64_t seed;
    bool renumber, overwrite;
} split_config;

#define O(field) .offset = offsetof(split_config, field)
static const ac_option option_table[] = {
    {.group = "Files",
     .name = "input",
     .type = AC_OPTION_STRINGS,
     O(input),
     .required = true,
     .unit = "FILE ...",
     .help = "Instances files (JSON) with the same categories."},
    {.name = "image_folders",
     .type = AC_OPTION_STRINGS,
     O(image_folders),
     .unit = "FOLDER ...",
     .help = "Where each input's images lie below the later --data_root (train2017 val2017): put in front of their "
             "file names. Without it all images must lie in one folder."},
    {.name = "output",
     .type = AC_OPTION_STRING,
     O(output),
     .required = true,
     .unit = "FOLDER",
     .help = "Folder of instances_train.json, instances_val.json and instances_test.json."},
    {.name = "renumber",
     .type = AC_OPTION_FLAG,
     O(renumber),
     .fallback = "false",
     .help = "Number images and annotations anew, from 1: for inputs whose ids collide."},
    PREPARE_OVERWRITE_OPTION(split_config),
    PREPARE_SEED_OPTION(split_config),
    PREPARE_FRACTIONS_OPTION(split_config),
    AC_COMMON_OPTIONS(split_config),
};
static const ac_program program = {
    .name = "anyclass-preprocess",
    .summary = "Merge COCO instances files and divide them anew into train, val and test.",
    .usage = "coco_split --input FILE ... --image_folders FOLDER ... --output FOLDER [--seed N]",
    .notes =
        "The images of each stratum (those whose first annotation is of one class; those without any) are divided\n"
        "as exactly as can be. An image's place depends on the seed, its file name and its stratum.",
    .options = option_table,
    .n_options = sizeof option_table / sizeof *option_table,
    .config_bytes = sizeof(split_config),
};

/* "train2017" becomes "train2017/" and must be JSON as it stands. */
static ac_status set_folders(const split_config *c, coco_rewrite *r, char **texts)
{
    ac_status status = AC_OK;
    if (c->image_folders.n_items == 0) {
        if (r->n_inputs > 1)
            ac_log(AC_LOG_INFO, "no --image_folders: the images of all inputs must lie in one folder");
        return AC_OK;
    }
    if (c->image_folders.n_items != r->n_inputs)
        return ac_error(AC_ERR_USAGE, "--image_folders names %zu folders for %zu inputs", c->image_folders.n_items,
                        r->n_inputs);
    for (size_t i = 0; i < r->n_inputs; i++) {
        const char *folder = c->image_folders.item[i];
        size_t n = strlen(folder);
        for (const char *at = folder; *at; at++)
            if ((unsigned char)*at < 0x20 || *at == '"' || *at == '\\' || (unsigned char)*at > 0x7E)
                return ac_error(AC_ERR_USAGE,
                                "--image_folders: '%s' has a character that is not plain ASCII, a quote or a "
                                "backslash",
                                folder);
        AC_TRY(ac_malloc(n + 2, 1, &texts[i]));
        snprintf(texts[i], n + 2, "%s%s", folder, n == 0 || folder[n - 1] == '/' ? "" : "/");
        r->input[i].folder = texts[i];
    }
out:
    return status;
}

typedef struct id_owner {
    int64_t id;
    size_t input;
    uint64_t at;
} id_owner;

static int by_id(const void *a, const void *b)
{
    const id_owner *x = a, *y = b;
    return x->id != y->id ? (x->id > y->id) - (x->id < y->id) : (x->input > y->input) - (x->input < y->input);
}

static ac_status check_ids(const coco_rewrite *r, id_owner *list, size_t n, const char *what)
{
    if (n)
        qsort(list, n, sizeof *list, by_id);
    for (size_t i = 1; i < n; i++)
        if (list[i].id == list[i - 1].id) {
            ac_status status = ac_error(AC_ERR_DATA, "the %s id %" PRId64 " is in %s too: use --renumber", what,
                                        list[i].id, r->input[list[i - 1].input].path);
            return ac_coco_error_at(status, r->input[list[i].input].path, list[i].at);
        }
    return AC_OK;
}

/* Ids must differ over all that goes into one file. */
static ac_status check_all_ids(const coco_rewrite *r)
{
    ac_status status = AC_OK;
    id_owner *list = NULL;
    size_t n_annotations = 0, n = 0;
    for (size_t i = 0; i < r->n_inputs; i++)
        n_annotations += r->input[i].table.n_annotations;
    AC_TRY(ac_malloc((n_annotations > r->n_images ? n_annotations : r->n_images) + 1, sizeof *list, &list));
    for (size_t i = 0; i < r->n_inputs; i++)
        for (size_t k = 0; k < r->input[i].table.n_images; k++)
            list[n++] = (id_owner){r->input[i].table.image[k].id, i, r->input[i].table.image[k].at};
    AC_TRY(check_ids(r, list, n, "image"));
    n = 0;
    for (size_t i = 0; i < r->n_inputs; i++)
        for (size_t k = 0; k < r->input[i].table.n_annotations; k++)
            if (r->input[i].table.annotation[k].id >= 0)
                list[n++] = (id_owner){r->input[i].table.annotation[k].id, i, r->input[i].table.annotation[k].at};
    AC_TRY(check_ids(r, list, n, "annotation"));
out:
    ac_free(list);
    return status;
}

/* File names as they will stand in the outputs: distinct, and short enough. */
static ac_status check_names(const coco_rewrite *r)
{
    ac_status status = AC_OK;
    ac_dataset names = {0};
    char name[AC_PATH_BYTES];
    for (size_t i = 0; i < r->n_inputs; i++)
        for (size_t k = 0; k < r->input[i].table.n_images; k++) {
            const char *folder = r->input[i].folder ? r->input[i].folder : "";
            int n = snprintf(name, sizeof name, "%s%s", folder, ac_coco_image_name(&r->input[i].table, k));
            if (n >= (int)sizeof name)
                AC_TRY(ac_error(AC_ERR_USAGE, "--image_folders: %.60s... is too long", folder));
            AC_TRY(ac_dataset_add_sample(&names, name));
        }
    AC_TRY(ac_dataset_check_unique(&names, "the inputs together"));
out:
    ac_dataset_release(&names);
    return status;
}

/* Class of each image's first annotation; of one without, the number of classes. */
static void find_strata(const coco_rewrite *r, uint32_t *stratum)
{
    uint32_t none = (uint32_t)r->input[0].table.n_categories;
    for (size_t i = 0; i < r->n_images; i++)
        stratum[i] = none;
    for (size_t i = 0; i < r->n_inputs; i++)
        for (size_t k = 0; k < r->input[i].table.n_annotations; k++) {
            const ac_coco_annotation *a = &r->input[i].table.annotation[k];
            uint32_t *mine = &stratum[r->input[i].first_image + (size_t)a->image];
            if (*mine == none)
                *mine = (uint32_t)a->category;
        }
}

static ac_status divide(const split_config *c, coco_rewrite *r)
{
    ac_status status = AC_OK;
    double fraction[AC_N_SPLITS];
    uint64_t *key = NULL;
    uint32_t *stratum = NULL;
    size_t n[AC_N_SPLITS] = {0};
    AC_TRY(prepare_fractions(&c->fractions, fraction));
    AC_TRY(ac_malloc(r->n_images + 1, sizeof *key, &key));
    AC_TRY(ac_malloc(r->n_images + 1, sizeof *stratum, &stratum));
    find_strata(r, stratum);
    for (size_t i = 0; i < r->n_inputs; i++)
        for (size_t k = 0; k < r->input[i].table.n_images; k++) {
            const char *name = ac_coco_image_name(&r->input[i].table, k);
            key[r->input[i].first_image + k] = ac_hash64_bytes(name, strlen(name));
        }
    AC_TRY(ac_divide((uint64_t)c->seed, fraction, AC_N_SPLITS, r->n_images, key, stratum, r->output_of));
    for (size_t i = 0; i < r->n_images; i++)
        n[r->output_of[i]]++;
    for (int p = 0; p < AC_N_SPLITS; p++)
        if (n[p] == 0)
            AC_TRY(ac_error(AC_ERR_USAGE, "%zu images are too few: none is left for %s", r->n_images,
                            ac_split_name((ac_split)p)));
out:
    ac_free(key);
    ac_free(stratum);
    return status;
}

static ac_status name_outputs(const split_config *c, coco_rewrite *r)
{
    ac_status status = AC_OK;
    char name[64];
    AC_TRY(coco_rewrite_add_outputs(r, AC_N_SPLITS));
    for (int p = 0; p < AC_N_SPLITS; p++) {
        snprintf(name, sizeof name, "instances_%s.json", ac_split_name((ac_split)p));
        AC_TRY(ac_path_join(r->output[p].path, c->output, name));
    }
    AC_TRY(coco_rewrite_check_outputs(r, c->overwrite));
out:
    return status;
}

static ac_status run_split(ac_run *run, const void *config)
{
    ac_status status = AC_OK;
    const split_config *c = config;
    double fraction[AC_N_SPLITS];
    char **folders = NULL;
    coco_rewrite r = {.renumber = c->renumber};
    (void)run;
    AC_TRY(prepare_fractions(&c->fractions, fraction)); /* before the long part */
    AC_TRY(ac_calloc(c->input.n_items, sizeof *folders, &folders));
    AC_TRY(coco_rewrite_open(&r, &c->input));
    AC_TRY(set_folders(c, &r, folders));
    if (!c->renumber)
        AC_TRY(check_all_ids(&r));
    AC_TRY(check_names(&r));
    AC_TRY(name_outputs(c, &r));
    AC_TRY(divide(c, &r));
    AC_TRY(prepare_make_folder(c->output, c->common.dry_run));
    if (c->common.dry_run) {
        coco_rewrite_log_dry_run(&r);
        goto out;
    }
    AC_TRY(coco_rewrite_write(&r));
    for (int p = 0; p < AC_N_SPLITS; p++)
        ac_log(AC_LOG_INFO, "%s: %zu images (%.2f %%), %zu annotations", r.output[p].path, r.output[p].n_images,
               100.0 * (double)r.output[p].n_images / (double)r.n_images, r.output[p].n_annotations);
out:
    for (size_t i = 0; folders && i < c->input.n_items; i++)
        ac_free(folders[i]);
    ac_free(folders);
    coco_rewrite_close(&r);
    return status;
}

const prepare_command prepare_coco_split = {"coco_split", &program, run_split, false};
