/* anyclass-preprocess: options, checks before any work, one split after the other. */
#include "anyclass/stop.h"
#include "preprocess/prepare.h"
#include "preprocess/preprocess.h"
#include "preprocess/steps.h"
#include <errno.h>
#include <omp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define O(field) .offset = offsetof(preprocess_config, field)
static const ac_option option_table[] = {
    {.group = "Data",
     .name = "dataset",
     .type = AC_OPTION_CHOICE,
     O(dataset),
     .choices = AC_DATASET_CHOICES,
     .fallback = "csv",
     .help = "Annotation format."},
    {.name = "ann_root",
     .type = AC_OPTION_STRING,
     O(ann_root),
     .unit = "PATH",
     .help = "Folder of the annotation files, or one file (with one split)."},
    {.name = "data_root",
     .type = AC_OPTION_STRING,
     O(data_root),
     .unit = "FOLDER",
     .help = "Folder of the images; they may lie in it or in its train2017, train or Train (val, test alike)."},
    {.name = "output",
     .type = AC_OPTION_STRING,
     O(output),
     .required = true,
     .unit = "FOLDER",
     .help = "Folder of the shards."},
    {.name = "splits",
     .type = AC_OPTION_STRINGS,
     O(splits),
     .fallback = "Train Val Test",
     .help = "Splits to make; those not named here are left out when they have no annotations."},
    {.group = "Images",
     .name = "image_size",
     .type = AC_OPTION_INT,
     O(image_size),
     .fallback = "224",
     .min = 1,
     .max = 4096,
     .unit = "PIXELS",
     .help = "Side of the stored images."},
    {.name = "fast_decode",
     .type = AC_OPTION_FLAG,
     O(fast_decode),
     .fallback = "false",
     .help = "Decode JPEG at 1/2, 1/4 or 1/8 where that suffices: faster, not bit-equal to Pillow."},
    {.name = "apply_exif",
     .type = AC_OPTION_FLAG,
     O(apply_exif),
     .fallback = "false",
     .help = "Apply the EXIF orientation."},
    {.name = "allow_warnings",
     .type = AC_OPTION_FLAG,
     O(allow_warnings),
     .fallback = "false",
     .help = "Accept images that the decoder warns about."},
    {.name = "max_bad",
     .type = AC_OPTION_INT,
     O(max_bad),
     .fallback = "0",
     .min = 0,
     .max = 1e12,
     .help =
         "Rejected images per split that are tolerated: with more, no manifest is written and the run ends with 3."},
    {.name = "mean",
     .type = AC_OPTION_DOUBLES,
     O(mean),
     .min = 0,
     .max = 1,
     .unit = "R G B",
     .help = "Normalisation recorded for the trainer. Default: the data set's, COCO's for csv."},
    {.name = "std",
     .type = AC_OPTION_DOUBLES,
     O(std),
     .min = 1e-6,
     .max = 1,
     .unit = "R G B",
     .help = "Likewise, the deviation."},
    {.group = "Work",
     .name = "shard_size",
     .type = AC_OPTION_INT,
     O(shard_size),
     .fallback = "4096",
     .min = 1,
     .max = 1e6,
     .unit = "IMAGES",
     .help = "Annotated images per shard; a rank holds the pixels of two in memory: one is written while the next is made."},
    {.name = "n_threads",
     .type = AC_OPTION_INT,
     O(n_threads),
     .fallback = "0",
     .min = 0,
     .max = 1024,
     .help = "Threads per rank; 0: OMP_NUM_THREADS, or the rank's share of the node's cores."},
    {.name = "simd",
     .type = AC_OPTION_CHOICE,
     O(simd),
     .choices = AC_SIMD_CHOICES,
     .fallback = "auto",
     .help = "Instructions of the resize; the result is the same. auto: the fastest that the processor has."},
    {.name = "overwrite",
     .type = AC_OPTION_FLAG,
     O(overwrite),
     .fallback = "false",
     .help = "Remove the splits' shards and manifests that are there, instead of keeping the complete ones."},
    {.name = "verify",
     .type = AC_OPTION_FLAG,
     O(verify),
     .fallback = "false",
     .help = "Only re-read the shards in --output and name what is damaged: shard, dataset, sample."},
    AC_COMMON_OPTIONS(preprocess_config),
};
#define COMMAND_LINE(name, text) "\n  " #name ": " text
static const ac_program program = {
    .name = "anyclass-preprocess",
    .summary = "Images and annotations to sharded HDF5.",
    .usage = "[COMMAND] --dataset coco --ann_root FOLDER --data_root FOLDER --output FOLDER",
    .notes = "Commands, each with options and --help of its own; without one shards are made:" PREPARE_COMMANDS(
        COMMAND_LINE) "\n\nA run that was stopped goes on where it was: run it again. Images that cannot be used are listed in\n"
             "{split}-rejected.csv; once they are repaired, run again and their shards are made anew.",
    .options = option_table,
    .n_options = sizeof option_table / sizeof *option_table,
    .config_bytes = sizeof(preprocess_config),
};

ac_status preprocess_split_of(const char *name, ac_split *out)
{
    static const char *const names[AC_N_SPLITS][2] = {{"Train", "train"}, {"Val", "val"}, {"Test", "test"}};
    for (int i = 0; i < AC_N_SPLITS; i++)
        if (strcmp(name, names[i][0]) == 0 || strcmp(name, names[i][1]) == 0) {
            *out = (ac_split)i;
            return AC_OK;
        }
    return ac_error(AC_ERR_USAGE, "--splits: '%s' is none of Train, Val, Test", name);
}

static ac_status check_folder(const char *option, const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return ac_error_errno("--%s %s", option, path);
    if (!S_ISDIR(info.st_mode))
        return ac_error(AC_ERR_IO, "--%s %s: is no folder", option, path);
    return access(path, X_OK) == 0 ? AC_OK : ac_error_errno("--%s %s", option, path);
}

static ac_status check_usage(const preprocess_config *c)
{
    if (c->mean.n_items % 3 || c->mean.n_items > 3 || c->std.n_items % 3 || c->std.n_items > 3)
        return ac_error(AC_ERR_USAGE, "--%s needs three numbers",
                        c->mean.n_items % 3 || c->mean.n_items > 3 ? "mean" : "std");
    if (ac_simd_check((ac_simd)c->simd) != AC_OK)
        return ac_error_in(AC_ERR_USAGE, "--simd");
    if (!c->output[0])
        return ac_error(AC_ERR_USAGE, "--output is empty");
    if (c->verify)
        return c->overwrite ? ac_error(AC_ERR_USAGE, "--verify and --overwrite exclude each other") : AC_OK;
    if (!c->ann_root || !c->data_root)
        return ac_error(AC_ERR_USAGE, "--%s is required (--help lists all)", c->ann_root ? "data_root" : "ann_root");
    return AC_OK;
}

/* Is there something to do for this split? */
static bool is_available(const preprocess_config *c, ac_split split)
{
    char name[64], path[AC_PATH_BYTES];
    ac_dataset_options options = {ac_dataset_kind((size_t)c->dataset), c->ann_root, split};
    if (!c->verify)
        return ac_dataset_available(&options);
    snprintf(name, sizeof name, "%s-manifest.json", ac_split_name(split));
    return ac_path_join(path, c->output, name) == AC_OK && ac_path_exists(path);
}

/* The splits to make: those named, or by default those that are there. All three are the default, also when --config
 * repeats it. */
ac_status preprocess_choose_splits(const preprocess_config *c, bool named, ac_split *split, size_t *n)
{
    ac_status status = AC_OK;
    struct stat info;
    *n = 0;
    named = named && c->splits.n_items < AC_N_SPLITS;
    for (size_t i = 0; i < c->splits.n_items; i++) {
        ac_split one = AC_SPLIT_TRAIN;
        AC_TRY(preprocess_split_of(c->splits.item[i], &one));
        for (size_t k = 0; k < *n; k++)
            if (split[k] == one)
                return ac_error(AC_ERR_USAGE, "--splits names %s twice", c->splits.item[i]);
        bool available = is_available(c, one);
        if (named && !available) /* before hours of work on the splits in front of it */
            return ac_error(AC_ERR_IO, "--splits %s: there is no %s for it in %s", c->splits.item[i],
                            c->verify ? "manifest" : "annotation file", c->verify ? c->output : c->ann_root);
        if (available)
            split[(*n)++] = one;
        else
            ac_log(AC_LOG_INFO, "%s: left out, it has no %s", ac_split_name(one),
                   c->verify ? "manifest" : "annotations");
    }
    if (!c->verify && *n > 1 && stat(c->ann_root, &info) == 0 && !S_ISDIR(info.st_mode))
        return ac_error(AC_ERR_USAGE, "--ann_root %s is one file: name the one split it is for with --splits",
                        c->ann_root);
    if (*n == 0)
        return c->verify ? ac_error(AC_ERR_IO, "%s: no manifest of Train, Val or Test in it: run anyclass-preprocess first", c->output)
                         : ac_error(AC_ERR_IO, "--ann_root %s: no annotation file of --dataset %s in it, for Train, Val or Test", c->ann_root,
                                    ac_dataset_kind((size_t)c->dataset));
out:
    return status;
}

static ac_status check_folders(const preprocess_config *c)
{
    ac_status status = AC_OK;
    if (c->verify)
        return check_folder("output", c->output);
    AC_TRY(check_folder("data_root", c->data_root));
    AC_TRY(ac_path_check_writable(c->output));
    if (!c->common.dry_run)
        AC_TRY(ac_path_make_folders(c->output));
out:
    return status;
}

/* Too many rejected images fail the run, but only after all splits are made. */
static ac_status report_rejected(const preprocess_config *c, const ac_split *split, const size_t *n_rejected, size_t n)
{
    char text[256] = "";
    size_t length = 0, most = 0, n_over = 0;
    for (size_t i = 0; i < n; i++) {
        if ((int64_t)n_rejected[i] <= c->max_bad)
            continue;
        const char *name = ac_split_name(split[i]);
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%zu in %s-rejected.csv",
                                   n_over++ ? ", " : "", n_rejected[i], name);
        most = n_rejected[i] > most ? n_rejected[i] : most;
    }
    if (n_over == 0)
        return AC_OK;
    return ac_error(
        AC_ERR_DATA,
        "%s: images rejected: %s; so there is no manifest. Repair them and run again, or allow them with --max_bad %zu "
        "(finished shards are kept)",
        c->output, text, most);
}

ac_status preprocess_run_all(ac_run *run, const preprocess_config *c)
{
    ac_status status = AC_OK, worst = AC_OK;
    ac_split split[AC_N_SPLITS];
    size_t n = 0, n_rejected[AC_N_SPLITS] = {0};
    char text[AC_ERROR_TEXT_BYTES] = "";
    int n_threads = (int)c->n_threads;
    status = check_usage(c);
    if (status == AC_OK)
        status = preprocess_choose_splits(c, ac_options_given(run->options, "splits"), split, &n);
    if (status == AC_OK)
        status = check_folders(c);
    AC_TRY(ac_comm_agree(run->comm, status));
    if (n_threads == 0)
        AC_TRY(preprocess_count_threads(run->comm, &n_threads));
    omp_set_num_threads(n_threads);
    ac_log(AC_LOG_DEBUG, "%d ranks with %d threads", run->size, n_threads);
    for (size_t i = 0; i < n; i++) {
        AC_TRY(ac_comm_check_stop(run->comm, PREPROCESS_STOPPED));
        if (!c->verify) {
            AC_TRY(preprocess_split(run, c, split[i], &n_rejected[i]));
            continue;
        }
        status = preprocess_verify(run, c, split[i]);
        if (status != AC_OK && worst == AC_OK) {
            worst = status;
            snprintf(text, sizeof text, "%s", ac_error_text());
        }
    }
    status = worst == AC_OK ? report_rejected(c, split, n_rejected, n) : ac_error(worst, "%s", text);
out:
    return status;
}

int ac_preprocess_run(MPI_Comm comm, int argc, char **argv)
{
    const prepare_command *command = argc > 1 && argv[1][0] != '-' ? prepare_find(argv[1]) : NULL;
    if (command)
        return prepare_run(command, comm, argc - 1, argv + 1);
    if (argc > 1 && argv[1][0] != '-')
        return prepare_refuse(argv[1], comm, argv);
    ac_run run;
    preprocess_config config;
    ac_stop_catch();
    ac_status status = ac_run_begin(&run, comm, &program, argc, argv, &config, NULL);
    if (status == AC_OK && run.go)
        status = preprocess_run_all(&run, &config);
    return ac_run_end(&run, &program, status);
}
