/* Steps on a device that may work behind the caller's back: recording, replaying, reading results late. Arithmetic is in plan.c and optimizer.c. */
#include "anyclass/step.h"
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "nn/plan_internal.h"

enum { N_PARTS = 8 };

typedef struct variety { /* of work: a plan and the part of a step that it makes */
    int n_runs;
    ac_recording *recording;
} variety;

struct ac_step {
    ac_step_config config;
    ac_device *device;
    const ac_queue *queue;      /* NULL: everything is done when a call returns */
    bool record;
    variety variety[AC_STEP_MAX_PLANS][N_PARTS];
    ac_step_state *arrived;     /* [AC_STEPS_AHEAD] what steps left; memory the device copies to */
    ac_step_state own[AC_STEPS_AHEAD];
    int64_t n_ended, n_taken;
};

ac_status ac_step_create(const ac_step_config *config, ac_step **out)
{
    ac_status status = AC_OK;
    ac_step *step = NULL;
    *out = NULL;
    if (config->n_plans < 1 || config->n_plans > AC_STEP_MAX_PLANS)
        return ac_error(AC_ERR_RANGE, "a step of %d plans", config->n_plans);
    AC_TRY(ac_calloc(1, sizeof *step, &step));
    step->config = *config;
    step->device = config->optimizer->params->device;
    step->queue = step->device->backend->queue;
    step->record = config->record && step->queue && step->queue->record_begin;
    step->arrived = step->own;
    if (step->queue)
        AC_TRY(step->queue->allocate_host(step->device, sizeof step->own, (void **)&step->arrived));
    *out = step;
    return AC_OK;
out:
    if (step)
        step->arrived = step->own;
    ac_step_destroy(step);
    return status;
}

void ac_step_destroy(ac_step *step)
{
    if (!step)
        return;
    if (step->queue && step->device->backend->synchronize)
        (void)step->device->backend->synchronize(step->device); /* what failed was told, or is of no use any more */
    for (int p = 0; p < AC_STEP_MAX_PLANS; p++)
        for (int k = 0; k < N_PARTS; k++)
            if (step->variety[p][k].recording)
                step->queue->release_recording(step->device, step->variety[p][k].recording);
    if (step->arrived != step->own)
        step->queue->release_host(step->device, step->arrived);
    ac_free(step);
}

static ac_status work(ac_step *step, int p, unsigned part)
{
    ac_status status = AC_OK;
    ac_plan *plan = step->config.plan[p];
    ac_step_state *state = step->config.optimizer->params->state;
    AC_TRY(ac_plan_forward(plan));
    AC_TRY(step->device->backend->add_loss(step->device, state, plan_address(plan, step->config.loss[p]), part & AC_STEP_FIRST));
    AC_TRY(ac_plan_backward(plan, !(part & AC_STEP_FIRST)));
    if (part & AC_STEP_UPDATE)
        AC_TRY(ac_optimizer_update_all(step->config.optimizer));
out:
    return status;
}

/* A device that cannot record something works on without: slower, never wrong. */
static ac_status record(ac_step *step, int p, unsigned part)
{
    ac_status status = AC_OK, ended;
    AC_TRY(step->queue->record_begin(step->device));
    status = work(step, p, part);
    ended = step->queue->record_end(step->device, &step->variety[p][part].recording);
    status = status == AC_OK ? ended : status;
out:
    if (status == AC_OK)
        return AC_OK;
    if (step->variety[p][part].recording)
        step->queue->release_recording(step->device, step->variety[p][part].recording);
    step->variety[p][part].recording = NULL;
    step->record = false;
    ac_log(AC_LOG_WARN, "steps are not recorded, which may make them slower: %s", ac_error_text());
    return AC_OK;
}

ac_status ac_step_run(ac_step *step, int p, unsigned part, const ac_plan_hooks *hooks, double learning_rate)
{
    ac_status status = AC_OK;
    variety *mine = &step->variety[p][part];
    const ac_plan_hooks none = {0};
    ac_plan_set_hooks(step->config.plan[p], hooks ? hooks : &none);
    if (part & AC_STEP_UPDATE)
        AC_TRY(ac_optimizer_set(step->config.optimizer, learning_rate));
    if (step->record && !(hooks && hooks->sum_over_ranks) && !mine->recording && mine->n_runs > 0) /* the first time sets things up that are made late */
        AC_TRY(record(step, p, part));
    mine->n_runs++;
    if (mine->recording) {
        AC_TRY(step->queue->replay(step->device, mine->recording));
        ac_params_changed(step->config.optimizer->params);
    } else {
        AC_TRY(work(step, p, part));
    }
out:
    return status;
}

ac_status ac_step_update(ac_step *step, double learning_rate)
{
    ac_status status = AC_OK;
    AC_TRY(ac_optimizer_set(step->config.optimizer, learning_rate));
    AC_TRY(ac_optimizer_update_all(step->config.optimizer));
out:
    return status;
}

ac_status ac_step_end(ac_step *step)
{
    ac_status status = AC_OK;
    int place = (int)(step->n_ended % AC_STEPS_AHEAD);
    ac_step_state *state = step->config.optimizer->params->state;
    if (ac_step_n_waiting(step) == AC_STEPS_AHEAD)
        return ac_error(AC_ERR_RANGE, "%d steps wait already", AC_STEPS_AHEAD);
    if (step->queue) {
        AC_TRY(step->queue->fetch(step->device, &step->arrived[place], state, sizeof *state));
        AC_TRY(step->queue->mark(step->device, place));
    } else {
        AC_TRY(step->device->backend->download(step->device, &step->arrived[place], state, sizeof *state));
    }
    step->n_ended++;
out:
    return status;
}

int ac_step_n_waiting(const ac_step *step)
{
    return (int)(step->n_ended - step->n_taken);
}

ac_status ac_step_take(ac_step *step, ac_step_state *state)
{
    ac_status status = AC_OK;
    int place = (int)(step->n_taken % AC_STEPS_AHEAD);
    if (ac_step_n_waiting(step) == 0)
        return ac_error(AC_ERR_RANGE, "no step waits");
    if (step->queue)
        AC_TRY(step->queue->wait(step->device, place));
    step->n_taken++;
    *state = step->arrived[place];
    AC_TRY(ac_optimizer_take(step->config.optimizer, state));
out:
    return status;
}

ac_status ac_step_read_loss(ac_step *step, double *loss)
{
    return step->device->backend->download(step->device, loss, &step->config.optimizer->params->state->loss, sizeof *loss);
}

bool ac_step_is_recorded(const ac_step *step)
{
    for (int p = 0; p < AC_STEP_MAX_PLANS; p++)
        for (int k = 0; k < N_PARTS; k++)
            if (step->variety[p][k].recording)
                return true;
    return false;
}
