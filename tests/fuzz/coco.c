/* The COCO reader. First two bytes: allocation that fails, where the document meets the pieces in which it is read. */
#include "tests/fuzz/fuzz.h"

enum { PIECE_BYTES = 1 << 16 }; /* of coco_scan.c */

/* Blanks in front move the document over the border of the reader's first piece. */
static const char *padded_file(const fuzz_input *document, size_t n_before_border)
{
    static uint8_t text[2 * PIECE_BYTES];
    const size_t n_blanks = PIECE_BYTES - n_before_border;
    const size_t n = document->n < PIECE_BYTES ? document->n : PIECE_BYTES;
    memset(text, ' ', n_blanks);
    memcpy(text + n_blanks, document->bytes, n);
    return fuzz_file(text, n_blanks + n);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    fuzz_input input = {bytes, n_bytes};
    const unsigned fail = fuzz_byte(&input), border = fuzz_byte(&input);
    const char *path = border >= 240 ? padded_file(&input, (border - 239) * 16) : fuzz_file(input.bytes, input.n);
    const ac_dataset_options options = {.kind = "coco", .ann_root = path, .split = AC_SPLIT_TRAIN};
    ac_dataset dataset;
    const fuzz_run run = fuzz_begin(fail);
    const ac_status status = ac_dataset_read(&options, &dataset);
    fuzz_check_status(&run, status);
    if (status == AC_OK)
        fuzz_check_dataset(&dataset);
    ac_dataset_release(&dataset);
    fuzz_end(&run);
    return 0;
}
