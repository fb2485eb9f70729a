/* What tests of pages share: questions with the answers they want, pointer, keys, sizes, media, pictures. Header only,
 * as tap.h is. */
#ifndef ANYCLASS_TESTS_BROWSER_LOOK_H
#define ANYCLASS_TESTS_BROWSER_LOOK_H

#include "anyclass/file.h"
#include "tests/evaluate/browser.h"
#include "tests/tap.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT_BYTES = 4096, WAIT_TENTHS = 50 };

static char *checks_js; /* tests/evaluate/browser_checks.js */
static const char *picture_prefix = "report";

/* A question whose answer must be "". */
static inline void expect_nothing(browser *b, const char *question, const char *what)
{
    char text[TEXT_BYTES] = "";
    bool good = browser_ask(b, question, text, sizeof text) == AC_OK && text[0] == '\0';
    TAP_OK(good, "%s", what);
    if (!good)
        printf("# %s\n", text[0] ? text : ac_error_text());
}

/* A question whose answer must become `wanted`: events of the page take a moment. It may toggle nothing: it is asked
 * again. */
static inline void expect_text(browser *b, const char *question, const char *wanted, const char *what)
{
    char text[TEXT_BYTES] = "";
    bool good = false;
    for (int i = 0; i < WAIT_TENTHS && !good; i++) {
        if (i > 0)
            nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        good = browser_ask(b, question, text, sizeof text) == AC_OK && strcmp(text, wanted) == 0;
    }
    TAP_OK(good, "%s", what);
    if (!good)
        printf("# '%s', wanted '%s'\n", text[0] ? text : ac_error_text(), wanted);
}

static inline void load(browser *b)
{
    char text[TEXT_BYTES];
    if (browser_load(b) != AC_OK || browser_ask(b, checks_js, text, sizeof text) != AC_OK)
        TAP_OK(false, "the page is loaded");
}

static inline void expect_quiet(browser *b, const char *what)
{
    TAP_OK(b->complaints[0] == '\0', "no complaint and no request %s", what);
    if (b->complaints[0])
        printf("# %s\n", b->complaints);
    b->complaints[0] = '\0';
}

static inline bool set_size(browser *b, int width, int height, bool phone)
{
    ac_json *call = browser_call(b, "Emulation.setDeviceMetricsOverride");
    ac_json_int(call, "width", width);
    ac_json_int(call, "height", height);
    ac_json_double(call, "deviceScaleFactor", phone ? 2 : 1);
    ac_json_bool(call, "mobile", phone);
    return browser_send(b, call, NULL) == AC_OK;
}

static inline bool set_media(browser *b, const char *media, const char *scheme)
{
    ac_json *call = browser_call(b, "Emulation.setEmulatedMedia");
    ac_json_string(call, "media", media);
    ac_json_begin_array(call, "features");
    ac_json_begin_object(call, NULL);
    ac_json_string(call, "name", "prefers-color-scheme");
    ac_json_string(call, "value", scheme);
    ac_json_end_object(call);
    ac_json_end_array(call);
    return browser_send(b, call, NULL) == AC_OK;
}

static inline void press(browser *b, const char *key, int code, const char *text)
{
    for (int up = 0; up < 2; up++) {
        ac_json *call = browser_call(b, "Input.dispatchKeyEvent");
        ac_json_string(call, "type", up ? "keyUp" : text ? "keyDown" : "rawKeyDown");
        ac_json_string(call, "key", key);
        ac_json_string(call, "code", strcmp(key, " ") == 0 ? "Space" : key);
        ac_json_int(call, "windowsVirtualKeyCode", code);
        if (!up && text)
            ac_json_string(call, "text", text);
        if (browser_send(b, call, NULL) != AC_OK)
            TAP_OK(false, "the key %s is pressed", key);
    }
}

/* Move to, or click, the middle of what `selector` finds. */
static inline void point_at(browser *b, const char *selector, bool click)
{
    static const char *const type[3] = {"mouseMoved", "mousePressed", "mouseReleased"};
    char question[512], text[TEXT_BYTES] = "";
    double x = 0, y = 0;
    snprintf(question, sizeof question,
             "(()=>{const e=document.querySelector('%s');e.scrollIntoView({block:'center',behavior:'instant'});const "
             "r=e.getBoundingClientRect();"
             "return (r.left+r.width*.45)+' '+(r.top+r.height*.45)})()",
             selector);
    if (browser_ask(b, question, text, sizeof text) != AC_OK || sscanf(text, "%lf %lf", &x, &y) != 2)
        TAP_OK(false, "%s is there to point at", selector);
    for (int k = 0; k < (click ? 3 : 1); k++) {
        ac_json *call = browser_call(b, "Input.dispatchMouseEvent");
        ac_json_string(call, "type", type[k]);
        ac_json_double(call, "x", x);
        ac_json_double(call, "y", y);
        if (k > 0) {
            ac_json_string(call, "button", "left");
            ac_json_int(call, "clickCount", 1);
        }
        if (browser_send(b, call, NULL) != AC_OK)
            TAP_OK(false, "the pointer is at %s", selector);
    }
}

/* Tab until the page's controls come round again: at least `least` of them, at most `most` presses. */
static inline void expect_tabbing(browser *b, int least, int most)
{
    char text[TEXT_BYTES] = "";
    int n_again = 0;
    TAP_CALL(browser_ask(b, "checks.startTabbing()", text, sizeof text));
    TAP_OK(atoi(text) > least, "%s controls", text);
    for (int i = 0; i < most && n_again < 3; i++) {
        press(b, "Tab", 9, NULL);
        if (browser_ask(b, "checks.noteFocus()", text, sizeof text) != AC_OK)
            break;
        n_again += strcmp(text, "again") == 0;
    }
    expect_nothing(b, "checks.endTabbing()", "Tab reaches every control, and one sees where one is");
}

/* A picture of what is seen, or of the whole page, as {folder}/{picture_prefix}-{name}.png. */
static inline void save_picture(browser *b, const char *name, bool whole)
{
    const char *folder = getenv("SCREENSHOTS");
    ac_json_value *answer = NULL;
    char path[AC_PATH_BYTES];
    size_t n_bytes = 0;
    if (!folder)
        return;
    ac_json *call = browser_call(b, "Page.captureScreenshot");
    ac_json_bool(call, "captureBeyondViewport", whole);
    bool done = browser_send(b, call, &answer) == AC_OK;
    snprintf(path, sizeof path, "%s/%s-%s.png", folder, picture_prefix, name);
    done = done && browser_save(answer, path, &n_bytes) == AC_OK;
    TAP_OK(done && n_bytes > 10000, "picture %s", path);
    ac_json_release(answer);
}

#endif
