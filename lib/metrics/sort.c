/* Radix sort of 64-bit keys. Three digits below the highest bit that differs nearly order scores, whose other bits then
 * matter in short runs alone: half the passes of a sort by all bits. */
#include "lib/metrics/sort.h"

enum { DIGITS = 3, DIGIT_BITS = 10, SMALL_DIGIT_BITS = 8, SMALL = 4096, SHORT_RUN = 32 };

static void insert_all(uint64_t *keys, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        uint64_t moved = keys[i];
        size_t hole = i;
        for (; hole > 0 && moved < keys[hole - 1]; hole--)
            keys[hole] = keys[hole - 1];
        keys[hole] = moved;
    }
}

/* Bits that are not the same in all keys, from the lowest to the highest of them. */
static int bits_that_differ(const uint64_t *keys, size_t n)
{
    uint64_t differ = 0;
    int bits = 0;
    for (size_t i = 0; i < n; i++)
        differ |= keys[i] ^ keys[0];
    while (bits < 64 && differ >> bits)
        bits++;
    return bits;
}

typedef struct digits { /* how many keys have each value of each digit */
    int bits, shift;    /* of a digit; of the lowest one */
    uint32_t count[DIGITS][1 << DIGIT_BITS];
} digits;

static void count_digits(const uint64_t *keys, size_t n, digits *of)
{
    uint64_t mask = ((uint64_t)1 << of->bits) - 1;
    for (int d = 0; d < DIGITS; d++)
        memset(of->count[d], 0, sizeof(uint32_t) << of->bits);
    for (size_t i = 0; i < n; i++) {
        uint64_t key = keys[i] >> of->shift;
        of->count[0][key & mask]++;
        of->count[1][key >> of->bits & mask]++;
        of->count[2][key >> 2 * of->bits & mask]++;
    }
}

static void scatter(const uint64_t *from, uint64_t *to, size_t n, int shift, int bits, uint32_t *count)
{
    uint64_t mask = ((uint64_t)1 << bits) - 1;
    uint32_t at = 0;
    for (size_t value = 0; value <= mask; value++) {
        uint32_t here = count[value];
        count[value] = at;
        at += here;
    }
    for (size_t i = 0; i < n; i++)
        to[count[from[i] >> shift & mask]++] = from[i];
}

/* Order the keys by three digits; bits above them are the same in all. */
static void sort_by_digits(uint64_t *keys, uint64_t *scratch, size_t n, digits *of)
{
    uint64_t *from = keys, *to = scratch, mask = ((uint64_t)1 << of->bits) - 1;
    count_digits(keys, n, of);
    for (int d = 0; d < DIGITS; d++) {
        int shift = of->shift + d * of->bits;
        if (of->count[d][from[0] >> shift & mask] == n)
            continue;
        scatter(from, to, n, shift, of->bits, of->count[d]);
        uint64_t *last = from;
        from = to;
        to = last;
    }
    if (from != keys)
        memcpy(keys, from, n * sizeof *keys);
}

/* Order what the digits left: keys alike but for the bits below `shift` are neighbours now. */
static void sort_runs(uint64_t *keys, uint64_t *scratch, size_t n, int shift)
{
    for (size_t i = 1; i < n; i++) {
        if (keys[i] >= keys[i - 1])
            continue;
        size_t first = i - 1, end = i + 1;
        while (first > 0 && keys[first - 1] >> shift == keys[i] >> shift)
            first--;
        while (end < n && keys[end] >> shift == keys[i] >> shift)
            end++;
        ac_sort_keys(keys + first, scratch, end - first);
        i = end - 1;
    }
}

void ac_sort_keys(uint64_t *keys, uint64_t *scratch, size_t n)
{
    digits of;
    int bits;
    if (n <= SHORT_RUN) {
        insert_all(keys, n);
        return;
    }
    bits = bits_that_differ(keys, n);
    of.bits = n < SMALL ? SMALL_DIGIT_BITS : DIGIT_BITS;
    while (of.bits > 1 && DIGITS * (of.bits - 1) >= bits)
        of.bits--;
    of.shift = bits > DIGITS * of.bits ? bits - DIGITS * of.bits : 0;
    sort_by_digits(keys, scratch, n, &of);
    if (of.shift > 0)
        sort_runs(keys, scratch, n, of.shift);
}
