/* The position embedding of a vision transformer for another image size. */
#include "anyclass/weights.h"
#include <math.h>
#include <string.h>

/* Weights of the four taps of a cubic convolution (Keys, 1981, with a = -0.75, as PyTorch has it) at t in [0, 1) behind the second. */
static void cubic_taps(float t, float tap[4])
{
    const float a = -0.75f, near[2] = {t, 1 - t}, far[2] = {t + 1, 2 - t};
    for (int i = 0; i < 2; i++) {
        const float x = near[i], y = far[i];
        tap[1 + i] = ((a + 2) * x - (a + 3)) * x * x + 1;
        tap[3 * i] = ((a * y - 5 * a) * y + 8 * a) * y - 4 * a;
    }
}

typedef struct sample { /* where a place of the new grid takes its values */
    int64_t from[4];
    float tap[4];
} sample;

static sample place_of(int64_t k, int64_t n_old, int64_t n_new)
{
    sample s;
    const float scale = n_new > 1 ? (float)(n_old - 1) / (float)(n_new - 1) : 0, at = scale * (float)k, first = floorf(at);
    cubic_taps(at - first, s.tap);
    for (int i = 0; i < 4; i++) {
        const int64_t p = (int64_t)first - 1 + i;
        s.from[i] = p < 0 ? 0 : p > n_old - 1 ? n_old - 1 : p;
    }
    return s;
}

void ac_weights_resize_positions(const float *from, int64_t n_old, float *to, int64_t n_new, int64_t width)
{
    memcpy(to, from, (size_t)width * sizeof *to);
    from += width;
    to += width;
    for (int64_t y = 0; y < n_new; y++) {
        const sample row = place_of(y, n_old, n_new);
        for (int64_t x = 0; x < n_new; x++, to += width) {
            const sample column = place_of(x, n_old, n_new);
            for (int64_t c = 0; c < width; c++) {
                float sum = 0;
                for (int i = 0; i < 4; i++) {
                    float line = 0;
                    for (int j = 0; j < 4; j++)
                        line += column.tap[j] * from[(row.from[i] * n_old + column.from[j]) * width + c];
                    sum += row.tap[i] * line;
                }
                to[c] = sum;
            }
        }
    }
}
