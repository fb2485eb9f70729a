/* Which score set a word of `compare A B` stands for. Leaves file names and their order to sets.c. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "evaluate/compare.h"
#include <dirent.h>
#include <string.h>
#include <strings.h>

static const char csv_ending[] = ".csv", rank_mark[] = ".rank";

/* Where ".rankNNNN.csv" begins at the end of a name, or NULL. */
static const char *find_rank(const char *name)
{
    const char *end = name + strlen(name) - strlen(csv_ending), *at = end;
    while (at > name && at[-1] >= '0' && at[-1] <= '9')
        at--;
    if (at == end || at - name < (ptrdiff_t)strlen(rank_mark))
        return NULL;
    at -= strlen(rank_mark);
    return strncmp(at, rank_mark, strlen(rank_mark)) == 0 ? at : NULL;
}

static bool is_csv(const char *word)
{
    size_t n = strlen(word), m = strlen(csv_ending);
    return n > m && strcasecmp(word + n - m, csv_ending) == 0;
}

typedef struct path_list {
    char **path;
    size_t n, capacity;
} path_list;

static ac_status add_path(path_list *list, const char *folder, const char *name)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    AC_TRY(ac_path_join(path, folder, name));
    AC_TRY(ac_reserve(&list->path, &list->capacity, list->n + 1, sizeof *list->path));
    AC_TRY(ac_strdup(path, &list->path[list->n]));
    list->n++;
out:
    return status;
}

/* The file itself, or all ranks' files beside it. */
static ac_status list_files(const char *word, path_list *out)
{
    ac_status status = AC_OK;
    char folder[AC_PATH_BYTES];
    const char *slash = strrchr(word, '/'), *name = slash ? slash + 1 : word, *mark = find_rank(name);
    DIR *stream = NULL;
    if (!mark)
        return add_path(out, "", word);
    AC_TRY(ac_path_join(folder, "", word));
    folder[name - word] = '\0';
    stream = opendir(folder[0] ? folder : ".");
    if (!stream)
        return ac_error_errno("%s", word);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        const char *other = is_csv(entry->d_name) ? find_rank(entry->d_name) : NULL;
        if (other && other - entry->d_name == mark - name && strncmp(entry->d_name, name, (size_t)(mark - name)) == 0)
            AC_TRY(add_path(out, folder, entry->d_name));
    }
    if (out->n == 0)
        status = ac_error(AC_ERR_IO, "%s: there is no such file", word);
out:
    if (stream)
        closedir(stream);
    return status;
}

static ac_status choose(const evaluate_config *config, const char *word, const score_sets *sets, const score_set **out)
{
    char there[SET_NAME_BYTES * 2] = "";
    size_t n = 0, n_there = 0;
    for (size_t i = 0; i < sets->n_sets; i++) {
        const score_set *set = &sets->set[i];
        bool fits = is_csv(word) || strcmp(set->checkpoint, config->checkpoint) == 0;
        if (fits && n++ > 0)
            return ac_error(AC_ERR_USAGE,
                            "%s has several score sets for %s, of the models %s and %s: name the file instead", word,
                            config->checkpoint, (*out)->model, set->model);
        if (fits)
            *out = set;
        if (n_there < sizeof there)
            n_there += (size_t)snprintf(there + n_there, sizeof there - n_there, " %s", set->stem);
    }
    if (n == 0)
        return ac_error(AC_ERR_DATA, "%s has no scores of the checkpoint %s; there are%s", word, config->checkpoint,
                        there);
    return AC_OK;
}

/* On rank 0: what evaluate_find_sets() is to look for. */
static ac_status prepare(const compare_config *config, const char *word, path_list *files, evaluate_config *out)
{
    ac_status status = AC_OK;
    *out = config->evaluate;
    out->only_read = true;
    out->output = NULL;
    out->scores = out->versions = (ac_string_list){0};
    if (is_csv(word)) {
        AC_TRY(list_files(word, files));
        out->results_output = NULL;
        out->scores = (ac_string_list){.item = (const char **)files->path, .n_items = files->n};
    } else if (!out->results_output)
        return ac_error(AC_ERR_USAGE, "%s is no .csv file: to compare versions give --results_output DIR", word);
    return AC_OK;
out:
    return status;
}

ac_status compare_find_set(MPI_Comm comm, const compare_config *config, const char *word, score_sets *out,
                           const score_set **set)
{
    ac_status status = AC_OK;
    int rank;
    path_list files = {0};
    evaluate_config where;
    MPI_Comm_rank(comm, &rank);
    AC_TRY(ac_comm_agree(comm, rank == 0 ? prepare(config, word, &files, &where) : AC_OK));
    if (rank == 0 && where.results_output)
        where.versions = (ac_string_list){.item = &word, .n_items = 1};
    AC_TRY(evaluate_find_sets(comm, &where, out));
    AC_TRY(choose(&config->evaluate, word, out, set));
out:
    for (size_t i = 0; i < files.n; i++)
        ac_free(files.path[i]);
    ac_free(files.path);
    return status;
}
