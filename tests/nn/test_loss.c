/* The loss against the reference's values, its gradient against finite differences, class weights, schedules. */
#include "anyclass/alloc.h"
#include "anyclass/json.h"
#include "anyclass/loss.h"
#include "anyclass/schedule.h"
#include "hdf5/hdf5_util.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

static double worst(double a, double b)
{
    return a > b || isnan(a) ? a : b;
}

typedef struct errors {
    double loss, weights, gradient, float_loss, float_gradient;
} errors;

static ac_status read_config(hid_t file, const char *name, ac_loss_config *c, double *beta, double *negatives, double *negative_weight, double *loss)
{
    ac_status status = AC_OK;
    char *base = NULL;
    hid_t attribute = H5Aopen_by_name(file, name, "base", H5P_DEFAULT, H5P_DEFAULT), type = H5Aget_type(attribute);
    if (H5Tis_variable_str(type) > 0) {
        char *text = NULL;
        H5Aread(attribute, type, &text);
        c->base = strcmp(text, "focal") == 0 ? AC_LOSS_FOCAL : AC_LOSS_BCE;
        H5free_memory(text);
    } else {
        AC_TRY(ac_hdf5_read_text(file, name, "base", &base));
        c->base = strcmp(base, "focal") == 0 ? AC_LOSS_FOCAL : AC_LOSS_BCE;
    }
    AC_TRY(ac_hdf5_read_number(file, name, "gamma", H5T_NATIVE_DOUBLE, 1, &c->gamma));
    AC_TRY(ac_hdf5_read_number(file, name, "aux_weight", H5T_NATIVE_DOUBLE, 1, &c->alpha));
    AC_TRY(ac_hdf5_read_number(file, name, "aux_lambda", H5T_NATIVE_DOUBLE, 1, &c->lambda));
    AC_TRY(ac_hdf5_read_number(file, name, "class_balancing_beta", H5T_NATIVE_DOUBLE, 1, beta));
    AC_TRY(ac_hdf5_read_number(file, name, "negative_count", H5T_NATIVE_DOUBLE, 1, negatives));
    AC_TRY(ac_hdf5_read_number(file, name, "negative_weight", H5T_NATIVE_DOUBLE, 1, negative_weight));
    AC_TRY(ac_hdf5_read_number(file, name, "loss", H5T_NATIVE_DOUBLE, 1, loss));
out:
    ac_free(base);
    H5Tclose(type);
    H5Aclose(attribute);
    return status;
}

enum { MOST = 1 << 16 };
static double logits[MOST], wanted[MOST], got[MOST], counts_real[4096], weights[4096], weights_wanted[4096];
static float logits_float[MOST], got_float[MOST];
static uint8_t targets[MOST];
static int64_t counts[4096];

static ac_status one_case(hid_t file, const char *name, errors *e)
{
    ac_status status = AC_OK;
    ac_loss_config c;
    double beta, negatives, negative_weight, loss, scale = 0;
    hsize_t dims[2];
    char path[128];
    AC_TRY(read_config(file, name, &c, &beta, &negatives, &negative_weight, &loss));
    snprintf(path, sizeof path, "%s/logits", name);
    AC_TRY(ac_hdf5_dims(file, path, 2, dims));
    size_t n = dims[0], m = dims[1];
    if (n * m > MOST || m > 4000)
        return ac_error(AC_ERR_RANGE, "case too large");
    AC_TRY(ac_hdf5_read(file, path, H5T_NATIVE_DOUBLE, n * m, logits));
    snprintf(path, sizeof path, "%s/targets", name);
    AC_TRY(ac_hdf5_read(file, path, H5T_NATIVE_UINT8, n * m, targets));
    snprintf(path, sizeof path, "%s/grad", name);
    AC_TRY(ac_hdf5_read(file, path, H5T_NATIVE_DOUBLE, n * m, wanted));
    snprintf(path, sizeof path, "%s/class_counts", name);
    AC_TRY(ac_hdf5_read(file, path, H5T_NATIVE_DOUBLE, m, counts_real));
    snprintf(path, sizeof path, "%s/class_weights", name);
    AC_TRY(ac_hdf5_read(file, path, H5T_NATIVE_DOUBLE, m, weights_wanted));
    for (size_t j = 0; j < m; j++)
        counts[j] = (int64_t)counts_real[j];
    AC_TRY(ac_loss_class_weights(counts, (int64_t)negatives, m, beta, weights, NULL));
    weights_wanted[m] = negative_weight;
    for (size_t j = 0; j <= m; j++)
        e->weights = worst(fabs(weights[j] - weights_wanted[j]) / fabs(weights_wanted[j]), e->weights);
    double denominator = (double)ac_loss_denominator(targets, n, m);
    double mine = ac_loss_batch(&c, logits, targets, n, m, weights, 1 / denominator, got);
    e->loss = worst(fabs(mine - loss) / fabs(loss), e->loss);
    for (size_t i = 0; i < n * m; i++) {
        scale = worst(fabs(wanted[i]), scale);
        logits_float[i] = (float)logits[i];
    }
    mine = ac_loss_batch_float(&c, logits_float, targets, n, m, weights, 1 / denominator, got_float);
    e->float_loss = worst(fabs(mine - loss) / fabs(loss), e->float_loss);
    for (size_t i = 0; i < n * m; i++) {
        e->gradient = worst(fabs(got[i] - wanted[i]) / scale, e->gradient);
        e->float_gradient = worst(fabs((double)got_float[i] - wanted[i]) / scale, e->float_gradient);
    }
out:
    return status;
}

static void test_golden(const char *shared)
{
    char path[512], name[32];
    hid_t file;
    errors e = {0};
    int n_good = 0;
    snprintf(path, sizeof path, "%s/golden/loss.h5", shared);
    if (!TAP_CALL(ac_hdf5_open(path, &file)))
        return;
    for (int i = 0; i < 375; i++) {
        snprintf(name, sizeof name, "case%04d", i);
        n_good += one_case(file, name, &e) == AC_OK;
    }
    H5Fclose(file);
    TAP_OK(n_good == 375, "all 375 cases read (%d)", n_good);
    TAP_OK(e.loss < 1e-12, "loss in double: largest relative error %.2g", e.loss);
    TAP_OK(e.weights < 1e-12, "class weights: largest relative error %.2g", e.weights);
    TAP_OK(e.gradient < 1e-12, "gradient in double: largest error %.2g of the largest entry", e.gradient);
    TAP_OK(e.float_loss < 1e-5, "loss in float: largest relative error %.2g", e.float_loss);
    TAP_OK(e.float_gradient < 1e-5, "gradient in float: largest error %.2g of the largest entry", e.float_gradient);
}

static void test_differences(void)
{
    const double z[6] = {0.3, -1.2, 2.0, -0.4, 0.9, -3.0}, w[4] = {0.5, 1.5, 0.25, 2};
    const uint8_t y[6] = {1, 0, 1, 0, 0, 0};
    for (int k = 0; k < 4; k++) {
        ac_loss_config c = {k % 2 ? AC_LOSS_FOCAL : AC_LOSS_BCE, 1.7, k < 2 ? 0 : 0.8, 0.3};
        double g[6], error = 0, moved[6];
        ac_loss_batch(&c, z, y, 2, 3, w, 0.25, g);
        for (int i = 0; i < 6; i++) {
            memcpy(moved, z, sizeof z);
            moved[i] = z[i] + 1e-5;
            double up = ac_loss_batch(&c, moved, y, 2, 3, w, 0.25, NULL);
            moved[i] = z[i] - 1e-5;
            error = worst(fabs((up - ac_loss_batch(&c, moved, y, 2, 3, w, 0.25, NULL)) / 2e-5 - g[i]), error);
        }
        TAP_OK(error < 1e-9, "finite differences, setting %d: %.2g", k, error);
    }
    double extreme[3] = {1e4, -1e4, 0}, g[3];
    ac_loss_config c = {AC_LOSS_FOCAL, 2, 1, 0.1};
    TAP_OK(isfinite(ac_loss_batch(&c, extreme, y, 1, 3, w, 1, g)) && isfinite(g[0]) && isfinite(g[1]), "logits of 1e4 stay finite");
}

static void test_weights(void)
{
    int64_t n[3] = {10, 0, 1000};
    double w[4];
    size_t absent;
    TAP_CALL(ac_loss_class_weights(n, 50, 3, 0.999, w, &absent));
    TAP_OK(w[1] == 0 && absent == 1, "a class without an image has weight 0");
    TAP_OK(fabs(w[0] + w[2] + w[3] - 4) < 1e-12 && w[0] > w[3] && w[3] > w[2], "weights sum to M + 1, the rarest largest");
    int64_t none[1] = {0};
    TAP_OK(ac_loss_class_weights(none, 0, 1, 0.9, w, NULL) == AC_ERR_DATA, "nothing at all is refused");
}

static double number(const ac_json_value *args, const char *key, double fallback)
{
    double value;
    return ac_json_get(args, key) && ac_json_read_double(ac_json_get(args, key), key, &value) == AC_OK ? value : fallback;
}

static void test_schedules(const char *shared)
{
    char path[512];
    ac_json_value *document;
    snprintf(path, sizeof path, "%s/golden/schedules.json", shared);
    if (!TAP_CALL(ac_json_load(path, &document)))
        return;
    for (size_t k = 0; k < ac_json_count(document); k++) {
        const ac_json_value *a = ac_json_get(ac_json_at(document, k), "args"), *rates = ac_json_get(ac_json_at(document, k), "lr");
        double steps[8], error = 0, rate = 0;
        ac_schedule s = {.learning_rate = number(a, "lr", 0), .decay = number(a, "lr_decay", 1), .min_rate = number(a, "min_lr", 0),
                         .first_period = (int64_t)number(a, "t0", 10), .period_factor = (int64_t)number(a, "tmult", 2),
                         .warmup_epochs = (int64_t)number(a, "warmup_epochs", 0), .warmup_start_factor = number(a, "warmup_start_factor", 1),
                         .kind = ac_json_get(a, "lr_steps") ? AC_SCHEDULE_MULTISTEP : AC_SCHEDULE_COSINE, .steps = steps};
        for (; s.n_steps < ac_json_count(ac_json_get(a, "lr_steps")) && s.n_steps < 8; s.n_steps++)
            if (ac_json_read_double(ac_json_at(ac_json_get(a, "lr_steps"), s.n_steps), "step", &steps[s.n_steps]) != AC_OK)
                break;
        for (size_t e = 0; e < ac_json_count(rates); e++)
            if (ac_json_read_double(ac_json_at(rates, e), "lr", &rate) == AC_OK)
                error = worst(fabs(ac_schedule_rate(&s, (int64_t)e) - rate) / rate, error);
        TAP_OK(error < 1e-10, "schedule %s: largest relative error %.2g", ac_json_key_at(document, k), error);
    }
    ac_json_release(document);
}

int main(void)
{
    const char *shared = tap_shared();
    test_differences();
    test_weights();
    if (shared) {
        test_golden(shared);
        test_schedules(shared);
    } else {
        TAP_SKIP("shared inputs are absent");
    }
    return tap_done();
}
