/* Steps on a device that may work behind the caller's back: recording, replaying, reading results late. Arithmetic is in plan.c and optimizer.c. */
#include "anyclass/step.h"
#include "anyclass/alloc.h"
#include "nn/plan_internal.h"
#include "nn/recorded.h"

enum { N_PARTS = 8 };

struct ac_step {
    ac_step_config config;
    ac_device *device;
    const ac_queue *queue;      /* NULL: everything is done when a call returns */
    recorder recorder;
    recorded piece[AC_STEP_MAX_PLANS][N_PARTS];
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
    step->recorder = recorder_of(step->device, config->record);
    step->queue = step->recorder.queue;
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
    recorder_settle(&step->recorder);
    for (int p = 0; p < AC_STEP_MAX_PLANS; p++)
        for (int k = 0; k < N_PARTS; k++)
            recorded_release(&step->recorder, &step->piece[p][k]);
    if (step->arrived != step->own)
        step->queue->release_host(step->device, step->arrived);
    ac_free(step);
}

typedef struct request {
    ac_step *step;
    int plan;
    unsigned part;
} request;

static ac_status work(void *context)
{
    ac_status status = AC_OK;
    const request *r = context;
    ac_plan *plan = r->step->config.plan[r->plan];
    ac_step_state *state = r->step->config.optimizer->params->state;
    AC_TRY(ac_plan_forward(plan));
    AC_TRY(r->step->device->backend->add_loss(r->step->device, state, plan_address(plan, r->step->config.loss[r->plan]), r->part & AC_STEP_FIRST));
    AC_TRY(ac_plan_backward(plan, !(r->part & AC_STEP_FIRST)));
    if (r->part & AC_STEP_UPDATE)
        AC_TRY(ac_optimizer_update_all(r->step->config.optimizer));
out:
    return status;
}

ac_status ac_step_run(ac_step *step, int p, unsigned part, const ac_plan_hooks *hooks, double learning_rate)
{
    ac_status status = AC_OK;
    request mine = {step, p, part};
    const ac_plan_hooks none = {0};
    ac_optimizer *optimizer = step->config.optimizer;
    ac_plan_set_hooks(step->config.plan[p], hooks ? hooks : &none);
    AC_TRY(ac_optimizer_set(optimizer, part & AC_STEP_UPDATE ? learning_rate : optimizer->state.learning_rate)); /* backward wants the loss scale already */
    AC_TRY(recorded_run(&step->recorder, &step->piece[p][part], hooks && hooks->sum_over_ranks, work, &mine));
    ac_params_changed(step->config.optimizer->params); /* a replay does not tell */
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
            if (step->piece[p][k].recording)
                return true;
    return false;
}
