/* A sweep's ranges and points: Sobol's sequence against SciPy's, evenness after scrambling, values of each scale, what is refused and where. */
#include "anyclass/alloc.h"
#include "tests/tap.h"
#include "train/sweep.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static char folder[AC_PATH_BYTES], path[AC_PATH_BYTES + 16];

static ac_status read_text(const char *text, sweep_ranges *out)
{
    snprintf(path, sizeof path, "%s/ranges.txt", folder);
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        abort();
    return sweep_read_ranges(path, out);
}

static void test_sobol(void)
{
    FILE *file = fopen("tests/train/fixtures/sobol.txt", "r");
    unsigned long i, want;
    size_t n = 0, n_wrong = 0;
    while (file && fscanf(file, "%lu", &i) == 1)
        for (int d = 0; d < SWEEP_N_DIMENSIONS && fscanf(file, "%lu", &want) == 1; d++, n++)
            n_wrong += (double)sweep_sobol((uint32_t)i, d) * 0x1p-32 != (double)want * 0x1p-30;
    TAP_OK(n == 26 * SWEEP_N_DIMENSIONS && n_wrong == 0, "Sobol: %zu coordinates are SciPy's to the last bit, %zu are not", n - n_wrong, n_wrong);
    if (file)
        fclose(file);
}

/* 256 points: is there one in each interval of length 1/256 of a dimension? With two: in each box 2^-a x 2^-(8-a)? */
static bool is_even(int first, int second, int bits, uint64_t seed)
{
    bool taken[256] = {false};
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t x = sweep_scramble(sweep_sobol(i, first), first, seed), y = sweep_scramble(sweep_sobol(i, second), second, seed);
        uint32_t box = bits == 8 ? x >> 24 : bits == 0 ? y >> 24 : (x >> (32 - bits)) << (8 - bits) | y >> (24 + bits);
        if (taken[box])
            return false;
        taken[box] = true;
    }
    return true;
}

static void test_scramble(void)
{
    bool even = true, net = true;
    int n_same = 0, n_equal_flips = 0;
    for (int d = 0; d < SWEEP_N_DIMENSIONS; d++)
        even = even && is_even(d, d, 8, 3) && is_even(d, d, 8, 4);
    for (int bits = 0; bits <= 8; bits++)
        net = net && is_even(0, 1, bits, 5);
    TAP_OK(even, "scrambled: 256 points, one in each 256th of every dimension");
    TAP_OK(net, "scrambled: the first two dimensions have one point in each box of size 1/256");
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t x = sweep_sobol(i, 2), a = sweep_scramble(x, 2, 1), b = sweep_scramble(x, 2, 2);
        n_same += a == b;
        n_equal_flips += (x ^ a) == (sweep_sobol(0, 2) ^ sweep_scramble(sweep_sobol(0, 2), 2, 1));
    }
    TAP_OK(n_same == 0, "scrambled: another seed, other points");
    TAP_OK(n_equal_flips == 1, "scrambled: more than a shift: lower bits depend on higher ones");
}

static void test_random(void)
{
    sweep_ranges ranges;
    const sweep_points points = {.method = SWEEP_RANDOM, .seed = 7, .n_points = 4096};
    char value[2][SWEEP_VALUE_BYTES];
    double sum[2] = {0}, product = 0;
    TAP_CALL(read_text("meta_loss_weight = 0 .. 1\nmeta_loss_beta = 0 .. 1\n", &ranges));
    for (size_t i = 0; i < 4096; i++) {
        sweep_element(&ranges, &points, i, value);
        double x = atof(value[0]), y = atof(value[1]);
        sum[0] += x;
        sum[1] += y;
        product += (x - 0.5) * (y - 0.5);
    }
    /* five standard deviations: sqrt(1/12 / 4096), and 1/12 / sqrt(4096) of the product */
    TAP_OK(fabs(sum[0] / 4096 - .5) < .0226 && fabs(sum[1] / 4096 - .5) < .0226, "random: means %.4f and %.4f", sum[0] / 4096, sum[1] / 4096);
    TAP_OK(fabs(product / 4096) < .0065, "random: lines do not depend on each other (%.5f)", product / 4096);
    sweep_release_ranges(&ranges);
}

static void test_more_points(sweep_method method, const char *name)
{
    sweep_ranges ranges;
    sweep_points few = {.method = method, .seed = 2, .n_points = 3, .scramble = true}, many = few;
    char a[4][SWEEP_VALUE_BYTES], b[4][SWEEP_VALUE_BYTES];
    bool same = true, other = false;
    size_t n, n_more;
    many.n_points = 1000;
    TAP_CALL(read_text("learning_rate = log 1e-4 .. 1e-1\nseed = 1..3\noptimizer = sgd adamW\nbatch_size = pow2 16 .. 256\n", &ranges));
    TAP_OK(sweep_count(&ranges, &few, &n) == AC_OK && n == 9 && sweep_count(&ranges, &many, &n_more) == AC_OK && n_more == 3000, "%s: points times seeds", name);
    for (size_t i = 0; i < n; i++) {
        sweep_element(&ranges, &few, i, a);
        sweep_element(&ranges, &many, i, b);
        for (int k = 0; k < 4; k++)
            same = same && strcmp(a[k], b[k]) == 0;
        same = same && atoi(a[1]) == (int)(i % 3) + 1;
        sweep_element(&ranges, &few, i / 3 * 3, b);
        same = same && strcmp(a[0], b[0]) == 0;
    }
    TAP_OK(same, "%s: more points leave the first as they are, and seeds share a point", name);
    many.seed = 3;
    for (size_t i = 0; i < n; i++) {
        sweep_element(&ranges, &few, i, a);
        sweep_element(&ranges, &many, i, b);
        other = other || strcmp(a[0], b[0]) != 0;
    }
    TAP_OK(other, "%s: another seed, other points", name);
    sweep_release_ranges(&ranges);
}

/* The value of the one line at u. */
static const char *at(const char *line, double u)
{
    static char value[SWEEP_VALUE_BYTES];
    sweep_ranges ranges;
    strcpy(value, "");
    if (read_text(line, &ranges) == AC_OK)
        sweep_value_at(&ranges.key[0], u, value);
    sweep_release_ranges(&ranges);
    return value;
}

static void test_values(void)
{
    static const struct {
        const char *line;
        double u;
        const char *value;
    } cases[] = {
        {"learning_rate = log 1e-4 .. 1e-1", 0, "0.0001"},
        {"learning_rate = log 1e-4 .. 1e-1", 2.0 / 3, "0.01"},
        {"learning_rate = log 1e-4 .. 1e-1", 0.5, "0.00316228"},
        {"learning_rate = log 1.234561e-4 .. 1e-1", 0, "0.0001234561"}, /* not below the end */
        {"meta_loss_weight = 0 .. 1", 0, "0"},
        {"meta_loss_weight = -0..1 # blanks may be missing", 0.25, "0.25"},
        {"meta_loss_weight = 0 .. 1", 1.0 / 3, "0.333333"},
        {"class_balancing_beta = log1m 0.9 .. 0.9999", 0, "0.9"},
        {"class_balancing_beta = log1m 0.9 .. 0.9999", 1.0 / 3, "0.99"},
        {"class_balancing_beta = log1m 0.9 .. 0.9999", 0.5, "0.99683772"},
        {"batch_size = pow2 32 .. 256", 0.2499, "32"},
        {"batch_size = pow2 32 .. 256", 0.25, "64"},
        {"batch_size = pow2 32 .. 256", 0.9999, "256"},
        {"focal_gamma = pow2 0.5 .. 4", 0.3, "1"},
        {"warmup_epochs = 0 .. 3", 0.2499, "0"},
        {"warmup_epochs = 0 .. 3", 0.9999, "3"},
        {"batch_size = log 10 .. 1000", 0.5, "100"},
        {"optimizer = sgd adamW", 0.4999, "sgd"},
        {"optimizer = sgd adamW", 0.5, "adamW"},
        {"learning-rate = log 1e-3 .. 1e-1 x 3", 0.5, "0.01"}, /* a list of three */
        {"flip=true\tfalse ", 0.9, "false"},
        {"model = resnet18 vit_b_16", 0.9, "vit_b_16"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *value = at(cases[i].line, cases[i].u);
        TAP_OK(strcmp(value, cases[i].value) == 0, "%s at %.4f is %s (wanted %s)", cases[i].line, cases[i].u, value, cases[i].value);
    }
}

static void test_grid(void)
{
    static const char *const wanted[] = {"sgd 0 1", "sgd 0 2", "sgd 0.5 1", "sgd 0.5 2", "sgd 1 1", "sgd 1 2", "adamW 0 1", "adamW 0 2"};
    sweep_ranges ranges;
    const sweep_points points = {.method = SWEEP_GRID};
    char value[4][SWEEP_VALUE_BYTES], text[4 * SWEEP_VALUE_BYTES];
    size_t n = 0;
    TAP_CALL(read_text("seed = 1 .. 2\noptimizer = sgd adamW\n\nmeta_loss_weight = 0 .. 1 x 3\nwarmup_epochs = 2 .. 3", &ranges));
    TAP_CALL(sweep_list_ranges(&ranges));
    TAP_OK(sweep_count(&ranges, &points, &n) == AC_OK && n == 24, "grid: all combinations, %zu", n);
    for (size_t i = 0; i < 8; i++) { /* of warmup_epochs 3 */
        sweep_element(&ranges, &points, i / 2 * 4 + 2 + i % 2, value);
        snprintf(text, sizeof text, "%s %s %s", value[1], value[2], value[0]);
        TAP_OK(strcmp(text, wanted[i]) == 0 && strcmp(value[3], "3") == 0, "grid: seeds fastest, then the last line: %s", text);
    }
    sweep_release_ranges(&ranges);
}

static void test_refused(void)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"learning_rate = 0.1\nlearnin_rate = 0.1\n", "line 2: unknown option --learnin_rate, did you mean --learning_rate"},
        {"learning_rate = 0.1 fast\n", "line 1: --learning_rate: 'fast' is no number"},
        {"\n# nothing\nlearning_rate = 0 .. 1\n", "line 3: --learning_rate: 0 is not in 1e-12"},
        {"class_balancing_beta = 0.9 .. 1.5", "line 1: --class_balancing_beta: 1.5 is not in 0 .. 1"},
        {"batch_size = 64.5\n", "line 1: --batch_size: '64.5' is no whole number"},
        {"optimizer = sgd adam\n", "line 1: --optimizer: 'adam' is none of"},
        {"flip = yes\n", "line 1: --flip is a flag"},
        {"learning_rate 0.1\n", "line 1: 'OPTION = VALUES' is wanted"},
        {"= 0.1\n", "line 1: an option of anyclass-train is wanted"},
        {"learning_rate =\n", "line 1: --learning_rate has no values"},
        {"learning_rate = 0.1\nlearning-rate = 0.2\n", "line 2: --learning_rate stands in line 1 already"},
        {"learning_rate = 0.1 0.10\n", "line 1: the value 0.10 stands there twice"},
        {"learning_rate = 0.1 .. 0.1\n", "line 1: a range goes up"},
        {"learning_rate = 0.1 .. \n", "line 1: a range is 'LOW .. HIGH'"},
        {"learning_rate = 0.1 .. 0.2 0.3\n", "line 1: a range is 'LOW .. HIGH'"},
        {"learning_rate = 0.1 .. 0.2 x\n", "line 1: behind 'x'"},
        {"learning_rate = 0.1 .. 0.2 x 1\n", "line 1: behind 'x'"},
        {"warmup_epochs = 0 .. 2 x 5\n", "line 1: the value 1 stands there twice"},
        {"meta_loss_weight = log 0 .. 1\n", "line 1: log: 0 is not above 0"},
        {"class_balancing_beta = log1m 0.9 .. 1\n", "line 1: log1m takes"},
        {"batch_size = log1m 1 .. 2\n", "line 1: log1m takes"},
        {"batch_size = pow2 30 .. 64\n", "line 1: pow2 goes from a power of two"},
        {"batch_size = pow2 32 64\n", "line 1: log, log1m and pow2 go in front of a range"},
        {"learning_rate = linear 1 .. 2\n", "line 1: a range is 'LOW .. HIGH'"},
        {"version_name = a b\n", "line 1: --version_name cannot be swept"},
        {"data_root = a b\n", "line 1: --data_root cannot be swept"},
        {"lr_steps = 1 2\n", "line 1: --lr_steps is a list"},
        {"help = 1\n", "line 1: --help is no option with values"},
        {"config = x\n", "line 1: --config is no option with values"},
        {"# nothing\n\n", "no line says what is swept"},
        {"seed = 1 .. 1000000000\n", "line 1: 1000000000 values are too many"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sweep_ranges ranges;
        ac_status status = read_text(cases[i].text, &ranges);
        TAP_OK(status == AC_ERR_USAGE && strstr(ac_error_text(), "ranges.txt") && strstr(ac_error_text(), cases[i].says), "refused: %s", cases[i].says);
        sweep_release_ranges(&ranges);
    }
}

static void test_limits(void)
{
    sweep_ranges ranges;
    const sweep_points grid = {.method = SWEEP_GRID}, sobol = {.method = SWEEP_SOBOL, .n_points = 60000};
    size_t n;
    TAP_CALL(read_text("weight_decay = 0 .. 1\n", &ranges));
    TAP_OK(sweep_list_ranges(&ranges) == AC_ERR_USAGE && strstr(ac_error_text(), "line 1: --weight_decay: a grid needs"), "grid: a range without a count");
    sweep_release_ranges(&ranges);
    TAP_CALL(read_text("warmup_epochs = 1 .. 1000\nbatch_size = 1 .. 101\n", &ranges));
    TAP_CALL(sweep_list_ranges(&ranges));
    TAP_OK(sweep_count(&ranges, &grid, &n) == AC_ERR_USAGE && strstr(ac_error_text(), "101000 elements"), "grid: too many elements");
    sweep_release_ranges(&ranges);
    TAP_CALL(read_text("warmup_epochs = 1 .. 1000\nseed = 1 2\n", &ranges));
    TAP_OK(sweep_count(&ranges, &sobol, &n) == AC_ERR_USAGE && strstr(ac_error_text(), "120000 elements"), "sobol: too many elements");
    sweep_release_ranges(&ranges);
}

static void test_memory(void)
{
    for (uint64_t at_call = 1; at_call < 2000; at_call++) {
        sweep_ranges ranges;
        uint64_t before = ac_alloc_get_stats().n_live;
        ac_alloc_fail_at(at_call);
        ac_status status = read_text("seed = 1 .. 3\nlearning_rate = 0.1 0.2\n", &ranges);
        ac_alloc_fail_at(0);
        sweep_release_ranges(&ranges);
        if (ac_alloc_get_stats().n_live != before || (status != AC_OK && status != AC_ERR_MEMORY)) {
            TAP_OK(false, "memory: the %llu-th request fails: status %d", (unsigned long long)at_call, (int)status);
            return;
        }
        if (status == AC_OK) {
            TAP_OK(at_call > 20, "memory: each of %llu requests may fail", (unsigned long long)at_call - 1);
            return;
        }
    }
}

int main(void)
{
    if (!tap_folder(folder))
        return tap_done();
    test_sobol();
    test_scramble();
    test_random();
    test_more_points(SWEEP_RANDOM, "random");
    test_more_points(SWEEP_SOBOL, "sobol");
    test_values();
    test_grid();
    test_refused();
    test_limits();
    test_memory();
    tap_remove(folder);
    return tap_done();
}
