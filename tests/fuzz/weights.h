/* What the targets of weights share: a file is opened, and what was accepted is used. */
#ifndef ANYCLASS_TESTS_FUZZ_WEIGHTS_H
#define ANYCLASS_TESTS_FUZZ_WEIGHTS_H

#include "anyclass/json.h"
#include "anyclass/weights.h"
#include "tests/fuzz/fuzz.h"

/* What was accepted: names, sizes that agree, JSON as metadata, elements that can be read or are refused. */
static inline void fuzz_use_weights(ac_weights *w, size_t n_file)
{
    FUZZ_REQUIRE(w->n_tensors > 0);
    for (size_t k = 0; k < w->n_tensors && k < 64; k++) {
        const ac_weights_tensor *t = &w->tensor[k];
        int64_t n = 1;
        FUZZ_REQUIRE(t->name[0] && t->n_dims >= 0 && t->n_dims <= AC_WEIGHTS_MAX_DIMS);
        for (int i = 0; i < t->n_dims; i++)
            n *= t->dim[i];
        FUZZ_REQUIRE(n == t->n_elements && t->n_bytes == (uint64_t)n * ac_weights_type_bytes(t->type) && t->n_bytes <= n_file);
        FUZZ_REQUIRE(ac_weights_find(w, t->name) == (int64_t)k);
        float *values = malloc(((size_t)n + 1) * sizeof *values);
        const ac_status status = ac_weights_read(w, k, values);
        FUZZ_REQUIRE(status == AC_OK || status == AC_ERR_DATA);
        volatile uint32_t sum = 0; /* every element was set */
        for (int64_t i = 0; status == AC_OK && i < n; i++) {
            uint32_t bits;
            memcpy(&bits, &values[i], sizeof bits);
            sum ^= bits;
        }
        (void)sum;
        free(values);
    }
    if (w->metadata) {
        ac_json_value *json;
        FUZZ_REQUIRE(ac_json_parse("metadata", w->metadata, strlen(w->metadata), &json) == AC_OK);
        ac_json_release(json);
    }
}

static inline void fuzz_open_weights(const void *bytes, size_t n, uint64_t fail)
{
    ac_weights *w;
    const char *path = fuzz_file(bytes, n);
    const fuzz_run run = fuzz_begin(fail);
    const ac_status status = ac_weights_open(path, &w);
    fuzz_check_status(&run, status);
    if (status == AC_OK)
        fuzz_use_weights(w, n);
    else
        FUZZ_REQUIRE(!w && strncmp(ac_error_text(), path, strlen(path)) == 0);
    ac_weights_close(w);
    fuzz_end(&run);
}

#endif
