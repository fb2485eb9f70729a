/* Learning rates by epoch against PyTorch's schedulers (fixtures/schedules.json) and the reference's values, and at the
 * borders of epochs, periods and warm-ups. */
#include "anyclass/json.h"
#include "anyclass/schedule.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include <math.h>
#include <string.h>

static double number(const ac_json_value *args, const char *key, double fallback)
{
    double value;
    return ac_json_get(args, key) && ac_json_read_double(ac_json_get(args, key), key, &value) == AC_OK ? value : fallback;
}

static void test_file(const char *path, size_t n_wanted)
{
    ac_json_value *document;
    if (!TAP_CALL(ac_json_load(path, &document)))
        return;
    for (size_t k = 0; k < ac_json_count(document); k++) {
        const ac_json_value *a = ac_json_get(ac_json_at(document, k), "args"), *rates = ac_json_get(ac_json_at(document, k), "lr");
        double steps[8], error = 0, rate = 0;
        size_t n_compared = 0;
        ac_schedule s = {.learning_rate = number(a, "lr", 0), .decay = number(a, "lr_decay", 1), .min_rate = number(a, "min_lr", 0),
                         .first_period = (int64_t)number(a, "t0", 10), .period_factor = (int64_t)number(a, "tmult", 2),
                         .warmup_epochs = (int64_t)number(a, "warmup_epochs", 0), .warmup_start_factor = number(a, "warmup_start_factor", 1),
                         .kind = ac_json_get(a, "lr_steps") ? AC_SCHEDULE_MULTISTEP : AC_SCHEDULE_COSINE, .steps = steps};
        for (; s.n_steps < ac_json_count(ac_json_get(a, "lr_steps")) && s.n_steps < 8; s.n_steps++)
            if (ac_json_read_double(ac_json_at(ac_json_get(a, "lr_steps"), s.n_steps), "step", &steps[s.n_steps]) != AC_OK)
                break;
        for (size_t e = 0; e < ac_json_count(rates); e++)
            if (ac_json_read_double(ac_json_at(rates, e), "lr", &rate) == AC_OK) {
                error = worse(error, fabs(ac_schedule_rate(&s, (int64_t)e) - rate) / (rate > 0 ? rate : 1));
                n_compared++;
            }
        TAP_OK(error < 1e-10 && n_compared > 0 && n_compared == (size_t)number(a, "epochs", 0), "%s: %zu epochs, largest relative error %.2g",
               ac_json_key_at(document, k), n_compared, error);
    }
    TAP_OK(ac_json_count(document) == n_wanted, "%s: %zu schedules", strrchr(path, '/') + 1, n_wanted);
    ac_json_release(document);
}

static void test_borders(void)
{
    const double steps[] = {2.5, 1e6};
    ac_schedule s = {.kind = AC_SCHEDULE_CONSTANT, .learning_rate = 0.1, .warmup_epochs = 4, .warmup_start_factor = 0};
    TAP_OK(ac_schedule_rate(&s, 0) == 0 && ac_schedule_rate(&s, 4) == 0.1 && ac_schedule_rate(&s, 1000000) == 0.1, "constant, warmed up from 0");
    s = (ac_schedule){.kind = AC_SCHEDULE_MULTISTEP, .learning_rate = 1, .steps = steps, .n_steps = 2, .decay = 0.5};
    TAP_OK(ac_schedule_rate(&s, 2) == 1 && ac_schedule_rate(&s, 3) == 0.5, "a step within an epoch counts from the next epoch on");
    s.n_steps = 0;
    TAP_OK(ac_schedule_rate(&s, 50) == 1, "without steps the rate stays");
    s = (ac_schedule){.kind = AC_SCHEDULE_COSINE, .learning_rate = 1, .min_rate = 0.25, .first_period = 10, .period_factor = 2};
    TAP_OK(ac_schedule_rate(&s, 0) == 1 && ac_schedule_rate(&s, 10) == 1 && ac_schedule_rate(&s, 30) == 1 && ac_schedule_rate(&s, 70) == 1 &&
               ac_schedule_rate(&s, 150) == 1,
           "restarts behind 10, 20, 40 and 80 epochs at the full rate");
    TAP_OK(fabs(ac_schedule_rate(&s, 5) - 0.625) < 1e-15 && fabs(ac_schedule_rate(&s, 20) - 0.625) < 1e-15, "half way between the rates half way through a period");
    bool inside = true;
    for (int64_t e = 0; e < 1000; e++)
        inside = inside && ac_schedule_rate(&s, e) <= 1 && ac_schedule_rate(&s, e) > 0.25;
    TAP_OK(inside, "never outside the two rates, the lower one never met");
}

int main(void)
{
    const char *shared = tap_shared();
    char path[512];
    test_file("tests/nn/fixtures/schedules.json", 9);
    test_borders();
    if (shared) {
        snprintf(path, sizeof path, "%s/golden/schedules.json", shared);
        test_file(path, 4);
    } else {
        TAP_SKIP("shared inputs are absent");
    }
    return tap_done();
}
