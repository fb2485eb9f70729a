/* Progressive JPEGs of many scans, each a few bytes that make the decoder visit every block: valid, but a small file
 * could keep it busy for minutes. */
#include "tests/tap.h"
#include "image_help.h"
#include "anyclass/log.h"

enum { MOST_SCANS = 1 + 63 * 14, LARGEST_PX = 4096, BLOCK = 8 };

typedef struct writer {
    uint8_t *bytes;
    size_t n;
    unsigned bits, n_bits; /* not yet written */
} writer;

static void put(writer *w, const void *bytes, size_t n)
{
    memcpy(w->bytes + w->n, bytes, n);
    w->n += n;
}

static void put_bits(writer *w, unsigned value, unsigned n)
{
    for (unsigned i = n; i-- > 0;) {
        w->bits = w->bits << 1 | (value >> i & 1);
        if (++w->n_bits < 8)
            continue;
        put(w, &(uint8_t){(uint8_t)w->bits}, 1);
        if ((w->bits & 0xff) == 0xff)
            put(w, "", 1);
        w->n_bits = 0;
    }
}

static void pad_bits(writer *w)
{
    while (w->n_bits)
        put_bits(w, 1, 1);
}

/* The first scan: no DC difference in any block, a bit each. The others: one coefficient, one bit of it, 0 everywhere,
 * said for runs of up to 32767 blocks. */
static void put_scan(writer *w, int scan, size_t n_blocks)
{
    const int bit = 13 - (scan - 1) / 63, coefficient = 1 + (scan - 1) % 63;
    const uint8_t head[] = {0xff, 0xda, 0, 8, 1, 1, 0, (uint8_t)(scan ? coefficient : 0), (uint8_t)(scan ? coefficient : 0),
                            (uint8_t)(scan ? (bit < 13 ? bit + 1 : 0) << 4 | bit : 0)};
    put(w, head, sizeof head);
    for (size_t left = scan ? 0 : n_blocks; left > 0; left--)
        put_bits(w, 0, 1);
    for (size_t left = scan ? n_blocks : 0; left > 0;) {
        const size_t run = left < 16384 ? left : left < 32767 ? left : 32767;
        put_bits(w, 0, 1);
        put_bits(w, run < 16384 ? 0 : (unsigned)run - 16384, 14);
        left -= run;
    }
    pad_bits(w);
}

/* Grey, side x side pixels. */
static ac_status decode_scans(int side, int n_scans, ac_image *image)
{
    static const ac_decode_options options = {.allow_warnings = true};
    const uint8_t frame[] = {0xff, 0xc2, 0, 11, 8, (uint8_t)(side >> 8), (uint8_t)side, (uint8_t)(side >> 8), (uint8_t)side, 1, 1, 0x11, 0};
    const size_t n_blocks = (size_t)(side / BLOCK) * (size_t)(side / BLOCK);
    uint8_t ones[64];
    writer w = {0};
    ac_status status = ac_malloc(1024 + n_blocks / 4 + (size_t)n_scans * (32 + n_blocks / 4096), 1, &w.bytes);
    if (status != AC_OK)
        return status;
    memset(ones, 1, sizeof ones);
    put(&w, "\xff\xd8\xff\xdb\0\x43\0", 7);
    put(&w, ones, sizeof ones);
    put(&w, frame, sizeof frame);
    put(&w, "\xff\xc4\0\x14\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22);    /* DC: one code, for 0 */
    put(&w, "\xff\xc4\0\x14\x10\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xe0", 22); /* AC: one code, for a run of 2^14 + 14 bits */
    for (int scan = 0; scan < n_scans; scan++)
        put_scan(&w, scan, n_blocks);
    put(&w, "\xff\xd9", 2);
    status = ac_image_decode(w.bytes, w.n, &options, image);
    ac_free(w.bytes);
    return status;
}

int main(void)
{
    ac_image image = {0};
    TAP_CALL(decode_scans(64, MOST_SCANS, &image));
    TAP_OK(image.width_px == 64 && image.pixel[0] == 128, "all scans that a small image can have are taken");
    TAP_CALL(decode_scans(LARGEST_PX, 20, &image));
    const double start_s = ac_now_s();
    TAP_OK(decode_scans(LARGEST_PX, MOST_SCANS, &image) == AC_ERR_DATA && strstr(ac_error_text(), "more than 64 scans"),
           "64 scans of 2^24 pixels are enough: %s", ac_error_text());
    printf("# %.2f s\n", ac_now_s() - start_s);
    ac_image_release(&image);
    return tap_done();
}
