/* Opens a report in headless Chromium and looks at it as a person would: with pointer, keyboard, phone, paper, without
 * script. usage: browser PROGRAM PAGE ID... [-- SVG...]    the figures that must be there, and files that must be whole
 * XML; SCREENSHOTS=DIR also takes pictures Prints TAP. */
#include "tests/evaluate/browser_look.h"
#include "anyclass/alloc.h"
#include "anyclass/chart.h"
#include "anyclass/file.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_TABS = 2000 };

static void test_figures(browser *b, char **id, int n)
{
    char question[65536];
    size_t at = (size_t)snprintf(question, sizeof question, "checks.figures([");
    for (int i = 0; i < n && at < sizeof question - 256; i++)
        at += (size_t)snprintf(question + at, sizeof question - at, "%s'%s'", i > 0 ? "," : "", id[i]);
    snprintf(question + at, sizeof question - at, "])");
    expect_nothing(b, question, "every figure is there, none is empty, each has its text");
}

static void test_keyboard(browser *b)
{
    load(b);
    expect_tabbing(b, 20, MOST_TABS);
    expect_text(b, "document.querySelectorAll('table.sortable thead tr:last-child th button')[2].focus(),''", "",
                "a column's head has the focus");
    press(b, "Enter", 13, "\r");
    expect_nothing(b, "checks.sorted(2,-1)", "Enter sorts its column, highest first");
    press(b, "Enter", 13, "\r");
    expect_nothing(b, "checks.sorted(2,1)", "Enter again: lowest first");
    expect_text(b, "document.getElementById('v0').focus(),''", "", "the choice of versions has the focus");
    press(b, "ArrowRight", 39, NULL);
    expect_text(b, "[0,1].map(i=>checks.visible(document.getElementById('p'+i))).join()", "false,true",
                "an arrow key shows the next version");
    expect_text(b,
                "document.getElementById('h0').focus(),String(getComputedStyle(document.querySelector('#p1 "
                ".ln.c0')).strokeOpacity<1!=document.getElementById('h0').checked)",
                "true", "a class is in colour where it is chosen");
    press(b, " ", 32, " ");
    expect_text(b,
                "String(getComputedStyle(document.querySelector('#p1 "
                ".ln.c0')).strokeOpacity<1!=document.getElementById('h0').checked)",
                "true", "the space bar changes the choice, and the lines with it");
    expect_text(
        b,
        "document.querySelector('#p1 details.class:not([open]) summary').focus(),document.activeElement.parentNode.id",
        "c1-1", "a closed class has the focus");
    press(b, "Enter", 13, "\r");
    expect_text(b, "String(document.getElementById('c1-1').open)", "true", "Enter opens it");
}

static void test_pointer(browser *b)
{
    load(b);
    point_at(b, "#f-metrics-0-0", false);
    expect_text(b,
                "String(/^threshold 0\\.\\d+.*Macro F1/.test(document.querySelector('#p0 .plot:has(#f-metrics-0-0) "
                ".tip:not([hidden])').textContent.replace(/\\n/g,'')))",
                "true", "the pointer reads out a chart");
    save_picture(b, "pointer", false);
    point_at(b, "#p0 table a[href=\"#c0-2\"]", true);
    expect_text(b, "String(document.getElementById('c0-2').open)", "true", "a link opens the class that it leads to");
}

static void test_schemes(browser *b)
{
    static const char *const scheme[2] = {"light", "dark"};
    char question[128], what[128];
    load(b);
    expect_nothing(b, "checks.openAll()", "all classes are open");
    for (int wanted = 0; wanted < 2; wanted++)
        for (int choice = 0; choice < 3; choice++) {
            const char *shown = choice == 0 ? scheme[wanted] : scheme[choice - 1];
            TAP_OK(set_media(b, "screen", scheme[wanted]), "the system wants %s", scheme[wanted]);
            snprintf(question, sizeof question, "document.getElementById('theme-%s').checked=true,checks.scheme()",
                     choice == 0 ? "auto" : scheme[choice - 1]);
            snprintf(what, sizeof what, "the page is %s", shown);
            expect_text(b, question, shown, what);
            snprintf(what, sizeof what, "and its text can be read: contrast of 4.5 and more");
            expect_nothing(b, "checks.eachVersion(checks.contrast)", what);
        }
    TAP_OK(set_media(b, "screen", "light"), "light again");
}

static void test_sizes(browser *b)
{
    static const int width[4] = {360, 412, 768, 1280};
    char what[64];
    for (int i = 0; i < 4; i++) {
        TAP_OK(set_size(b, width[i], 800, width[i] < 600), "%d pixels wide", width[i]);
        load(b);
        snprintf(what, sizeof what, "nothing is wider than a page of %d pixels", width[i]);
        expect_nothing(b, "checks.overflow()", what);
    }
}

static void test_print(browser *b)
{
    ac_json_value *answer = NULL;
    size_t n_bytes = 0;
    const char *folder = getenv("SCREENSHOTS");
    char path[AC_PATH_BYTES];
    load(b);
    TAP_OK(set_media(b, "print", "dark"), "on paper, from a dark screen");
    expect_nothing(b, "checks.printed()",
                   "what is printed is white, without controls, with all classes of the version");
    ac_json *call = browser_call(b, "Page.printToPDF");
    ac_json_bool(call, "printBackground", true);
    bool done = browser_send(b, call, &answer) == AC_OK;
    snprintf(path, sizeof path, "%s/report.pdf", folder ? folder : "");
    done = done && browser_save(answer, folder ? path : NULL, &n_bytes) == AC_OK;
    TAP_OK(done && n_bytes > 20000, "a PDF of %zu bytes", n_bytes);
    ac_json_release(answer);
    TAP_OK(set_media(b, "screen", "light"), "on the screen again");
}

static void test_without_script(browser *b, char **id, int n)
{
    ac_json *call = browser_call(b, "Emulation.setScriptExecutionDisabled");
    ac_json_bool(call, "value", true);
    TAP_CALL(browser_send(b, call, NULL));
    load(b);
    expect_text(b, "String(document.querySelectorAll('th button').length)", "0",
                "without script there are no buttons to sort");
    expect_text(b, "String(document.querySelectorAll('table.sortable tbody tr').length>5)", "true",
                "the tables are there");
    point_at(b, "label:has(#v1)", true);
    expect_text(b, "[0,1].map(i=>checks.visible(document.getElementById('p'+i))).join()", "false,true",
                "versions can be chosen");
    point_at(b, "#p1 details.class:not([open]) summary", true);
    expect_text(b, "String(document.querySelectorAll('#p1 details.class[open]').length)", "2", "classes can be opened");
    point_at(b, "label:has(#theme-dark)", true);
    expect_text(b, "checks.scheme()", "dark", "dark can be chosen");
    test_figures(b, id, n);
    call = browser_call(b, "Emulation.setScriptExecutionDisabled");
    ac_json_bool(call, "value", false);
    TAP_CALL(browser_send(b, call, NULL));
}

/* Files are no part of the page: their text goes into the question. */
static void test_files(browser *b, char **path, int n)
{
    char answer[TEXT_BYTES] = "";
    int n_whole = 0;
    for (int i = 0; i < n; i++) {
        ac_json *list = NULL;
        uint8_t *text = NULL;
        const char *literal;
        size_t n_bytes;
        ac_markup question = {0};
        bool good = ac_file_read_all(path[i], 0, &text, &n_bytes) == AC_OK && ac_json_create(&list) == AC_OK;
        if (good) {
            ac_json_begin_array(list, NULL);
            ac_json_string(list, NULL, (const char *)text);
            ac_json_end_array(list);
            good = ac_json_text(list, &literal, &n_bytes) == AC_OK;
        }
        if (good) {
            ac_markup_add(&question, "checks.wellFormed(");
            ac_markup_add(&question, literal);
            ac_markup_add(&question, "[0])");
            good = question.status == AC_OK && browser_ask(b, question.text, answer, sizeof answer) == AC_OK &&
                   answer[0] == '\0';
        }
        n_whole += good;
        if (!good)
            printf("# %s: %s\n", path[i], answer[0] ? answer : ac_error_text());
        ac_markup_release(&question);
        ac_json_destroy(list);
        ac_free(text);
    }
    TAP_OK(n_whole == n, "%d of %d plots are well-formed", n_whole, n);
}

static void take_picture(browser *b, int width, const char *scheme)
{
    char name[64];
    if (!set_size(b, width, 900, width < 600) || !set_media(b, "screen", scheme))
        TAP_OK(false, "%d pixels, %s", width, scheme);
    load(b);
    snprintf(name, sizeof name, "%d-%s", width, scheme);
    save_picture(b, name, true);
}

int main(int argc, char **argv)
{
    browser b = {0};
    size_t n;
    int n_ids = 0;
    char page[AC_PATH_BYTES + 8];
    const char *folder = getenv("SCREENSHOTS");
    if (argc < 4) {
        fprintf(stderr, "usage: browser PROGRAM PAGE ID... [-- SVG...]\n");
        return 2;
    }
    snprintf(page, sizeof page, "file://%s", argv[2]);
    b.page = page;
    while (3 + n_ids < argc && strcmp(argv[3 + n_ids], "--") != 0)
        n_ids++;
    bool ready = TAP_CALL(ac_file_read_all("tests/evaluate/browser_checks.js", 0, (uint8_t **)&checks_js, &n)) &&
                 TAP_CALL(browser_start(&b, argv[1]));
    if (ready) {
        TAP_OK(set_size(&b, 1280, 900, false), "a desktop");
        load(&b);
        TAP_OK(b.n_requests == 1, "the page is asked for once, %zu", b.n_requests);
        expect_quiet(&b, "while it is loaded");
        test_figures(&b, argv + 3, n_ids);
        test_pointer(&b);
        test_keyboard(&b);
        test_schemes(&b);
        test_print(&b);
        test_without_script(&b, argv + 3, n_ids);
        test_sizes(&b);
        if (n_ids + 4 < argc)
            test_files(&b, argv + n_ids + 4, argc - n_ids - 4);
        expect_quiet(&b, "in all of this");
        for (int k = 0; folder && k < 4; k++)
            take_picture(&b, k < 2 ? 1280 : 360, k % 2 ? "dark" : "light");
    }
    browser_stop(&b);
    ac_free(checks_js);
    return tap_done();
}
