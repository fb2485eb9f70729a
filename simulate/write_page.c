/* The page: head, the places that its script fills, the WebAssembly. What it shows at first is the plan's state. */
#include "anyclass/alloc.h"
#include "anyclass/json.h"
#include "simulate/steps.h"
#include <string.h>

extern const char simulate_page_css[], simulate_page_js[], simulate_page_html[];
extern const unsigned char simulate_page_wasm[];
extern const unsigned long simulate_page_wasm_bytes;

enum { N_COLORS = 256 };

ac_status simulate_check_page(void)
{
    if (simulate_page_wasm_bytes == 0)
        return ac_error(
            AC_ERR_UNSUPPORTED,
            "--output: this build has no page: clang or wasm-ld was missing when it was made (Debian's packages "
            "clang and lld; then make again); .svg and .csv are there");
    return AC_OK;
}

static void add_start(ac_json *out, const simulate_plan *plan)
{
    const simulate_config *c = plan->config;
    const simulate_scene *s = &plan->scene;
    ac_json_begin_object(out, "state");
    ac_json_string(out, "surface", simulate_names[plan->surface[0]].name);
    ac_json_int(out, "map", c->colormap);
    ac_json_double(out, "lambda", s->lambda);
    ac_json_double(out, "alpha", s->alpha);
    ac_json_double(out, "gamma", s->gamma);
    ac_json_bool(out, "arrows", c->arrows);
    ac_json_bool(out, "weighted", c->counts.n_items > 0);
    ac_json_double(out, "beta", c->class_balancing_beta);
    ac_json_int(out, "negatives", c->negatives);
    ac_json_begin_array(out, "y");
    for (int j = 0; j < s->n_classes; j++)
        ac_json_int(out, NULL, s->y[j]);
    ac_json_end_array(out);
    ac_json_begin_array(out, "p");
    for (int j = 0; j < s->n_classes; j++)
        ac_json_double(out, NULL, s->p[j]);
    ac_json_end_array(out);
    ac_json_begin_array(out, "counts");
    for (size_t j = 0; j < c->counts.n_items; j++)
        ac_json_double(out, NULL, c->counts.item[j]);
    ac_json_end_array(out);
    ac_json_end_object(out);
}

static void add_names(ac_json *out)
{
    ac_json_begin_array(out, "surfaces");
    for (int k = 0; k < SIMULATE_N_SURFACES; k++) {
        ac_json_begin_object(out, NULL);
        ac_json_string(out, "name", simulate_names[k].name);
        ac_json_string(out, "title", simulate_names[k].title);
        ac_json_string(out, "formula", simulate_names[k].formula);
        ac_json_end_object(out);
    }
    ac_json_end_array(out);
    ac_json_int(out, "grid", SIMULATE_PAGE_GRID);
    ac_json_int(out, "most_classes", SIMULATE_MOST_CLASSES);
}

/* What the script reads: names, colours, the state to begin with. No text in it is foreign. */
static ac_status add_data(ac_markup *out, const simulate_plan *plan)
{
    static const char *const map[AC_N_COLOR_MAPS] = {"Blues", "Greys", "Plasma", "RdBu", "YlGnBu"};
    ac_status status = AC_OK;
    ac_json *json = NULL;
    uint8_t color[3 * N_COLORS];
    const char *text;
    size_t n;
    AC_TRY(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    add_start(json, plan);
    add_names(json);
    ac_json_begin_array(json, "maps");
    for (int k = 0; k < AC_N_COLOR_MAPS; k++) {
        ac_markup base64 = {0};
        for (int i = 0; i < N_COLORS; i++)
            ac_color_map_at((ac_color_map)k, i / (N_COLORS - 1.0), color + 3 * i);
        ac_markup_base64(&base64, color, sizeof color);
        status = base64.status;
        ac_json_begin_object(json, NULL);
        ac_json_string(json, "name", map[k]);
        ac_json_string(json, "colors", base64.text);
        ac_json_end_object(json);
        ac_markup_release(&base64);
        AC_TRY(status);
    }
    ac_json_end_array(json);
    ac_json_end_object(json);
    AC_TRY(ac_json_text(json, &text, &n));
    ac_markup_add(out, "<script type=\"application/json\" id=\"data\">");
    ac_markup_add(out, text);
    ac_markup_add(out, "</script>\n<script type=\"application/wasm\" id=\"wasm\">");
    ac_markup_base64(out, simulate_page_wasm, simulate_page_wasm_bytes);
    ac_markup_add(out, "</script>\n");
out:
    ac_json_destroy(json);
    return status;
}

ac_status simulate_write_page(ac_markup *out, const simulate_plan *plan)
{
    ac_status status = AC_OK;
    ac_markup_add(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                       "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                       "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n"
                       "<title>The any-class presence likelihood loss</title>\n<style>\n");
    ac_markup_add(out, ac_chart_colors_css);
    ac_markup_add(out, simulate_page_css);
    ac_markup_add(out, "</style></head><body>\n");
    ac_markup_add(out, simulate_page_html);
    AC_TRY(add_data(out, plan));
    ac_markup_add(out, "<script>\n");
    ac_markup_add(out, simulate_page_js);
    ac_markup_add(out, "</script>\n</body></html>\n");
    status = out->status;
out:
    return status;
}
