/* Initial values drawn many at a time are, bit for bit, those of the definition: for all kinds, wherever a stretch begins and ends. */
#include "nn/initial.h"
#include "anyclass/alloc.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

static void compare(const char *name, const ac_init *init, uint64_t seed, size_t p, size_t first, size_t n)
{
    float *many = NULL;
    size_t n_other = 0;
    double sum = 0, square = 0;
    if (TAP_CALL(ac_malloc(n + 2, sizeof *many, &many))) {
        many[0] = many[n + 1] = 77;
        initial_draw_many(init, seed, p, first, n, many + 1);
        for (size_t i = 0; i < n; i++) {
            float one = initial_draw(init, seed, p, first + i);
            n_other += memcmp(&one, &many[1 + i], sizeof one) != 0;
            sum += (double)one;
            square += (double)one * (double)one;
        }
        TAP_OK(n_other == 0 && many[0] == 77 && many[n + 1] == 77, "%s: %zu of %zu elements from %zu on are others", name, n_other, n, first);
    }
    if (n > 1000000) { /* deviation of a standard normal cut at 2: 0.8796 */
        double mean = sum / (double)n, sd = sqrt(square / (double)n - mean * mean), b = (double)init->b;
        double wanted = init->kind == AC_INIT_NORMAL ? b : init->kind == AC_INIT_TRUNCATED_NORMAL ? .8796 * b : (b - (double)init->a) / sqrt(12);
        double middle = init->kind == AC_INIT_UNIFORM ? (b + (double)init->a) / 2 : (double)init->a;
        TAP_OK(fabs(mean - middle) < .004 * wanted && fabs(sd / wanted - 1) < .004, "%s: mean %.4g, deviation %.4g", name, mean, sd);
    }
    ac_free(many);
}

int main(void)
{
    static const struct {
        const char *name;
        ac_init init;
    } kinds[] = {{"normal", {AC_INIT_NORMAL, 0, .05f}},   {"normal, far from 0", {AC_INIT_NORMAL, 3, 1.7f}}, {"truncated normal", {AC_INIT_TRUNCATED_NORMAL, 0, .02f}},
                 {"uniform", {AC_INIT_UNIFORM, -1, 2}}, {"no deviation", {AC_INIT_NORMAL, .3f, 0}},        {"constant", {AC_INIT_CONSTANT, .5f, 0}}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        compare(kinds[k].name, &kinds[k].init, 7 + k, k, 0, k < 4 ? 1500000 : 1000);
        for (size_t n = 0; n < 520; n += n < 3 ? 1 : 171)
            compare(kinds[k].name, &kinds[k].init, UINT64_MAX - n, 300 + k, ((size_t)1 << 34) + 3 * n, n);
    }
    return tap_done();
}
