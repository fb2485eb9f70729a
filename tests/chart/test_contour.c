/* Contours: where they lie on planes and cones, which nodes the outlines enclose on grids of noise, what spoils them.
 * And the colour maps' lightness. */
#include "anyclass/alloc.h"
#include "anyclass/chart.h"
#include "anyclass/random.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

enum { COLUMNS = 23, ROWS = 17, N_NOISE = 60 };

static double value[ROWS * COLUMNS], xy[2 * AC_CONTOUR_POINTS(COLUMNS, ROWS)];
static unsigned char seen[AC_CONTOUR_SEEN_BYTES(COLUMNS, ROWS)];
static const ac_contour_grid grid = {COLUMNS, ROWS, value};

static void fill(double (*f)(double x, double y))
{
    for (int y = 0; y < ROWS; y++)
        for (int x = 0; x < COLUMNS; x++)
            value[y * COLUMNS + x] = f(x, y);
}

static double plane(double x, double y)
{
    return 2 * x + 3 * y;
}

static double cone(double x, double y)
{
    return 5 - hypot(x - 11, y - 8);
}

static double nothing(double x, double y)
{
    (void)x, (void)y;
    return NAN;
}

static double flat(double x, double y)
{
    (void)x, (void)y;
    return 4;
}

static size_t n_lines(size_t n)
{
    size_t lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += isnan(xy[2 * i]);
    return lines;
}

static void test_plane(void)
{
    double worst = 0;
    bool left = true;
    fill(plane);
    size_t n = ac_contour_trace(&grid, 30.5, false, seen, xy);
    for (size_t i = 0; i + 1 < n; i++) {
        worst = fmax(worst, fabs(plane(xy[2 * i], xy[2 * i + 1]) - 30.5));
        if (i > 0) { /* what is more lies to the upper right */
            double dx = xy[2 * i] - xy[2 * i - 2], dy = xy[2 * i + 1] - xy[2 * i - 1];
            left = left && dx * 3 - dy * 2 >= 0;
        }
    }
    TAP_OK(n > 10 && n_lines(n) == 1 && isnan(xy[2 * n - 2]), "one line over a plane, of %zu points", n);
    TAP_OK(worst < 1e-12, "all of them at the level: %.2g off", worst);
    TAP_OK(left, "what is more lies at its left");
    double ends[4] = {xy[0], xy[1], xy[2 * n - 4], xy[2 * n - 3]};
    TAP_OK(fmax(fabs(ends[0] - 0), fabs(ends[1] - 30.5 / 3)) < 1e-12 &&
               fmax(fabs(ends[2] - 15.25), fabs(ends[3])) < 1e-12,
           "from border to border: (%g, %g) to (%g, %g)", ends[0], ends[1], ends[2], ends[3]);
    TAP_OK(ac_contour_trace(&grid, -1, false, seen, xy) == 0, "no line below all values");
    TAP_OK(ac_contour_trace(&grid, 1000, false, seen, xy) == 0, "nor above");
    TAP_OK(ac_contour_trace(&grid, 1000, true, seen, xy) == 0, "nor an outline");
}

static double enclosed(size_t n) /* by the shoelace formula; pieces close */
{
    double twice = 0;
    size_t first = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(xy[2 * i])) {
            first = i + 1;
            continue;
        }
        size_t next = isnan(xy[2 * i + 2]) ? first : i + 1;
        twice += xy[2 * i] * xy[2 * next + 1] - xy[2 * next] * xy[2 * i + 1];
    }
    return twice / 2;
}

static void test_regions(void)
{
    fill(flat);
    size_t n = ac_contour_trace(&grid, 4, true, seen, xy);
    TAP_OK(n_lines(n) == 1 && fabs(enclosed(n) - (COLUMNS - 1) * (ROWS - 1)) < 1e-9,
           "a flat grid at the level is enclosed whole: %g", enclosed(n));
    TAP_OK(ac_contour_trace(&grid, 4, false, seen, xy) == 0, "and has no line");
    TAP_OK(ac_contour_trace(&grid, 4.5, true, seen, xy) == 0, "above it there is nothing");
    fill(nothing);
    TAP_OK(ac_contour_trace(&grid, 0, true, seen, xy) == 0, "NaN is below every level");
    fill(plane);
    n = ac_contour_trace(&grid, 12, true, seen, xy);
    TAP_OK(fabs(enclosed(n) - ((COLUMNS - 1) * (ROWS - 1) - 12)) < 1e-9,
           "above a plane's level: all but a triangle of 6 x 4 / 2: %g", enclosed(n));
    fill(cone);
    n = ac_contour_trace(&grid, 0, false, seen, xy);
    TAP_OK(n_lines(n) == 1 && xy[0] == xy[2 * n - 4] && xy[1] == xy[2 * n - 3], "a cone's line ends where it begins");
    TAP_OK(fabs(enclosed(n) / (acos(-1) * 25) - 1) < 0.02, "and encloses a circle: %g", enclosed(n));
}

/* Even-odd, along a ray to the right. */
static bool within(size_t n, double x, double y)
{
    bool in = false;
    for (size_t i = 0; i + 1 < n; i++) {
        const double *a = &xy[2 * i], *b = &xy[2 * i + 2];
        if (isnan(a[0]) || isnan(b[0]) || (a[1] > y) == (b[1] > y))
            continue;
        in ^= x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]);
    }
    return in;
}

/* On noise every kind of cell occurs, saddles too. */
static void test_noise(void)
{
    int n_wrong = 0, n_open = 0, n_nodes = 0;
    size_t most = 0;
    for (uint32_t round = 0; round < N_NOISE; round++) {
        for (uint32_t i = 0; i < ROWS * COLUMNS; i++) {
            ac_philox word = ac_random_block(5, AC_STREAM_TEST, round, i);
            value[i] = round % 4 == 3 && word.word[2] % 9 == 0 ? NAN : ac_uniform_double(word.word[0], word.word[1]);
        }
        double level = 0.2 + 0.01 * round;
        size_t n = ac_contour_trace(&grid, level, true, seen, xy);
        most = n > most ? n : most;
        for (size_t i = 0, first = 0; i < n; i++)
            if (isnan(xy[2 * i])) {
                n_open += xy[2 * first] != xy[2 * i - 2] || xy[2 * first + 1] != xy[2 * i - 1];
                first = i + 1;
            }
        for (int y = 1; y < ROWS - 1; y++) /* nodes on the border lie on the outline itself */
            for (int x = 1; x < COLUMNS - 1; x++, n_nodes++)
                n_wrong += within(n, x, y + 1e-9) != (value[y * COLUMNS + x] >= level);
    }
    TAP_OK(n_wrong == 0, "outlines enclose the nodes of at least the level, and no other: %d of %d wrong", n_wrong,
           n_nodes);
    TAP_OK(n_open == 0, "all of them close");
    TAP_OK(most < AC_CONTOUR_POINTS(COLUMNS, ROWS), "the longest has %zu points, there is room for %zu", most,
           AC_CONTOUR_POINTS(COLUMNS, ROWS));
}

/* The grid of a chess board has the most lines. */
static void test_most(void)
{
    for (int y = 0; y < ROWS; y++)
        for (int x = 0; x < COLUMNS; x++)
            value[y * COLUMNS + x] = (x + y) % 2;
    for (int k = 0; k < 4; k++) {
        double level = k < 2 ? 0.4 : 0.6;
        size_t n = ac_contour_trace(&grid, level, k % 2, seen, xy);
        TAP_OK(n < AC_CONTOUR_POINTS(COLUMNS, ROWS) && isnan(xy[2 * n - 2]), "a chess board at %g: %zu points", level,
               n);
    }
    ac_contour_grid least = {2, 2, (const double[]){0, 0, 0, 1}};
    size_t n = ac_contour_trace(&least, 0.5, false, seen, xy);
    TAP_OK(n == 3 && n_lines(n) == 1, "a grid of one cell: %zu points", n);
    least.value = (const double[]){1, 0, 0, 1}; /* a saddle, 0.5 in its middle */
    n = ac_contour_trace(&least, 0.4, false, seen, xy);
    TAP_OK(n == 6 && fabs(xy[0] + xy[1] - xy[2] - xy[3]) > 0.5,
           "the middle of a saddle is above 0.4: lines cut off what is below");
    n = ac_contour_trace(&least, 0.6, false, seen, xy);
    TAP_OK(n == 6 && fabs(xy[0] + xy[1] - xy[2] - xy[3]) < 1e-12, "and below 0.6: they cut off what is above");
}

static void test_colors(void)
{
    static const char *const name[AC_N_COLOR_MAPS] = {"blues", "greys", "plasma", "rdbu", "ylgnbu"};
    for (int map = 0; map < AC_N_COLOR_MAPS; map++) {
        double before = NAN;
        int n_turns = 0, last = 0;
        for (int i = 0; i <= 255; i++) {
            uint8_t rgb[3];
            ac_color_map_at((ac_color_map)map, i / 255.0, rgb);
            double light = 0.2126 * pow(rgb[0] / 255.0, 2.2) + 0.7152 * pow(rgb[1] / 255.0, 2.2) +
                           0.0722 * pow(rgb[2] / 255.0, 2.2);
            int way = light > before + 1e-3 ? 1 : light < before - 1e-3 ? -1 : 0;
            n_turns += way != 0 && last != 0 && way != last;
            last = way != 0 ? way : last;
            before = light;
        }
        TAP_OK(n_turns == (map == AC_MAP_RDBU), "%s: luminance turns %d times", name[map], n_turns);
    }
    char text[8];
    ac_color_map_text(AC_MAP_GREYS, NAN, text);
    TAP_OK(text[0] == '#' && text[7] == '\0', "NaN has a colour: %s", text);
    uint8_t below[3], least[3];
    ac_color_map_at(AC_MAP_PLASMA, -3, below);
    ac_color_map_at(AC_MAP_PLASMA, 0, least);
    TAP_OK(below[0] == least[0] && below[1] == least[1] && below[2] == least[2], "what is below 0 is cut there");
}

static void test_marks(void)
{
    ac_markup out = {0};
    ac_panel panel = {.width_px = 100, .height_px = 100, .x = {0, 1, false, NULL}, .y = {0, 1, false, NULL}};
    const ac_arrow arrow[] = {{0.5, 0.5, 0, 0}, {0.5, 0.5, NAN, 1}, {NAN, 0.5, 1, 1}, {0.5, 0.5, 20, 0}};
    ac_panel_arrows(&out, &panel, "#000000", arrow, 4);
    TAP_OK(out.text && strstr(out.text, "d=\"M40 50L60 50M56 52.4L60 50L56 47.6\""),
           "an arrow has its middle where it is asked for, others none: %s", out.text ? out.text : "");
    ac_markup_release(&out);
    double x[] = {0, 1, 1, 0, 0, NAN, 0.2, 0.2, 0.4}, y[] = {0, 0, 1, 1, 0, NAN, 0.2, 0.4, 0.4};
    ac_panel_region(&out, &panel, "#123456", x, y, 9);
    TAP_OK(out.text &&
               strstr(out.text, " fill-rule=\"evenodd\" d=\"M0 100L100 100L100 0L0 0L0 100M20 80L20 60L40 60\"/>"),
           "a region of two pieces: %s", out.text ? out.text : "");
    ac_markup_release(&out);
}

int main(void)
{
    test_plane();
    test_regions();
    test_noise();
    test_most();
    test_colors();
    test_marks();
    return tap_done();
}
