/* Which score sets there are: looks through version folders, reads model and checkpoint out of file names, groups the
 * per-rank files, and decides where each set's JSON goes. Leaves the files' content to scores.c. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "evaluate/steps.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static const char *const checkpoint_names[] = {"val_loss", "val_bce", "val_ap", "val_f1", "val_f2", "last"};
enum { N_CHECKPOINTS = sizeof checkpoint_names / sizeof *checkpoint_names };
static const char version_prefix[] = "version_";

typedef struct place { /* a folder with scores */
    char version[SET_NAME_BYTES];
    char real[AC_PATH_BYTES]; /* of --scores: the folder without links and dots */
    char folder[AC_PATH_BYTES], output[AC_PATH_BYTES];
} place;

typedef struct found { /* a score file, and what its name says */
    size_t place, checkpoint_order;
    char file[SET_NAME_BYTES], stem[SET_NAME_BYTES], model[SET_NAME_BYTES], checkpoint[SET_NAME_BYTES];
    bool is_sigmoid;
    size_t given; /* number in --scores */
    int split;    /* ac_split, -1 when the name does not say */
} found;

typedef struct search { /* used while looking, on rank 0 */
    place *places;
    size_t n_places, place_capacity;
    found *files;
    size_t n_files, file_capacity;
} search;

/* Take `ending` off the end of text, whatever its case; false when it is not there. */
static bool cut_ending(char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    if (n < m || strcasecmp(text + n - m, ending) != 0)
        return false;
    text[n - m] = '\0';
    return true;
}

static void cut_rank(char *text)
{
    char *dot = strrchr(text, '.');
    if (dot && strncmp(dot, ".rank", 5) == 0 && dot[5] != '\0' && strspn(dot + 5, "0123456789") == strlen(dot + 5))
        *dot = '\0';
}

/* "{model}_{checkpoint}_{split}_sigmoid[.rankNNNN].csv"; every part but ".csv" may be missing. */
static bool read_name(const char *name, found *out)
{
    char ending[SET_NAME_BYTES];
    if (strlen(name) >= SET_NAME_BYTES)
        return false;
    memcpy(out->file, name, strlen(name) + 1);
    memcpy(out->stem, name, strlen(name) + 1);
    if (!cut_ending(out->stem, ".csv"))
        return false;
    cut_rank(out->stem);
    out->is_sigmoid = cut_ending(out->stem, "_sigmoid");
    memcpy(out->model, out->stem, sizeof out->model);
    out->split = -1;
    for (int split = AC_SPLIT_TRAIN; split <= AC_SPLIT_TEST && out->split < 0; split++) {
        snprintf(ending, sizeof ending, "_%s", ac_split_name((ac_split)split));
        if (cut_ending(out->model, ending))
            out->split = split;
    }
    out->checkpoint[0] = '\0';
    for (out->checkpoint_order = 0; out->checkpoint_order < N_CHECKPOINTS; out->checkpoint_order++) {
        snprintf(ending, sizeof ending, "_%s", checkpoint_names[out->checkpoint_order]);
        if (cut_ending(out->model, ending)) {
            snprintf(out->checkpoint, sizeof out->checkpoint, "%s", ending + 1);
            break;
        }
    }
    return true;
}

static ac_status add_place(search *in, const char *version, const char *folder, const char *output)
{
    ac_status status = AC_OK;
    AC_TRY(ac_reserve(&in->places, &in->place_capacity, in->n_places + 1, sizeof *in->places));
    place *new_place = &in->places[in->n_places];
    if (strlen(version) >= SET_NAME_BYTES || strlen(folder) >= AC_PATH_BYTES || strlen(output) >= AC_PATH_BYTES)
        return ac_error(AC_ERR_USAGE, "the name of the version folder %.200s is too long", folder);
    new_place->real[0] = '\0';
    snprintf(new_place->version, sizeof new_place->version, "%s", version);
    snprintf(new_place->folder, sizeof new_place->folder, "%s", folder);
    snprintf(new_place->output, sizeof new_place->output, "%s", output);
    in->n_places++;
out:
    return status;
}

static ac_status add_file(search *in, const found *file)
{
    ac_status status = AC_OK;
    AC_TRY(ac_reserve(&in->files, &in->file_capacity, in->n_files + 1, sizeof *in->files));
    in->files[in->n_files++] = *file;
out:
    return status;
}

/* The score files of one split in the last place added. */
static ac_status scan_place(search *in, int split)
{
    ac_status status = AC_OK;
    const char *folder = in->places[in->n_places - 1].folder;
    size_t n_before = in->n_files;
    DIR *stream = opendir(folder);
    if (!stream)
        return ac_error_errno("cannot open the version folder %s", folder);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        found file = {.place = in->n_places - 1};
        if (read_name(entry->d_name, &file) && file.is_sigmoid && file.split == split)
            AC_TRY(add_file(in, &file));
    }
    if (in->n_files == n_before)
        status =
            ac_error(AC_ERR_DATA, "%s holds no scores of the split %s (*_%s_sigmoid*.csv): run anyclass-infer for it",
                     folder, ac_split_name((ac_split)split), ac_split_name((ac_split)split));
out:
    closedir(stream);
    return status;
}

ac_status evaluate_has_scores(const evaluate_config *config, const char *version, bool *out)
{
    ac_status status = AC_OK;
    char name[SET_NAME_BYTES + sizeof version_prefix], folder[AC_PATH_BYTES];
    *out = false;
    snprintf(name, sizeof name, "%s%s", version_prefix, version);
    AC_TRY(ac_path_join(folder, config->results_output, name));
    if (!ac_path_exists(folder))
        return AC_OK;
    DIR *stream = opendir(folder);
    if (!stream)
        return ac_error_errno("cannot open the version folder %s", folder);
    for (struct dirent *entry; !*out && (entry = readdir(stream)) != NULL;) {
        found file;
        *out = read_name(entry->d_name, &file) && file.is_sigmoid && file.split == config->split;
    }
    closedir(stream);
out:
    return status;
}

static ac_status add_version(search *in, const evaluate_config *config, const char *version)
{
    ac_status status = AC_OK;
    char name[SET_NAME_BYTES + sizeof version_prefix], folder[AC_PATH_BYTES], output[AC_PATH_BYTES];
    if (strlen(version) >= SET_NAME_BYTES)
        return ac_error(AC_ERR_USAGE, "--versions: %.100s... is too long", version);
    for (size_t i = 0; i < in->n_places; i++) {
        if (strcmp(in->places[i].version, version) == 0)
            return ac_error(AC_ERR_USAGE, "--versions names %s twice", version);
    }
    snprintf(name, sizeof name, "%s%s", version_prefix, version);
    AC_TRY(ac_path_join(folder, config->results_output, name));
    AC_TRY(ac_path_join(output, config->output ? config->output : config->results_output, name));
    AC_TRY(add_place(in, version, folder, output));
    AC_TRY(scan_place(in, config->split));
out:
    return status;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static ac_status add_version_if_folder(const evaluate_config *config, const char *entry, char ***names, size_t *n_names,
                                       size_t *capacity)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    struct stat info;
    if (strncmp(entry, version_prefix, sizeof version_prefix - 1) != 0)
        return AC_OK;
    AC_TRY(ac_path_join(path, config->results_output, entry));
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return AC_OK;
    AC_TRY(ac_reserve(names, capacity, *n_names + 1, sizeof **names));
    AC_TRY(ac_strdup(entry + sizeof version_prefix - 1, &(*names)[*n_names]));
    ++*n_names;
out:
    return status;
}

/* No --versions: every version folder, in the order of their names. */
static ac_status add_all_versions(search *in, const evaluate_config *config)
{
    ac_status status = AC_OK;
    char **names = NULL;
    size_t n_names = 0, capacity = 0;
    DIR *stream = opendir(config->results_output);
    if (!stream)
        return ac_error_errno("cannot open --results_output %s", config->results_output);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
        AC_TRY(add_version_if_folder(config, entry->d_name, &names, &n_names, &capacity));
    if (n_names == 0)
        AC_TRY(ac_error(AC_ERR_DATA, "--results_output %s holds no version_* folder", config->results_output));
    qsort(names, n_names, sizeof *names, by_text);
    for (size_t i = 0; i < n_names; i++)
        AC_TRY(add_version(in, config, names[i]));
out:
    closedir(stream);
    for (size_t i = 0; i < n_names; i++)
        ac_free(names[i]);
    ac_free(names);
    return status;
}

/* A folder that --scores names: its version is its own name, whatever way leads there. */
static ac_status add_given_place(search *in, const evaluate_config *config, const char *folder, size_t *number)
{
    ac_status status = AC_OK;
    char *real = realpath(folder, NULL);
    const char *path = real ? real : folder, *slash = strrchr(path, '/'), *version = slash ? slash + 1 : path;
    *number = 0;
    while (*number < in->n_places && strcmp(in->places[*number].real, path) != 0)
        ++*number;
    if (*number < in->n_places)
        goto out;
    if (strncmp(version, version_prefix, sizeof version_prefix - 1) == 0)
        version += sizeof version_prefix - 1;
    AC_TRY(add_place(in, version, folder, config->output ? config->output : folder));
    snprintf(in->places[*number].real, sizeof in->places[*number].real, "%s", path);
out:
    free(real);
    return status;
}

static ac_status add_given(search *in, const evaluate_config *config, const char *path)
{
    ac_status status = AC_OK;
    char folder[AC_PATH_BYTES];
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n_folder = slash ? (size_t)(slash - path) : 0;
    found file = {0};
    if (n_folder >= AC_PATH_BYTES || !read_name(name, &file))
        return ac_error(AC_ERR_USAGE, "--scores %s: a file name that ends with .csv is wanted", path);
    snprintf(folder, sizeof folder, "%.*s", (int)n_folder, path);
    if (!slash)
        strcpy(folder, ".");
    else if (n_folder == 0)
        strcpy(folder, "/");
    file.given = in->n_files;
    AC_TRY(add_given_place(in, config, folder, &file.place));
    AC_TRY(add_file(in, &file));
out:
    return status;
}

static ac_status find_files(search *in, const evaluate_config *config)
{
    ac_status status = AC_OK;
    for (size_t i = 0; i < config->scores.n_items; i++)
        AC_TRY(add_given(in, config, config->scores.item[i]));
    for (size_t i = 0; config->results_output && i < config->versions.n_items; i++)
        AC_TRY(add_version(in, config, config->versions.item[i]));
    if (config->results_output && config->versions.n_items == 0)
        AC_TRY(add_all_versions(in, config));
out:
    return status;
}

static int by_set(const found *a, const found *b)
{
    int order = a->place < b->place ? -1 : a->place > b->place;
    if (order == 0)
        order = strcmp(a->model, b->model);
    if (order == 0)
        order = a->checkpoint_order < b->checkpoint_order ? -1 : a->checkpoint_order > b->checkpoint_order;
    return order ? order : strcmp(a->stem, b->stem);
}

static int by_set_and_file(const void *a, const void *b)
{
    int order = by_set(a, b);
    return order ? order : strcmp(((const found *)a)->file, ((const found *)b)->file);
}

static ac_status begin_set(score_sets *sets, const place *where, const found *file, bool only_read)
{
    ac_status status = AC_OK;
    char name[SET_NAME_BYTES + sizeof "_metrics.json"];
    AC_TRY(ac_reserve(&sets->set, &sets->set_capacity, sets->n_sets + 1, sizeof *sets->set));
    score_set *set = &sets->set[sets->n_sets];
    memset(set, 0, sizeof *set);
    snprintf(set->version, sizeof set->version, "%s", where->version);
    snprintf(set->folder, sizeof set->folder, "%s", where->folder);
    memcpy(set->model, file->model, sizeof set->model);
    memcpy(set->checkpoint, file->checkpoint, sizeof set->checkpoint);
    memcpy(set->stem, file->stem, sizeof set->stem);
    set->given = file->given;
    set->first_file = sets->n_files;
    snprintf(name, sizeof name, "%s_metrics.json", file->stem);
    AC_TRY(ac_path_join(set->output, where->output, name));
    for (size_t i = 0; !only_read && i < sets->n_sets; i++) {
        if (strcmp(sets->set[i].output, set->output) == 0)
            return ac_error(AC_ERR_USAGE,
                            "the scores in %s and in %s would both write %s: give them different --output folders",
                            sets->set[i].folder, set->folder, set->output);
    }
    sets->n_sets++;
out:
    return status;
}

static ac_status group_files(search *in, bool only_read, score_sets *sets)
{
    ac_status status = AC_OK;
    qsort(in->files, in->n_files, sizeof *in->files, by_set_and_file);
    for (size_t i = 0; i < in->n_files; i++) {
        const found *file = &in->files[i];
        if (i == 0 || by_set(file - 1, file) != 0)
            AC_TRY(begin_set(sets, &in->places[file->place], file, only_read));
        AC_TRY(ac_reserve(&sets->file, &sets->file_capacity, sets->n_files + 1, sizeof *sets->file));
        memcpy(sets->file[sets->n_files++].name, file->file, sizeof file->file);
        score_set *set = &sets->set[sets->n_sets - 1];
        set->given = file->given < set->given ? file->given : set->given;
        set->n_files++;
    }
out:
    return status;
}

static ac_status find_sets_here(const evaluate_config *config, score_sets *out)
{
    ac_status status = AC_OK;
    search in = {0};
    AC_TRY(find_files(&in, config));
    AC_TRY(group_files(&in, config->only_read, out));
out:
    ac_free(in.places);
    ac_free(in.files);
    return status;
}

static ac_status allocate_sets(score_sets *sets, size_t n_sets, size_t n_files)
{
    ac_status status = AC_OK;
    AC_TRY(ac_malloc(n_sets, sizeof *sets->set, &sets->set));
    AC_TRY(ac_malloc(n_files, sizeof *sets->file, &sets->file));
    sets->n_sets = n_sets;
    sets->n_files = n_files;
out:
    return status;
}

ac_status evaluate_find_sets(MPI_Comm comm, const evaluate_config *config, score_sets *out)
{
    ac_status status = AC_OK;
    int rank;
    uint64_t n[2] = {0, 0};
    memset(out, 0, sizeof *out);
    MPI_Comm_rank(comm, &rank);
    AC_TRY(ac_comm_agree(comm, rank == 0 ? find_sets_here(config, out) : AC_OK));
    n[0] = out->n_sets;
    n[1] = out->n_files;
    AC_TRY(ac_comm_broadcast(comm, n, sizeof n));
    AC_TRY(ac_comm_agree(comm, rank == 0 ? AC_OK : allocate_sets(out, n[0], n[1])));
    AC_TRY(ac_comm_broadcast(comm, out->set, out->n_sets * sizeof *out->set));
    AC_TRY(ac_comm_broadcast(comm, out->file, out->n_files * sizeof *out->file));
out:
    if (status != AC_OK)
        evaluate_release_sets(out);
    return status;
}

void evaluate_release_sets(score_sets *sets)
{
    ac_free(sets->set);
    ac_free(sets->file);
    memset(sets, 0, sizeof *sets);
}

ac_status evaluate_file_path(const score_sets *sets, const score_set *set, size_t i, char *out)
{
    return ac_path_join(out, set->folder, sets->file[set->first_file + i].name);
}
