/* The loss against the reference's values (the shared ones, and PyTorch's in fixtures/loss.json), its gradient against
 * finite differences, what must hold in every setting, logits of any size, class weights. */
#include "anyclass/alloc.h"
#include "anyclass/json.h"
#include "anyclass/loss.h"
#include "hdf5/hdf5_util.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

static double worst(double a, double b)
{
    return a > b || isnan(a) ? a : b;
}

enum { MOST = 1 << 12, MOST_CLASSES = 64 };

/* A batch and what the reference makes of it. */
typedef struct batch {
    ac_loss_config config;
    size_t n, m;
    double beta, negatives, loss, logits[MOST], gradient[MOST], counts[MOST_CLASSES], weights[MOST_CLASSES + 1];
    uint8_t targets[MOST];
} batch;

/* Largest errors so far: losses and weights relative, gradients as a part of the batch's largest entry. */
typedef struct errors {
    double loss, weights, gradient, float_loss, float_gradient;
} errors;

static ac_status compare(const batch *b, errors *e)
{
    ac_status status = AC_OK;
    static double got[MOST];
    static float logits[MOST], got_float[MOST];
    double weights[MOST_CLASSES + 1], largest = 0;
    int64_t counts[MOST_CLASSES];
    size_t n = b->n * b->m;
    for (size_t j = 0; j < b->m; j++)
        counts[j] = (int64_t)b->counts[j];
    AC_TRY(ac_loss_class_weights(counts, (int64_t)b->negatives, b->m, b->beta, weights, NULL));
    for (size_t j = 0; j <= b->m; j++)
        e->weights = worst(fabs(weights[j] - b->weights[j]) / (b->weights[j] == 0 ? 1 : b->weights[j]), e->weights);
    double scale = 1 / (double)ac_loss_denominator(b->targets, b->n, b->m);
    double loss = ac_loss_batch(&b->config, b->logits, b->targets, b->n, b->m, weights, scale, got);
    e->loss = worst(fabs(loss - b->loss) / b->loss, e->loss);
    for (size_t i = 0; i < n; i++) {
        largest = worst(fabs(b->gradient[i]), largest);
        logits[i] = (float)b->logits[i];
    }
    loss = ac_loss_batch_float(&b->config, logits, b->targets, b->n, b->m, weights, scale, got_float);
    e->float_loss = worst(fabs(loss - b->loss) / b->loss, e->float_loss);
    for (size_t i = 0; i < n; i++) {
        e->gradient = worst(fabs(got[i] - b->gradient[i]) / largest, e->gradient);
        e->float_gradient = worst(fabs((double)got_float[i] - b->gradient[i]) / largest, e->float_gradient);
    }
out:
    return status;
}

static void report(const char *of, const errors *e)
{
    TAP_OK(e->loss < 1e-12, "%s: loss in double, largest relative error %.2g", of, e->loss);
    TAP_OK(e->weights < 1e-12, "%s: class weights, largest relative error %.2g", of, e->weights);
    TAP_OK(e->gradient < 1e-12, "%s: gradient in double, largest error %.2g of the largest entry", of, e->gradient);
    TAP_OK(e->float_loss < 1e-5, "%s: loss in float, largest relative error %.2g", of, e->float_loss);
    TAP_OK(e->float_gradient < 1e-5, "%s: gradient in float, largest error %.2g of the largest entry", of, e->float_gradient);
}

static ac_status read_base(hid_t file, const char *name, int *base)
{
    ac_status status = AC_OK;
    char *text = NULL;
    hid_t attribute = H5Aopen_by_name(file, name, "base", H5P_DEFAULT, H5P_DEFAULT), type = H5Aget_type(attribute);
    if (H5Tis_variable_str(type) > 0) {
        H5Aread(attribute, type, &text);
        *base = text && strcmp(text, "focal") == 0 ? AC_LOSS_FOCAL : AC_LOSS_BCE;
        H5free_memory(text);
    } else {
        AC_TRY(ac_hdf5_read_text(file, name, "base", &text));
        *base = strcmp(text, "focal") == 0 ? AC_LOSS_FOCAL : AC_LOSS_BCE;
        ac_free(text);
    }
out:
    H5Tclose(type);
    H5Aclose(attribute);
    return status;
}

static ac_status read_golden(hid_t file, const char *name, batch *b)
{
    ac_status status = AC_OK;
    hsize_t dims[2];
    char path[128];
    const struct {
        const char *name;
        double *out;
    } number[] = {{"gamma", &b->config.gamma}, {"aux_weight", &b->config.alpha}, {"aux_lambda", &b->config.lambda},
                  {"class_balancing_beta", &b->beta}, {"negative_count", &b->negatives}, {"loss", &b->loss}};
    AC_TRY(read_base(file, name, &b->config.base));
    for (size_t k = 0; k < sizeof number / sizeof *number; k++)
        AC_TRY(ac_hdf5_read_number(file, name, number[k].name, H5T_NATIVE_DOUBLE, 1, number[k].out));
    snprintf(path, sizeof path, "%s/logits", name);
    AC_TRY(ac_hdf5_dims(file, path, 2, dims));
    b->n = dims[0], b->m = dims[1];
    if (b->n * b->m > MOST || b->m > MOST_CLASSES)
        return ac_error(AC_ERR_RANGE, "%s: case too large", name);
    AC_TRY(ac_hdf5_read(file, path, H5T_NATIVE_DOUBLE, b->n * b->m, b->logits));
    snprintf(path, sizeof path, "%s/targets", name);
    AC_TRY(ac_hdf5_read(file, path, H5T_NATIVE_UINT8, b->n * b->m, b->targets));
    snprintf(path, sizeof path, "%s/grad", name);
    AC_TRY(ac_hdf5_read(file, path, H5T_NATIVE_DOUBLE, b->n * b->m, b->gradient));
    snprintf(path, sizeof path, "%s/class_counts", name);
    AC_TRY(ac_hdf5_read(file, path, H5T_NATIVE_DOUBLE, b->m, b->counts));
    snprintf(path, sizeof path, "%s/class_weights", name);
    AC_TRY(ac_hdf5_read(file, path, H5T_NATIVE_DOUBLE, b->m, b->weights));
    AC_TRY(ac_hdf5_read_number(file, name, "negative_weight", H5T_NATIVE_DOUBLE, 1, &b->weights[b->m]));
out:
    return status;
}

static void test_golden(const char *shared)
{
    static batch b;
    enum { N_CASES = 375 };
    char path[512], name[32];
    hid_t file;
    errors e = {0};
    int n_good = 0;
    snprintf(path, sizeof path, "%s/golden/loss.h5", shared);
    if (!TAP_CALL(ac_hdf5_open(path, &file)))
        return;
    for (int i = 0; i < N_CASES; i++) {
        snprintf(name, sizeof name, "case%04d", i);
        n_good += read_golden(file, name, &b) == AC_OK && compare(&b, &e) == AC_OK;
    }
    H5Fclose(file);
    TAP_OK(n_good == N_CASES, "all %d cases of the reference read (%d)", N_CASES, n_good);
    report("reference", &e);
}

static ac_status read_numbers(const ac_json_value *c, const char *key, size_t n, double *out)
{
    ac_status status = AC_OK;
    const ac_json_value *list = ac_json_get(c, key);
    if (ac_json_count(list) != n)
        return ac_error(AC_ERR_DATA, "%s: %zu numbers, not %zu", key, ac_json_count(list), n);
    for (size_t i = 0; i < n; i++)
        AC_TRY(ac_json_read_double(ac_json_at(list, i), key, &out[i]));
out:
    return status;
}

static ac_status read_fixture(const ac_json_value *c, batch *b)
{
    ac_status status = AC_OK;
    const char *base;
    int64_t m;
    double labels[MOST_CLASSES];
    AC_TRY(ac_json_read_string(ac_json_get(c, "base"), "base", &base));
    b->config.base = strcmp(base, "focal") == 0 ? AC_LOSS_FOCAL : AC_LOSS_BCE;
    AC_TRY(ac_json_read_double(ac_json_get(c, "gamma"), "gamma", &b->config.gamma));
    AC_TRY(ac_json_read_double(ac_json_get(c, "alpha"), "alpha", &b->config.alpha));
    AC_TRY(ac_json_read_double(ac_json_get(c, "lambda"), "lambda", &b->config.lambda));
    AC_TRY(ac_json_read_double(ac_json_get(c, "beta"), "beta", &b->beta));
    AC_TRY(ac_json_read_double(ac_json_get(c, "negatives"), "negatives", &b->negatives));
    AC_TRY(ac_json_read_double(ac_json_get(c, "loss"), "loss", &b->loss));
    AC_TRY(ac_json_read_int(ac_json_get(c, "n_classes"), "n_classes", &m));
    size_t n = ac_json_count(ac_json_get(c, "logits"));
    if (m < 1 || n > MOST_CLASSES)
        return ac_error(AC_ERR_RANGE, "case too large");
    b->m = (size_t)m, b->n = n / b->m;
    AC_TRY(read_numbers(c, "counts", b->m, b->counts));
    AC_TRY(read_numbers(c, "weights", b->m + 1, b->weights));
    AC_TRY(read_numbers(c, "labels", n, labels));
    AC_TRY(read_numbers(c, "logits", n, b->logits));
    AC_TRY(read_numbers(c, "gradient", n, b->gradient));
    for (size_t i = 0; i < n; i++)
        b->targets[i] = labels[i] > 0;
out:
    return status;
}

static void test_fixture(void)
{
    static batch b;
    enum { N_CASES = 36 };
    ac_json_value *document;
    errors e = {0};
    size_t n_good = 0;
    if (!TAP_CALL(ac_json_load("tests/nn/fixtures/loss.json", &document)))
        return;
    const ac_json_value *cases = ac_json_get(document, "cases");
    for (size_t i = 0; i < ac_json_count(cases); i++)
        n_good += read_fixture(ac_json_at(cases, i), &b) == AC_OK && compare(&b, &e) == AC_OK;
    TAP_OK(n_good == N_CASES && ac_json_count(cases) == N_CASES, "all %d cases of the fixture read (%zu)", N_CASES, n_good);
    report("fixture", &e);
    ac_json_release(document);
}

/* Every setting a run can have. */
enum { N_SETTINGS = 5 * 3 * 4, M = 3, N_PATTERNS = 8 };
static const double class_weights[M + 1] = {0.5, 1.5, 0.25, 2};

static ac_loss_config setting(int k)
{
    static const double gamma[] = {0, 0.5, 1.7, 5}, alpha[] = {0, 0.1, 1}, lambda[] = {0, 0.02, 0.3, 1};
    int base = k % 5;
    return (ac_loss_config){base == 0 ? AC_LOSS_BCE : AC_LOSS_FOCAL, base == 0 ? 2 : gamma[base - 1], alpha[k / 5 % 3], lambda[k / 15]};
}

/* The image whose labels are the bits of `pattern`; 0 is a negative image. */
static void labels_of(int pattern, uint8_t y[M])
{
    for (int j = 0; j < M; j++)
        y[j] = pattern >> j & 1;
}

static double one_loss(const ac_loss_config *c, const double z[M], const uint8_t y[M])
{
    return ac_loss_batch(c, z, y, 1, M, class_weights, 0.25, NULL);
}

static void test_differences(void)
{
    const double z[M] = {0.3, -1.2, 2.0};
    double error = 0, g[M];
    uint8_t y[M];
    for (int k = 0; k < N_SETTINGS; k++)
        for (int pattern = 0; pattern < N_PATTERNS; pattern++) {
            ac_loss_config c = setting(k);
            labels_of(pattern, y);
            ac_loss_batch(&c, z, y, 1, M, class_weights, 0.25, g);
            for (int i = 0; i < M; i++) {
                double up[M] = {z[0], z[1], z[2]}, down[M] = {z[0], z[1], z[2]};
                up[i] += 1e-5;
                down[i] -= 1e-5;
                error = worst(fabs((one_loss(&c, up, y) - one_loss(&c, down, y)) / 2e-5 - g[i]), error);
            }
        }
    TAP_OK(error < 1e-9, "%d settings x %d label patterns: gradients are finite differences within %.2g", N_SETTINGS, N_PATTERNS, error);
}

/* Logits of any size and mixture: nothing but finite numbers, no negative loss, float as double. */
static void test_extremes(void)
{
    static const double size[] = {0, 1e-30, 30, 80, 90, 750, 1e4, 1e30};
    enum { N_SIZES = sizeof size / sizeof *size };
    double z[M], g[M], error = 0;
    float z_float[M], g_float[M];
    uint8_t y[M];
    bool finite = true, positive = true;
    for (int k = 0; k < N_SETTINGS; k++)
        for (int mix = 0; mix < N_SIZES * N_SIZES * N_PATTERNS * N_PATTERNS; mix++) {
            ac_loss_config c = setting(k);
            int signs = mix / N_SIZES / N_SIZES % N_PATTERNS;
            labels_of(mix / N_SIZES / N_SIZES / N_PATTERNS, y);
            for (int j = 0; j < M; j++) {
                z[j] = (signs >> j & 1 ? -1 : 1) * size[j == 0 ? mix % N_SIZES : mix / N_SIZES % N_SIZES];
                z_float[j] = (float)z[j];
            }
            double loss = ac_loss_batch(&c, z, y, 1, M, class_weights, 1, g);
            double in_float = ac_loss_batch_float(&c, z_float, y, 1, M, class_weights, 1, g_float);
            finite = finite && isfinite(loss) && isfinite(in_float);
            positive = positive && loss >= 0 && in_float >= 0;
            error = worst(fabs(loss - in_float) / (1 + fabs(loss)), error);
            for (int j = 0; j < M; j++)
                finite = finite && isfinite(g[j]) && isfinite((double)g_float[j]);
        }
    TAP_OK(finite, "logits up to 1e30 of both signs: losses and gradients are finite, in double and float");
    TAP_OK(positive, "and no loss is negative");
    TAP_OK(error < 1e-5, "and float is within %.2g of double", error);
}

/* What the settings mean, without the formula. */
static void test_meaning(void)
{
    const double z[M] = {0.3, -1.2, 2.0};
    double any = 0, focal = 0, base = 0, negative = 0;
    uint8_t y[M];
    for (int k = 0; k < N_SETTINGS; k++)
        for (int pattern = 0; pattern < N_PATTERNS; pattern++) {
            ac_loss_config c = setting(k), other = c;
            labels_of(pattern, y);
            other.lambda = 0.7;
            if (c.alpha == 0)
                base = worst(fabs(one_loss(&c, z, y) - one_loss(&other, z, y)), base);
            if (pattern == 0)
                negative = worst(fabs(one_loss(&c, z, y) - one_loss(&other, z, y)), negative);
            other = (ac_loss_config){AC_LOSS_BCE, 0, c.alpha, c.lambda};
            if (c.gamma == 0)
                focal = worst(fabs(one_loss(&c, z, y) - one_loss(&other, z, y)), focal);
            other = (ac_loss_config){c.base, c.gamma, 0, c.lambda};
            double one = ac_loss_batch(&c, z, y, 1, 1, class_weights, 1, NULL), alone = ac_loss_batch(&other, z, y, 1, 1, class_weights, 1, NULL);
            any = worst(fabs(one - (1 + c.alpha) * alone), any);
        }
    TAP_OK(base == 0, "alpha 0 is the base loss alone, whatever lambda (%.2g)", base);
    TAP_OK(negative == 0, "lambda says nothing about negative images (%.2g)", negative);
    TAP_OK(focal < 1e-15, "focal with exponent 0 is bce (%.2g)", focal);
    TAP_OK(any < 1e-14, "with one class the any-class term is the class's own, times alpha (%.2g)", any);
}

static void test_weights(void)
{
    int64_t n[3] = {10, 0, 1000};
    double w[4];
    size_t absent;
    TAP_CALL(ac_loss_class_weights(n, 50, 3, 0.999, w, &absent));
    TAP_OK(w[1] == 0 && absent == 1, "a class without an image has weight 0");
    TAP_OK(fabs(w[0] + w[2] + w[3] - 4) < 1e-12 && w[0] > w[3] && w[3] > w[2], "weights sum to M + 1, the rarest largest");
    TAP_OK(ac_loss_class_weights(n, 50, 3, 0, w, NULL) == AC_OK && w[0] == 4.0 / 3 && w[1] == 0 && w[2] == w[0] && w[3] == w[0],
           "beta 0 weighs all that occur alike");
    TAP_OK(ac_loss_class_weights(n, 50, 3, 1, w, NULL) == AC_OK && fabs(w[0] / w[2] - 100) < 1e-12 && fabs(w[0] / w[3] - 5) < 1e-13,
           "beta 1 weighs by frequency");
    n[2] = INT64_C(1) << 60;
    double near[4];
    TAP_CALL(ac_loss_class_weights(n, 50, 3, nextafter(1, 0), near, NULL));
    TAP_CALL(ac_loss_class_weights(n, 50, 3, 1, w, NULL));
    TAP_OK(fabs(near[0] / near[3] - w[0] / w[3]) < 1e-12 && near[2] > 0 && isfinite(near[2]), "next to 1 it is about the same, with 2^60 images too");
    int64_t none[1] = {0};
    TAP_OK(ac_loss_class_weights(none, 0, 1, 0.9, w, NULL) == AC_ERR_DATA, "nothing at all is refused");
}

int main(void)
{
    const char *shared = tap_shared();
    test_fixture();
    test_differences();
    test_extremes();
    test_meaning();
    test_weights();
    if (shared)
        test_golden(shared);
    else
        TAP_SKIP("shared inputs are absent");
    return tap_done();
}
