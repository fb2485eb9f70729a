/* Forward passes on a device that may work behind the caller's back. */
#include "anyclass/forward.h"
#include "anyclass/alloc.h"
#include "nn/plan_internal.h"
#include "nn/recorded.h"

enum { FIRST_MARK = AC_QUEUE_MARKS - AC_FORWARDS_AHEAD }; /* those before are the steps' */

struct ac_forward {
    ac_plan *plan;
    ac_value value;
    size_t n_bytes;
    recorder recorder;
    recorded piece;
    void *result[AC_FORWARDS_AHEAD]; /* what passes left; memory the device copies to */
    int64_t n_run, n_taken;
};

static ac_status allocate(ac_forward *f, int k)
{
    const ac_queue *queue = f->recorder.queue;
    return queue ? queue->allocate_host(f->recorder.device, f->n_bytes, &f->result[k]) : ac_calloc(f->n_bytes, 1, &f->result[k]);
}

ac_status ac_forward_create(ac_plan *plan, ac_value result, bool record, ac_forward **out)
{
    ac_status status = AC_OK;
    ac_forward *f = NULL;
    *out = NULL;
    AC_TRY(ac_calloc(1, sizeof *f, &f));
    f->plan = plan;
    f->value = result;
    f->n_bytes = ac_shape_bytes(ac_graph_shape(plan->graph, result));
    f->recorder = recorder_of(plan->device, record);
    for (int k = 0; k < AC_FORWARDS_AHEAD; k++)
        AC_TRY(allocate(f, k));
    *out = f;
    return AC_OK;
out:
    ac_forward_destroy(f);
    return status;
}

void ac_forward_destroy(ac_forward *f)
{
    if (!f)
        return;
    recorder_settle(&f->recorder);
    recorded_release(&f->recorder, &f->piece);
    for (int k = 0; k < AC_FORWARDS_AHEAD; k++) {
        if (f->recorder.queue && f->result[k])
            f->recorder.queue->release_host(f->recorder.device, f->result[k]);
        else
            ac_free(f->result[k]);
    }
    ac_free(f);
}

static ac_status work(void *context)
{
    return ac_plan_forward(context);
}

ac_status ac_forward_run(ac_forward *f)
{
    ac_status status = AC_OK;
    int place = (int)(f->n_run % AC_FORWARDS_AHEAD);
    const ac_queue *queue = f->recorder.queue;
    if (ac_forward_n_waiting(f) == AC_FORWARDS_AHEAD)
        return ac_error(AC_ERR_RANGE, "%d passes wait already", AC_FORWARDS_AHEAD);
    AC_TRY(recorded_run(&f->recorder, &f->piece, plan_prepares(f->plan), work, f->plan));
    if (queue) {
        AC_TRY(queue->fetch(f->recorder.device, f->result[place], plan_address(f->plan, f->value), f->n_bytes));
        AC_TRY(queue->mark(f->recorder.device, FIRST_MARK + place));
    } else {
        AC_TRY(ac_plan_read(f->plan, f->value, f->result[place], f->n_bytes));
    }
    f->n_run++;
out:
    return status;
}

int ac_forward_lag(const ac_forward *f)
{
    return f->recorder.queue ? AC_FORWARDS_AHEAD - 1 : 0;
}

int ac_forward_n_waiting(const ac_forward *f)
{
    return (int)(f->n_run - f->n_taken);
}

ac_status ac_forward_take(ac_forward *f, void **result)
{
    ac_status status = AC_OK;
    int place = (int)(f->n_taken % AC_FORWARDS_AHEAD);
    if (ac_forward_n_waiting(f) == 0)
        return ac_error(AC_ERR_RANGE, "no pass waits");
    if (f->recorder.queue)
        AC_TRY(f->recorder.queue->wait(f->recorder.device, FIRST_MARK + place));
    f->n_taken++;
    *result = f->result[place];
out:
    return status;
}
