/* A folder of pictures: their list, and their pixels by number. */
#include "anyclass/pictures.h"
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/log.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { DEEPEST = 64 };

typedef struct listing { /* names while they are collected, in the order of the folders */
    char *names;
    size_t n_bytes, capacity;
    size_t n;
} listing;

static bool is_picture_name(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    size_t n = strlen(name);
    for (size_t k = 0; k < sizeof endings / sizeof *endings; k++) {
        size_t m = strlen(endings[k]);
        if (n > m && strcasecmp(name + n - m, endings[k]) == 0)
            return true;
    }
    return false;
}

static ac_status add_name(listing *list, const char *name)
{
    ac_status status = AC_OK;
    size_t n = strlen(name) + 1;
    AC_TRY(ac_reserve(&list->names, &list->capacity, list->n_bytes + n, 1));
    memcpy(list->names + list->n_bytes, name, n);
    list->n_bytes += n;
    list->n++;
out:
    return status;
}

static ac_status list_folder(const char *root, const char *below, int depth, listing *list);

static ac_status list_entry(const char *root, const char *name, int depth, listing *list)
{
    char path[AC_PATH_BYTES];
    struct stat info, behind_link;
    ac_status status = ac_path_join(path, root, name);
    if (status != AC_OK)
        return status;
    if (lstat(path, &info) != 0)
        return errno == ENOENT ? AC_OK : ac_error_errno("%s", path); /* removed since it was listed */
    if (S_ISDIR(info.st_mode))
        return list_folder(root, name, depth + 1, list);
    bool is_there = stat(path, &behind_link) == 0;
    if (S_ISLNK(info.st_mode) && is_there && S_ISDIR(behind_link.st_mode)) {
        ac_log(AC_LOG_WARN, "%s: a link to a folder is not followed", path);
        return AC_OK;
    }
    if (!is_picture_name(name))
        return AC_OK;
    if (is_there && !S_ISREG(behind_link.st_mode)) {
        ac_log(AC_LOG_WARN, "%s: not a regular file, left out", path);
        return AC_OK;
    }
    return add_name(list, name);
}

static ac_status list_folder(const char *root, const char *below, int depth, listing *list)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES], name[AC_PATH_BYTES];
    AC_TRY(ac_path_join(path, root, below));
    if (depth > DEEPEST)
        return ac_error(AC_ERR_IO, "%s: folders in folders, more than %d deep", path, DEEPEST);
    DIR *folder = opendir(path);
    if (!folder)
        return ac_error_errno("%s", path);
    errno = 0;
    for (struct dirent *entry; status == AC_OK && (entry = readdir(folder)) != NULL; errno = 0) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        status = ac_path_join(name, below, entry->d_name);
        if (status == AC_OK)
            status = list_entry(root, name, depth, list);
    }
    if (status == AC_OK && errno) /* the list is not whole */
        status = ac_error_errno("%s", path);
    closedir(folder);
out:
    return status;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names in order, one behind the other. */
static ac_status sort_names(const listing *list, char **sorted)
{
    ac_status status = AC_OK;
    const char **name = NULL;
    *sorted = NULL;
    AC_TRY(ac_malloc(list->n, sizeof *name, &name));
    AC_TRY(ac_malloc(list->n_bytes, 1, sorted));
    const char *at = list->names;
    for (size_t i = 0; i < list->n; i++, at += strlen(at) + 1)
        name[i] = at;
    qsort(name, list->n, sizeof *name, by_bytes);
    char *to = *sorted;
    for (size_t i = 0; i < list->n; i++)
        to += strlen(strcpy(to, name[i])) + 1;
out:
    ac_free(name);
    return status;
}

ac_status ac_pictures_take(const char *folder, char *names, size_t n_name_bytes, ac_pictures *out)
{
    ac_status status = AC_OK;
    *out = (ac_pictures){.names = names, .n_name_bytes = n_name_bytes};
    for (size_t i = 0; i < n_name_bytes; i++)
        out->n += names[i] == 0;
    AC_TRY(ac_strdup(folder, &out->folder));
    AC_TRY(ac_calloc(out->n, sizeof *out->name_at, &out->name_at));
    AC_TRY(ac_calloc(out->n, sizeof *out->reason, &out->reason));
    size_t at = 0;
    for (size_t i = 0; i < out->n; i++, at += strlen(names + at) + 1)
        out->name_at[i] = at;
out:
    return status;
}

ac_status ac_pictures_list(const char *folder, ac_pictures *out)
{
    ac_status status = AC_OK;
    listing list = {0};
    char *sorted = NULL;
    *out = (ac_pictures){0};
    AC_TRY(list_folder(folder, "", 0, &list));
    if (list.n == 0)
        AC_TRY(ac_error(AC_ERR_DATA, "%s: no picture in it (.jpg, .jpeg, .png)", folder));
    AC_TRY(sort_names(&list, &sorted));
    AC_TRY(ac_pictures_take(folder, sorted, list.n_bytes, out));
    sorted = NULL;
out:
    ac_free(list.names);
    return status;
}

void ac_pictures_forget(ac_pictures *p)
{
    for (size_t i = 0; p->reason && i < p->n; i++) {
        ac_free(p->reason[i]);
        p->reason[i] = NULL;
    }
}

static void release_reading(ac_pictures *p)
{
    for (int t = 0; p->reader && t < p->n_threads; t++)
        ac_image_reader_release(&p->reader[t]);
    ac_free(p->reader);
    p->reader = NULL;
    ac_pictures_forget(p);
}

void ac_pictures_release(ac_pictures *p)
{
    release_reading(p);
    ac_free(p->reason);
    ac_free(p->folder);
    ac_free(p->names);
    ac_free(p->name_at);
    memset(p, 0, sizeof *p);
}

ac_hash ac_pictures_hash(const ac_pictures *p)
{
    return ac_hash_bytes(p->names, p->n_name_bytes);
}

ac_status ac_pictures_begin(ac_pictures *p, int image_size_px, const ac_decode_options *decode, int n_threads)
{
    release_reading(p);
    p->image_size_px = image_size_px;
    p->decode = *decode;
    p->n_threads = n_threads;
    return ac_calloc((size_t)n_threads, sizeof *p->reader, &p->reader);
}

/* A picture that was repaired since it was found bad is good. */
static ac_status read_picture(void *context, int thread, int64_t i, uint8_t *out, bool *usable)
{
    ac_status status = AC_OK;
    ac_pictures *p = context;
    char path[AC_PATH_BYTES], reason[AC_IMAGE_REASON_BYTES] = "the path is too long";
    ac_free(p->reason[i]);
    p->reason[i] = NULL;
    if (ac_path_join(path, p->folder, p->names + p->name_at[i]) == AC_OK)
        AC_TRY(ac_image_reader_read(&p->reader[thread], path, &p->decode, AC_SIMD_AUTO, p->image_size_px, out, reason));
    *usable = reason[0] == 0;
    if (!*usable)
        AC_TRY(ac_strdup(reason, &p->reason[i]));
out:
    return status;
}

static const char *name_of_picture(const void *context, int64_t i)
{
    const ac_pictures *p = context;
    return p->names + p->name_at[i];
}

ac_source ac_pictures_source(ac_pictures *p)
{
    size_t side = (size_t)p->image_size_px;
    return (ac_source){.context = p,
                       .n_samples = (int64_t)p->n,
                       .image_bytes = side * side * 3,
                       .read = read_picture,
                       .name = name_of_picture};
}
