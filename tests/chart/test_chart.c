/* Axes, escaping, numbers and marks of lib/chart, with the values that spoil pictures: none, NaN, tiny and huge ranges,
 * foreign text. */
#include "anyclass/alloc.h"
#include "anyclass/chart.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

static void expect(ac_markup *out, const char *wanted, const char *what)
{
    bool good = out->status == AC_OK && out->text && strcmp(out->text, wanted) == 0;
    TAP_OK(good, "%s", what);
    if (!good)
        printf("# '%s', wanted '%s'\n", out->text ? out->text : "", wanted);
    ac_markup_release(out);
}

static void test_escape(void)
{
    static const struct {
        const char *text, *wanted, *what;
    } cases[] = {
        {"crack<b> & \"co\" 'x'", "crack&lt;b&gt; &amp; &quot;co&quot; &#39;x&#39;", "what HTML means something by"},
        {"\xCE\xBB \xF0\x9F\x99\x82", "\xCE\xBB \xF0\x9F\x99\x82", "UTF-8 stays"},
        {"a\x01"
         "b\n\x7F",
         "a\xEF\xBF\xBD"
         "b\xEF\xBF\xBD\xEF\xBF\xBD",
         "control characters"},
        {"\xFF\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", "bytes that are no UTF-8"},
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", "a surrogate"},
        {"\xE2\x82", "\xEF\xBF\xBD\xEF\xBF\xBD", "a character cut short"},
        {"\xEF\xBF\xBF", "\xEF\xBF\xBD", "U+FFFF, which XML does not allow"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ac_markup out = {0};
        ac_markup_escape(&out, cases[i].text);
        expect(&out, cases[i].wanted, cases[i].what);
    }
    ac_markup out = {0};
    ac_markup_shorten(&out, "\xCE\xBB\xCE\xBB\xCE\xBB\xCE\xBB", 4);
    ac_markup_add(&out, "|");
    ac_markup_shorten(&out, "\xCE\xBB\xCE\xBB<\xCE\xBB\xCE\xBB", 4);
    expect(&out, "\xCE\xBB\xCE\xBB\xCE\xBB\xCE\xBB|\xCE\xBB\xCE\xBB&lt;\xE2\x80\xA6",
           "shortened by characters, not by bytes");
}

static void test_numbers(void)
{
    static const double values[] = {1, 1.5, 1.25, -0.001, 0, 100, 1e-9, NAN, INFINITY, 12345.678};
    ac_markup out = {0};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        ac_markup_number(&out, values[i], 2);
        ac_markup_add(&out, " ");
    }
    expect(&out, "1 1.5 1.25 0 0 100 0 0 0 12345.68 ", "numbers are short");
    ac_markup_number(&out, 100, 0);
    expect(&out, "100", "zeros in front of the point stay");
    ac_markup_number(&out, 1e300, 1);
    TAP_OK(out.n_bytes == 301, "a huge number is written whole");
    ac_markup_release(&out);
    ac_markup_count(&out, 1040129);
    ac_markup_add(&out, " ");
    ac_markup_count(&out, 999);
    ac_markup_add(&out, " ");
    ac_markup_count(&out, -1000);
    expect(&out,
           "1\xE2\x80\xAF"
           "040\xE2\x80\xAF"
           "129 999 -1\xE2\x80\xAF"
           "000",
           "counts in groups of three");
    for (size_t n = 0; n <= 3; n++) {
        ac_markup_base64(&out, (const uint8_t *)"\xFB\xFF\x01", n);
        ac_markup_add(&out, ".");
    }
    expect(&out, ".+w==.+/8=.+/8B.", "base64 of 0 to 3 bytes");
}

/* Texts of the ticks of an axis, fitted first or not. */
static void expect_ticks(double min, double max, bool log, bool fit, int most, const char *wanted)
{
    ac_axis axis = {.min = min, .max = max, .log = log};
    ac_ticks ticks;
    char text[AC_TICK_BYTES];
    ac_markup out = {0};
    if (fit)
        ac_axis_fit(&axis, most);
    ac_axis_ticks(&axis, most, &ticks);
    for (int i = 0; i < ticks.n; i++) {
        ac_axis_tick_text(&ticks, i, text);
        ac_markup_format(&out, "%s%s", i > 0 ? " " : "", text);
    }
    ac_markup_add(&out, "");
    char what[128];
    snprintf(what, sizeof what, "%g to %g%s%s, at most %d ticks: %s", min, max, log ? ", log" : "",
             fit ? ", fitted" : "", most, wanted);
    expect(&out, wanted, what);
}

static void test_ticks(void)
{
    expect_ticks(0, 1, false, false, 6, "0 0.2 0.4 0.6 0.8 1.0");
    expect_ticks(0.05, 0.95, false, false, 6, "0.2 0.4 0.6 0.8");
    expect_ticks(0.013, 0.87, false, true, 6, "0 0.2 0.4 0.6 0.8 1.0");
    expect_ticks(0, 40, false, true, 8, "0 10 20 30 40");
    expect_ticks(-3, 7, false, true, 6, "-5 0 5 10");
    expect_ticks(0, 52000, false, true, 6, "0 20k 40k 60k");
    expect_ticks(0, 3e6, false, true, 4, "0 1M 2M 3M");
    expect_ticks(1000, 2500, false, true, 4, "1000 1500 2000 2500");
    expect_ticks(1e-7, 4e-7, false, true, 5, "1e-07 2e-07 3e-07 4e-07");
    expect_ticks(1, 1, false, true, 5, "0.90 0.95 1.00 1.05 1.10");
    expect_ticks(0, 0, false, true, 3, "0 0.5 1.0");
    expect_ticks(-2, -2, false, true, 3, "-2.2 -2.0 -1.8");
    expect_ticks(1, 1 + 1e-12, false, true, 5, "0.90 0.95 1.00 1.05 1.10");
    expect_ticks(NAN, 2, false, true, 3, "0 0.5 1.0");
    expect_ticks(INFINITY, -INFINITY, false, true, 3, "0 0.5 1.0");
    expect_ticks(NAN, 2, false, false, 3, "");
    expect_ticks(2, 1, false, false, 3, "");
    expect_ticks(0, 1, false, false, 0, "");
    expect_ticks(0.5, 2e4, true, false, 5, "1 10 100 1k 10k");
    expect_ticks(0.5, 2e4, true, false, 3, "1 100 10k");
    expect_ticks(0, 100, true, false, 5, "");
    expect_ticks(0.002, 0.5, true, false, 5, "0.01 0.1");
    for (int power = -300; power <= 300; power += 7) {
        ac_axis axis = {.min = pow(10, power), .max = 3.7 * pow(10, power)};
        ac_ticks ticks;
        ac_axis_fit(&axis, 6);
        ac_axis_ticks(&axis, 8, &ticks);
        if (!(axis.min <= pow(10, power) * 1.001 && axis.max >= 3.69 * pow(10, power) && ticks.n >= 3))
            TAP_OK(false, "1e%d has %d ticks", power, ticks.n);
    }
    ac_axis widest = {.min = -INFINITY + 1, .max = 1e308}, most = {.min = -1e308, .max = 1e308};
    ac_ticks ticks;
    ac_axis_fit(&widest, 5);
    ac_axis_fit(&most, 5);
    ac_axis_ticks(&most, 9, &ticks);
    TAP_OK(widest.min == 0 && widest.max == 1 && isfinite(most.min) && isfinite(most.max) && ticks.n >= 3,
           "the widest ranges");
}

static void test_place(void)
{
    ac_axis linear = {.min = 10, .max = 20}, log = {.min = 1, .max = 100, .log = true}, empty = {.min = 3, .max = 3};
    TAP_OK(ac_axis_place(&linear, 12.5) == 0.25 && ac_axis_place(&linear, 0) == 0 && ac_axis_place(&linear, 99) == 1,
           "places on a line, cut at its ends");
    TAP_OK(ac_axis_place(&log, 10) == 0.5 && ac_axis_place(&log, 0) == 0 && ac_axis_place(&log, -1) == 0,
           "on a log axis, zero at its foot");
    TAP_OK(isnan(ac_axis_place(&linear, NAN)) && isnan(ac_axis_place(&log, NAN)) && ac_axis_place(&empty, 3) == 0,
           "NaN and an empty axis");
}

/* A panel of 100 x 100 px at the origin, both axes 0..1. */
static const ac_panel unit = {.width_px = 100, .height_px = 100, .x = {.min = 0, .max = 1}, .y = {.min = 0, .max = 1}};

static void test_lines(void)
{
    const double x[] = {0, 0.25, 0.5, 0.75, 1}, straight[] = {0, 0.25, 0.5, 0.75, 1}, bent[] = {0, 0, 0.5, NAN, 1};
    const double nothing[] = {NAN, NAN, NAN, NAN, NAN}, back[] = {0, 1, 0.5, 0.5, 0.5}, steps[] = {0, 1, 1, 0, 0.5};
    ac_markup out = {0};
    ac_panel_line(&out, &unit, "k0", NULL, x, straight, 5);
    expect(&out, "<path class=\"ln k0\" d=\"M0 100L100 0\"/>\n", "points on a straight line are left out");
    ac_panel_line(&out, &unit, "k0", "a<b", x, bent, 5);
    expect(&out, "<path class=\"ln k0\" data-n=\"a&lt;b\" d=\"M0 100L25 100L50 50M100 0\"/>\n",
           "corners stay, NaN interrupts");
    ac_panel_line(&out, &unit, "k0", NULL, back, straight, 3);
    expect(&out, "<path class=\"ln k0\" d=\"M0 100L100 75L50 50\"/>\n", "a line that turns back keeps its turn");
    ac_panel_line(&out, &unit, "k0", NULL, x, nothing, 5);
    expect(&out, "<path class=\"ln k0\" d=\"\"/>\n", "only NaN: an empty line");
    ac_panel_line(&out, &unit, "k0", NULL, x, x, 0);
    expect(&out, "<path class=\"ln k0\" d=\"\"/>\n", "no points: an empty line");
    ac_panel_steps(&out, &unit, "fill", NULL, steps, 5);
    expect(&out, "<path class=\"ln fill\" d=\"M20 100V0H60V100M80 100V50H100V100\"/>\n",
           "columns, with nothing along the bottom");
    ac_panel_steps(&out, &unit, "fill", NULL, NULL, 0);
    expect(&out, "<path class=\"ln fill\" d=\"\"/>\n", "no columns");
    ac_panel_dot(&out, &unit, "k0", NAN, 0.5, 3, "x");
    ac_panel_segment(&out, &unit, "rule", 0, NAN, 1, 1);
    ac_panel_dot(&out, &unit, "k0", 0.5, 2, 3, "<");
    expect(&out, "<circle class=\"dot k0\" cx=\"50\" cy=\"0\" r=\"3\"><title>&lt;</title></circle>\n",
           "dots: none for NaN, inside the panel, text escaped");
}

/* Heights of the names, in order of writing. */
static int heights(const char *text, double *out, int most)
{
    int n = 0;
    while (n < most && (text = strstr(text, "<text x=\"109\" y=\"")) != NULL)
        out[n++] = strtod(text += 17, NULL);
    return n;
}

static void test_end_labels(void)
{
    enum { N = 40 };
    ac_end_label label[N];
    ac_markup out = {0};
    double y[N], least = INFINITY, bottom = -INFINITY;
    for (int i = 0; i < 6; i++)
        label[i] = (ac_end_label){
            .y = i == 3 ? NAN : 0.01 * i, .style = "k0", .text = "a name that is too long", .later = i == 5};
    ac_panel_end_labels(&out, &unit, label, 6);
    int n = out.text ? heights(out.text, y, N) : 0;
    for (int i = 0; i < n; i++) {
        bottom = fmax(bottom, y[i]);
        for (int k = 0; k < i; k++)
            least = fmin(least, fabs(y[i] - y[k]));
    }
    TAP_OK(n == 5 && least >= 10 && bottom <= 108, "%d names, %g px apart, none below the panel", n, least);
    TAP_OK(out.text && strstr(out.text, ">a name that\xE2\x80\xA6<") != NULL, "long names are cut");
    ac_markup_release(&out);
    for (int i = 0; i < N; i++)
        label[i] = (ac_end_label){.y = 0.5, .style = "k0", .text = "x", .later = i > 0};
    ac_panel_end_labels(&out, &unit, label, N);
    n = out.text ? heights(out.text, y, N) : 0;
    TAP_OK(n > 5 && n < N && fabs(y[0] - 53.5) < 0.1,
           "names without room are left out, the first is where it belongs: %d", n);
    ac_markup_release(&out);
    ac_panel_end_labels(&out, &unit, label, 0);
    TAP_OK(out.n_bytes == 0, "no names");
    ac_markup_release(&out);
}

static void test_frames(void)
{
    ac_figure figure = {.title = "a <b>", .text = "\"c\"", .width_px = 200, .height_px = 100, .standalone = true};
    ac_legend_entry entry[3] = {{"k0", "one"}, {"fill k1", "t<o"}, {"k2", "three"}};
    ac_panel empty = unit;
    ac_markup out = {0};
    ac_figure_begin(&out, &figure);
    double one_row = ac_figure_legend(&out, 0, 0, 500, entry, 3), rows = ac_figure_legend(&out, 0, 0, 60, entry, 3);
    empty.x.max = empty.y.min = NAN;
    empty.most_x_ticks = empty.most_y_ticks = 5;
    ac_panel_begin(&out, &empty);
    ac_panel_end(&out);
    ac_figure_end(&out);
    TAP_OK(out.status == AC_OK && strstr(out.text, "<title>a &lt;b&gt;</title><desc>&quot;c&quot;</desc>"),
           "title and text of a file, escaped");
    TAP_OK(strstr(out.text, "prefers-color-scheme:dark") && strstr(out.text, "class=\"back\""),
           "it has its own colours");
    TAP_OK(!strstr(out.text, "nan") && !strstr(out.text, "inf"), "an axis that is none gives no number that is none");
    TAP_OK(one_row == 16 && rows == 48 && ac_figure_legend(&out, 0, 0, 60, entry, 0) == 0, "legends take rows: %g, %g",
           one_row, rows);
    ac_markup_release(&out);
}

static void test_heat(void)
{
    const double shade[4] = {0, 0.5, NAN, 1};
    static char one[] = "a<", two[] = "b";
    char *names[2] = {one, two};
    ac_heat_map map = {.left_px = 10,
                       .top_px = 10,
                       .cell_px = 20,
                       .n_rows = 2,
                       .n_columns = 2,
                       .shade = shade,
                       .row_name = names,
                       .column_name = names};
    ac_markup out = {0};
    size_t n = 0;
    ac_figure_heat_map(&out, &map);
    for (const char *at = out.text; at && (at = strstr(at, "fill-opacity")); at++)
        n++;
    TAP_OK(n == 3 && strstr(out.text, ">a&lt;<"), "a cell for each number, names escaped");
    ac_markup_release(&out);
}

static void test_memory(void)
{
    uint64_t n_live = ac_alloc_get_stats().n_live;
    ac_markup out = {0};
    ac_alloc_fail_at(1);
    ac_markup_add(&out, "x");
    ac_alloc_fail_at(0);
    ac_markup_add(&out, "y");
    ac_markup_format(&out, "%d", 1);
    TAP_OK(out.status == AC_ERR_MEMORY && out.n_bytes == 0, "what follows a failure is dropped");
    ac_markup_release(&out);
    TAP_OK(ac_alloc_get_stats().n_live == n_live, "no memory is left");
}

int main(void)
{
    test_escape();
    test_numbers();
    test_ticks();
    test_place();
    test_lines();
    test_end_labels();
    test_frames();
    test_heat();
    test_memory();
    return tap_done();
}
