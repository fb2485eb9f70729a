/* The table of all chest images, then, behind the input's first zero byte, a list of image names. First byte:
 * allocation that fails. */
#include "anyclass/chest.h"
#include "tests/fuzz/fuzz.h"

static void check_list(const ac_chest_table *table, const size_t *row, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        FUZZ_REQUIRE(row[i] < table->rows.n_samples);
        for (size_t k = 0; k < i && n < 100; k++)
            FUZZ_REQUIRE(row[i] != row[k]);
    }
}

/* ac_dataset_read() sets what fuzz_check_dataset() looks at beyond a table of its own. */
static void check_table(const ac_chest_table *table)
{
    ac_dataset d = table->rows;
    d.source = (char *)"table";
    for (int c = 0; c < 3; c++)
        d.std[c] = 1;
    fuzz_check_dataset(&d);
    for (size_t i = 0; table->patient && i < d.n_samples; i++)
        FUZZ_REQUIRE(table->patient[i] >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    fuzz_input input = {bytes, n_bytes};
    const unsigned fail = fuzz_byte(&input);
    const uint8_t *border = input.n ? memchr(input.bytes, 0, input.n) : NULL;
    const size_t n_table = border ? (size_t)(border - input.bytes) : input.n;
    ac_chest_table table;
    size_t *row = NULL, n = 0;
    fuzz_run run = fuzz_begin(fail);
    ac_status status = ac_chest_table_read(fuzz_file(input.bytes, n_table), &table);
    fuzz_check_status(&run, status);
    if (status == AC_OK) {
        check_table(&table);
        const fuzz_run list_run = fuzz_begin(fail);
        status = ac_chest_list_read(fuzz_file(border ? border + 1 : input.bytes, border ? input.n - n_table - 1 : 0),
                                    &table, &row, &n);
        fuzz_check_status(&list_run, status);
        if (status == AC_OK)
            check_list(&table, row, n);
        ac_free(row);
    }
    ac_chest_table_release(&table);
    fuzz_end(&run);
    return 0;
}
