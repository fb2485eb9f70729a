/* Time of the metrics of one class: the whole profile, its sort alone, and what the reference's average precision adds.
 * Scores from a counter, no files. usage: metrics [IMAGES [ROUNDS]] */
#include "anyclass/alloc.h"
#include "anyclass/profile.h"
#include "anyclass/random.h"
#include "lib/metrics/sort.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { N_THRESHOLDS = 100, N_CLASSES = 17, MOST_ROUNDS = 99 };

typedef enum distribution { UNIFORM, SIX_DECIMALS, NETWORK, LEVELS, CONSTANT, N_DISTRIBUTIONS } distribution;

static const char *const distribution_name[N_DISTRIBUTIONS] = {"uniform", "six decimals", "sigmoid, six decimals",
                                                               "100 levels", "constant"};

typedef struct inputs {
    double *score;
    uint8_t *label, *image_positive; /* label: as one of N_CLASSES columns */
    size_t n;
} inputs;

/* Processor time: other work on the machine counts as little as it can. */
static double now_s(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double make_score(distribution of, ac_philox draw, bool positive)
{
    double u = ac_uniform_double(draw.word[0], draw.word[1]), v = ac_uniform_double(draw.word[2], draw.word[3]);
    switch (of) {
    case UNIFORM:
        return positive ? (u > v ? u : v) : u;
    case SIX_DECIMALS:
        return round(1e6 * (positive ? (u > v ? u : v) : u)) / 1e6;
    case NETWORK: /* a network's: most images are surely negative */
        return round(1e6 / (1 + exp(-(2 * log(u / (1 - u)) + (positive ? 1 : -5))))) / 1e6;
    case LEVELS:
        return floor(100 * u) / 100;
    default:
        return 0.3;
    }
}

static void fill(distribution of, unsigned percent, inputs *out)
{
    for (size_t i = 0; i < out->n; i++) {
        uint32_t word = ac_random_block(2, AC_STREAM_TEST, i, 0).word[0];
        out->label[i * N_CLASSES] = word % 100 < percent;
        out->image_positive[i] = out->label[i * N_CLASSES] | (word >> 16 & 1);
        out->score[i] = make_score(of, ac_random_block(1, AC_STREAM_TEST, i, 0), out->label[i * N_CLASSES]);
    }
}

static ac_status time_profile(const inputs *in, bool reference, ac_profile_workspace *workspace, double *seconds)
{
    static ac_profile profile;
    ac_split_count reached[N_THRESHOLDS];
    double threshold[N_THRESHOLDS];
    for (int t = 0; t < N_THRESHOLDS; t++)
        threshold[t] = (t + 1) / 100.0;
    ac_column column = {.score = in->score,
                        .label = in->label,
                        .label_stride = N_CLASSES,
                        .image_positive = in->image_positive,
                        .n = in->n};
    ac_profile_options options = {.threshold = threshold,
                                  .n_thresholds = N_THRESHOLDS,
                                  .beta = 1,
                                  .reference = reference,
                                  .workspace = workspace};
    double start = now_s();
    ac_status status = ac_profile_measure(&column, &options, &profile, reached);
    *seconds = now_s() - start;
    return status;
}

static double time_sort(const inputs *in, uint64_t *key, uint64_t *scratch)
{
    for (size_t i = 0; i < in->n; i++)
        key[i] = ac_sort_key(in->score[i]);
    double start = now_s();
    ac_sort_keys(key, scratch, in->n);
    return now_s() - start;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_ms(double *seconds, int n)
{
    qsort(seconds, (size_t)n, sizeof *seconds, ascending);
    return 1e3 * seconds[n / 2];
}

static ac_status time_case(distribution of, unsigned percent, int rounds, inputs *in, ac_profile_workspace *workspace)
{
    ac_status status = AC_OK;
    double whole[MOST_ROUNDS], sort[MOST_ROUNDS], reference[MOST_ROUNDS];
    fill(of, percent, in);
    for (int round = 0; round < rounds; round++) {
        AC_TRY(time_profile(in, false, workspace, &whole[round]));
        sort[round] = time_sort(in, workspace->key, workspace->key + in->n);
        AC_TRY(time_profile(in, true, workspace, &reference[round]));
    }
    printf("%-22s %3u%% %10.1f %10.1f %10.1f\n", distribution_name[of], percent, median_ms(whole, rounds),
           median_ms(sort, rounds), median_ms(reference, rounds));
out:
    return status;
}

int main(int argc, char **argv)
{
    ac_status status = AC_OK;
    inputs in = {.n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1040129};
    int rounds = argc > 2 ? atoi(argv[2]) : 5;
    ac_profile_workspace workspace = {0};
    rounds = rounds < 1 ? 1 : rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds;
    AC_TRY(ac_malloc(in.n, sizeof *in.score, &in.score));
    AC_TRY(ac_calloc(in.n, N_CLASSES, &in.label));
    AC_TRY(ac_malloc(in.n, 1, &in.image_positive));
    printf("%zu images, %d thresholds; ms of processor time, median of %d\n%-22s %4s %10s %10s %10s\n", in.n,
           N_THRESHOLDS, rounds, "scores", "pos.", "profile", "sort alone", "+reference");
    for (int of = 0; of < N_DISTRIBUTIONS; of++) {
        AC_TRY(time_case((distribution)of, 3, rounds, &in, &workspace));
        AC_TRY(time_case((distribution)of, 50, rounds, &in, &workspace));
    }
out:
    if (status != AC_OK)
        fprintf(stderr, "metrics: %s\n", ac_error_text());
    ac_free(in.score);
    ac_free(in.label);
    ac_free(in.image_positive);
    ac_profile_release(&workspace);
    return ac_status_exit_code(status);
}
