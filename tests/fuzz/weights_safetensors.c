/* Reading .safetensors. First byte: 0 a whole file, 1 a header whose length and data are made to fit. Second byte: allocation that
 * fails. */
#include "tests/fuzz/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    enum { DATA_BYTES = 64 };
    fuzz_input input = {bytes, n_bytes};
    const unsigned way = fuzz_byte(&input), fail = fuzz_byte(&input);
    if (way % 2 == 0) {
        fuzz_open_weights(input.bytes, input.n, fail);
        return 0;
    }
    const size_t n = 8 + input.n + DATA_BYTES;
    uint8_t *file = calloc(1, n);
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)((uint64_t)input.n >> 8 * i);
    memcpy(file + 8, input.bytes, input.n);
    fuzz_open_weights(file, n, fail);
    free(file);
    return 0;
}
