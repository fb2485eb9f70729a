/* The file of choices (cache.h). Lines are "KEY = CANDIDATES VALUE #HASH" under a first line that says whose they are. Writers take turns by the lock
 * of the temporary file, read what is there, add their own and rename: a reader sees the old file or the new one. */
#include "backend/cuda/cache.h"
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/hash.h"
#include "anyclass/log.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { FORMAT = 1, MOST_FILE_BYTES = 16 << 20, LINE_BYTES = CUDA_CACHE_KEY_BYTES + CUDA_CACHE_VALUE_BYTES + 64, TRIES = 40, TRY_MS = 5 };

typedef struct entry {
    char key[CUDA_CACHE_KEY_BYTES], value[CUDA_CACHE_VALUE_BYTES];
    char forgotten[CUDA_CACHE_VALUE_BYTES]; /* a value that did not fit, whoever may write it again */
    int n_candidates;                       /* 0: no value */
    bool own;                               /* chosen here */
} entry;

struct cuda_cache {
    char path[AC_PATH_BYTES], first_line[LINE_BYTES];
    entry *entry;
    size_t n, capacity;
    bool keeps, unwritten, complained;
    struct stat seen; /* of the file when it was read last; zeroed: not there */
};

bool cuda_cache_folder(char *out)
{
    const char *own = getenv("ANYCLASS_CUDA_CACHE"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (own && *own) {
        snprintf(out, AC_PATH_BYTES, "%s", own);
        return strcmp(own, "off") != 0 && strlen(own) < AC_PATH_BYTES;
    }
#ifdef AC_CUDA_EMULATED /* no time that is measured there means anything */
    return false;
#endif
    int n = cache && *cache ? snprintf(out, AC_PATH_BYTES, "%s/anyclass", cache) : home && *home ? snprintf(out, AC_PATH_BYTES, "%s/.cache/anyclass", home) : -1;
    return n > 0 && n < AC_PATH_BYTES;
}

static void complain(cuda_cache *cache, const char *what)
{
    if (!cache->complained)
        ac_log(AC_LOG_WARN, "choices of algorithms: %s: %s", cache->path, what);
    cache->complained = true;
}

static entry *look_up(cuda_cache *cache, const char *key)
{
    for (size_t i = 0; i < cache->n; i++)
        if (strcmp(cache->entry[i].key, key) == 0)
            return &cache->entry[i];
    return NULL;
}

static ac_status add(cuda_cache *cache, const char *key, entry **out)
{
    ac_status status = AC_OK;
    if (cache->n == cache->capacity) {
        size_t capacity = cache->capacity ? 2 * cache->capacity : 64;
        entry *larger = NULL;
        AC_TRY(ac_calloc(capacity, sizeof *larger, &larger));
        if (cache->n)
            memcpy(larger, cache->entry, cache->n * sizeof *larger);
        ac_free(cache->entry);
        cache->entry = larger;
        cache->capacity = capacity;
    }
    *out = &cache->entry[cache->n++];
    memset(*out, 0, sizeof **out);
    snprintf((*out)->key, sizeof (*out)->key, "%s", key);
out:
    return status;
}

/* ---- lines ---- */

static int format_line(const entry *e, char *out)
{
    int n = snprintf(out, LINE_BYTES, "%s = %d %s ", e->key, e->n_candidates, e->value);
    return n + snprintf(out + n, LINE_BYTES - (size_t)n, "#%016" PRIx64, ac_hash64_bytes(out, (size_t)n));
}

static bool parse_line(const char *line, entry *out)
{
    const char *mark = strrchr(line, '#'), *equals = strstr(line, " = ");
    char *behind;
    if (!mark || !equals || mark < equals || mark[-1] != ' ' || strlen(mark) != 17 || strspn(mark + 1, "0123456789abcdef") != 16)
        return false;
    if (strtoull(mark + 1, NULL, 16) != ac_hash64_bytes(line, (size_t)(mark - line)))
        return false;
    long n = strtol(equals + 3, &behind, 10);
    size_t key = (size_t)(equals - line), value = behind + 1 < mark ? (size_t)(mark - 1 - (behind + 1)) : 0;
    if (n < 1 || n > 1000 || *behind != ' ' || key == 0 || key >= sizeof out->key || value == 0 || value >= sizeof out->value)
        return false;
    memset(out, 0, sizeof *out);
    memcpy(out->key, line, key);
    memcpy(out->value, behind + 1, value);
    out->n_candidates = (int)n;
    return true;
}

/* Another's choice stands when it was made among as many. */
static ac_status merge(cuda_cache *cache, const entry *from)
{
    entry *mine = look_up(cache, from->key);
    if (mine && (strcmp(mine->forgotten, from->value) == 0 || (mine->own && mine->n_candidates > from->n_candidates)))
        return AC_OK;
    if (!mine) {
        ac_status status = add(cache, from->key, &mine);
        if (status != AC_OK)
            return status;
    }
    memcpy(mine->value, from->value, sizeof mine->value);
    mine->n_candidates = from->n_candidates;
    mine->own = false;
    return AC_OK;
}

/* ---- the file ---- */

static ac_status parse(cuda_cache *cache, char *text)
{
    ac_status status = AC_OK;
    int n_bad = 0;
    char *line = text, *end;
    for (bool first = true; *line; line = end, first = false) {
        entry e;
        end = line + strcspn(line, "\n");
        bool whole = *end == '\n';
        if (whole)
            *end++ = '\0';
        if (first) {
            if (!whole || strcmp(line, cache->first_line) != 0) {
                complain(cache, "not what this program wrote for this GPU and these libraries; it is not read");
                return AC_OK;
            }
        } else if (whole && parse_line(line, &e)) {
            AC_TRY(merge(cache, &e));
        } else {
            n_bad++;
        }
    }
    if (n_bad)
        complain(cache, "lines that are damaged are left out");
out:
    return status;
}

static bool has_changed(const struct stat *a, const struct stat *b)
{
    return a->st_ino != b->st_ino || a->st_size != b->st_size || a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec;
}

/* What others have written since. */
static ac_status refresh(cuda_cache *cache)
{
    ac_status status = AC_OK;
    struct stat now;
    uint8_t *bytes = NULL;
    size_t n;
    if (stat(cache->path, &now) != 0 || !has_changed(&now, &cache->seen))
        return AC_OK;
    cache->seen = now;
    if (!S_ISREG(now.st_mode) || ac_file_read_all(cache->path, MOST_FILE_BYTES, &bytes, &n) != AC_OK) {
        complain(cache, "cannot be read");
        return AC_OK;
    }
    for (size_t i = 0; i < n; i++) /* damage within its line */
        bytes[i] = bytes[i] ? bytes[i] : '?';
    AC_TRY(parse(cache, (char *)bytes));
out:
    ac_free(bytes);
    return status;
}

static ac_status write_all(cuda_cache *cache, ac_file *file)
{
    ac_status status = AC_OK;
    char line[LINE_BYTES];
    AC_TRY(refresh(cache)); /* nobody else writes now */
    AC_TRY(ac_file_printf(file, "%s\n", cache->first_line));
    for (size_t i = 0; i < cache->n; i++) {
        if (cache->entry[i].n_candidates == 0)
            continue;
        format_line(&cache->entry[i], line);
        AC_TRY(ac_file_printf(file, "%s\n", line));
    }
    AC_TRY(ac_file_commit(file));
    if (stat(cache->path, &cache->seen) != 0)
        memset(&cache->seen, 0, sizeof cache->seen);
    cache->unwritten = false;
out:
    return status;
}

static void save(cuda_cache *cache)
{
    if (!cache->keeps || !cache->unwritten)
        return;
    for (int k = 0; k < TRIES; k++) {
        ac_file file;
        memset(&file, 0, sizeof file);
        if (ac_file_create(&file, cache->path) == AC_OK) {
            if (write_all(cache, &file) != AC_OK) {
                complain(cache, ac_error_text());
                ac_file_discard(&file);
            }
            return;
        }
        struct timespec pause = {0, TRY_MS * 1000000L}; /* another process writes, or nobody may */
        nanosleep(&pause, NULL);
    }
    complain(cache, ac_error_text());
}

/* ---- what others call ---- */

/* Letters and digits of the identity, dashes for the rest. */
static void name_file(const char *folder, const char *identity, char *out)
{
    int n = snprintf(out, AC_PATH_BYTES, "%s/cuda-", folder);
    for (const char *c = identity; *c && n < AC_PATH_BYTES - 5; c++)
        if (isalnum((unsigned char)*c) || *c == '.')
            out[n++] = *c;
        else if (out[n - 1] != '-')
            out[n++] = '-';
    snprintf(out + n, AC_PATH_BYTES - (size_t)n, ".txt");
}

ac_status cuda_cache_open(const char *folder, const char *identity, cuda_cache **out)
{
    ac_status status = AC_OK;
    cuda_cache *cache = NULL;
    *out = NULL;
    AC_TRY(ac_calloc(1, sizeof *cache, &cache));
    snprintf(cache->first_line, sizeof cache->first_line, "anyclass choices %d: %s", FORMAT, identity);
    if (strlen(folder) + strlen(identity) + 16 < AC_PATH_BYTES) {
        name_file(folder, identity, cache->path);
        cache->keeps = ac_path_make_folders(folder) == AC_OK && ac_path_check_writable(folder) == AC_OK;
        AC_TRY(refresh(cache));
    }
    ac_log(AC_LOG_DEBUG, "choices of algorithms: %zu in %s%s", cache->n, cache->path, cache->keeps ? "" : ", which cannot be written");
    *out = cache;
    return AC_OK;
out:
    cuda_cache_close(cache);
    return status;
}

void cuda_cache_close(cuda_cache *cache)
{
    if (!cache)
        return;
    save(cache);
    ac_free(cache->entry);
    ac_free(cache);
}

bool cuda_cache_keeps(const cuda_cache *cache)
{
    return cache && cache->keeps;
}

const char *cuda_cache_find(cuda_cache *cache, const char *key, int n_candidates)
{
    if (!cache)
        return NULL;
    const entry *e = look_up(cache, key);
    if (!e && refresh(cache) == AC_OK)
        e = look_up(cache, key);
    return e && e->n_candidates >= n_candidates ? e->value : NULL;
}

const char *cuda_cache_keep(cuda_cache *cache, const char *key, int n_candidates, const char *value)
{
    if (!cuda_cache_keeps(cache) || refresh(cache) != AC_OK || strlen(key) >= CUDA_CACHE_KEY_BYTES || strlen(value) >= CUDA_CACHE_VALUE_BYTES)
        return NULL;
    entry *e = look_up(cache, key);
    if (e && e->n_candidates >= n_candidates)
        return e->value;
    if (!e && add(cache, key, &e) != AC_OK)
        return NULL;
    snprintf(e->value, sizeof e->value, "%s", value);
    e->n_candidates = n_candidates;
    e->own = true;
    cache->unwritten = true;
    save(cache);
    e = look_up(cache, key); /* saving may have read another's */
    return e && strcmp(e->value, value) != 0 ? e->value : NULL;
}

void cuda_cache_forget(cuda_cache *cache, const char *key)
{
    entry *e = cache ? look_up(cache, key) : NULL;
    if (!e)
        return;
    memcpy(e->forgotten, e->value, sizeof e->forgotten);
    e->n_candidates = 0;
}
