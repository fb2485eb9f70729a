/* Reading files of weights that PyTorch and safetensors wrote (tests/weights/fixtures): names, types, shapes, every value. */
#include "anyclass/alloc.h"
#include "anyclass/json.h"
#include "tests/tap.h"
#include "tests/weights/weights_help.h"

#define FIXTURES "tests/weights/fixtures/"

static const struct {
    const char *name;
    int n_dims;
    int64_t dim[4];
} wanted[] = {{"conv1.weight", 4, {4, 3, 3, 3}}, {"bn1.weight", 1, {4}},   {"bn1.bias", 1, {4}}, {"bn1.running_mean", 1, {4}},
              {"bn1.running_var", 1, {4}},       {"fc.weight", 2, {3, 4}}, {"fc.bias", 1, {3}}};
enum { N_WANTED = sizeof wanted / sizeof *wanted };

static bool has_values(ac_weights *w, size_t k)
{
    float out[256];
    bool same = w->tensor[k].n_elements <= 256 && ac_weights_read(w, k, out) == AC_OK;
    for (int64_t i = 0; same && i < w->tensor[k].n_elements; i++)
        same = out[i] == fixture_value(w->tensor[k].name, i);
    return same;
}

static void check_file(const char *file, ac_weights_kind kind, ac_weights_type type, size_t n_tensors)
{
    ac_weights *w;
    char path[256];
    snprintf(path, sizeof path, FIXTURES "%s", file);
    if (!TAP_CALL(ac_weights_open(path, &w)))
        return;
    TAP_OK(w->kind == kind && w->n_tensors == n_tensors, "%s: %s, %zu tensors", file, ac_weights_kind_name(w->kind), w->n_tensors);
    for (int i = 0; i < N_WANTED; i++) {
        const int64_t k = ac_weights_find(w, wanted[i].name);
        const ac_weights_tensor *t = k < 0 ? NULL : &w->tensor[k];
        TAP_OK(t && t->type == type && t->n_dims == wanted[i].n_dims && memcmp(t->dim, wanted[i].dim, sizeof *t->dim * (size_t)t->n_dims) == 0 &&
                   t->n_bytes == (uint64_t)t->n_elements * ac_weights_type_bytes(type) && has_values(w, (size_t)k),
               "%s: %s", file, wanted[i].name);
    }
    const int64_t counter = ac_weights_find(w, "bn1.num_batches_tracked");
    float five = 0;
    TAP_OK(counter >= 0 && w->tensor[counter].type == AC_WEIGHTS_I64 && w->tensor[counter].n_dims == 0 &&
               ac_weights_read(w, (size_t)counter, &five) == AC_OK && five == 5,
           "%s: a counter without dimensions", file);
    ac_weights_close(w);
}

static void check_lightning(void)
{
    ac_weights *w;
    ac_json_value *json;
    const char *text = NULL;
    int64_t number = 0;
    double rate = 0;
    if (!TAP_CALL(ac_weights_open(FIXTURES "lightning.ckpt", &w)))
        return;
    const int64_t outside = ac_weights_find(w, "criterion.pos_weight");
    TAP_OK(outside >= 0 && w->tensor[outside].outside, "the loss's tensor is beside the model");
    TAP_OK(!w->tensor[ac_weights_find(w, "fc.weight")].outside, "the head is not");
    TAP_CALL(ac_json_parse("metadata", w->metadata, strlen(w->metadata), &json));
    const ac_json_value *h = ac_json_get(json, "hyper_parameters");
    TAP_OK(ac_json_read_string(ac_json_get(h, "model"), "", &text) == AC_OK && strcmp(text, "resnet18") == 0, "hyper-parameters: a text");
    TAP_OK(ac_json_read_int(ac_json_get(h, "seed"), "", &number) == AC_OK && number == (int64_t)1 << 40, "a number of 41 bits");
    TAP_OK(ac_json_read_string(ac_json_at(ac_json_get(h, "classes"), 1), "", &text) == AC_OK && strcmp(text, "caf\xC3\xA9") == 0, "a list");
    TAP_OK(ac_json_read_string(ac_json_get(h, "criterion"), "", &text) == AC_OK && strcmp(text, "<torch.nn.modules.*>") == 0,
           "an object is named, not built");
    TAP_OK(ac_json_read_string(ac_json_get(h, "huge"), "", &text) == AC_OK && text[0] == '<', "a number of 101 bits is not read");
    TAP_OK(ac_json_read_int(ac_json_get(json, "epoch"), "", &number) == AC_OK && number == 7, "the epoch");
    ac_json_release(json);
    ac_weights_close(w);
    if (!TAP_CALL(ac_weights_open(FIXTURES "namespace.ckpt", &w)))
        return;
    TAP_CALL(ac_json_parse("metadata", w->metadata, strlen(w->metadata), &json));
    TAP_OK(ac_json_read_double(ac_json_get(ac_json_get(json, "hyper_parameters"), "lr"), "", &rate) == AC_OK && rate == 0.1,
           "hyper-parameters in a Namespace");
    ac_json_release(json);
    ac_weights_close(w);
}

static void check_refused(const char *path, ac_status wanted_status, const char *text)
{
    ac_weights *w;
    ac_error_clear();
    const ac_status status = ac_weights_open(path, &w);
    TAP_OK(status == wanted_status && !w && strstr(ac_error_text(), path) == ac_error_text() && strstr(ac_error_text(), text), "%s is refused: %s",
           path, ac_error_text());
    if (status == AC_OK)
        ac_weights_close(w);
}

/* One bit of the file, anywhere in a storage, is found by the checksum. */
static void check_damage(const char *folder)
{
    char path[AC_PATH_BYTES];
    uint8_t *content;
    size_t n, at = 0;
    float out[256], first;
    ac_weights *w;
    TAP_CALL(ac_file_read_all(FIXTURES "plain.pth", 0, &content, &n));
    first = fixture_value("conv1.weight", 0);
    while (at + 8 < n && !(memcmp(content + at, &first, 4) == 0 && memcmp(content + at + 4, &(float){fixture_value("conv1.weight", 1)}, 4) == 0))
        at++;
    content[at + 40] ^= 1;
    TAP_CALL(ac_path_join(path, folder, "damaged.pth"));
    write_all(path, content, n);
    if (TAP_CALL(ac_weights_open(path, &w)))
        TAP_OK(ac_weights_read(w, 0, out) == AC_ERR_DATA && strstr(ac_error_text(), "conv1.weight") && strstr(ac_error_text(), "damaged"),
               "a changed bit: %s", ac_error_text());
    ac_weights_close(w);
    ac_free(content);
}

/* Cut after each byte, each kind is refused; and with each allocation failing, nothing is lost. */
static void check_cut(const char *folder, const char *file)
{
    char path[AC_PATH_BYTES], from[AC_PATH_BYTES];
    uint8_t *content;
    size_t n, n_accepted = 0, first = 0;
    ac_weights *w;
    TAP_CALL(ac_path_join(from, FIXTURES, file));
    TAP_CALL(ac_path_join(path, folder, "cut"));
    TAP_CALL(ac_file_read_all(from, 0, &content, &n));
    for (size_t k = 0; k < n; k++) {
        write_all(path, content, k);
        const ac_status status = ac_weights_open(path, &w);
        if (status != AC_ERR_DATA && n_accepted++ == 0)
            first = k;
        ac_weights_close(w);
    }
    TAP_OK(n_accepted == 0, "%s cut after each of its %zu bytes is refused (first that is not: %zu)", file, n, first);
    ac_free(content);
    const uint64_t live = ac_alloc_get_stats().n_live;
    ac_status status = AC_ERR_MEMORY;
    int n_failed = 0;
    for (; status == AC_ERR_MEMORY && n_failed < 10000; n_failed++) {
        ac_alloc_fail_at((uint64_t)n_failed + 1);
        status = ac_weights_open(from, &w);
        ac_weights_close(w);
    }
    ac_alloc_fail_at(0);
    TAP_OK(status == AC_OK && n_failed > 5 && ac_alloc_get_stats().n_live == live, "%s with each of %d allocations failing", file, n_failed - 1);
}

int main(void)
{
    char folder[AC_PATH_BYTES];
    check_file("plain.safetensors", AC_WEIGHTS_SAFETENSORS, AC_WEIGHTS_F32, 8);
    check_file("half.safetensors", AC_WEIGHTS_SAFETENSORS, AC_WEIGHTS_F16, 8);
    check_file("bfloat16.safetensors", AC_WEIGHTS_SAFETENSORS, AC_WEIGHTS_BF16, 8);
    check_file("double.safetensors", AC_WEIGHTS_SAFETENSORS, AC_WEIGHTS_F64, 8);
    check_file("plain.pth", AC_WEIGHTS_PYTORCH, AC_WEIGHTS_F32, 8);
    check_file("protocol4.pth", AC_WEIGHTS_PYTORCH, AC_WEIGHTS_F32, 8);
    check_file("nested.pth", AC_WEIGHTS_PYTORCH, AC_WEIGHTS_F32, 8);
    check_file("parallel.pth", AC_WEIGHTS_PYTORCH, AC_WEIGHTS_F32, 8);
    check_file("parameters.pth", AC_WEIGHTS_PYTORCH, AC_WEIGHTS_F32, 8);
    check_file("prefixed.pth", AC_WEIGHTS_PYTORCH, AC_WEIGHTS_F32, 8);
    check_file("half.pth", AC_WEIGHTS_PYTORCH, AC_WEIGHTS_F16, 8);
    check_file("bfloat16.pth", AC_WEIGHTS_PYTORCH, AC_WEIGHTS_BF16, 8);
    check_file("double.pth", AC_WEIGHTS_PYTORCH, AC_WEIGHTS_F64, 8);
    check_file("views.pth", AC_WEIGHTS_PYTORCH, AC_WEIGHTS_F32, 8);
    check_file("no_checksums.pth", AC_WEIGHTS_PYTORCH, AC_WEIGHTS_F32, 8);
    check_file("lightning.ckpt", AC_WEIGHTS_LIGHTNING, AC_WEIGHTS_F32, 9);
    check_file("namespace.ckpt", AC_WEIGHTS_LIGHTNING, AC_WEIGHTS_F32, 9);
    check_lightning();
    check_refused(FIXTURES "legacy.pth", AC_ERR_DATA, "torch.save(torch.load(");
    check_refused("tests/weights/make_fixtures.py", AC_ERR_DATA, "no file of weights");
    check_refused("tests/weights/none.pth", AC_ERR_IO, "cannot be opened");
    check_refused("tests/weights", AC_ERR_IO, "regular file");
    if (!tap_folder(folder))
        return tap_done();
    check_damage(folder);
    check_cut(folder, "plain.safetensors");
    check_cut(folder, "plain.pth");
    check_cut(folder, "lightning.ckpt");
    tap_remove(folder);
    return tap_done();
}
