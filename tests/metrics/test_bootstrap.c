/* Bootstrap: the weights are Poisson's and belong to images, a replicate is what lib/metrics says of the repeated
 * table, intervals are quantiles. */
#include "anyclass/alloc.h"
#include "anyclass/bootstrap.h"
#include "anyclass/metrics.h"
#include "anyclass/random.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

enum { LANES = AC_BOOTSTRAP_LANES, MOST = 20000, MOST_REPEATED = MOST * 2 };

static uint32_t draw(uint64_t index, uint32_t k)
{
    return ac_random_block(23, AC_STREAM_TEST, index, k).word[0];
}

static bool same_bits(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static uint64_t packed[MOST], key[MOST];

static ac_bootstrap_weights weights_of(uint64_t seed, uint32_t first, size_t n)
{
    ac_bootstrap_weights of = {.packed = packed, .n = n};
    for (size_t i = 0; i < n; i++)
        key[i] = i * 0x9E3779B97F4A7C15u;
    ac_bootstrap_draw(seed, first, key, &of);
    return of;
}

static void test_distribution(void)
{
    static const double poisson[] = {0.36787944, 0.36787944, 0.18393972, 0.06131324, 0.01532831, 0.00306566};
    size_t seen[AC_BOOTSTRAP_MOST_WEIGHT + 1] = {0}, n_off = 0, n = 0;
    static uint64_t before[MOST];
    double sum = 0, squares = 0, products = 0, distant = 0, earlier = 0;
    for (uint32_t block = 1; block <= 10; block++) {
        ac_bootstrap_weights of = weights_of(5, block * LANES, MOST);
        for (size_t i = 0; i < MOST; i++) {
            for (int lane = 0; lane < LANES; lane++) {
                unsigned weight = ac_bootstrap_weight(&of, i, lane);
                seen[weight]++;
                sum += weight;
                squares += (double)weight * weight;
                products += weight * (double)ac_bootstrap_weight(&of, i, (lane + 1) % LANES);
                distant += weight * (double)ac_bootstrap_weight(&of, i, (lane + 4) % LANES);
                earlier += weight * (double)ac_bootstrap_weight(&(ac_bootstrap_weights){.packed = before}, i, lane);
                n++;
            }
        }
        memcpy(before, packed, sizeof before);
    }
    /* 1.6 million draws: a share has a deviation of at most 0.0004 */
    for (size_t w = 0; w < sizeof poisson / sizeof *poisson; w++)
        n_off += fabs((double)seen[w] / (double)n - poisson[w]) > 0.002;
    TAP_OK(n_off == 0, "weights are distributed as Poisson(1) says (%zu of 6 shares do not)", n_off);
    TAP_OK(fabs(sum / (double)n - 1) < 0.004, "their mean is 1 (%.5f)", sum / (double)n);
    TAP_OK(fabs(squares / (double)n - 2) < 0.015, "their variance is 1 (mean square %.5f)", squares / (double)n);
    TAP_OK(fabs(products / (double)n - 1) < 0.01 && fabs(distant / (double)n - 1) < 0.01,
           "replicates are independent (mean products %.5f, %.5f)", products / (double)n, distant / (double)n);
    earlier /= (double)(n - MOST * LANES); /* the first block has none before it */
    TAP_OK(fabs(earlier - 1) < 0.01, "also those of different eights (mean product %.5f)", earlier);
    TAP_OK(seen[7] > 0 && seen[11] == 0, "large weights are rare, and there");
}

static void test_keys(void)
{
    enum { N = 100 };
    uint64_t other_packed[N], other_key[N];
    size_t n_moved = 0, n_lanes = 0, n_seed = 0, n_ones = 0, n_total = 0;
    ac_bootstrap_weights of = weights_of(5, 8, N), other = {.packed = other_packed, .n = N};
    for (size_t i = 0; i < N; i++)
        other_key[i] = key[N - 1 - i];
    ac_bootstrap_draw(5, 8, other_key, &other);
    for (size_t i = 0; i < N; i++)
        n_moved += packed[i] != other_packed[N - 1 - i];
    TAP_OK(n_moved == 0, "a weight belongs to the image, not to its place");
    ac_bootstrap_draw(5, 11, key, &other);
    for (size_t i = 0; i < N; i++)
        for (int lane = 3; lane < LANES; lane++)
            n_lanes += ac_bootstrap_weight(&of, i, lane) != ac_bootstrap_weight(&other, i, lane - 3);
    TAP_OK(n_lanes == 0, "and to the replicate, not to the lane (%zu do not)", n_lanes);
    ac_bootstrap_draw(6, 8, key, &other);
    for (size_t i = 0; i < N; i++)
        n_seed += packed[i] != other_packed[i];
    TAP_OK(n_seed > 95, "another seed draws other weights (%zu of %d)", n_seed, N);
    ac_bootstrap_draw(5, 0, key, &other);
    for (size_t i = 0; i < N; i++) {
        n_ones += ac_bootstrap_weight(&other, i, 0) == 1;
        n_total += ac_bootstrap_weight(&other, i, 5);
    }
    TAP_OK(n_ones == N && other.total[0] == N, "replicate 0 is the data");
    TAP_OK(other.total[5] == n_total && n_total != N, "totals are sums of weights");
}

typedef struct sample {
    double score[MOST], repeated_score[MOST_REPEATED], threshold;
    uint8_t label[MOST], repeated_label[MOST_REPEATED], positive[MOST_REPEATED];
    size_t n;
} sample;

static void make_sample(uint64_t index, sample *out)
{
    uint32_t n_levels = index % 3 == 0 ? 1000000 : 1 + draw(index, 0) % 60, share = draw(index, 1) % 5 * 25;
    out->n = index % 50 == 7 ? MOST : draw(index, 2) % 300;
    if (out->n == MOST)
        share = 1; /* long runs of negatives */
    for (size_t i = 0; i < out->n; i++) {
        out->score[i] = (double)(draw(index, 10 + 2 * (uint32_t)i) % n_levels) / n_levels;
        out->label[i] = draw(index, 11 + 2 * (uint32_t)i) % 100 < share;
    }
    out->threshold = index % 4 == 0 ? 0 : index % 4 == 1 ? 1 : .5;
    if (index % 4 == 3 && out->n > 0)
        out->threshold = out->score[0];
}

static size_t repeat(sample *of, const ac_bootstrap_weights *weights, int lane)
{
    size_t n = 0;
    for (size_t i = 0; i < of->n; i++) {
        for (unsigned k = 0; k < ac_bootstrap_weight(weights, i, lane); k++) {
            of->repeated_score[n] = of->score[i];
            of->repeated_label[n++] = of->label[i];
        }
    }
    return n;
}

typedef struct differences {
    size_t n_calls, n_counts, n_ranks, n_losses, n_undefined;
} differences;

static void compare_lane(sample *of, const ac_bootstrap_weights *weights, int lane, const ac_bootstrap_class *got,
                         double loss, differences *out)
{
    size_t n = repeat(of, weights, lane);
    ac_class_count count = {0};
    ac_image_count image = {0};
    ac_profile profile;
    ac_split_count none;
    ac_column column = {of->repeated_score, of->repeated_label, 1, of->repeated_label, n};
    double ap, auc;
    out->n_calls += ac_metrics_rank_double(of->repeated_score, of->repeated_label, n, 1, &ap, &auc) != AC_OK;
    out->n_calls +=
        ac_metrics_count_double(of->repeated_score, of->repeated_label, n, 1, of->threshold, &count, &image) != AC_OK;
    out->n_calls += ac_profile_measure(&column, &(ac_profile_options){.beta = 1}, &profile, &none) != AC_OK;
    out->n_counts += count.true_positive != got->true_positive || count.false_positive != got->false_positive ||
                     count.true_positive + count.false_negative != got->positive;
    out->n_ranks += !same_bits(ap, got->average_precision) || !same_bits(auc, got->roc_auc);
    out->n_losses += isnan(profile.log_loss) ? !isnan(loss) : !(fabs(profile.log_loss - loss) <= 1e-12);
    out->n_undefined += isnan(auc);
}

static void test_replicates(void)
{
    static sample of;
    static int64_t loss[MOST];
    differences found = {0};
    enum { N_CASES = 300 };
    for (uint64_t index = 0; index < N_CASES; index++) {
        ac_bootstrap_order *order = NULL;
        ac_bootstrap_class got[LANES];
        double mean_loss[LANES];
        make_sample(index, &of);
        ac_column column = {of.score, of.label, 1, of.label, of.n};
        ac_bootstrap_weights weights = weights_of(index, index % 2 ? 0 : 40, of.n);
        found.n_calls += ac_bootstrap_order_create(&column, of.threshold, &order) != AC_OK;
        ac_bootstrap_walk(order, &weights, got);
        memset(loss, 0, sizeof loss);
        ac_bootstrap_add_loss(&column, loss);
        ac_bootstrap_mean_loss(loss, 1, &weights, mean_loss);
        for (int lane = 0; lane < (of.n == MOST ? 2 : LANES); lane++)
            compare_lane(&of, &weights, lane, &got[lane], mean_loss[lane], &found);
        ac_bootstrap_order_destroy(order);
    }
    TAP_OK(found.n_calls == 0, "%d random columns are measured (%zu calls failed)", N_CASES, found.n_calls);
    TAP_OK(found.n_counts == 0, "counts are those of the repeated table (%zu are not)", found.n_counts);
    TAP_OK(found.n_ranks == 0, "AP and AUC are its, bit for bit (%zu are not)", found.n_ranks);
    TAP_OK(found.n_losses == 0, "the log loss is its to 1e-12 (%zu are not)", found.n_losses);
    TAP_OK(found.n_undefined > 100 && found.n_undefined < 1200, "%zu replicates had no AUC", found.n_undefined);
}

/* More negatives than 16 bits can count, between the highest score and the only positive. */
static void test_long_run(void)
{
    enum { N = 150000 };
    static double score[N];
    static uint8_t label[N];
    static uint64_t many_keys[N], many[N];
    ac_bootstrap_order *order = NULL;
    ac_bootstrap_class got[LANES];
    ac_bootstrap_weights weights = {.packed = many, .n = N};
    size_t n_bad = 0;
    for (size_t i = 0; i < N; i++) {
        score[i] = i % 2 ? 1 : .75;
        many_keys[i] = i;
    }
    score[0] = 0.5;
    label[0] = 1;
    ac_column column = {score, label, 1, label, N};
    TAP_CALL(ac_bootstrap_order_create(&column, .5, &order));
    ac_bootstrap_draw(1, 0, many_keys, &weights);
    ac_bootstrap_walk(order, &weights, got);
    for (int lane = 0; lane < LANES; lane++) {
        int64_t positive = ac_bootstrap_weight(&weights, 0, lane), negative = (int64_t)weights.total[lane] - positive;
        n_bad += got[lane].positive != positive || got[lane].true_positive != positive ||
                 got[lane].false_positive != negative;
    }
    TAP_OK(n_bad == 0, "%d images in one run are counted (%zu of 8 replicates are not)", N, n_bad);
    ac_bootstrap_order_destroy(order);
}

static void test_extremes(void)
{
    const double score[] = {0, 1, 0, 1};
    const uint8_t label[] = {1, 0, 0, 1};
    const ac_column column = {score, label, 1, label, 4};
    int64_t loss[4] = {0};
    double mean[LANES];
    ac_bootstrap_weights weights = weights_of(1, 0, 4);
    ac_bootstrap_add_loss(&column, loss);
    ac_bootstrap_add_loss(&column, loss);
    ac_bootstrap_mean_loss(loss, 2, &weights, mean);
    TAP_OK(fabs(mean[0] - 52 * log(2) / 2) < 1e-12,
           "certain and wrong costs 52 log 2; two columns have one mean (%.15g)", mean[0]);
}

static double normal(uint64_t index, uint32_t k)
{
    ac_philox words = ac_random_block(29, AC_STREAM_TEST, index, k);
    double radius = sqrt(-2 * log(1 - ac_uniform_double(words.word[0], words.word[1])));
    return radius * cos(6.283185307179586 * ac_uniform_double(words.word[2], words.word[3]));
}

static double normal_below(double x)
{
    return 0.5 * erfc(-x / sqrt(2));
}

/* Positives, a known share, have scores `shift` higher: then precision and recall at the middle, F1 and AUC are known.
 */
static const double part_positive = 0.3;

static double true_f1(double shift)
{
    double found = part_positive * normal_below(shift / 2), wrong = (1 - part_positive) * normal_below(-shift / 2);
    return 2 * found / (found + wrong + part_positive);
}

enum { N_IMAGES = 300, N_DRAWS = 400, N_WORLDS = 200 };

typedef struct world { /* one data set, scored by two models */
    double score[2][N_IMAGES], f1[2][N_DRAWS], auc[2][N_DRAWS];
    uint8_t label[N_IMAGES];
} world;

static const double shift[2] = {1.5, 1.0};

static size_t measure_world(uint64_t index, world *of)
{
    size_t n_failed = 0;
    ac_bootstrap_order *order[2] = {NULL, NULL};
    for (uint32_t i = 0; i < N_IMAGES; i++) {
        of->label[i] = ac_uniform_double(draw(1000 + index, i), 0) < part_positive;
        double shared = normal(1000 + index, 3 * i);
        for (uint32_t m = 0; m < 2; m++)
            of->score[m][i] =
                shift[m] * (of->label[i] - 0.5) + (shared + normal(1000 + index, 3 * i + 1 + m)) / sqrt(2);
    }
    for (int m = 0; m < 2; m++) {
        ac_column column = {of->score[m], of->label, 1, of->label, N_IMAGES};
        n_failed += ac_bootstrap_order_create(&column, 0, &order[m]) != AC_OK;
    }
    for (uint32_t first = 0; first < N_DRAWS; first += LANES) {
        ac_bootstrap_weights weights = weights_of(index, 1 + first, N_IMAGES);
        for (int m = 0; m < 2; m++) {
            ac_bootstrap_class got[LANES];
            ac_bootstrap_walk(order[m], &weights, got);
            for (uint32_t lane = 0; lane < LANES; lane++) {
                of->f1[m][first + lane] = ac_metrics_f_beta(got[lane].true_positive, got[lane].false_positive,
                                                            got[lane].positive - got[lane].true_positive, 1);
                of->auc[m][first + lane] = got[lane].roc_auc;
            }
        }
    }
    ac_bootstrap_order_destroy(order[0]);
    ac_bootstrap_order_destroy(order[1]);
    return n_failed;
}

static bool covers(const double *a, const double *b, double difference)
{
    double value[N_DRAWS];
    for (int i = 0; i < N_DRAWS; i++)
        value[i] = b[i] - a[i];
    ac_bootstrap_interval of = ac_bootstrap_percentiles(value, N_DRAWS, .95);
    return of.low <= difference && difference <= of.high;
}

/* Of 200 intervals of 95 % between 180 and 196 hold the truth: a binomial count is outside once in 500 times, and
 * percentile intervals of small data are a little too narrow. */
static void test_coverage(void)
{
    static world of;
    size_t n_f1 = 0, n_auc = 0, n_failed = 0;
    double f1 = true_f1(shift[1]) - true_f1(shift[0]);
    double auc = normal_below(shift[1] / sqrt(2)) - normal_below(shift[0] / sqrt(2));
    for (uint64_t index = 0; index < N_WORLDS; index++) {
        n_failed += measure_world(index, &of);
        n_f1 += covers(of.f1[0], of.f1[1], f1);
        n_auc += covers(of.auc[0], of.auc[1], auc);
    }
    TAP_OK(n_failed == 0, "%d data sets of two models", N_WORLDS);
    TAP_OK(n_f1 >= 180 && n_f1 <= 196, "the difference of F1 lies in %zu of 200 intervals", n_f1);
    TAP_OK(n_auc >= 180 && n_auc <= 196, "the difference of AUC lies in %zu of 200 intervals", n_auc);
}

static void test_percentiles(void)
{
    double value[] = {4, NAN, 1, 3, 2, NAN, 5};
    ac_bootstrap_interval of = ac_bootstrap_percentiles(value, 7, .5);
    TAP_OK(of.low == 2 && of.high == 4 && of.n_defined == 5, "quartiles of 1..5 are 2 and 4");
    double pair[] = {1, 0};
    of = ac_bootstrap_percentiles(pair, 2, .95);
    TAP_OK(fabs(of.low - .025) < 1e-15 && fabs(of.high - .975) < 1e-15, "between neighbours it is linear");
    double one[] = {7}, none[] = {NAN};
    of = ac_bootstrap_percentiles(one, 1, .95);
    TAP_OK(of.low == 7 && of.high == 7, "one value");
    of = ac_bootstrap_percentiles(none, 1, .95);
    TAP_OK(isnan(of.low) && isnan(of.high) && of.n_defined == 0, "no value");
}

static void test_errors(void)
{
    const double bad[] = {.5, NAN}, good[] = {.5, .25};
    const uint8_t label[] = {1, 0};
    ac_bootstrap_order *order = NULL;
    ac_column column = {bad, label, 1, label, 2};
    ac_status status = ac_bootstrap_order_create(&column, .5, &order);
    TAP_OK(status == AC_ERR_NUMERIC && strstr(ac_error_text(), "row 1") && !order, "NaN is refused by name: %s",
           ac_error_text());
    column.n = AC_BOOTSTRAP_MOST_IMAGES + (size_t)1;
    status = ac_bootstrap_order_create(&column, .5, &order);
    TAP_OK(status == AC_ERR_RANGE && !order, "too many images: %s", ac_error_text());
    column.score = good;
    column.n = 2;
    size_t n = 0;
    do {
        ac_alloc_fail_at(++n);
        status = ac_bootstrap_order_create(&column, .5, &order);
        ac_alloc_fail_at(0);
    } while (status == AC_ERR_MEMORY && ac_alloc_get_stats().n_live == 0 && n < 100);
    TAP_OK(status == AC_OK && n > 4, "%zu allocations fail cleanly", n - 1);
    ac_bootstrap_order_destroy(order);
    ac_bootstrap_order_destroy(NULL);
    TAP_OK(ac_alloc_get_stats().n_live == 0, "no memory is left");
}

int main(void)
{
    test_distribution();
    test_keys();
    test_replicates();
    test_extremes();
    test_long_run();
    test_coverage();
    test_percentiles();
    test_errors();
    return tap_done();
}
