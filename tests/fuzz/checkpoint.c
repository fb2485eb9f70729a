/* Reading checkpoints. Three ways to make an input (first byte): the file's bytes as they are, its seal mended on
 * request; edits of a good checkpoint, its seal mended, made anew or left; any text as its info, sealed. Second byte:
 * allocation that fails. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/checkpoint_seed.h"
#include "tests/fuzz/seal.h"

enum { RAW, EDIT, INFO, N_WAYS, MEND_SEAL = 4, RESEAL = 8 };

static void require(ac_status status)
{
    FUZZ_REQUIRE(status == AC_OK);
}

/* A good checkpoint, made once. */
static const uint8_t *good_checkpoint(size_t *n)
{
    static uint8_t *bytes;
    static size_t n_bytes;
    if (!bytes) {
        require(fuzz_write_checkpoint(fuzz_file_fd()));
        require(ac_file_read_all(fuzz_file_path(), 0, &bytes, &n_bytes));
    }
    *n = n_bytes;
    return bytes;
}

static void make_raw(const fuzz_input *input, bool mend)
{
    uint8_t *bytes = malloc(input->n + 1);
    memcpy(bytes, input->bytes, input->n);
    if (mend)
        fuzz_mend_seal(bytes, input->n, FUZZ_BLOCK_BYTES);
    fuzz_file(bytes, input->n);
    free(bytes);
}

/* Edits: where (two bytes), how many, their values. Behind the block when the seal is made anew. */
static void make_edited(fuzz_input *input, bool mend, bool reseal)
{
    size_t n;
    const uint8_t *good = good_checkpoint(&n);
    const size_t first = reseal ? FUZZ_BLOCK_BYTES : 0;
    uint8_t *bytes = malloc(n);
    ac_seal seal;
    memcpy(bytes, good, n);
    while (input->n > 3) {
        const size_t at = fuzz_byte(input) << 8 | fuzz_byte(input);
        const size_t n_bytes = fuzz_byte(input) % 16;
        for (size_t k = 0; k <= n_bytes; k++)
            bytes[first + (at + k) % (n - first)] = (uint8_t)fuzz_byte(input);
    }
    if (mend && !reseal)
        fuzz_mend_seal(bytes, n, FUZZ_BLOCK_BYTES);
    fuzz_file(bytes, n);
    if (reseal) {
        require(ac_seal_read(fuzz_file_fd(), &ac_checkpoint_seal_kind, &seal));
        require(ac_seal_hash_parts(fuzz_file_fd(), &seal));
        require(ac_seal_write(fuzz_file_fd(), &seal));
        ac_seal_release(&seal);
    }
    free(bytes);
}

static void check_info(const ac_checkpoint_info *info)
{
    size_t n_text = strlen(info->model) + strlen(info->precision) + strlen(info->data_hash) + strlen(info->config);
    FUZZ_REQUIRE(info->epoch >= 0 && info->step >= 0 && info->optimizer_step >= 0 && info->image_size_px >= 0);
    for (size_t c = 0; c < info->n_classes; c++)
        n_text += strlen(info->class_name[c]);
    for (int i = 0; i < AC_N_TRACKED; i++)
        FUZZ_REQUIRE(!info->best[i].file[0] || !strchr(info->best[i].file, '/'));
    FUZZ_REQUIRE(n_text < 1 << 20);
}

/* What was read is printed as something that reads the same. */
static void check_round_trip(const ac_checkpoint_info *info)
{
    const ac_tensor_list none = {0};
    ac_json *json[2] = {NULL, NULL};
    ac_json_value *document = NULL;
    ac_checkpoint_info again;
    const char *text[2];
    size_t n[2];
    require(ac_json_create(&json[0]));
    require(ac_json_create(&json[1]));
    require(ac_checkpoint_info_print(info, &none, json[0]));
    require(ac_json_text(json[0], &text[0], &n[0]));
    require(ac_json_parse("info", text[0], n[0], &document));
    require(ac_checkpoint_info_parse(document, &again));
    require(ac_checkpoint_info_print(&again, &none, json[1]));
    require(ac_json_text(json[1], &text[1], &n[1]));
    FUZZ_REQUIRE(n[0] == n[1] && memcmp(text[0], text[1], n[0]) == 0);
    ac_checkpoint_info_release(&again);
    ac_json_release(document);
    ac_json_destroy(json[0]);
    ac_json_destroy(json[1]);
}

static ac_status read_info(const char *path, uint64_t fail, bool whole)
{
    ac_checkpoint_info info;
    const fuzz_run run = fuzz_begin(fail);
    const ac_status status = whole ? ac_checkpoint_check(path, &info) : ac_checkpoint_read_info(path, &info);
    fuzz_check_status(&run, status);
    if (status == AC_OK) {
        check_info(&info);
        check_round_trip(&info);
    } else {
        FUZZ_REQUIRE(!info.class_name && !info.config && !info.model[0] &&
                     strncmp(ac_error_text(), path, strlen(path)) == 0);
    }
    ac_checkpoint_info_release(&info);
    fuzz_end(&run);
    return status;
}

/* As loading does it, for the tensors of the good one. */
static void read_tensors(const char *path)
{
    float values[16];
    ac_checkpoint_file file;
    const fuzz_run run = fuzz_begin(0);
    ac_status status = ac_checkpoint_file_open(path, true, &file);
    for (int k = FUZZ_N_TENSORS - 1; k >= 0 && status == AC_OK; k--) {
        size_t number;
        status = ac_checkpoint_file_find(&file, fuzz_tensor[k].name, &fuzz_tensor[k].shape, &number);
        if (status == AC_OK)
            require(ac_checkpoint_file_read(&file, number, values));
    }
    fuzz_check_status(&run, status);
    ac_checkpoint_file_close(&file);
    fuzz_end(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    fuzz_input input = {bytes, n_bytes};
    const unsigned choice = fuzz_byte(&input), fail = fuzz_byte(&input);
    if (choice % 4 % N_WAYS == RAW)
        make_raw(&input, choice & MEND_SEAL);
    else if (choice % 4 == EDIT)
        make_edited(&input, choice & MEND_SEAL, choice & RESEAL);
    else
        require(fuzz_seal_checkpoint(fuzz_file_fd(), input.bytes, input.n));
    const ac_status info = read_info(fuzz_file_path(), fail, false), whole = read_info(fuzz_file_path(), fail, true);
    FUZZ_REQUIRE(fail > 0 || info == AC_OK || whole != AC_OK);
    read_tensors(fuzz_file_path());
    return 0;
}
