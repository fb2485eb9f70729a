/* Sample order: a Feistel network over the next even power of two, walked until it lands inside [0, n). */
#include "anyclass/random.h"
#include "anyclass/store.h"

enum { N_ROUNDS = 8 };

void ac_order_init(ac_order *order, uint64_t n, uint64_t seed, uint64_t epoch, bool shuffle)
{
    *order = (ac_order){.n = n, .shuffle = shuffle && n > 1};
    while (order->half_bits < 32 && (n - 1) >> (2 * order->half_bits) != 0 && n > 1)
        order->half_bits++;
    for (uint32_t k = 0; k < N_ROUNDS / 4; k++) {
        ac_philox block = ac_random_block(seed, AC_STREAM_ORDER, epoch, k);
        for (int i = 0; i < 4; i++)
            order->round_key[4 * k + (uint32_t)i] = block.word[i];
    }
}

/* Mixes 32 bits well enough that eight rounds leave no pattern (multiply, shift, as in splitmix). */
static uint32_t mix(uint32_t x, uint32_t key)
{
    uint64_t z = ((uint64_t)x << 32 | key) + 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)(z ^ z >> 31);
}

uint64_t ac_order_at(const ac_order *order, uint64_t position)
{
    uint64_t mask = ((uint64_t)1 << order->half_bits) - 1, x = position;
    if (!order->shuffle)
        return position;
    do {
        uint64_t left = x >> order->half_bits, right = x & mask;
        for (int round = 0; round < N_ROUNDS; round++) {
            uint64_t next = left ^ (mix((uint32_t)right, order->round_key[round]) & mask);
            left = right;
            right = next;
        }
        x = left << order->half_bits | right;
    } while (x >= order->n);
    return x;
}
