/* Elements of a sweep as lines, as a CSV and as command lines. */
#include "train/sweep_table.h"
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/log.h"
#include <stdio.h>
#include <string.h>

static const char program_name[] = "anyclass-train";

ac_status sweep_table_make(const sweep_ranges *ranges, const sweep_points *points, const char *name, const ac_string_list *fixed, sweep_table *out)
{
    ac_status status = AC_OK;
    *out = (sweep_table){.ranges = ranges, .points = points, .name = name, .fixed = fixed};
    AC_TRY(sweep_count(ranges, points, &out->n_elements));
    AC_TRY(ac_calloc(ranges->n_keys, sizeof *out->value, &out->value));
out:
    return status;
}

void sweep_table_release(sweep_table *table)
{
    ac_free(table->value);
    *table = (sweep_table){0};
}

void sweep_table_version(const sweep_table *table, size_t i, char out[SWEEP_VERSION_BYTES])
{
    snprintf(out, SWEEP_VERSION_BYTES, "%s-%03zu", table->name, i);
}

typedef struct text { /* growing */
    char *bytes;
    size_t n, capacity;
    ac_status status;
} text;

static void put_bytes(text *out, const char *bytes, size_t n)
{
    if (out->status == AC_OK)
        out->status = ac_reserve(&out->bytes, &out->capacity, out->n + n + 1, 1);
    if (out->status != AC_OK)
        return;
    memcpy(out->bytes + out->n, bytes, n);
    out->n += n;
    out->bytes[out->n] = '\0';
}

static void put(text *out, const char *words)
{
    put_bytes(out, words, strlen(words));
}

static void put_options(text *out, const sweep_table *table, const char *before)
{
    for (size_t k = 0; k < table->ranges->n_keys; k++) {
        put(out, before);
        put(out, "--");
        put(out, table->ranges->key[k].option->name);
        put(out, "=");
        put(out, table->value[k]);
    }
}

static void find_element(const sweep_table *table, size_t i)
{
    sweep_element(table->ranges, table->points, i, table->value);
}

/* argv and its words in one block: the pointers first. */
ac_status sweep_table_words(const sweep_table *table, size_t i, char ***argv, size_t *n)
{
    ac_status status = AC_OK;
    char version[SWEEP_VERSION_BYTES], **words = NULL;
    text all = {0};
    find_element(table, i);
    sweep_table_version(table, i, version);
    put_bytes(&all, program_name, sizeof program_name);
    put_bytes(&all, "--dump_config", sizeof "--dump_config");
    for (size_t k = 0; k < table->fixed->n_items; k++)
        put_bytes(&all, table->fixed->item[k], strlen(table->fixed->item[k]) + 1);
    put(&all, "--version_name=");
    put_bytes(&all, version, strlen(version) + 1);
    for (size_t k = 0; k < table->ranges->n_keys; k++) {
        put(&all, "--");
        put(&all, table->ranges->key[k].option->name);
        put(&all, "=");
        put_bytes(&all, table->value[k], strlen(table->value[k]) + 1);
    }
    AC_TRY(all.status);
    *n = 3 + table->fixed->n_items + table->ranges->n_keys;
    AC_TRY(ac_malloc((*n + 1) * sizeof *words + all.n, 1, &words));
    char *at = memcpy((char *)(words + *n + 1), all.bytes, all.n);
    for (size_t k = 0; k < *n; k++, at += strlen(at) + 1)
        words[k] = at;
    words[*n] = NULL;
    *argv = words;
out:
    ac_free(all.bytes);
    return status;
}

ac_status sweep_table_print(const sweep_table *table)
{
    text all = {0};
    for (size_t i = 0; i < table->n_elements; i++) {
        char version[SWEEP_VERSION_BYTES], number[24];
        find_element(table, i);
        sweep_table_version(table, i, version);
        snprintf(number, sizeof number, "%zu\t", i);
        put(&all, number);
        put(&all, version);
        put_options(&all, table, "\t");
        put(&all, "\n");
    }
    ac_status status = all.status == AC_OK ? ac_log_answer(all.bytes) : all.status;
    ac_free(all.bytes);
    return status;
}

/* A word for a shell: in single quotes unless nothing in it means anything there. */
static void put_quoted(text *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,+@%";
    if (*word && strspn(word, plain) == strlen(word)) {
        put(out, word);
        return;
    }
    put(out, "'");
    for (const char *at = word; *at; at++)
        put(out, *at == '\'' ? "'\\''" : (char[]){*at, '\0'});
    put(out, "'");
}

/* What trains this element again beside the first one: a version of its own. */
static void put_command(text *out, const sweep_table *table, const char *version)
{
    put(out, program_name);
    for (size_t k = 0; k < table->fixed->n_items; k++) {
        put(out, " ");
        put_quoted(out, table->fixed->item[k]);
    }
    for (size_t k = 0; k < table->ranges->n_keys; k++) {
        put(out, " --");
        put(out, table->ranges->key[k].option->name);
        put(out, " ");
        put_quoted(out, table->value[k]);
    }
    put(out, " --version_name ");
    put(out, version);
    put(out, "_again");
}

static void put_field(text *out, const char *field)
{
    size_t n = ac_csv_quote(field, NULL, 0);
    if (out->status == AC_OK)
        out->status = ac_reserve(&out->bytes, &out->capacity, out->n + n, 1);
    if (out->status != AC_OK)
        return;
    ac_csv_quote(field, out->bytes + out->n, n);
    out->n += n - 1;
}

static void put_row(text *out, const sweep_table *table, size_t i)
{
    char version[SWEEP_VERSION_BYTES], number[24];
    text command = {0};
    find_element(table, i);
    sweep_table_version(table, i, version);
    snprintf(number, sizeof number, "%zu,", i);
    put(out, number);
    put_field(out, version);
    for (size_t k = 0; k < table->ranges->n_keys; k++) {
        put(out, ",");
        put_field(out, table->value[k]);
    }
    put_command(&command, table, version);
    if (out->status == AC_OK)
        out->status = command.status;
    put(out, ",");
    put_field(out, command.bytes ? command.bytes : "");
    put(out, "\n");
    ac_free(command.bytes);
}

static ac_status other_sweep(const char *path, const char *version, const char *key, const char *old, const char *now)
{
    return ac_error(AC_ERR_USAGE, "%s is the table of another sweep: there %s has %s %s, here %s: give another --name and --table, or move it away", path,
                    version, key, old, now);
}

static ac_status compare_element(const sweep_table *table, const ac_sweep_file *old, const char *path, size_t i)
{
    char version[SWEEP_VERSION_BYTES];
    find_element(table, i);
    sweep_table_version(table, i, version);
    if (strcmp(version, old->version[i]) != 0)
        return ac_error(AC_ERR_USAGE, "%s is the table of another sweep: there element %zu is %s, here %s: give another --table, or move it away", path, i,
                        old->version[i], version);
    for (size_t k = 0; k < old->n_keys; k++)
        if (strcmp(old->value[i * old->n_keys + k], table->value[k]) != 0)
            return other_sweep(path, version, old->key[k], old->value[i * old->n_keys + k], table->value[k]);
    return AC_OK;
}

/* A table that is there stands for trainings that are there. */
static ac_status compare_old(const sweep_table *table, const char *path)
{
    ac_status status = AC_OK;
    const sweep_ranges *ranges = table->ranges;
    ac_sweep_file old = {0};
    if (!ac_path_exists(path))
        return AC_OK;
    AC_TRY(ac_sweep_file_read(path, &old));
    bool same = old.n_keys == ranges->n_keys;
    for (size_t k = 0; same && k < ranges->n_keys; k++)
        same = strcmp(old.key[k], ranges->key[k].option->name) == 0;
    if (!same)
        AC_TRY(ac_error(AC_ERR_USAGE, "%s is the table of another sweep, of other options or in another order: give another --name and --table, or move it away",
                        path));
    for (size_t i = 0; i < old.n_elements && i < table->n_elements; i++)
        AC_TRY(compare_element(table, &old, path, i));
out:
    ac_sweep_file_release(&old);
    return status;
}

static ac_status check_folder(const char *path)
{
    char folder[AC_PATH_BYTES];
    ac_status status = ac_path_join(folder, "", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    else
        strcpy(folder, ".");
    return status == AC_OK ? ac_path_check_writable(folder) : status;
}

ac_status sweep_table_save(const sweep_table *table, const char *path, bool dry_run)
{
    ac_status status = AC_OK;
    text all = {0};
    ac_file file = {0};
    AC_TRY(compare_old(table, path));
    AC_TRY(check_folder(path));
    put(&all, "index,version");
    for (size_t k = 0; k < table->ranges->n_keys; k++) {
        put(&all, ",");
        put(&all, table->ranges->key[k].option->name);
    }
    put(&all, ",command\n");
    for (size_t i = 0; i < table->n_elements; i++)
        put_row(&all, table, i);
    AC_TRY(all.status);
    if (dry_run)
        goto out;
    AC_TRY(ac_file_create(&file, path));
    AC_TRY(ac_file_write(&file, all.bytes, all.n));
    AC_TRY(ac_file_commit(&file));
out:
    ac_file_discard(&file);
    ac_free(all.bytes);
    return status;
}
