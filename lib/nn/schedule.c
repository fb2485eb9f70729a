/* Learning-rate schedules. */
#include "anyclass/schedule.h"
#include <math.h>

static double cosine(const ac_schedule *s, int64_t epoch)
{
    int64_t period = s->first_period > 0 ? s->first_period : 1, t = epoch;
    while (t >= period) {
        t -= period;
        period *= s->period_factor > 1 ? s->period_factor : 1;
    }
    return s->min_rate + (s->learning_rate - s->min_rate) * (1 + cos(3.14159265358979323846 * (double)t / (double)period)) / 2;
}

/* After the warm-up the schedule itself begins at its epoch 0, as PyTorch's SequentialLR chains them. */
double ac_schedule_rate(const ac_schedule *s, int64_t epoch)
{
    double rate = s->learning_rate;
    if (epoch < s->warmup_epochs)
        return rate * (s->warmup_start_factor + (1 - s->warmup_start_factor) * (double)epoch / (double)s->warmup_epochs);
    epoch -= s->warmup_epochs;
    if (s->kind == AC_SCHEDULE_MULTISTEP)
        for (size_t i = 0; i < s->n_steps; i++)
            rate *= (double)epoch >= s->steps[i] ? s->decay : 1;
    return s->kind == AC_SCHEDULE_COSINE ? cosine(s, epoch) : rate;
}
