/* The sample order is a permutation for every n, differs between epochs and seeds, and can be entered anywhere. */
#include "anyclass/alloc.h"
#include "anyclass/store.h"
#include "tests/tap.h"
#include <string.h>

static bool is_permutation(uint64_t n, uint64_t seed, uint64_t epoch)
{
    static uint8_t seen[70000];
    ac_order order;
    memset(seen, 0, sizeof seen);
    ac_order_init(&order, n, seed, epoch, true);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = ac_order_at(&order, i);
        if (at >= n || seen[at]++)
            return false;
    }
    return true;
}

int main(void)
{
    bool good = true;
    for (uint64_t n = 1; n < 300; n++)
        good &= is_permutation(n, n * 17, 3);
    TAP_OK(good, "a permutation for n = 1 .. 299");
    TAP_OK(is_permutation(65536, 1, 0) && is_permutation(65537, 1, 1) && is_permutation(69999, 9, 2), "and for 65536, 65537, 69999");
    ac_order a, b, c;
    int same_epoch = 0, same_seed = 0;
    ac_order_init(&a, 10000, 1, 0, true);
    ac_order_init(&b, 10000, 1, 1, true);
    ac_order_init(&c, 10000, 2, 0, true);
    for (uint64_t i = 0; i < 10000; i++) {
        same_epoch += ac_order_at(&a, i) == ac_order_at(&b, i);
        same_seed += ac_order_at(&a, i) == ac_order_at(&c, i);
    }
    /* one expected; 12 or more has a chance of 1e-9 */
    TAP_OK(same_epoch < 12 && same_seed < 12, "epochs and seeds share %d and %d of 10000 places", same_epoch, same_seed);
    /* where sample 0 .. 9 stand over 2000 epochs: every tenth of the positions 2000 times, +- 5 deviations */
    int tenth[10] = {0};
    for (uint64_t epoch = 0; epoch < 2000; epoch++) {
        ac_order_init(&a, 1000, 5, epoch, true);
        for (uint64_t i = 0; i < 10; i++)
            tenth[ac_order_at(&a, i) / 100]++;
    }
    for (int k = 0; k < 10; k++)
        good &= tenth[k] > 1785 && tenth[k] < 2215;
    TAP_OK(good, "places are spread evenly");
    ac_order_init(&a, 7, 1, 0, false);
    TAP_OK(ac_order_at(&a, 3) == 3, "without shuffling the order is the list's");
    return tap_done();
}
