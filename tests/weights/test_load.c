/* Weights into the parameters of small graphs: every rule of ac_weights_load(), and the interpolation of positions. */
#include "anyclass/alloc.h"
#include "anyclass/backend.h"
#include "anyclass/log.h"
#include "anyclass/ops.h"
#include "tests/tap.h"
#include "tests/weights/weights_help.h"
#include "tests/worse.h"
#include <math.h>

#define FIXTURES "tests/weights/fixtures/"

typedef struct model {
    ac_graph *graph;
    ac_device *device;
    ac_params *params;
} model;

static ac_value add_head(ac_graph *g, const char *name, ac_value x, int64_t n_classes)
{
    return ac_add_linear(g, name, x,
                         &(ac_linear_attribute){.out_features = n_classes,
                                                .bias = true,
                                                .float32_output = true,
                                                .weight_init = {AC_INIT_CONSTANT, 9, 0},
                                                .bias_init = {AC_INIT_CONSTANT, 9, 0}});
}

/* The model of the fixtures: a convolution, a batch norm, a linear layer. */
static void add_tiny(ac_graph *g, int64_t n_classes)
{
    ac_value x = ac_graph_input(g, "x", &(ac_shape){4, {1, 8, 8, 3}, AC_F32});
    x = ac_add_conv2d(g, "conv1", x, &(ac_conv2d_attribute){.out_channels = 4, .kernel_px = 3, .stride_px = 1, .padding_px = 1, .groups = 1});
    x = ac_add_batch_norm(g, "bn1", x, AC_NO_VALUE, &(ac_batch_norm_attribute){.eps = 1e-5f, .momentum = 0.1f, .weight_init = 1});
    x = ac_add_global_avg_pool(g, "pool", x);
    add_head(g, "fc", x, n_classes);
}

static void add_vision(ac_graph *g, int64_t side)
{
    ac_value x = ac_graph_input(g, "x", &(ac_shape){4, {1, side, side, 3}, AC_F32});
    x = ac_add_tokens(g, "encoder", x, &(ac_tokens_attribute){{AC_INIT_CONSTANT, 0, 0}, {AC_INIT_CONSTANT, 0, 0}});
    x = ac_add_first_token(g, "first", x);
    add_head(g, "heads.head", x, 2);
}

static bool open_model(model *m, void (*build)(ac_graph *, int64_t), int64_t number)
{
    memset(m, 0, sizeof *m);
    if (!TAP_CALL(ac_graph_create(AC_F32, &m->graph)))
        return false;
    build(m->graph, number);
    return TAP_CALL(ac_graph_finish(m->graph)) && TAP_CALL(ac_backend_find("ref")->open(1, &m->device)) &&
           TAP_CALL(ac_params_create(m->device, m->graph, false, &m->params)) && TAP_CALL(ac_params_init(m->params, 1));
}

static void close_model(model *m)
{
    ac_params_destroy(m->params);
    if (m->device)
        m->device->backend->close(m->device);
    ac_graph_destroy(m->graph);
}

static ac_status load(const model *m, const char *path, ac_weights_options o)
{
    o.graph = m->graph;
    o.model = o.model ? o.model : "tiny";
    ac_error_clear();
    return ac_weights_load(path, &o, m->params);
}

typedef float rule(const char *name, int64_t i);

static float as_abn(const char *name, int64_t i)
{
    const float v = fixture_value(name, i);
    return strcmp(name, "bn1.weight") == 0 ? fabsf(v) + 1e-5f : v;
}

static float with_new_head(const char *name, int64_t i)
{
    return strncmp(name, "fc.", 3) == 0 ? 9 : fixture_value(name, i);
}

static bool has(const model *m, rule *wanted)
{
    float host[256];
    for (size_t p = 0; p < m->params->n_params; p++) {
        const ac_param_info *info = &m->params->info[p];
        if (ac_params_get(m->params, (int)p, NULL, host) != AC_OK)
            return false;
        for (int64_t i = 0; i < ac_shape_elements(&info->shape); i++)
            if (host[i] != wanted(info->name, i))
                return false;
    }
    return true;
}

static void check_good(void)
{
    static const char *const files[] = {"plain.pth", "nested.pth",         "parallel.pth",      "views.pth",
                                        "half.pth",  "double.safetensors", "plain.safetensors", "lightning.ckpt"};
    model m;
    if (open_model(&m, add_tiny, 3))
        for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
            char path[256];
            snprintf(path, sizeof path, FIXTURES "%s", files[i]);
            TAP_CALL(ac_params_init(m.params, 1));
            TAP_OK(load(&m, path, (ac_weights_options){0}) == AC_OK && has(&m, fixture_value), "%s", files[i]);
        }
    close_model(&m);
}

/* auto: a Lightning file of a TResNet, or one without counters; not others. */
static void check_inplace_abn(const char *uncounted)
{
    const struct {
        const char *path, *name;
        ac_inplace_abn option;
        rule *wanted;
    } cases[] = {
        {FIXTURES "lightning.ckpt", "tresnet_m", AC_INPLACE_ABN_AUTO, as_abn},
        {FIXTURES "lightning.ckpt", "resnet18", AC_INPLACE_ABN_AUTO, fixture_value},
        {FIXTURES "lightning.ckpt", "tresnet_m", AC_INPLACE_ABN_NO, fixture_value},
        {FIXTURES "plain.pth", "tresnet_m", AC_INPLACE_ABN_AUTO, fixture_value},
        {FIXTURES "plain.pth", "tresnet_m", AC_INPLACE_ABN_YES, as_abn},
        {uncounted, "tresnet_m", AC_INPLACE_ABN_AUTO, as_abn},
        {uncounted, "resnet18", AC_INPLACE_ABN_AUTO, fixture_value},
    };
    model m;
    if (open_model(&m, add_tiny, 3))
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            TAP_OK(load(&m, cases[i].path, (ac_weights_options){.model = cases[i].name, .inplace_abn = cases[i].option}) == AC_OK &&
                       has(&m, cases[i].wanted),
                   "InPlaceABN, case %zu: %s", i, cases[i].name);
    close_model(&m);
}

static void check_head(void)
{
    model m;
    if (open_model(&m, add_tiny, 5)) {
        TAP_OK(load(&m, FIXTURES "plain.pth", (ac_weights_options){0}) == AC_ERR_DATA && strstr(ac_error_text(), FIXTURES "plain.pth: ") &&
                   strstr(ac_error_text(), "fc.weight") && strstr(ac_error_text(), "[3, 4]") && strstr(ac_error_text(), "[5, 4]") &&
                   strstr(ac_error_text(), "--new_head"),
               "other classes: %s", ac_error_text());
        TAP_OK(load(&m, FIXTURES "plain.pth", (ac_weights_options){.new_head = true}) == AC_OK && has(&m, with_new_head), "other classes, new head");
    }
    close_model(&m);
    if (open_model(&m, add_tiny, 3))
        TAP_OK(load(&m, FIXTURES "plain.pth", (ac_weights_options){.new_head = true}) == AC_OK && has(&m, with_new_head),
               "the same classes, new head");
    close_model(&m);
}

/* A .safetensors with tensors of zeros but for what `values` has from the start of the data on. */
static void write_tensors(const char *path, const char *header, const float *values, size_t n_values, size_t n)
{
    bytes out = {0};
    float *data = calloc(n, sizeof *data);
    if (n_values)
        memcpy(data, values, n_values * sizeof *data);
    add_number(&out, strlen(header), 8);
    add_bytes(&out, header, strlen(header));
    add_bytes(&out, data, n * sizeof *data);
    write_all(path, out.at, out.n);
    free(out.at);
    free(data);
}

#define T(name, shape, from, to) "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"
#define BODY T("conv1.weight", "[4,3,3,3]", "0", "432") "," T("bn1.weight", "[4]", "432", "448") "," T("bn1.bias", "[4]", "448", "464") ","
#define HEAD T("fc.weight", "[3,4]", "480", "528") "," T("fc.bias", "[3]", "528", "540")

static void check_wrong(const char *folder)
{
    static const struct {
        const char *header, *text;
        size_t n;
    } cases[] = {
        {"{" BODY T("bn1.running_mean", "[4]", "464", "480") "," HEAD "}", "no tensor bn1.running_var", 135},
        {"{" BODY T("bn1.running_mean", "[4]", "464", "480") "," HEAD "," T("bn1.running_var", "[2,2]", "540", "556") "}",
         "bn1.running_var has the shape [2, 2], in tiny it is [4]", 139},
        {"{" BODY T("bn1.running_mean", "[4]", "464", "480") "," HEAD
                                                             "," T("bn1.running_var", "[4]", "540", "556") "," T("bn2.bias", "[1]", "556", "560") "}",
         "tensor bn2.bias of shape [1], which tiny does not have", 140},
        {"{" BODY T("bn1.running_mean", "[4]", "464", "480") "," HEAD
                                                             ",\"bn1.running_var\":{\"dtype\":\"I32\",\"shape\":[4],\"data_offsets\":[540,556]}}",
         "of type I32", 139},
    };
    char path[AC_PATH_BYTES];
    model m;
    TAP_CALL(ac_path_join(path, folder, "wrong.safetensors"));
    if (open_model(&m, add_tiny, 3)) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            write_tensors(path, cases[i].header, NULL, 0, cases[i].n);
            TAP_OK(load(&m, path, (ac_weights_options){0}) == AC_ERR_DATA && strstr(ac_error_text(), path) == ac_error_text() &&
                       strstr(ac_error_text(), cases[i].text),
                   "refused: %s", ac_error_text());
        }
        const float infinite[] = {0, 0, INFINITY};
        write_tensors(path, "{" BODY T("bn1.running_mean", "[4]", "464", "480") "," HEAD "," T("bn1.running_var", "[4]", "540", "556") "}", infinite,
                      3, 139);
        TAP_OK(load(&m, path, (ac_weights_options){0}) == AC_ERR_DATA && strstr(ac_error_text(), "conv1.weight holds a value"), "refused: %s",
               ac_error_text());
    }
    close_model(&m);
}

static void check_positions(void)
{
    FILE *f = fopen(FIXTURES "positions.tsv", "r");
    float from[256], to[256];
    int width, n_old, n_new, n_cases = 0;
    while (f && fscanf(f, "%d %d %d", &width, &n_old, &n_new) == 3) {
        double worst = 0, wanted;
        for (int i = 0; i < (1 + n_old * n_old) * width; i++)
            from[i] = (float)((11 * i + n_old) % 17 - 8) / 8;
        ac_weights_resize_positions(from, n_old, to, n_new, width);
        for (int i = 0; i < (1 + n_new * n_new) * width; i++)
            worst = worse(worst, fscanf(f, "%lf", &wanted) == 1 ? fabs(wanted - to[i]) : INFINITY);
        /* numbers up to 1, some ten roundings of a float each */
        TAP_OK(worst < 1e-6, "positions of %d x %d from %d x %d: %.2g", n_new, n_new, n_old, n_old, worst);
        n_cases++;
    }
    TAP_OK(n_cases == 5, "all cases");
    if (f)
        fclose(f);
}

static void check_vision(const char *folder)
{
    char path[AC_PATH_BYTES];
    float stored[3 + 30 + 6 + 2], host[256], wanted[256];
    model m;
    TAP_CALL(ac_path_join(path, folder, "vision.safetensors"));
    for (int i = 0; i < 41; i++)
        stored[i] = (float)(i % 7) - 3;
    write_tensors(path,
                  "{" T("class_token", "[1,1,3]", "0", "12") "," T("encoder.pos_embedding", "[1,10,3]", "12", "132") "," T(
                      "heads.head.weight", "[2,3]", "132", "156") "," T("heads.head.bias", "[2]", "156", "164") "}",
                  stored, 41, 41);
    for (int64_t side = 3; side <= 5; side += 2) {
        if (open_model(&m, add_vision, side) && TAP_CALL(load(&m, path, (ac_weights_options){0}))) {
            const int p = ac_params_find(m.params, "encoder.pos_embedding");
            const size_t n = (size_t)(1 + side * side) * 3;
            ac_weights_resize_positions(stored + 3, 3, wanted, side, 3);
            TAP_OK(p >= 0 && ac_params_get(m.params, p, NULL, host) == AC_OK && memcmp(host, side == 3 ? stored + 3 : wanted, n * sizeof *host) == 0,
                   "position embedding for %d x %d", (int)side, (int)side);
        }
        close_model(&m);
    }
}

static void add_old(ac_graph *g, int64_t n_classes)
{
    const ac_linear_attribute layer = {.out_features = 3, .weight_init = {AC_INIT_CONSTANT, 0, 0}};
    ac_value x = ac_graph_input(g, "x", &(ac_shape){2, {1, 2}, AC_F32});
    x = ac_add_linear(g, "layer.mlp.0", x, &layer);
    x = ac_add_linear(g, "layer.mlp.3", x, &layer);
    add_head(g, "fc", x, n_classes);
}

/* Files of vision transformers from older versions of torchvision. */
static void check_old_names(const char *folder)
{
    char path[AC_PATH_BYTES];
    float values[6 + 9 + 3 + 1], host[16];
    model m;
    TAP_CALL(ac_path_join(path, folder, "old.safetensors"));
    for (int i = 0; i < 19; i++)
        values[i] = (float)(i + 1);
    write_tensors(path,
                  "{" T("layer.mlp.linear_1.weight", "[3,2]", "0", "24") "," T("layer.mlp.linear_2.weight", "[3,3]", "24", "60") "," T(
                      "fc.weight", "[1,3]", "60", "72") "," T("fc.bias", "[1]", "72", "76") "}",
                  values, 19, 19);
    if (open_model(&m, add_old, 1) && TAP_CALL(load(&m, path, (ac_weights_options){0})))
        for (int i = 0; i < 2; i++) {
            const int p = ac_params_find(m.params, i ? "layer.mlp.3.weight" : "layer.mlp.0.weight");
            TAP_OK(p >= 0 && ac_params_get(m.params, p, NULL, host) == AC_OK &&
                       memcmp(host, i ? values + 6 : values, (i ? 9 : 6) * sizeof *host) == 0,
                   "old name %d", i);
        }
    close_model(&m);
}

/* Each allocation fails once: an error, and nothing is lost. */
static void check_allocation(void)
{
    model m;
    ac_status status = AC_ERR_MEMORY;
    int n = 0;
    if (open_model(&m, add_tiny, 3)) {
        const uint64_t live = ac_alloc_get_stats().n_live;
        for (; status == AC_ERR_MEMORY && n < 1000; n++) {
            ac_alloc_fail_at((uint64_t)n + 1);
            status = load(&m, FIXTURES "plain.pth", (ac_weights_options){0});
        }
        ac_alloc_fail_at(0);
        TAP_OK(status == AC_OK && n > 30 && ac_alloc_get_stats().n_live == live, "each of %d allocations failing", n - 1);
    }
    close_model(&m);
}

int main(void)
{
    char folder[AC_PATH_BYTES], path[AC_PATH_BYTES];
    float values[139];
    ac_log_init("test_load", 0, 1, AC_LOG_WARN, false);
    if (!tap_folder(folder))
        return tap_done();
    TAP_CALL(ac_path_join(path, folder, "uncounted.safetensors"));
    static const struct {
        const char *name;
        int n;
    } order[] = {{"conv1.weight", 108}, {"bn1.weight", 4}, {"bn1.bias", 4},       {"bn1.running_mean", 4},
                 {"fc.weight", 12},     {"fc.bias", 3},    {"bn1.running_var", 4}};
    for (size_t k = 0, at = 0; k < sizeof order / sizeof *order; at += (size_t)order[k++].n)
        for (int i = 0; i < order[k].n; i++)
            values[at + (size_t)i] = fixture_value(order[k].name, i);
    write_tensors(path, "{" BODY T("bn1.running_mean", "[4]", "464", "480") "," HEAD "," T("bn1.running_var", "[4]", "540", "556") "}", values, 139,
                  139);
    check_good();
    check_inplace_abn(path);
    check_head();
    check_wrong(folder);
    check_positions();
    check_vision(folder);
    check_old_names(folder);
    check_allocation();
    tap_remove(folder);
    return tap_done();
}
