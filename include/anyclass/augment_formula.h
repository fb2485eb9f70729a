/* Augmentation as inline functions that C and CUDA share: the draws, and the arithmetic of one pixel, which is that of
 * torchvision 0.14's ColorJitter and RandomRotation on 8-bit Pillow images, bit for bit.
 *
 * Draws of a sample (stream AC_STREAM_AUGMENT, index = sample key):
 *   k 0  word 0: top bit set = mirrored; words 1 to 3 are free
 *   k 1  words 0 to 3: brightness, contrast, saturation, hue
 *   k 2  word 0: order of the four; word 1: angle of rotation; words 2 and 3 are free
 * The mirror image is taken last. Brightness, saturation, hue and the mirror act on pixels alone; contrast needs the mean
 * of the whole image as it is when its turn comes: a kernel makes one pass up to contrast, summing ac_luminance(), and one
 * from it on.
 *
 * No product of the draws and colours may be fused with a sum (-ffp-contract=off, or AC_ROUNDED_PRODUCT where a compiler has no
 * such option): results would differ in the last bit, hence sometimes in a grey level. */
#ifndef ANYCLASS_AUGMENT_FORMULA_H
#define ANYCLASS_AUGMENT_FORMULA_H

#include "anyclass/augment.h"
#include "anyclass/random.h"
#include <math.h>
#include <stdbool.h>

#ifdef __CUDA_ARCH__
#define AC_ROUNDED_PRODUCT(a, b) __fmul_rn(a, b)
#else
#define AC_ROUNDED_PRODUCT(a, b) ((a) * (b))
#endif

typedef enum ac_colour_step { AC_BRIGHTNESS, AC_CONTRAST, AC_SATURATION, AC_HUE, AC_N_COLOUR_STEPS } ac_colour_step;

typedef struct ac_colour_draw {
    float factor[3];              /* of brightness, contrast, saturation */
    int hue_shift;                /* 0..255, added to the hue byte modulo 256 */
    bool with_hue;                /* false: the step is left out (a shift of 0 would not bring the same pixels back) */
    int order[AC_N_COLOUR_STEPS]; /* ac_colour_step in the order of execution */
} ac_colour_draw;

/* Source of an output pixel in 16.16 fixed point: x = (x0 + xx * column + xy * row) >> 16, y likewise. */
typedef struct ac_rotation {
    int32_t x0, xx, xy, y0, yx, yy;
} ac_rotation;

enum { AC_ROTATION_MAX_PX = 8192 }; /* longest side: larger ones could leave 32 bits */

/* ---- draws ---- */

AC_INLINE bool ac_draw_mirror(uint64_t seed, uint64_t key)
{
    return ac_random_block(seed, AC_STREAM_AUGMENT, key, 0).word[0] >> 31;
}

/** Uniform in [low, high]. */
AC_INLINE float ac_draw_between(uint32_t word, float low, float high)
{
    return low + AC_ROUNDED_PRODUCT(ac_uniform_float(word), high - low);
}

/** The index-th (0..23) of the orders of the four colour steps, in lexical order. */
AC_INLINE void ac_colour_order(uint32_t index, int order[AC_N_COLOUR_STEPS])
{
    const uint32_t n_orders_of_rest[AC_N_COLOUR_STEPS] = {6, 2, 1, 1};
    int left[AC_N_COLOUR_STEPS] = {AC_BRIGHTNESS, AC_CONTRAST, AC_SATURATION, AC_HUE};
    for (int i = 0; i < AC_N_COLOUR_STEPS; i++) {
        uint32_t pick = index / n_orders_of_rest[i];
        index %= n_orders_of_rest[i];
        order[i] = left[pick];
        for (; pick + 1 < AC_N_COLOUR_STEPS; pick++)
            left[pick] = left[pick + 1];
    }
}

/** `hue` in [-0.5, 0.5] turns of the circle as a step of the hue byte, towards zero. */
AC_INLINE int ac_hue_shift(float hue)
{
    return (int)((double)hue * 255.0) & 255;
}

AC_INLINE ac_colour_draw ac_draw_colour(const ac_augment *a, uint64_t seed, uint64_t key)
{
    ac_colour_draw draw;
    const float range[3] = {a->brightness, a->contrast, a->saturation};
    ac_philox strength = ac_random_block(seed, AC_STREAM_AUGMENT, key, 1), order = ac_random_block(seed, AC_STREAM_AUGMENT, key, 2);
    for (int i = 0; i < 3; i++)
        draw.factor[i] = ac_draw_between(strength.word[i], range[i] < 1 ? 1 - range[i] : 0, 1 + range[i]);
    draw.with_hue = a->hue > 0;
    draw.hue_shift = ac_hue_shift(ac_draw_between(strength.word[3], -a->hue, a->hue));
    ac_colour_order((uint32_t)(((uint64_t)order.word[0] * 24) >> 32), draw.order);
    return draw;
}

/** Angle in degrees, counter-clockwise. */
AC_INLINE float ac_draw_angle(const ac_augment *a, uint64_t seed, uint64_t key)
{
    return ac_draw_between(ac_random_block(seed, AC_STREAM_AUGMENT, key, 2).word[1], -a->rotation_degrees, a->rotation_degrees);
}

/* ---- colour of one pixel; all values 0..255 ---- */

AC_INLINE int ac_luminance(int r, int g, int b)
{
    return (19595 * r + 38470 * g + 7471 * b + 32768) >> 16;
}

/** Rounded mean of `n` luminances. */
AC_INLINE int ac_mean_luminance(uint64_t sum, uint64_t n)
{
    return (int)((2 * sum + n) / (2 * n));
}

/** from + factor * (to - from), cut off to a byte. Brightness: from 0; contrast: from the image's mean luminance;
 * saturation: from the pixel's own. */
AC_INLINE int ac_blend(int from, int to, float factor)
{
    int value = (int)((float)from + AC_ROUNDED_PRODUCT(factor, (float)(to - from)));
    return value < 0 ? 0 : value > 255 ? 255 : value;
}

AC_INLINE int ac_max_int(int a, int b)
{
    return a > b ? a : b;
}

AC_INLINE int ac_min_int(int a, int b)
{
    return a < b ? a : b;
}

/* Hue, saturation and value as bytes. Pillow computes them in a mix of float and double; float in the order below gives
 * the same bytes for every colour. The hue of a grey (saturation 0) is any. */
AC_INLINE void ac_hsv_from_rgb(int r, int g, int b, int *h, int *s, int *v)
{
    int most = ac_max_int(r, ac_max_int(g, b)), least = ac_min_int(r, ac_min_int(g, b)), span = most - least;
    int middle = r + g + b - most - least;
    float below = (float)(most - middle) / (float)ac_max_int(span, 1);
    /* the sector of the circle, and its corner where `middle` would be as large as the largest */
    int at_red = g >= b ? 0 : 5, at_green = b > r ? 2 : 1, at_blue = g >= r ? 3 : 4;
    int other = g == most ? at_green : at_blue, sector = r == most ? at_red : other;
    int corner = sector == 5 ? -1 : sector | 1;
    float sixths = (float)corner + (sector & 1 ? below : -below);
    float turn = sixths / 6.0f;
    turn = sector == 5 ? 1.0f + turn : turn;
    *h = (int)(turn * 255.0f);
    *s = (int)((float)span / (float)ac_max_int(most, 1) * 255.0f);
    *v = most;
}

/* One colour of a pixel, whose corner lies `distance` steps of the hue away, 170 steps to a third of the circle: there in
 * full up to 85, then less and less down to v * (255 - s) / 255 at 170. The rational number that Pillow's float and double
 * stand for is never half way between two bytes, and near enough to one for float to find it. */
AC_INLINE int ac_rgb_component(int distance, int s, int v)
{
    int away = ac_min_int(ac_max_int(distance - 85, 0), 85);
    return (int)(AC_ROUNDED_PRODUCT((float)(v * (255 * 85 - s * away)), 1 / (255 * 85.0f)) + 0.5f);
}

AC_INLINE void ac_rgb_from_hsv(int h, int s, int v, int *r, int *g, int *b)
{
    *r = ac_rgb_component(255 - ac_max_int(2 * h - 255, 255 - 2 * h), s, v);
    *g = ac_rgb_component(ac_max_int(2 * h - 170, 170 - 2 * h), s, v);
    *b = ac_rgb_component(ac_max_int(2 * h - 340, 340 - 2 * h), s, v);
}

/* ---- rotation ---- */

/** 16.16 fixed point, rounded. */
AC_INLINE int32_t ac_fixed_point(double value)
{
    return (int32_t)floor(value * 65536.0 + 0.5);
}

/** Rotation by `degrees` counter-clockwise about the centre of an image, no side longer than AC_ROTATION_MAX_PX. */
AC_INLINE ac_rotation ac_rotation_make(double degrees, int width, int height)
{
    ac_rotation out;
    double angle = -(degrees < 0 ? degrees + 360 : degrees) * 0.017453292519943295;
    double c = rint(cos(angle) * 1e15) / 1e15, s = rint(sin(angle) * 1e15) / 1e15; /* 15 digits, as Pillow rounds */
    double centre_x = width / 2.0, centre_y = height / 2.0;
    double shift_x = c * -centre_x + s * -centre_y + centre_x, shift_y = -s * -centre_x + c * -centre_y + centre_y;
    out.xx = ac_fixed_point(c);
    out.xy = ac_fixed_point(s);
    out.yx = ac_fixed_point(-s);
    out.yy = ac_fixed_point(c);
    out.x0 = ac_fixed_point(shift_x + c * 0.5 + s * 0.5); /* of the pixel's middle */
    out.y0 = ac_fixed_point(shift_y + -s * 0.5 + c * 0.5);
    return out;
}

/** Which pixel comes to (column, row); false: none, it is black. */
AC_INLINE bool ac_rotation_source(const ac_rotation *rotation, int column, int row, int width, int height, int *x, int *y)
{
    *x = (rotation->x0 + rotation->xx * column + rotation->xy * row) >> 16;
    *y = (rotation->y0 + rotation->yx * column + rotation->yy * row) >> 16;
    return *x >= 0 && *x < width && *y >= 0 && *y < height;
}

#endif
