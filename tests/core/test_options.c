/* One option table: parsing, ranges, suggestions, --config and --dump_config, failing allocations. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/option.h"
#include "tests/tap.h"
#include <string.h>
#include <unistd.h>

typedef struct config {
    bool flag;
    int64_t count;
    double rate;
    const char *path;
    int choice;
    ac_string_list names;
    ac_double_list steps;
} config;

#define O(field) .offset = offsetof(config, field)
static const ac_option table[] = {
    {.group = "All", .name = "flag", .type = AC_OPTION_FLAG, O(flag), .fallback = "true", .help = "A flag."},
    {.name = "batch_size", .type = AC_OPTION_INT, O(count), .fallback = "8", .min = 1, .max = 100, .help = "A count."},
    {.name = "rate", .type = AC_OPTION_DOUBLE, O(rate), .fallback = "0.5", .min = 0, .max = 1, .help = "A number."},
    {.name = "path", .type = AC_OPTION_STRING, O(path), .required = true, .help = "A text."},
    {.name = "kind", .type = AC_OPTION_CHOICE, O(choice), .fallback = "blue", .choices = "red|blue", .help = "A choice."},
    {.name = "names", .type = AC_OPTION_STRINGS, O(names), .help = "Texts."},
    {.name = "steps", .type = AC_OPTION_DOUBLES, O(steps), .min = 0, .max = 10, .help = "Numbers."},
};
static const ac_program program = {"anyclass-test", "A test.", "--path FILE", "Notes.", table, sizeof table / sizeof *table, sizeof(config)};

/* Parse a command line given as words divided by single blanks. */
static ac_status parse(const char *line, config *c, ac_option_action *action, ac_options **out)
{
    static char copy[1024];
    char *argv[64] = {(char *)"anyclass-test"};
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    memset(c, 0, sizeof *c);
    return ac_options_parse(&program, argc, argv, c, NULL, action, out);
}

static void test_good(void)
{
    config c;
    ac_options *options;
    ac_option_action action;
    if (TAP_CALL(parse("--path x", &c, &action, &options))) {
        TAP_OK(c.flag && c.count == 8 && c.rate == 0.5 && c.choice == 1 && c.names.n_items == 0 && action == AC_ACTION_RUN, "defaults");
        TAP_OK(ac_options_given(options, "path") && !ac_options_given(options, "rate"), "what was given is known");
        ac_options_destroy(options);
    }
    if (TAP_CALL(parse("--no-flag --batch-size=9 --rate 0 --path=a=b --kind red --names a b --steps 1 2.5 --names c", &c, &action, &options))) {
        TAP_OK(!c.flag && c.count == 9 && c.rate == 0 && strcmp(c.path, "a=b") == 0 && c.choice == 0, "values, with '-' and '='");
        TAP_OK(c.names.n_items == 3 && strcmp(c.names.item[2], "c") == 0 && c.steps.n_items == 2 && c.steps.item[1] == 2.5, "lists grow");
        ac_options_destroy(options);
    }
    static const struct {
        const char *line;
        ac_option_action action;
    } asks[] = {{"--help", AC_ACTION_HELP}, {"--version", AC_ACTION_VERSION}, {"--rate 1 --dump_config", AC_ACTION_DUMP_CONFIG}};
    for (size_t i = 0; i < 3; i++)
        if (TAP_OK(parse(asks[i].line, &c, &action, &options) == AC_OK && action == asks[i].action, "%s", asks[i].line))
            ac_options_destroy(options);
}

static void test_bad(void)
{
    static const struct {
        const char *line, *said;
    } cases[] = {
        {"", "--path"},
        {"--path", "--path"},
        {"--path x --bath_size 3", "batch_size"},
        {"--path x --zzz 3", "--zzz"},
        {"--path x --batch_size 0", "1 .. 100"},
        {"--path x --batch_size 1.5", "1.5"},
        {"--path x --batch_size 101", "101"},
        {"--path x --rate fast", "fast"},
        {"--path x --rate nan", "nan"},
        {"--path x --kind green", "red|blue"},
        {"--path x --kind re", "red|blue"},
        {"--path x --flag=maybe", "maybe"},
        {"--path x --no_rate", "no_rate"},
        {"--path x --steps 1 11", "11"},
        {"--path x --rate 0 --rate 1", "rate"},
        {"--path x word", "word"},
        {"--path x -r 1", "-r"},
        {"--path x --config /nonexistent.json", "/nonexistent.json"},
        {"--help --batch_size many", "many"},
    };
    config c;
    ac_options *options;
    ac_option_action action;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ac_status status = parse(cases[i].line, &c, &action, &options);
        TAP_OK(status != AC_OK && strstr(ac_error_text(), cases[i].said) && !strchr(ac_error_text(), '\n'), "'%s' is refused and says why", cases[i].line);
    }
}

static void test_config(void)
{
    char folder[AC_PATH_BYTES], path[AC_PATH_BYTES], line[AC_PATH_BYTES + 64], *first = NULL, *second = NULL;
    config c;
    ac_options *options;
    ac_option_action action;
    if (!tap_folder(folder) || !TAP_CALL(ac_path_join(path, folder, "options.json")))
        return;
    if (!TAP_CALL(parse("--no_flag --batch_size 9 --rate 0.1 --path /a/b --kind red --names a b,c --steps 1 2.5", &c, &action, &options)))
        return;
    TAP_CALL(ac_options_dump(&program, &c, &first));
    ac_options_destroy(options);
    FILE *file = fopen(path, "w");
    fputs(first, file);
    fclose(file);
    snprintf(line, sizeof line, "--config %s", path);
    if (TAP_CALL(parse(line, &c, &action, &options))) {
        TAP_CALL(ac_options_dump(&program, &c, &second));
        TAP_OK(strcmp(first, second) == 0, "a dumped configuration reads back the same");
        ac_options_destroy(options);
    }
    snprintf(line, sizeof line, "--config %s --batch_size 10 --names z", path);
    if (TAP_CALL(parse(line, &c, &action, &options))) {
        TAP_OK(c.count == 10 && c.choice == 0 && c.names.n_items == 1 && strcmp(c.names.item[0], "z") == 0, "the command line wins over the file");
        ac_options_destroy(options);
    }
    static const char *const bad[] = {"{\"bath_size\": 3}", "{\"batch_size\": \"x\"}", "[1]", "{\"rate\": 7}", "{\"flag\": 3}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        file = fopen(path, "w");
        fputs(bad[i], file);
        fclose(file);
        snprintf(line, sizeof line, "--path x --config %s", path);
        TAP_OK(parse(line, &c, &action, &options) != AC_OK && strstr(ac_error_text(), path), "configuration %s is refused, naming the file", bad[i]);
    }
    ac_free(first);
    ac_free(second);
    tap_remove(folder);
}

static void test_memory(void)
{
    config c;
    ac_options *options;
    ac_option_action action;
    uint64_t live = ac_alloc_get_stats().n_live, at = 1;
    for (; at < 1000; at++) {
        ac_alloc_fail_at(at);
        ac_status status = parse("--path x --names a b --steps 1 2 --names c", &c, &action, &options);
        ac_alloc_fail_at(0);
        if (status == AC_OK) {
            ac_options_destroy(options);
            break;
        }
        if (status != AC_ERR_MEMORY)
            break;
    }
    TAP_OK(at > 5 && at < 1000 && ac_alloc_get_stats().n_live == live, "each of %d allocations failed once, none leaked", (int)at - 1);
}

static void test_help(void)
{
    char *text;
    bool all = true;
    if (!TAP_CALL(ac_options_help(&program, &text)))
        return;
    for (size_t i = 0; i < program.n_options; i++)
        all = all && strstr(text, table[i].name) && strstr(text, table[i].help);
    TAP_OK(all && strstr(text, "red|blue") && strstr(text, "0.5") && strstr(text, "Notes."), "--help lists every option, default, choice and the notes");
    ac_free(text);
}

int main(void)
{
    test_good();
    test_bad();
    test_config();
    test_memory();
    test_help();
    return tap_done();
}
