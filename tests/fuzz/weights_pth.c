/* Reading what torch.save() writes. Three ways (first byte): a zip file's bytes as they are; a pickle, read by the machine alone; a
 * pickle in a zip file with two storages of 32 bytes. Second byte: allocation that fails. */
#include "checkpoint/weights_pickle.h"
#include "tests/fuzz/weights.h"
#include "tests/weights/weights_help.h"

enum { ZIP, PICKLE, IN_ZIP, N_WAYS };

static void read_pickle(const fuzz_input *input, uint64_t fail)
{
    ac_pickle p;
    ac_json *json = NULL;
    const char *text;
    size_t n;
    const fuzz_run run = fuzz_begin(fail);
    const ac_status status = ac_pickle_read(input->bytes, input->n, &p);
    fuzz_check_status(&run, status);
    FUZZ_REQUIRE(p.n_values <= input->n + 4 && p.n_cells <= 2 * input->n && p.n_tensors <= input->n);
    if (status == AC_OK) {
        FUZZ_REQUIRE(p.top < p.n_values);
        FUZZ_REQUIRE(ac_json_create(&json) == AC_OK && ac_pickle_print(&p, &p.value[p.top], NULL, json) == AC_OK);
        FUZZ_REQUIRE(ac_json_text(json, &text, &n) == AC_OK);
        ac_json_destroy(json);
    }
    ac_pickle_release(&p);
    fuzz_end(&run);
}

static void read_in_zip(const fuzz_input *input, uint64_t fail)
{
    static const uint8_t data[32] = {1, 2, 3, 4, 5};
    const zip_part part[] = {
        {"a/data.pkl", input->bytes, input->n}, {"a/data/0", data, sizeof data}, {"a/data/1", data, sizeof data}, {"a/byteorder", "little", 6}};
    bytes zip;
    make_zip(part, 4, &zip);
    fuzz_open_weights(zip.at, zip.n, fail);
    free(zip.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    fuzz_input input = {bytes, n_bytes};
    const unsigned way = fuzz_byte(&input) % N_WAYS, fail = fuzz_byte(&input);
    if (way == ZIP)
        fuzz_open_weights(input.bytes, input.n, fail);
    else if (way == PICKLE)
        read_pickle(&input, fail);
    else
        read_in_zip(&input, fail);
    return 0;
}
