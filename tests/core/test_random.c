/* Philox and XXH3 against published values, the counted allocator, error texts. */
#include "anyclass/alloc.h"
#include "anyclass/hash.h"
#include "anyclass/random.h"
#include "tests/tap.h"
#include <errno.h>
#include <string.h>

/* The known answers that come with Random123 (Salmon et al.) for philox4x32 with 10 rounds. */
static void test_philox(void)
{
    static const struct {
        uint32_t counter[4], key[2], wanted[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < 3; i++) {
        ac_philox got = ac_philox4x32(cases[i].counter, cases[i].key);
        TAP_OK(memcmp(got.word, cases[i].wanted, sizeof got.word) == 0, "philox4x32-10, known answer %zu", i);
    }
    double sum = 0, low = 1, high = 0;
    for (uint32_t k = 0; k < 100000; k++) {
        ac_philox b = ac_random_block(7, AC_STREAM_TEST, 3, k);
        double u = ac_uniform_double(b.word[0], b.word[1]);
        sum += u;
        low = u < low ? u : low;
        high = u > high ? u : high;
    }
    TAP_OK(low >= 0 && high < 1 && sum > 49600 && sum < 50400, "uniform numbers lie in [0, 1) around one half");
    TAP_OK(ac_uniform_float(~0u) < 1 && ac_uniform_double(~0u, ~0u) < 1, "the largest words stay below 1");
}

static void test_hash(void)
{
    char text[AC_HASH_TEXT_BYTES];
    ac_hash back;
    TAP_OK(ac_hash64_bytes("", 0) == 0x2d06800538d394c2u, "XXH3-64 of nothing");
    ac_hash_format(ac_hash_bytes("", 0), text);
    TAP_OK(strcmp(text, "99aa06d3014798d86001c324468d497f") == 0, "XXH3-128 of nothing");
    ac_hash hash = ac_hash_bytes("abc", 3);
    ac_hash_format(hash, text);
    TAP_OK(ac_hash_parse(text, &back) == AC_OK && ac_hash_equal(hash, back), "a hash survives its text");
    TAP_OK(!ac_hash_equal(hash, ac_hash_bytes("abd", 3)), "another text has another hash");
    TAP_OK(ac_hash_parse("12", &back) == AC_ERR_DATA && ac_hash_parse("zz000000000000000000000000000000", &back) == AC_ERR_DATA, "texts that are no hash");
}

static void test_alloc(void)
{
    ac_alloc_stats before = ac_alloc_get_stats(), now;
    unsigned char *block = NULL, *array = NULL;
    size_t capacity = 0;
    TAP_CALL(ac_calloc(100, 3, &block));
    now = ac_alloc_get_stats();
    bool zero = true;
    for (int i = 0; i < 300; i++)
        zero &= block[i] == 0;
    TAP_OK(zero && (uintptr_t)block % AC_ALIGN_BYTES == 0, "zeroed and aligned");
    TAP_OK(now.n_live == before.n_live + 1 && now.live_bytes >= before.live_bytes + 300, "counted");
    memset(block, 7, 300);
    TAP_CALL(ac_realloc(&block, 1000, 1));
    TAP_OK(block[0] == 7 && block[299] == 7, "growing keeps the content");
    ac_alloc_fail_at(1);
    TAP_OK(ac_realloc(&block, 5000, 1) == AC_ERR_MEMORY && block && block[299] == 7, "a failed growth changes nothing");
    ac_alloc_fail_at(2);
    unsigned char *one = NULL, *two = NULL;
    TAP_OK(ac_malloc(1, 1, &one) == AC_OK && ac_malloc(1, 1, &two) == AC_ERR_MEMORY && !two, "the second request fails");
    TAP_OK(ac_malloc(1, 1, &two) == AC_OK, "the third does not");
    void *huge = NULL;
    TAP_OK(ac_malloc(SIZE_MAX / 2, 3, &huge) == AC_ERR_MEMORY && !huge, "n * size beyond size_t is refused");
    for (size_t n = 1; n < 1000; n++)
        if (ac_reserve(&array, &capacity, n, sizeof *array) == AC_OK)
            array[n - 1] = (unsigned char)n;
    TAP_OK(capacity >= 999 && array[0] == 1 && array[998] == (unsigned char)999, "a growing array");
    ac_free(array);
    ac_free(block);
    ac_free(one);
    ac_free(two);
    ac_free(NULL);
    now = ac_alloc_get_stats();
    TAP_OK(now.n_live == before.n_live && now.live_bytes == before.live_bytes, "all released");
}

static void test_errors(void)
{
    char large[3000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = 0;
    TAP_OK(ac_error(AC_ERR_DATA, "%s", large) == AC_ERR_DATA && strlen(ac_error_text()) == AC_ERROR_TEXT_BYTES - 1, "long texts are cut");
    ac_error_in(AC_ERR_DATA, "file %d", 3);
    TAP_OK(strncmp(ac_error_text(), "file 3: xxx", 11) == 0, "a place is put in front");
    errno = ENOSPC;
    TAP_OK(ac_error_errno("disk") == AC_ERR_IO && strstr(ac_error_text(), "disk: "), "errno becomes an I/O error");
    errno = ENOMEM;
    TAP_OK(ac_error_errno("memory") == AC_ERR_MEMORY, "ENOMEM is memory");
    ac_error_clear();
    TAP_OK(ac_error_text()[0] == 0, "cleared");
    static const int wanted[] = {0, 2, 2, 2, 3, 4, 4, 5, 6, 7, 75};
    bool same = AC_N_STATUS == sizeof wanted / sizeof *wanted;
    for (int s = 0; same && s < AC_N_STATUS; s++)
        same = ac_status_exit_code((ac_status)s) == wanted[s];
    TAP_OK(same, "exit codes");
}

int main(void)
{
    test_philox();
    test_hash();
    test_alloc();
    test_errors();
    return tap_done();
}
