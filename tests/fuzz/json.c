/* The small JSON reader, and the writer: what was read and written again reads as the same tree. First byte:
 * allocation that fails. */
#include "anyclass/json.h"
#include "tests/fuzz/fuzz.h"

/* Write a value of the tree; the typed reads are the only way to see what it is. */
static void copy(ac_json *to, const char *key, const ac_json_value *value)
{
    const char *text;
    double number;
    bool truth;
    if (ac_json_read_string(value, "value", &text) == AC_OK)
        ac_json_string(to, key, text);
    else if (ac_json_read_bool(value, "value", &truth) == AC_OK)
        ac_json_bool(to, key, truth);
    else if (ac_json_key_at(value, 0)) {
        ac_json_begin_object(to, key);
        for (size_t i = 0; i < ac_json_count(value); i++) {
            FUZZ_REQUIRE(ac_json_get(value, ac_json_key_at(value, i)) != NULL);
            copy(to, ac_json_key_at(value, i), ac_json_at(value, i));
        }
        ac_json_end_object(to);
    } else if (ac_json_count(value) > 0) {
        ac_json_begin_array(to, key);
        for (size_t i = 0; i < ac_json_count(value); i++)
            copy(to, NULL, ac_json_at(value, i));
        ac_json_end_array(to);
    } else if (ac_json_read_double(value, "value", &number) == AC_OK) {
        ac_json_double(to, key, number);
    } else { /* empty object or array, or a number beyond double */
        ac_json_double(to, key, NAN);
    }
}

static ac_json *text_of(const ac_json_value *document, const char **text, size_t *n)
{
    ac_json *out = NULL;
    FUZZ_REQUIRE(ac_json_create(&out) == AC_OK);
    copy(out, NULL, document);
    FUZZ_REQUIRE(ac_json_text(out, text, n) == AC_OK);
    return out;
}

static void check_again(const ac_json_value *document)
{
    const char *text, *text_again;
    size_t n, n_again;
    ac_json_value *again = NULL;
    ac_json *first = text_of(document, &text, &n);
    FUZZ_REQUIRE(ac_json_parse("again", text, n, &again) == AC_OK);
    ac_json *second = text_of(again, &text_again, &n_again);
    FUZZ_REQUIRE(n == n_again && memcmp(text, text_again, n) == 0);
    ac_json_release(again);
    ac_json_destroy(first);
    ac_json_destroy(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    fuzz_input input = {bytes, n_bytes};
    const unsigned fail = fuzz_byte(&input);
    ac_json_value *document = NULL;
    const fuzz_run run = fuzz_begin(fail);
    const ac_status status = ac_json_parse("file.json", (const char *)input.bytes, input.n, &document);
    fuzz_check_status(&run, status);
    FUZZ_REQUIRE((status == AC_OK) == (document != NULL));
    if (document)
        check_again(document);
    ac_json_release(document);
    fuzz_end(&run);
    return 0;
}
