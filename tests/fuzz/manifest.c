/* Loading a manifest. First two bytes: options, allocation that fails. Half of the inputs are sealed anew, so that what
 * lies behind the manifest's own hash is reached: for that the reader's static functions are needed here. */
#include "data/manifest.c"
#include "tests/fuzz/fuzz.h"

enum { SEAL = 1 };

/* A folder in which the manifest is a link to the file in memory. */
static const char *folder_with(const char *file)
{
    static char folder[AC_PATH_BYTES];
    char path[AC_PATH_BYTES];
    if (folder[0])
        return folder;
    fuzz_tmp_path(folder, "manifest-XXXXXX");
    if (!mkdtemp(folder) || manifest_path(folder, "train", path) != AC_OK || symlink(file, path) != 0)
        abort();
    return folder;
}

/* Where `word` occurs last in the text; NULL: nowhere. */
static char *find_last(char *text, size_t n, const char *word)
{
    const size_t length = strlen(word);
    for (size_t at = n + 1; length <= n && at-- > length;)
        if (memcmp(text + at - length, word, length) == 0)
            return text + at - length;
    return NULL;
}

/* Put the right hash over the one in the text, if the text is a manifest up to that. */
static void seal(char *text, size_t n)
{
    ac_json_value *document = NULL;
    ac_manifest manifest = {0};
    char hash[AC_HASH_TEXT_BYTES];
    const char *stored = NULL;
    if (ac_json_parse("text", text, n, &document) == AC_OK && read_manifest(document, &manifest) == AC_ERR_DATA &&
        ac_json_read_string(ac_json_get(document, "hash"), "hash", &stored) == AC_OK &&
        strlen(stored) == sizeof hash - 1 && hash_members(&manifest, hash) == AC_OK) {
        char *at = find_last(text, n, stored);
        if (at)
            memcpy(at, hash, sizeof hash - 1);
    }
    ac_manifest_release(&manifest);
    ac_json_release(document);
}

static void check(const ac_manifest *m)
{
    FUZZ_REQUIRE(m->split && m->source && m->options && m->n_classes > 0 && m->n_negative >= 0);
    FUZZ_REQUIRE(m->image_size_px >= 1 && m->image_size_px <= 4096);
    for (size_t c = 0; c < m->n_classes; c++)
        FUZZ_REQUIRE(m->class_name[c] && m->class_count[c] >= 0);
    for (size_t i = 0; i < m->n_shards; i++)
        FUZZ_REQUIRE(memchr(m->shard[i].file, 0, sizeof m->shard[i].file) && !strchr(m->shard[i].file, '/'));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    fuzz_input input = {bytes, n_bytes};
    const unsigned choice = fuzz_byte(&input), fail = fuzz_byte(&input);
    char *text = malloc(input.n + 1);
    memcpy(text, input.bytes, input.n);
    if (choice & SEAL)
        seal(text, input.n);
    const char *folder = folder_with(fuzz_file(text, input.n));
    ac_manifest manifest;
    const fuzz_run run = fuzz_begin(fail);
    const ac_status status = ac_manifest_load(folder, "train", &manifest);
    fuzz_check_status(&run, status);
    if (status == AC_OK)
        check(&manifest);
    ac_manifest_release(&manifest);
    fuzz_end(&run);
    free(text);
    return 0;
}
