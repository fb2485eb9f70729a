/* Exports: names in PyTorch's order, the buffers that only PyTorch has, values, metadata; a disk that is full and memory that ends. */
#include "anyclass/alloc.h"
#include "anyclass/backend.h"
#include "anyclass/json.h"
#include "anyclass/ops.h"
#include "tests/tap.h"
#include "tests/weights/weights_help.h"

/* In the order of use; a block whose downsampling and whose own table are used in another order than they are registered. */
static void build(ac_graph *g)
{
    const ac_conv2d_attribute conv = {.out_channels = 12, .kernel_px = 1, .stride_px = 1, .groups = 1, .weight_init = {AC_INIT_UNIFORM, -1, 1}};
    const ac_batch_norm_attribute norm = {.eps = 1e-5f, .momentum = 0.1f, .weight_init = 1};
    const ac_linear_attribute qkv = {
        .out_features = 12, .bias = true, .weight_init = {AC_INIT_UNIFORM, -1, 1}, .bias_init = {AC_INIT_UNIFORM, -1, 1}};
    const ac_linear_attribute head = {.out_features = 2, .bias = true, .float32_output = true, .weight_init = {AC_INIT_UNIFORM, -1, 1}};
    ac_value x = ac_graph_input(g, "x", &(ac_shape){4, {1, 4, 4, 3}, AC_F32});
    ac_value r = ac_add_conv2d(g, "block.downsample.0", x, &conv);
    x = ac_add_conv2d(g, "block.conv1", x, &conv);
    x = ac_add_batch_norm(g, "block.bn1", x, r, &norm);
    x = ac_add_linear(g, "attention.to_qkv", x, &qkv);
    x = ac_add_attention(g, "attention", x, &(ac_attention_attribute){.kind = AC_ATTENTION_WINDOW, .n_heads = 2, .window_px = 2, .scale = 1});
    x = ac_add_global_avg_pool(g, "pool", x);
    ac_add_linear(g, "fc", x, &head);
}

static const char *const order[] = {"block.conv1.weight",
                                    "block.bn1.weight",
                                    "block.bn1.bias",
                                    "block.bn1.running_mean",
                                    "block.bn1.running_var",
                                    "block.bn1.num_batches_tracked",
                                    "block.downsample.0.weight",
                                    "attention.relative_position_bias_table",
                                    "attention.relative_position_index",
                                    "attention.to_qkv.weight",
                                    "attention.to_qkv.bias",
                                    "fc.weight",
                                    "fc.bias"};
enum { N_ORDER = sizeof order / sizeof *order };

typedef struct made {
    char folder[AC_PATH_BYTES], checkpoint[AC_PATH_BYTES], out[AC_PATH_BYTES];
    ac_graph *graph;
    ac_device *device;
    ac_params *params;
    ac_checkpoint_info info;
} made;

static void check_values(const made *m, ac_weights *w)
{
    float ours[256], theirs[256];
    int n_same = 0;
    for (size_t p = 0; p < m->params->n_params; p++) {
        const int64_t k = ac_weights_find(w, m->params->info[p].name);
        const size_t n = (size_t)ac_shape_elements(&m->params->info[p].shape);
        n_same += k >= 0 && ac_params_get(m->params, (int)p, NULL, ours) == AC_OK && ac_weights_read(w, (size_t)k, theirs) == AC_OK &&
                  memcmp(ours, theirs, n * sizeof *ours) == 0;
    }
    TAP_OK(n_same == (int)m->params->n_params, "%d of %zu parameters have their values", n_same, m->params->n_params);
}

/* torchvision's table for windows of 2 x 2: (row of i - row of j + 1) 3 + column of i - column of j + 1. */
static void check_buffers(ac_weights *w)
{
    static const float wanted[16] = {4, 3, 1, 0, 5, 4, 2, 1, 7, 6, 4, 3, 8, 7, 5, 4};
    float index[16], count = 0;
    const int64_t k = ac_weights_find(w, "attention.relative_position_index"), c = ac_weights_find(w, "block.bn1.num_batches_tracked");
    TAP_OK(k >= 0 && w->tensor[k].type == AC_WEIGHTS_I64 && w->tensor[k].n_dims == 2 && w->tensor[k].dim[0] == 4 && w->tensor[k].dim[1] == 4 &&
               ac_weights_read(w, (size_t)k, index) == AC_OK && memcmp(index, wanted, sizeof wanted) == 0,
           "relative_position_index");
    TAP_OK(c >= 0 && w->tensor[c].type == AC_WEIGHTS_I64 && w->tensor[c].n_dims == 0 && ac_weights_read(w, (size_t)c, &count) == AC_OK && count == 7,
           "num_batches_tracked");
}

static void check_metadata(const ac_weights *w)
{
    ac_json_value *json = NULL, *classes = NULL, *mean = NULL;
    const char *text = "";
    double value = 0;
    TAP_CALL(ac_json_parse("metadata", w->metadata, strlen(w->metadata), &json));
    TAP_OK(ac_json_read_string(ac_json_get(json, "format"), "", &text) == AC_OK && strcmp(text, "pt") == 0, "format");
    TAP_OK(ac_json_read_string(ac_json_get(json, "model"), "", &text) == AC_OK && strcmp(text, "tiny") == 0, "model");
    TAP_OK(ac_json_read_string(ac_json_get(json, "image_size"), "", &text) == AC_OK && strcmp(text, "4") == 0, "image size");
    TAP_OK(ac_json_read_string(ac_json_get(json, "classes"), "", &text) == AC_OK && ac_json_parse("classes", text, strlen(text), &classes) == AC_OK &&
               ac_json_count(classes) == 2 && ac_json_read_string(ac_json_at(classes, 1), "", &text) == AC_OK &&
               strcmp(text, "caf\xC3\xA9 \"x\"") == 0,
           "classes");
    TAP_OK(ac_json_read_string(ac_json_get(json, "mean"), "", &text) == AC_OK && ac_json_parse("mean", text, strlen(text), &mean) == AC_OK &&
               ac_json_read_double(ac_json_at(mean, 2), "", &value) == AC_OK && (float)value == 0.1f,
           "mean");
    ac_json_release(json);
    ac_json_release(classes);
    ac_json_release(mean);
}

static void check_export(made *m)
{
    ac_weights *from = NULL, *w = NULL;
    if (TAP_CALL(ac_weights_open(m->checkpoint, &from)) && TAP_CALL(ac_weights_save(m->out, &m->info, m->graph, from)) &&
        TAP_CALL(ac_weights_open(m->out, &w))) {
        TAP_OK(w->n_tensors == N_ORDER, "%zu tensors", w->n_tensors);
        for (size_t k = 0; k < N_ORDER && k < w->n_tensors; k++)
            TAP_OK(strcmp(w->tensor[k].name, order[k]) == 0, "tensor %zu is %s", k, w->tensor[k].name);
        check_values(m, w);
        check_buffers(w);
        check_metadata(w);
    }
    ac_weights_close(from);
    ac_weights_close(w);
}

/* Each write, sync and rename fails once, then each allocation: the old file stays, nothing else is left. */
static void check_failures(made *m)
{
    uint8_t *before, *after;
    size_t n_before, n_after;
    char part[AC_PATH_BYTES];
    ac_weights *from = NULL;
    TAP_CALL(ac_file_read_all(m->out, 0, &before, &n_before));
    TAP_CALL(ac_path_join(part, m->folder, "out.safetensors.part"));
    for (int kind = 0; kind < 2; kind++) {
        ac_status status = AC_ERR_IO;
        int n = 0, n_wrong = 0;
        for (; status != AC_OK && n < 1000; n++) {
            if (ac_weights_open(m->checkpoint, &from) != AC_OK)
                break;
            const uint64_t live = ac_alloc_get_stats().n_live;
            if (kind == 0)
                ac_file_fail_at((uint64_t)n + 1);
            else
                ac_alloc_fail_at((uint64_t)n + 1);
            status = ac_weights_save(m->out, &m->info, m->graph, from);
            ac_file_fail_at(0);
            ac_alloc_fail_at(0);
            n_wrong +=
                ac_alloc_get_stats().n_live != live || ac_path_exists(part) || (status != AC_OK && status != (kind ? AC_ERR_MEMORY : AC_ERR_IO));
            ac_weights_close(from);
            n_wrong += ac_file_read_all(m->out, 0, &after, &n_after) != AC_OK || n_after != n_before || memcmp(before, after, n_before) != 0;
            ac_free(after);
        }
        TAP_OK(n > 5 && n_wrong == 0 && status == AC_OK, "%s fails at each of %d places: the old file stays", kind ? "memory" : "the disk", n - 1);
    }
    ac_free(before);
}

int main(void)
{
    static char *classes[] = {"RB", "caf\xC3\xA9 \"x\""}, config[] = "{}";
    made m = {.info = {.model = "tiny",
                       .class_name = classes,
                       .n_classes = 2,
                       .image_size_px = 4,
                       .mean = {.5f, .25f, .1f},
                       .std = {.1f, .2f, .3f},
                       .config = config,
                       .precision = "32",
                       .loss_scale = 1,
                       .optimizer_step = 7}};
    if (!tap_folder(m.folder) || !TAP_CALL(ac_path_join(m.checkpoint, m.folder, "last.h5")) ||
        !TAP_CALL(ac_path_join(m.out, m.folder, "out.safetensors")))
        return tap_done();
    if (TAP_CALL(ac_graph_create(AC_F32, &m.graph))) {
        build(m.graph);
        if (TAP_CALL(ac_graph_finish(m.graph)) && TAP_CALL(ac_backend_find("ref")->open(1, &m.device)) &&
            TAP_CALL(ac_params_create(m.device, m.graph, false, &m.params)) && TAP_CALL(ac_params_init(m.params, 1)) &&
            TAP_CALL(ac_checkpoint_save(m.checkpoint, &m.info, m.params, NULL))) {
            check_export(&m);
            check_failures(&m);
        }
    }
    ac_params_destroy(m.params);
    if (m.device)
        m.device->backend->close(m.device);
    ac_graph_destroy(m.graph);
    tap_remove(m.folder);
    return tap_done();
}
