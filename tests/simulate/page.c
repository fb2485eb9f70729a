/* Opens the page of anyclass-simulate in headless Chromium: its surfaces against the program's CSV, pointer, keyboard,
 * link, colours, sizes, paper. usage: page PROGRAM PAGE [STATE CSV]...    STATE: what simulate.set() takes;
 * SCREENSHOTS=DIR takes pictures; with REDRAWS=N in the environment it times N redraws of two states instead. Prints TAP. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "tests/evaluate/browser_look.h"
#include <math.h>

enum {
    GRID = 200,
    N_POINTS = GRID * GRID,
    BASE64_BYTES = (8 * N_POINTS + 2) / 3 * 4 + 8,
    MOST_COLUMNS = 16,
    MOST_TABS = 400
};

static char *page_js;

/* Base64 of doubles. */
static size_t decode(const char *text, double *out, size_t most)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char *bytes = (unsigned char *)out;
    unsigned group = 0, bits = 0;
    size_t n = 0;
    for (const char *at; *text && (at = strchr(digits, *text)) && n < most * sizeof *out; text++) {
        group = group << 6 | (unsigned)(at - digits);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes[n++] = (unsigned char)(group >> bits & 255);
        }
    }
    return n / sizeof *out;
}

typedef struct table { /* the CSV */
    size_t n_columns;
    char name[MOST_COLUMNS][40];
    double *column[MOST_COLUMNS]; /* [N_POINTS] each */
} table;

static void release(table *t)
{
    for (size_t c = 0; c < MOST_COLUMNS; c++)
        ac_free(t->column[c]);
}

static ac_status read_table(const char *path, table *out)
{
    ac_status status = AC_OK;
    ac_csv csv = {0};
    bool more;
    AC_TRY(ac_csv_open(&csv, path));
    AC_TRY(ac_csv_next(&csv, &more));
    if (!more || csv.n_fields < 3 || csv.n_fields > MOST_COLUMNS)
        AC_TRY(ac_error(AC_ERR_DATA, "%s: no header", path));
    out->n_columns = csv.n_fields;
    for (size_t c = 0; c < out->n_columns; c++) {
        snprintf(out->name[c], sizeof out->name[c], "%s", csv.field[c]);
        AC_TRY(ac_malloc(N_POINTS, sizeof *out->column[c], &out->column[c]));
    }
    for (size_t row = 0; row <= N_POINTS; row++) {
        AC_TRY(ac_csv_next(&csv, &more));
        if (more != (row < N_POINTS) || (more && csv.n_fields != out->n_columns))
            AC_TRY(ac_error(AC_ERR_DATA, "%s: row %zu", path, row));
        for (size_t c = 0; more && c < out->n_columns; c++)
            AC_TRY(ac_parse_double(csv.field[c], &out->column[c][row]));
    }
out:
    ac_csv_close(&csv);
    return status;
}

static void test_equal(browser *b, const char *state, const char *path, char *text, double *got)
{
    table t = {0};
    char question[1024];
    double worst = 0, worst_place = 0;
    size_t n_equal = 0;
    bool good = TAP_CALL(read_table(path, &t));
    snprintf(question, sizeof question, "page.set(%s)", state);
    expect_nothing(b, question, state);
    for (size_t k = 0; good && k < N_POINTS; k++) {
        worst_place = fmax(worst_place, fabs(t.column[0][k] - (0.01 + 0.98 * (double)(k % GRID) / (GRID - 1))));
        worst_place = fmax(worst_place, fabs(t.column[1][k] - (0.01 + 0.98 * (double)(k / GRID) / (GRID - 1))));
    }
    for (size_t c = 2; good && c < t.n_columns; c++) {
        double difference = 0;
        snprintf(question, sizeof question, "page.values('%s')", t.name[c]);
        if (browser_ask(b, question, text, BASE64_BYTES) != AC_OK || decode(text, got, N_POINTS) != N_POINTS)
            difference = INFINITY;
        for (size_t k = 0; k < N_POINTS && difference < INFINITY; k++)
            difference = isfinite(got[k]) ? fmax(difference, fabs(got[k] - t.column[c][k])) : INFINITY;
        worst = fmax(worst, difference);
        n_equal += difference <= 1e-6;
    }
    TAP_OK(good && n_equal == 12 && n_equal == t.n_columns - 2,
           "%zu of 12 surfaces equal the CSV to 1e-6 on %d x %d: %.2g", n_equal, GRID, GRID, worst);
    TAP_OK(worst_place < 1e-15, "on the grid from 0.01 to 0.99");
    release(&t);
}

static void open_page(browser *b)
{
    char text[TEXT_BYTES];
    load(b);
    if (browser_ask(b, page_js, text, sizeof text) != AC_OK)
        TAP_OK(false, "the questions are there");
    expect_text(b, "page.ready()", "yes", "the page is ready");
}

static void test_drawn(browser *b)
{
    char text[TEXT_BYTES] = "";
    TAP_OK(browser_ask(b, "page.colors()", text, sizeof text) == AC_OK && atoi(text) > 60,
           "the surface has %s colours in 16 x 16 places", text);
    expect_text(b, "page.small()", "12 0", "twelve small surfaces, none of one colour");
    expect_text(b, "page.changes({lines:false})", "another", "contours are seen");
    expect_text(b, "page.changes({arrows:true})", "another", "arrows are seen");
    expect_text(b, "page.changes({path:true})", "another", "the path is seen");
    expect_text(b, "page.changes({map:2})", "another", "so is another colour map");
    expect_text(b, "page.changes({lambda:.9})", "another", "lambda moves it");
    expect_text(b, "page.changes({alpha:0})", "another", "alpha moves it");
    expect_text(b, "page.changes({gamma:2})", "another", "gamma moves it");
    expect_text(b, "page.changes({y:[1,1]})", "another", "labels move it");
    expect_text(b, "page.changes({surface:'any_loss'})", "another", "another surface is another picture");
    expect_text(b, "page.changes({y:[1,0,1],p:[.5,.5,.2]})", "another", "a further class moves it");
    expect_text(b, "page.changes({at:[.5,.5]})", "the same", "the marker does not");
    expect_text(b, "simulate.set({gamma:2}),page.text('title')", "Focal + any-class loss", "with gamma BCE is focal");
    expect_text(b, "simulate.set({gamma:0}),page.text('title')", "BCE + any-class loss", "without it is BCE");
    expect_text(
        b, "simulate.set({weighted:true,counts:[100,20],negatives:2000}),String(/W = \\d/.test(page.text('state')))",
        "true", "weights are written down");
    expect_text(b, "simulate.set({counts:[0,0],negatives:0}),page.text('weight-note').slice(0,17)", "Without any image",
                "without images there are none");
    expect_nothing(b, "page.set({counts:[0,5],y:[1,0],map:3}),page.sameColor()",
                   "a surface of one value has the colour that the legend marks");
    expect_text(b, "simulate.set({map:0}),page.text('ticks-bar')", "0.0000", "and its number");
    expect_text(b, "simulate.set({weighted:false,y:[0,0],lambda:0,alpha:0}),page.colors()>60?'':'flat'", "",
                "no labels, lambda 0, alpha 0");
}

static void test_pointer(browser *b)
{
    open_page(b);
    point_at(b, "#figure", false);
    expect_text(b, "page.text('places')", "0.451, 0.549", "the marker follows the pointer");
    expect_text(b, "page.shownValue()", "", "and its value is the surface's");
    expect_nothing(b, "page.through()", "the contour of that value passes it");
    save_picture(b, "pointer", false);
    expect_nothing(b, "page.set({at:[.7,.2],surface:'product'}),page.through()", "and follows it, on any surface");
    expect_text(b, "page.set({lines:false}),document.querySelector('#through path').getAttribute('d')", "",
                "without contours it is not drawn");
    expect_nothing(b, "page.set({lines:true,surface:'bce_any_loss'})", "with them it is");
    point_at(b, "#matrix label:has([value=any_likelihood])", true);
    expect_text(b, "simulate.state.surface", "any_likelihood", "a click on a small surface shows it large");
    expect_text(b, "page.shownValue()", "", "with its value at the marker");
    point_at(b, ".pair label:has([name=y2][value=\"1\"])", true);
    expect_text(b, "simulate.state.y.join()", "1,1", "a click sets a label");
    point_at(b, "#arrows", true);
    expect_text(b, "String(simulate.state.arrows)", "true", "a click shows arrows");
}

/* Numbers that are typed: what is no value stays out, and goes from the field as well. */
static void test_fields(browser *b)
{
    open_page(b);
    expect_text(b, "page.set({y:[1,0,1,1],p:[.5,.5,.2,.3]}),page.type('n-classes',['1','12'])", "12", "12 classes");
    expect_text(b, "simulate.state.p.slice(0,5).join()", "0.5,0.5,0.2,0.3,0.1", "the first keep what they had");
    expect_text(b, "page.type('n-classes',['2','20'])", "20", "20 classes, typed over them");
    expect_text(b, "simulate.state.p.slice(0,5).join()+' '+simulate.state.y.slice(0,5).join()",
                "0.5,0.5,0.2,0.3,0.1 1,0,1,1,0", "although there were 2 for a moment");
    expect_text(b, "page.type('n-classes',['500'])", "20", "500 classes are too many");
    expect_text(b, "page.type('beta',['.5','7'])+' '+simulate.state.beta", "0.5 0.5", "beta 7 is none");
    expect_text(b, "page.type('lambda-number',['.5','-1'])+' '+simulate.state.lambda", "0.5 0.5", "lambda -1 is none");
    expect_text(b,
                "document.querySelector('#count-rows input').id='first-count',page.type('first-count',['70','1.5'])+' "
                "'+simulate.state.counts[0]",
                "70 70", "half an image is none");
    expect_text(b, "simulate.set({y:[1,0],p:[.5,.5],at:[.4999,.5]}),page.text('logits')", "0.00, 0.00",
                "nothing is -0");
    expect_text(b,
                "simulate.set({surface:'bce_any_likelihood',weighted:true,counts:[1e9,1],negatives:1,beta:1,lines:true}"
                "),String(new Set([...document."
                "querySelectorAll('#ticks-bar span')].map(tick=>tick.textContent)).size>2)",
                "true", "a legend of values that are hardly apart has different numbers");
}

static void test_keyboard(browser *b)
{
    open_page(b);
    expect_tabbing(b, 30, MOST_TABS);
    expect_text(b, "document.getElementById('figure').focus(),page.text('places')", "0.300, 0.600",
                "the surface has the focus");
    press(b, "ArrowRight", 39, NULL);
    press(b, "ArrowDown", 40, NULL);
    expect_text(b, "page.text('places')", "0.305, 0.595", "arrow keys move the marker by a place");
    expect_text(b, "document.getElementById('lambda').focus(),String(simulate.state.lambda)", "0.1",
                "a slider has the focus");
    press(b, "ArrowRight", 39, NULL);
    expect_text(b, "String(simulate.state.lambda)", "0.11", "an arrow key moves it");
    expect_text(b, "document.getElementById('lambda-number').value", "0.11", "and its number");
    expect_text(b, "document.querySelector('[name=surface]:checked').focus(),simulate.state.surface", "bce_any_loss",
                "the choice of surfaces has the focus");
    press(b, "ArrowRight", 39, NULL);
    expect_text(b, "simulate.state.surface", "bce_product_loss", "an arrow key chooses the next");
}

/* A link gives the state back; what is wrong in it changes nothing. */
static void test_link(browser *b)
{
    char wanted[TEXT_BYTES] = "", plain[TEXT_BYTES] = "", said[TEXT_BYTES];
    static const char *const wrong[] = {"lambda=nan",
                                        "lambda=1e9",
                                        "lambda=",
                                        "lambda=%20",
                                        "y=12",
                                        "y=1",
                                        "p=2",
                                        "p=.1",
                                        "s=zz&map=zz&at=7,8&at",
                                        "s=constructor",
                                        "n=-1",
                                        "gamma=Infinity&alpha=-1&beta=2",
                                        "weighted=2&lines=x",
                                        "%E0%A4%A&=&&#"};
    open_page(b);
    TAP_CALL(browser_ask(b, "page.state()", plain, sizeof plain));
    expect_text(b, "simulate.set({lambda:.5}),new Promise(done=>setTimeout(()=>done(location.hash),600))",
                "#lambda=0.5", "the address holds what differs, no more");
    TAP_CALL(browser_ask(
        b,
        "simulate.set({y:[0,1,1],p:[.5,.5,.25],lambda:.37,alpha:1.5,gamma:2,surface:'any_loss',map:3,at:[.25,.75],"
        "counts:[100,20,7],negatives:900,weighted:true,beta:.999,arrows:true,lines:false,path:true}),page.state()",
        wanted, sizeof wanted));
    expect_text(b, "String(/s=any_loss/.test(location.hash))", "true", "the address holds the state");
    expect_text(b, "location.reload(),''", "", "it is loaded anew");
    for (int i = 0; i < WAIT_TENTHS; i++) {
        char text[TEXT_BYTES] = "";
        if (browser_ask(b, "String(document.documentElement.dataset.ready)", text, sizeof text) == AC_OK &&
            strcmp(text, "yes") == 0)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    expect_text(b, "JSON.stringify(simulate.state)", wanted, "and gives it back");
    TAP_CALL(browser_ask(b, checks_js, said, sizeof said));
    TAP_CALL(browser_ask(b, page_js, said, sizeof said));
    expect_text(b, "document.getElementById('gamma-number').value+document.querySelector('[name=y2]:checked').value",
                "21", "controls as well");
    expect_text(b, "document.getElementById('copy').click(),String(/^copied$|#.*s=any_loss/.test(page.text('said')))",
                "true", "Copy link copies it, or shows it");
    expect_text(b, "document.getElementById('reset').click(),JSON.stringify(simulate.state)", plain, "Start again");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char question[256], what[128];
        snprintf(question, sizeof question,
                 "location.hash='#%s',new Promise(done=>setTimeout(()=>done(JSON.stringify(simulate.state)),60))",
                 wrong[i]);
        snprintf(what, sizeof what, "a link with %s changes nothing", wrong[i]);
        for (char *c = what; (c = strchr(c, '#')) != NULL;)
            *c = ' ';
        expect_text(b, question, plain, what);
    }
    expect_nothing(b, "page.roundTrips()", "each thing that can be moved goes into the address and comes back");
    expect_nothing(b, "page.links(80)", "80 links of odd pieces: each leaves a state that can be drawn");
}

/* Times, for bench/redraw.sh: no test asks for them, since others may share the processor. */
static void print_speed(browser *b, const char *slider, const char *state, const char *what, int n_moves)
{
    char text[TEXT_BYTES] = "", question[256];
    double fast, median, frame;
    open_page(b);
    snprintf(question, sizeof question, "page.set(%s)", state);
    expect_nothing(b, question, what);
    snprintf(question, sizeof question, "page.slide('%s',%d)", slider, n_moves);
    bool good = browser_ask(b, question, text, sizeof text) == AC_OK && sscanf(text, "%lf %lf %lf", &fast, &median, &frame) == 3;
    TAP_OK(good, "%d moves of %s", n_moves, slider);
    if (good)
        printf("# redraw, %s: median %.1f ms, fastest tenth %.1f ms; %.1f ms between frames\n", what, median, fast, frame);
}

static void print_speeds(browser *b, int n_moves)
{
    TAP_OK(set_size(b, 1280, 900, false), "a desktop");
    print_speed(b, "lambda", "{}", "as it opens", n_moves);
    print_speed(b, "gamma", "{arrows:true,path:true,weighted:true,y:[1,0,0,1,0,0,0,0],p:[.5,.5,.1,.2,.3,.4,.5,.6]}",
                "eight classes, arrows, path, weights", n_moves);
}

static void test_schemes(browser *b)
{
    static const char *const scheme[2] = {"light", "dark"};
    open_page(b);
    expect_nothing(b, "page.set({y:[1,0,0],p:[.5,.5,.2],weighted:true}),checks.openAll()", "everything is open");
    for (int wanted = 0; wanted < 2; wanted++)
        for (int choice = 0; choice < 3; choice++) {
            char question[128];
            const char *shown = choice == 0 ? scheme[wanted] : scheme[choice - 1];
            TAP_OK(set_media(b, "screen", scheme[wanted]), "the system wants %s", scheme[wanted]);
            snprintf(question, sizeof question, "document.getElementById('theme-%s').checked=true,checks.scheme()",
                     choice == 0 ? "auto" : scheme[choice - 1]);
            expect_text(b, question, shown, "the page follows it, or the choice");
            expect_nothing(b, "checks.contrast()", "and its text can be read: contrast of 4.5 and more");
        }
    TAP_OK(set_media(b, "screen", "light"), "light again");
}

static void test_sizes(browser *b)
{
    static const int width[5] = {320, 360, 412, 768, 1280};
    char what[64];
    for (int i = 0; i < 5; i++) {
        TAP_OK(set_size(b, width[i], 800, width[i] < 600), "%d pixels wide", width[i]);
        open_page(b);
        snprintf(what, sizeof what, "nothing is wider than a page of %d pixels", width[i]);
        expect_nothing(b, "page.set({y:[1,0,0],p:[.5,.5,.2],weighted:true}),checks.overflow()", what);
        if (width[i] < 600)
            expect_nothing(b, "page.together()", "surface and sliders are seen together");
    }
}

static void test_print(browser *b)
{
    ac_json_value *answer = NULL;
    size_t n_bytes = 0;
    const char *folder = getenv("SCREENSHOTS");
    char path[AC_PATH_BYTES];
    open_page(b);
    expect_nothing(b, "page.legend('')", "numbers of the legend lie at their values");
    expect_nothing(b, "page.legend('330px')", "on paper, too, which is narrower");
    expect_text(b, "dispatchEvent(new Event('beforeprint')),String(document.getElementById('plot').width)", "1760",
                "for paper the surface is drawn finer");
    TAP_OK(set_media(b, "print", "dark"), "on paper, from a dark screen");
    expect_text(b, "String(document.getElementById('plot').clientWidth)", "440",
                "a whole part of it: browsers that print canvases as curves are exact there alone");
    expect_text(b, "dispatchEvent(new Event('afterprint')),''", "", "after it");
    expect_nothing(b, "page.printed()", "what is printed is white, without controls, with the state in words");
    ac_json *call = browser_call(b, "Page.printToPDF");
    ac_json_bool(call, "printBackground", true);
    bool done = browser_send(b, call, &answer) == AC_OK;
    snprintf(path, sizeof path, "%s/simulate.pdf", folder ? folder : "");
    done = done && browser_save(answer, folder ? path : NULL, &n_bytes) == AC_OK;
    TAP_OK(done && n_bytes > 20000, "a PDF of %zu bytes", n_bytes);
    ac_json_release(answer);
    TAP_OK(set_media(b, "screen", "light"), "on the screen again");
}

static void test_without_script(browser *b)
{
    ac_json *call = browser_call(b, "Emulation.setScriptExecutionDisabled");
    ac_json_bool(call, "value", true);
    TAP_CALL(browser_send(b, call, NULL));
    load(b);
    expect_text(b,
                "String(/script/.test(document.querySelector('noscript "
                "p').textContent)&&checks.visible(document.querySelector('noscript p')))",
                "true", "without script the page says so");
    call = browser_call(b, "Emulation.setScriptExecutionDisabled");
    ac_json_bool(call, "value", false);
    TAP_CALL(browser_send(b, call, NULL));
}

static void take_pictures(browser *b)
{
    static const struct {
        int width;
        const char *scheme, *name, *state;
    } shot[] = {{1280, "light", "desktop", "{}"},
                {1280, "dark", "desktop-dark", "{arrows:true,path:true,map:2,at:[.1,.9]}"},
                {360, "light", "phone", "{arrows:true}"},
                {360, "dark", "phone-dark", "{gamma:2,y:[1,0,0],p:[.5,.5,.2],weighted:true}"}};
    for (size_t i = 0; i < sizeof shot / sizeof *shot; i++) {
        char question[256];
        if (!set_size(b, shot[i].width, 900, shot[i].width < 600) || !set_media(b, "screen", shot[i].scheme))
            TAP_OK(false, "%s", shot[i].name);
        open_page(b);
        snprintf(question, sizeof question, "page.set(%s)", shot[i].state);
        expect_nothing(b, question, shot[i].name);
        save_picture(b, shot[i].name, true);
    }
}

int main(int argc, char **argv)
{
    browser b = {0};
    size_t n;
    char page[AC_PATH_BYTES + 8], *text = NULL;
    double *got = NULL;
    if (argc < 3 || argc % 2 == 0) {
        fprintf(stderr, "usage: page PROGRAM PAGE [STATE CSV]...\n");
        return 2;
    }
    snprintf(page, sizeof page, "file://%s", argv[2]);
    b.page = page;
    picture_prefix = "simulate";
    bool ready = TAP_CALL(ac_file_read_all("tests/evaluate/browser_checks.js", 0, (uint8_t **)&checks_js, &n)) &&
                 TAP_CALL(ac_file_read_all("tests/simulate/page_checks.js", 0, (uint8_t **)&page_js, &n)) &&
                 TAP_CALL(ac_malloc(BASE64_BYTES, 1, &text)) && TAP_CALL(ac_malloc(N_POINTS, sizeof *got, &got)) &&
                 TAP_CALL(browser_start(&b, argv[1]));
    if (ready && getenv("REDRAWS"))
        print_speeds(&b, atoi(getenv("REDRAWS")));
    else if (ready) {
        TAP_OK(set_size(&b, 1280, 900, false), "a desktop");
        open_page(&b);
        TAP_OK(b.n_requests == 1, "the page is asked for once, %zu", b.n_requests);
        expect_quiet(&b, "while it is loaded");
        for (int i = 3; i + 1 < argc; i += 2)
            test_equal(&b, argv[i], argv[i + 1], text, got);
        open_page(&b);
        test_drawn(&b);
        test_pointer(&b);
        test_fields(&b);
        test_keyboard(&b);
        test_link(&b);
        test_schemes(&b);
        test_print(&b);
        test_without_script(&b);
        test_sizes(&b);
        expect_quiet(&b, "in all of this");
        if (getenv("SCREENSHOTS"))
            take_pictures(&b);
    }
    browser_stop(&b);
    ac_free(checks_js);
    ac_free(page_js);
    ac_free(text);
    ac_free(got);
    return tap_done();
}
