/* The file of ranges of a sweep: a line for each option, held against the trainer's own table. Leaves what values a range gives to
 * sweep_points.c. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "anyclass/file.h"
#include "train/sweep.h"
#include "train/train_internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_BYTES = 1 << 20, NAME_BYTES = 64 };
static const char blanks[] = " \t\r";

/* The trainer's word on --name=value; --dump_config keeps it from asking for options that this line does not give. */
static ac_status ask_trainer(const char *name, const char *value)
{
    char word[NAME_BYTES + SWEEP_VALUE_BYTES + 8], program[] = "anyclass-train", dump[] = "--dump_config";
    char *argv[] = {program, dump, word, NULL};
    train_config config;
    ac_option_action action;
    ac_options *options = NULL;
    snprintf(word, sizeof word, "--%s=%s", name, value);
    ac_status status = ac_options_parse(&train_program, 3, argv, &config, NULL, &action, &options);
    ac_options_destroy(options);
    return status;
}

/* Options that say where a training lies or how it is started, not what it is: one value serves all elements, or the sweep chooses it. */
static bool is_fixed(const char *name)
{
    static const char *const fixed[] = {"data_root", "log_save_dir", "version_name", "checkpoint", "overwrite", "dry_run", "log_level", "log_all_ranks"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (strcmp(fixed[i], name) == 0)
            return true;
    return false;
}

static ac_status find_option(const char *text, size_t n, const ac_option **out)
{
    ac_status status = AC_OK;
    char name[NAME_BYTES] = "";
    if (n == 0 || n >= sizeof name)
        return ac_error(AC_ERR_USAGE, "an option of anyclass-train is wanted in front of '='");
    for (size_t i = 0; i < n; i++)
        name[i] = text[i] == '-' ? '_' : text[i];
    for (size_t i = 0; i < train_program.n_options; i++)
        if (strcmp(train_program.options[i].name, name) == 0)
            *out = &train_program.options[i];
    if (!*out) {
        if (strcmp(name, "config") != 0)
            AC_TRY(ask_trainer(name, "")); /* which knows what was meant */
        return ac_error(AC_ERR_USAGE, "--%s is no option with values", name);
    }
    if (is_fixed(name))
        return ac_error(AC_ERR_USAGE, "--%s cannot be swept: it is the same for all elements, or different by itself", name);
    if ((*out)->type == AC_OPTION_STRINGS || (*out)->type == AC_OPTION_DOUBLES)
        return ac_error(AC_ERR_USAGE, "--%s is a list: it cannot be swept", name);
out:
    return status;
}

static bool same_value(const sweep_key *key, const char *a, const char *b)
{
    double x, y;
    if (key->option->type != AC_OPTION_INT && key->option->type != AC_OPTION_DOUBLE)
        return strcmp(a, b) == 0;
    return ac_parse_double(a, &x) == AC_OK && ac_parse_double(b, &y) == AC_OK && x == y;
}

static ac_status add_value(sweep_key *key, const char *word)
{
    ac_status status = AC_OK;
    if (strlen(word) >= SWEEP_VALUE_BYTES)
        return ac_error(AC_ERR_USAGE, "'%.40s...' is longer than %d bytes", word, SWEEP_VALUE_BYTES - 1);
    AC_TRY(ask_trainer(key->option->name, word));
    for (size_t i = 0; i < key->n_values; i++)
        if (same_value(key, key->value[i], word))
            return ac_error(AC_ERR_USAGE, "the value %s stands there twice", word);
    AC_TRY(ac_reserve(&key->value, &key->capacity, key->n_values + 1, sizeof *key->value));
    strcpy(key->value[key->n_values++], word);
out:
    return status;
}

/* Next word of a line, cut off in place; NULL at its end. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, blanks);
    *at = word + strcspn(word, blanks);
    if (**at)
        *(*at)++ = '\0';
    return *word ? word : NULL;
}

/* "LOW .. HIGH" in which the blanks may be missing: cut into its ends. False when there is no "..". */
static bool cut_range(char *text, char **low, char **high)
{
    char *dots = strstr(text, "..");
    if (!dots)
        return false;
    *dots = '\0';
    *low = text;
    *high = dots + 2;
    return true;
}

static ac_status read_end(const sweep_key *key, char *text, double *out)
{
    ac_status status = AC_OK;
    char *word = next_word(&text);
    if (!word || next_word(&text))
        return ac_error(AC_ERR_USAGE, "a range is 'LOW .. HIGH', with one number on either side");
    if (strlen(word) >= AC_NUMBER_BYTES)
        return ac_error(AC_ERR_USAGE, "'%.40s...' is no number", word);
    AC_TRY(ask_trainer(key->option->name, word));
    AC_TRY(ac_parse_double(word, out));
out:
    return status;
}

static bool is_power_of_two(double value)
{
    int exponent;
    return value > 0 && frexp(value, &exponent) == 0.5;
}

static ac_status check_range(const sweep_key *key)
{
    if (!(key->low < key->high))
        return ac_error(AC_ERR_USAGE, "a range goes up: %.12g is not below %.12g", key->low, key->high);
    if (key->scale == SWEEP_LOG && key->low <= 0)
        return ac_error(AC_ERR_USAGE, "log: %.12g is not above 0", key->low);
    if (key->scale == SWEEP_LOG1M && !(key->low >= 0 && key->high < 1))
        return ac_error(AC_ERR_USAGE, "log1m takes a range from 0 to less than 1: it is even in log(1 - value)");
    if (key->scale == SWEEP_LOG1M && key->option->type == AC_OPTION_INT)
        return ac_error(AC_ERR_USAGE, "log1m is for fractions, and --%s is a whole number", key->option->name);
    if (key->scale == SWEEP_POW2 && !(is_power_of_two(key->low) && is_power_of_two(key->high)))
        return ac_error(AC_ERR_USAGE, "pow2 goes from a power of two to another");
    return AC_OK;
}

/* " x 5" behind a range: cut off; 0 when there is none. */
static ac_status cut_count(char *text, int64_t *n)
{
    char *x = strrchr(text, 'x'), *word, *rest = x ? x + 1 : NULL;
    *n = 0;
    if (!x)
        return AC_OK;
    *x = '\0';
    word = next_word(&rest);
    if (!word || next_word(&rest) || ac_parse_int64(word, 2, SWEEP_MOST_ELEMENTS, n) != AC_OK)
        return ac_error(AC_ERR_USAGE, "behind 'x' the number of values is wanted, 2 .. %d", SWEEP_MOST_ELEMENTS);
    return AC_OK;
}

static ac_status read_range(sweep_key *key, char *low, char *high)
{
    ac_status status = AC_OK;
    int64_t n;
    char value[SWEEP_VALUE_BYTES];
    AC_TRY(cut_count(high, &n));
    AC_TRY(read_end(key, low, &key->low));
    AC_TRY(read_end(key, high, &key->high));
    AC_TRY(check_range(key));
    for (int64_t i = 0; i < n; i++) {
        sweep_range_at(key, (double)i / (double)(n - 1), value);
        AC_TRY(add_value(key, value));
    }
out:
    return status;
}

static void take_scale(sweep_key *key, char **text)
{
    static const char *const names[] = {[SWEEP_LOG] = "log", [SWEEP_LOG1M] = "log1m", [SWEEP_POW2] = "pow2"};
    *text += strspn(*text, blanks);
    size_t n = strcspn(*text, blanks);
    for (int s = SWEEP_LOG; s <= SWEEP_POW2; s++)
        if (strlen(names[s]) == n && memcmp(*text, names[s], n) == 0) {
            key->scale = (sweep_scale)s;
            *text += n;
            return;
        }
}

static ac_status read_values(sweep_key *key, char *text)
{
    ac_status status = AC_OK;
    char *low, *high;
    bool is_number = key->option->type == AC_OPTION_INT || key->option->type == AC_OPTION_DOUBLE;
    if (is_number)
        take_scale(key, &text);
    if (is_number && cut_range(text, &low, &high))
        return read_range(key, low, high);
    if (key->scale != SWEEP_LINEAR)
        return ac_error(AC_ERR_USAGE, "log, log1m and pow2 go in front of a range, 'LOW .. HIGH'");
    for (char *word; (word = next_word(&text)) != NULL;)
        AC_TRY(add_value(key, word));
    if (key->n_values == 0)
        return ac_error(AC_ERR_USAGE, "--%s has no values", key->option->name);
out:
    return status;
}

static ac_status read_line(sweep_ranges *ranges, char *text, size_t line)
{
    ac_status status = AC_OK;
    sweep_key key = {.line = line};
    text[strcspn(text, "#")] = '\0';
    text += strspn(text, blanks);
    if (!*text)
        return AC_OK;
    char *equals = strchr(text, '=');
    if (!equals)
        return ac_error(AC_ERR_USAGE, "'OPTION = VALUES' is wanted");
    size_t n = (size_t)(equals - text);
    while (n > 0 && strchr(blanks, text[n - 1]))
        n--;
    AC_TRY(find_option(text, n, &key.option));
    for (size_t k = 0; k < ranges->n_keys; k++)
        if (ranges->key[k].option == key.option)
            return ac_error(AC_ERR_USAGE, "--%s stands in line %zu already", key.option->name, ranges->key[k].line);
    AC_TRY(read_values(&key, equals + 1));
    if (strcmp(key.option->name, "seed") == 0)
        AC_TRY(sweep_list_range(&key));
    AC_TRY(ac_reserve(&ranges->key, &ranges->capacity, ranges->n_keys + 1, sizeof *ranges->key));
    ranges->key[ranges->n_keys++] = key;
    key.value = NULL;
out:
    ac_free(key.value);
    return status;
}

static ac_status read_lines(sweep_ranges *ranges, char *text)
{
    ac_status status = AC_OK;
    size_t line = 0;
    for (char *next; text; text = next) {
        next = strchr(text, '\n');
        if (next)
            *next++ = '\0';
        status = read_line(ranges, text, ++line);
        if (status != AC_OK)
            return ac_error_in(status, "%s line %zu", ranges->name, line);
    }
    if (ranges->n_keys == 0)
        return ac_error(AC_ERR_USAGE, "%s: no line says what is swept", ranges->name);
    for (size_t k = 0; k < ranges->n_keys; k++)
        if (strcmp(ranges->key[k].option->name, "seed") == 0)
            ranges->seed = &ranges->key[k];
    return status;
}

ac_status sweep_read_ranges(const char *path, sweep_ranges *out)
{
    ac_status status = AC_OK;
    uint8_t *bytes = NULL;
    size_t n, length = strlen(path);
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", path + (length < sizeof out->name ? 0 : length - sizeof out->name + 1));
    AC_TRY(ac_file_read_all(path, MOST_BYTES, &bytes, &n));
    if (memchr(bytes, 0, n))
        AC_TRY(ac_error(AC_ERR_USAGE, "%s: is no text", out->name));
    AC_TRY(read_lines(out, (char *)bytes));
out:
    ac_free(bytes);
    return status;
}

void sweep_release_ranges(sweep_ranges *ranges)
{
    for (size_t k = 0; k < ranges->n_keys; k++)
        ac_free(ranges->key[k].value);
    ac_free(ranges->key);
    memset(ranges, 0, sizeof *ranges);
}
