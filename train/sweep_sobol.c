/* Sobol's sequence and its scrambling. Leaves what a coordinate stands for to sweep_points.c. */
#include "anyclass/random.h"
#include "train/sweep.h"

enum { BITS = 32, MOST_DEGREE = 8 };

typedef struct sobol_row {
    int degree;                /* of the primitive polynomial */
    uint32_t coefficients;     /* between its first and its last, which are 1 */
    uint32_t m[MOST_DEGREE];   /* [degree] first direction numbers, odd, m[k] < 2^(k + 1) */
} sobol_row;

/* Dimensions 2, 3, ... of the set "new-joe-kuo-6.21201" (S. Joe and F. Y. Kuo, "Constructing Sobol sequences with better two-dimensional
 * projections", SIAM J. Sci. Comput. 30, 2008). */
static const sobol_row rows[SWEEP_N_DIMENSIONS - 1] = {
    {1, 0, {1}}, {2, 1, {1, 3}}, {3, 1, {1, 3, 1}}, {3, 2, {1, 1, 1}}, {4, 1, {1, 1, 3, 3}}, {4, 4, {1, 3, 5, 13}},
    {5, 2, {1, 1, 5, 5, 17}}, {5, 4, {1, 1, 5, 5, 5}}, {5, 7, {1, 1, 7, 11, 19}}, {5, 11, {1, 1, 5, 1, 1}}, {5, 13, {1, 1, 1, 3, 11}},
    {5, 14, {1, 3, 5, 5, 31}}, {6, 1, {1, 3, 3, 9, 7, 49}}, {6, 13, {1, 1, 1, 15, 21, 21}}, {6, 16, {1, 3, 1, 13, 27, 49}},
    {6, 19, {1, 1, 1, 15, 7, 5}}, {6, 22, {1, 3, 1, 15, 13, 25}}, {6, 25, {1, 1, 5, 5, 19, 61}}, {7, 1, {1, 3, 7, 11, 23, 15, 103}},
    {7, 4, {1, 3, 7, 13, 13, 15, 69}}, {7, 7, {1, 1, 3, 13, 7, 35, 63}}, {7, 8, {1, 3, 5, 9, 1, 25, 53}},
    {7, 14, {1, 3, 1, 13, 9, 35, 107}}, {7, 19, {1, 3, 1, 5, 27, 61, 31}}, {7, 21, {1, 1, 5, 11, 19, 41, 61}},
    {7, 28, {1, 3, 5, 3, 3, 13, 69}}, {7, 31, {1, 1, 7, 13, 1, 19, 1}}, {7, 32, {1, 3, 7, 5, 13, 19, 59}},
    {7, 37, {1, 1, 3, 9, 25, 29, 41}}, {7, 41, {1, 3, 5, 13, 23, 1, 55}}, {7, 42, {1, 3, 7, 3, 13, 59, 17}},
    {7, 50, {1, 3, 1, 3, 5, 53, 69}}, {7, 55, {1, 1, 5, 5, 23, 33, 13}}, {7, 56, {1, 1, 7, 7, 1, 61, 123}},
    {7, 59, {1, 1, 7, 9, 13, 61, 49}}, {7, 62, {1, 3, 3, 5, 3, 55, 33}}, {8, 14, {1, 3, 1, 15, 31, 13, 49, 245}},
    {8, 21, {1, 3, 5, 15, 31, 59, 63, 97}}, {8, 22, {1, 3, 1, 11, 11, 11, 77, 249}}, {8, 38, {1, 3, 1, 11, 27, 43, 71, 9}},
    {8, 47, {1, 1, 7, 15, 21, 11, 81, 45}}, {8, 49, {1, 3, 7, 3, 25, 31, 65, 79}}, {8, 50, {1, 3, 1, 1, 19, 11, 3, 205}},
    {8, 52, {1, 1, 5, 9, 19, 21, 29, 157}}, {8, 56, {1, 3, 7, 11, 1, 33, 89, 185}}, {8, 67, {1, 3, 3, 3, 15, 9, 79, 71}},
    {8, 70, {1, 3, 7, 11, 15, 39, 119, 27}}, {8, 84, {1, 1, 3, 1, 11, 31, 97, 225}}, {8, 97, {1, 1, 1, 3, 23, 43, 57, 177}},
    {8, 103, {1, 3, 7, 7, 17, 17, 37, 71}}, {8, 115, {1, 3, 1, 5, 27, 63, 123, 213}}, {8, 122, {1, 1, 3, 5, 11, 43, 53, 133}}
};

/* Direction numbers v_k = m_k 2^(32 - k) of a dimension: m_k = 2 a_1 m_(k-1) ^ 4 a_2 m_(k-2) ^ ... ^ 2^s m_(k-s) ^ m_(k-s). */
static void directions(int dimension, uint32_t v[BITS])
{
    const sobol_row *row = dimension > 0 ? &rows[dimension - 1] : NULL;
    for (int k = 0; k < BITS; k++) {
        if (!row || k < row->degree) {
            v[k] = (row ? row->m[k] : 1) << (BITS - 1 - k);
            continue;
        }
        v[k] = v[k - row->degree] ^ (v[k - row->degree] >> row->degree);
        for (int j = 1; j < row->degree; j++)
            if (row->coefficients >> (row->degree - 1 - j) & 1)
                v[k] ^= v[k - j];
    }
}

uint32_t sweep_sobol(uint32_t i, int dimension)
{
    uint32_t v[BITS], x = 0, gray = i ^ i >> 1;
    directions(dimension, v);
    for (int k = 0; k < BITS; k++)
        if (gray >> k & 1)
            x ^= v[k];
    return x;
}

uint32_t sweep_scramble(uint32_t x, int dimension, uint64_t seed)
{
    uint32_t out = 0;
    for (int bit = BITS - 1; bit >= 0; bit--) {
        uint64_t above = (uint64_t)x >> bit >> 1, index = (uint64_t)bit << BITS | above;
        uint32_t flip = ac_random_block(seed, AC_STREAM_SCRAMBLE, index, (uint32_t)dimension).word[0] & 1;
        out |= ((x >> bit & 1) ^ flip) << bit;
    }
    return out;
}
