/* Colour maps for surfaces: a few colours each, mixed in OKLab (Ottosson 2020), where equal steps look equal. */
#include "anyclass/chart.h"
#include <math.h>
#include <stdio.h>

enum { MOST_STOPS = 7 };

typedef struct lab {
    double l, a, b;
} lab;

/* The names are those of well-known maps that look alike; the colours are chosen here. */
static const char *const stop[AC_N_COLOR_MAPS][MOST_STOPS] = {
    [AC_MAP_BLUES] = {"f6faff", "cfe2f4", "94c4e6", "4f9bd3", "1f6db3", "08407f", "04234d"},
    [AC_MAP_GREYS] = {"fcfcfc", "dedede", "bcbcbc", "949494", "6c6c6c", "434343", "141414"},
    [AC_MAP_PLASMA] = {"140a86", "5a04a4", "9519a0", "c6407f", "e86c5c", "faa43c", "f2f436"},
    [AC_MAP_RDBU] = {"6b0620", "c03a40", "f0a483", "f7f5f3", "94c3de", "3079b6", "073264"},
    [AC_MAP_YLGNBU] = {"fffed8", "d8efb4", "8bd2b7", "3fb0c0", "2280b8", "253f96", "0a1c56"},
};

static double linear(double c)
{
    return c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4);
}

static double companded(double c)
{
    return c <= 0.0031308 ? 12.92 * c : 1.055 * pow(c, 1 / 2.4) - 0.055;
}

static lab lab_of(const char *text)
{
    unsigned r = 0, g = 0, b = 0;
    if (sscanf(text, "%2x%2x%2x", &r, &g, &b) != 3)
        r = g = b = 0;
    double red = linear(r / 255.0), green = linear(g / 255.0), blue = linear(b / 255.0);
    double l = cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue);
    double m = cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue);
    double s = cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue);
    return (lab){0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
                 1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
                 0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s};
}

static uint8_t byte_of(double c)
{
    double value = 255 * companded(c < 0 ? 0 : c > 1 ? 1 : c);
    return (uint8_t)(value + 0.5);
}

static lab mixed(ac_color_map map, double t)
{
    t = t > 0 ? t < 1 ? t : 1 : 0;
    int last = MOST_STOPS - 1, at = (int)(t * last);
    at = at < last ? at : last - 1;
    lab a = lab_of(stop[map][at]), b = lab_of(stop[map][at + 1]);
    double part = t * last - at;
    return (lab){a.l + part * (b.l - a.l), a.a + part * (b.a - a.a), a.b + part * (b.b - a.b)};
}

void ac_color_map_at(ac_color_map map, double t, uint8_t rgb[3])
{
    lab of = mixed(map, t);
    double l = of.l + 0.3963377774 * of.a + 0.2158037573 * of.b, m = of.l - 0.1055613458 * of.a - 0.0638541728 * of.b,
           s = of.l - 0.0894841775 * of.a - 1.2914855480 * of.b;
    l = l * l * l;
    m = m * m * m;
    s = s * s * s;
    rgb[0] = byte_of(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s);
    rgb[1] = byte_of(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s);
    rgb[2] = byte_of(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s);
}

void ac_color_map_text(ac_color_map map, double t, char out[8])
{
    uint8_t rgb[3];
    ac_color_map_at(map, t, rgb);
    snprintf(out, 8, "#%02x%02x%02x", rgb[0], rgb[1], rgb[2]);
}

bool ac_color_map_is_light(ac_color_map map, double t)
{
    return mixed(map, t).l > 0.62;
}
