/* Queued work of the emulated device: what needs what, and in which of the orders that CUDA allows it is done. Who asks for it: stream.cc, graph.cc. */
#include "tests/cuda_host/internal.h"
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>

namespace emulated {

static const double HOST_PATIENCE_S = 4e-3;

std::mutex engine;

struct engine_state { /* never destroyed: threads may outlive main() */
    std::map<uint64_t, op_ref> pending; /* all that is not done, in the order in which it was asked for */
    std::vector<op_ref> ready;          /* of these, what could be done now */
    std::map<uint64_t, op_ref> host;    /* host functions that are not called yet */
    std::deque<op_ref> to_call;         /* of these, whose turn it is */
    std::condition_variable something;  /* a host function returned, or is to be called */
    uint64_t n_serials = 0;
    emulated_counts done = {};
    bool thread_runs = false;
};

enum order_mode { ORDER_LATE, ORDER_EARLY, ORDER_RANDOM };
static order_mode mode;
static bool order_is_set;
static uint64_t random_state;

static std::mutex failure_lock;
static cudaError_t failure;
static char failure_text[512];
static thread_local cudaError_t last_error, explained;
static thread_local std::string explanation;
static thread_local bool in_host_function, is_host_thread;

static engine_state &state()
{
    static engine_state *the = [] {
        if (!order_is_set)
            emulated_set_order(NULL, NULL);
        return new engine_state;
    }();
    return *the;
}

double now_s()
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static uint64_t random_word() /* splitmix64 */
{
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

void fail(cudaError_t error, const std::string &text)
{
    std::lock_guard<std::mutex> guard(failure_lock);
    if (failure == cudaSuccess) {
        failure = error;
        snprintf(failure_text, sizeof failure_text, "%s", text.c_str());
    }
}

cudaError_t standing()
{
    if (in_host_function) {
        fail(cudaErrorNotPermitted, "a host function called CUDA");
        return cudaErrorNotPermitted;
    }
    std::lock_guard<std::mutex> guard(failure_lock);
    return failure;
}

cudaError_t result(cudaError_t error)
{
    if (error != cudaSuccess && error != cudaErrorNotReady)
        last_error = error;
    return error;
}

cudaError_t explain(cudaError_t error, const std::string &text)
{
    explained = error;
    explanation = text;
    return error;
}

void count(emulated_counts *counts, const work &what)
{
    switch (what.kind) {
    case WORK_KERNEL: counts->n_kernels++; break;
    case WORK_LIBRARY: counts->n_library++; break;
    case WORK_COPY: counts->n_copies++, counts->copied_bytes += what.n_bytes; break;
    case WORK_MEMSET: counts->n_memsets++, counts->set_bytes += what.n_bytes; break;
    case WORK_HOST: counts->n_host++; break;
    case WORK_WAIT: counts->n_waits++; break;
    case WORK_RECORD: break;
    }
}

/* ---- doing it ---- */

static void make_ready(op_ref op)
{
    op->ready_at = state().ready.size();
    state().ready.push_back(std::move(op));
}

static void begin(const op_ref &op)
{
    std::vector<op_ref> &ready = state().ready;
    size_t at = op->ready_at;
    op->state = operation::RUNNING;
    ready.back()->ready_at = at;
    std::swap(ready[at], ready.back());
    ready.pop_back();
}

static void finish(op_ref op)
{
    engine_state &s = state();
    op->state = operation::DONE;
    op->done_s = now_s();
    if (op->what)
        count(&s.done, *op->what);
    op->what.reset();
    op->needs.clear();
    for (operation *follower : op->followers)
        if (--follower->n_missing == 0)
            make_ready(s.pending[follower->serial]);
    op->followers.clear();
    s.pending.erase(op->serial);
}

void look_at_guards(const char *name)
{
    std::string damage = check_guards();
    if (!damage.empty())
        fail(cudaErrorIllegalAddress, std::string(name) + ": " + damage);
}

/* The host thread only, its turn has come. */
static void call_host_function(hold &lock, const op_ref &op)
{
    engine_state &s = state();
    s.host.erase(op->serial);
    lock.unlock();
    in_host_function = true;
    op->what->run();
    in_host_function = false;
    lock.lock();
    finish(op);
    s.something.notify_all();
}

/* Something whose needs are done. Host functions are only handed over. */
static void do_one(hold &lock, op_ref op)
{
    begin(op);
    if (op->what && op->what->kind == WORK_HOST) {
        if (is_host_thread) {
            call_host_function(lock, op);
        } else {
            state().to_call.push_back(op);
            state().something.notify_all();
        }
        return;
    }
    if (op->what && op->what->run && !is_dry()) {
        op->what->run();
        look_at_guards(op->what->name);
    }
    finish(std::move(op));
}

/* For a host function to return; the thread that calls them does not wait for itself. */
static void wait_for_host(hold &lock)
{
    engine_state &s = state();
    if (is_host_thread && !s.to_call.empty()) {
        op_ref op = s.to_call.front();
        s.to_call.pop_front();
        call_host_function(lock, op);
    } else {
        s.something.wait(lock);
    }
}

/* One step towards `target`, the last of its needs first: others are not touched. */
static void step_towards(hold &lock, std::vector<op_ref> &way)
{
    op_ref top = way.back();
    if (top->state == operation::DONE) {
        way.pop_back();
    } else if (top->state == operation::RUNNING) {
        wait_for_host(lock);
    } else if (top->n_missing == 0) {
        do_one(lock, top);
    } else {
        for (size_t i = top->needs.size(); i-- > 0;)
            if (top->needs[i]->state != operation::DONE) {
                way.push_back(top->needs[i]);
                break;
            }
    }
}

static void do_random(hold &lock)
{
    std::vector<op_ref> &ready = state().ready;
    do_one(lock, ready[random_word() % ready.size()]);
}

void force(hold &lock, op_ref target)
{
    std::vector<op_ref> way;
    if (!target)
        return;
    while (mode == ORDER_RANDOM && target->state != operation::DONE)
        if (state().ready.empty())
            wait_for_host(lock);
        else
            do_random(lock);
    for (way.push_back(target); !way.empty();)
        step_towards(lock, way);
}

void force_all(hold &lock)
{
    while (!state().pending.empty())
        force(lock, mode == ORDER_LATE ? state().pending.rbegin()->second : state().pending.begin()->second);
}

/* What others wait for without asking the runtime: once a host function has waited for long, its thread does what is in front of it. */
static void run_host_thread()
{
    engine_state &s = state();
    hold lock(engine);
    is_host_thread = true;
    for (;;) {
        if (!s.to_call.empty() || s.host.empty()) {
            wait_for_host(lock);
        } else {
            op_ref oldest = s.host.begin()->second;
            double left_s = oldest->asked_s + HOST_PATIENCE_S - now_s();
            if (left_s > 0)
                s.something.wait_for(lock, std::chrono::duration<double>(left_s));
            else if (oldest->state == operation::WAITING)
                force(lock, oldest);
        }
    }
}

/* A little of what could be done, as a device that is not slow would. */
static void progress(hold &lock)
{
    std::vector<op_ref> &ready = state().ready;
    if (mode == ORDER_EARLY)
        while (!ready.empty())
            do_one(lock, ready.back());
    else if (mode == ORDER_RANDOM)
        while (!ready.empty() && random_word() % 4 == 0)
            do_random(lock);
}

op_ref add_operation(hold &lock, work_ref what, std::vector<op_ref> needs)
{
    engine_state &s = state();
    op_ref op = std::make_shared<operation>();
    op->what = std::move(what);
    op->serial = s.n_serials++;
    op->asked_s = now_s();
    for (op_ref &each : needs)
        if (each && each->state != operation::DONE) {
            each->followers.push_back(op.get());
            op->needs.push_back(std::move(each));
        }
    op->n_missing = (unsigned)op->needs.size();
    s.pending[op->serial] = op;
    if (op->what && op->what->kind == WORK_HOST) {
        s.host[op->serial] = op;
        if (!s.thread_runs)
            std::thread(run_host_thread).detach();
        s.thread_runs = true;
        s.something.notify_all();
    }
    if (op->n_missing == 0)
        make_ready(op);
    progress(lock);
    return op;
}

/* Everything on the way to `target` is waited for; then errors of queued work are told. */
cudaError_t wait_for(hold &lock, const op_ref &target)
{
    cudaError_t error = standing();
    if (error != cudaSuccess)
        return error;
    force(lock, target);
    look_at_guards("host code");
    return standing();
}

cudaError_t query(hold &lock, const op_ref &target)
{
    cudaError_t error = standing();
    if (error != cudaSuccess || !target || target->state == operation::DONE)
        return error;
    std::vector<op_ref> way = {target};
    size_t n = state().pending.size();
    while (!way.empty() && way.back()->state != operation::RUNNING && state().pending.size() == n)
        step_towards(lock, way);
    return cudaErrorNotReady;
}

bool is_needed(const void *block)
{
    size_t n_bytes;
    kind_of(block, &n_bytes);
    for (auto &each : state().pending) {
        uintptr_t used = each.second->what ? (uintptr_t)each.second->what->pinned : 0;
        if (used >= (uintptr_t)block && used < (uintptr_t)block + n_bytes)
            return true;
    }
    return false;
}

}

using namespace emulated;

extern "C" {

cudaError_t cudaDeviceSynchronize(void)
{
    hold lock(engine);
    cudaError_t error = standing();
    if (error == cudaSuccess && is_recording_anywhere()) {
        refuse_unsafe();
        error = cudaErrorStreamCaptureUnsupported;
    }
    if (error == cudaSuccess) {
        force_all(lock);
        error = wait_for(lock, nullptr);
    }
    return result(error);
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last_error;
    last_error = explained = cudaSuccess;
    return error == cudaSuccess ? standing() : error;
}

cudaError_t cudaPeekAtLastError(void)
{
    return last_error == cudaSuccess ? standing() : last_error;
}

const char *cudaGetErrorString(cudaError_t error)
{
    static const struct {
        cudaError_t error;
        const char *text;
    } table[] = {
        {cudaSuccess, "no error"},
        {cudaErrorInvalidValue, "invalid argument"},
        {cudaErrorMemoryAllocation, "out of memory"},
        {cudaErrorInvalidConfiguration, "invalid configuration of a launch"},
        {cudaErrorNoDevice, "no device"},
        {cudaErrorInvalidResourceHandle, "not a stream, event or graph"},
        {cudaErrorNotReady, "not ready"},
        {cudaErrorStreamCaptureUnsupported, "not permitted while a stream is recorded"},
        {cudaErrorStreamCaptureInvalidated, "the recording failed earlier"},
        {cudaErrorStreamCaptureUnmatched, "the recording did not begin on this stream"},
        {cudaErrorStreamCaptureUnjoined, "a stream of the recording was not joined"},
        {cudaErrorStreamCaptureIsolation, "a recording would depend on work outside of it"},
        {cudaErrorStreamCaptureImplicit, "a recording would depend on the legacy stream"},
        {cudaErrorCapturedEvent, "the event is part of a recording"},
    };
    static thread_local char text[600];
    std::lock_guard<std::mutex> guard(failure_lock);
    if (failure != cudaSuccess && error == failure) {
        snprintf(text, sizeof text, "%s", failure_text);
        return text;
    }
    for (const auto &row : table)
        if (row.error == error && error != explained)
            return row.text;
        else if (row.error == error)
            return snprintf(text, sizeof text, "%s: %s", row.text, explanation.c_str()), text;
    snprintf(text, sizeof text, "error %d", (int)error);
    return text;
}

const char *emulated_check_guards(void)
{
    static thread_local std::string text;
    text = check_guards();
    return text.empty() ? NULL : text.c_str();
}

void emulated_fail(cudaError_t error, const char *text)
{
    fail(error, text);
}

const char *emulated_take_failure(void)
{
    static thread_local std::string text;
    hold lock(engine);
    force_all(lock);
    std::lock_guard<std::mutex> guard(failure_lock);
    text = failure == cudaSuccess ? "" : failure_text;
    failure = last_error = cudaSuccess;
    return text.empty() ? NULL : text.c_str();
}

void emulated_set_order(const char *streams, const char *threads)
{
    const char *given = streams ? streams : getenv("ANYCLASS_EMULATE_STREAMS");
    if (!given || !*given)
        given = "late";
    mode = strcmp(given, "late") == 0 ? ORDER_LATE : strcmp(given, "early") == 0 ? ORDER_EARLY : ORDER_RANDOM;
    random_state = strtoull(given, NULL, 10);
    order_is_set = true;
    set_thread_order(threads);
}

size_t emulated_n_pending(void)
{
    hold lock(engine);
    return state().pending.size();
}

void emulated_total_counts(emulated_counts *done, emulated_counts *recorded)
{
    hold lock(engine);
    if (done)
        *done = state().done;
    if (recorded)
        *recorded = n_recorded;
}

}
