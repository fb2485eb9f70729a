/* Queued work of the emulated device: streams and events as a graph of what needs what, done in an order that CUDA allows. Recordings are graph.cc's. */
#include "tests/cuda_host/internal.h"
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <unordered_set>

namespace emulated {

static const double HOST_PATIENCE_S = 4e-3;

std::mutex engine;

struct engine_state { /* never destroyed: threads may outlive main() */
    std::map<uint64_t, op_ref> pending; /* all that is not done, in the order in which it was asked for */
    std::vector<op_ref> ready;          /* of these, what could be done now */
    std::map<uint64_t, op_ref> host;    /* host functions that are not called yet */
    std::deque<op_ref> to_call;         /* of these, whose turn it is */
    std::condition_variable something;  /* a host function returned, or is to be called */
    std::unordered_set<CUstream_st *> streams;
    std::unordered_set<CUevent_st *> events;
    CUstream_st legacy;
    uint64_t n_serials = 0;
    emulated_counts done = {};
    bool thread_runs = false;
};

enum order_mode { ORDER_LATE, ORDER_EARLY, ORDER_RANDOM };
static order_mode mode;
static uint64_t random_state;

static std::mutex failure_lock;
static cudaError_t failure;
static char failure_text[512];
static thread_local cudaError_t last_error;
static thread_local bool in_host_function, is_host_thread;

static engine_state &state()
{
    static engine_state *the = [] {
        engine_state *made = new engine_state;
        made->legacy.blocking = true;
        emulated_set_order(NULL, NULL);
        return made;
    }();
    return *the;
}

static double now_s()
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

static void fail(cudaError_t error, const std::string &text)
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

bool is_event(cudaEvent_t event)
{
    return state().events.count(event) > 0;
}

bool is_stream(cudaStream_t stream)
{
    return stream == NULL || state().streams.count(stream) > 0;
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

static void look_at_guards(const char *name)
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

/* ---- streams ---- */

static CUstream_st *stream_of(cudaStream_t stream)
{
    return stream ? stream : &state().legacy;
}

/* What the next work on a stream needs: the one before, and between the legacy stream and those that wait for it what CUDA puts in. */
static std::vector<op_ref> needs_of(const CUstream_st *stream)
{
    engine_state &s = state();
    std::vector<op_ref> needs = {stream->last};
    if (stream == &s.legacy) {
        for (CUstream_st *each : s.streams)
            if (each->blocking)
                needs.push_back(each->last);
    } else if (stream->blocking) {
        needs.push_back(s.legacy.last);
    }
    return needs;
}

cudaError_t enqueue(hold &lock, cudaStream_t given, work_ref what, op_ref *out)
{
    CUstream_st *stream = stream_of(given);
    cudaError_t error = standing();
    if (out)
        out->reset();
    if (error == cudaSuccess && !is_stream(given))
        error = cudaErrorInvalidResourceHandle;
    if (error != cudaSuccess)
        return error;
    if (stream == &state().legacy && is_recording_here()) {
        refuse_unsafe();
        return cudaErrorStreamCaptureImplicit;
    }
    if (stream->recording)
        return record_work(stream, std::move(what));
    op_ref op = add_operation(lock, std::move(what), needs_of(stream));
    stream->last = op;
    if (out)
        *out = op;
    return cudaSuccess;
}

/* Everything on the way to `target` is waited for; then errors of queued work are told. */
static cudaError_t wait_for(hold &lock, const op_ref &target)
{
    cudaError_t error = standing();
    if (error != cudaSuccess)
        return error;
    force(lock, target);
    look_at_guards("host code");
    return standing();
}

static cudaError_t query(hold &lock, const op_ref &target)
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

static cudaError_t create_stream(cudaStream_t *out, unsigned flags)
{
    hold lock(engine);
    *out = NULL;
    if (standing() != cudaSuccess)
        return standing();
    CUstream_st *stream = new CUstream_st;
    stream->blocking = !(flags & cudaStreamNonBlocking);
    state().streams.insert(stream);
    *out = stream;
    return cudaSuccess;
}

static cudaError_t create_event(cudaEvent_t *out, unsigned flags)
{
    hold lock(engine);
    *out = NULL;
    if (standing() != cudaSuccess)
        return standing();
    CUevent_st *event = new CUevent_st;
    event->timing = !(flags & cudaEventDisableTiming);
    state().events.insert(event);
    *out = event;
    return cudaSuccess;
}

static cudaError_t destroy_stream(cudaStream_t stream) /* its work is done all the same */
{
    hold lock(engine);
    if (!stream || !is_stream(stream))
        return cudaErrorInvalidResourceHandle;
    if (stream->recording) {
        std::vector<CUstream_st *> &part = stream->recording->streams;
        invalidate(stream->recording, cudaErrorStreamCaptureInvalidated);
        for (size_t i = 0; i < part.size(); i++)
            if (part[i] == stream)
                part.erase(part.begin() + (ptrdiff_t)i--);
    }
    state().streams.erase(stream);
    delete stream;
    return cudaSuccess;
}

static cudaError_t synchronize_stream(cudaStream_t given)
{
    hold lock(engine);
    if (!is_stream(given))
        return cudaErrorInvalidResourceHandle;
    CUstream_st *stream = stream_of(given);
    if (stream->recording)
        return invalidate(stream->recording, cudaErrorStreamCaptureUnsupported);
    if (is_recording_here())
        return refuse_unsafe();
    std::vector<op_ref> needs = needs_of(stream);
    cudaError_t error = cudaSuccess;
    for (size_t i = 0; i < needs.size() && error == cudaSuccess; i++)
        error = wait_for(lock, needs[i]);
    return error;
}

static cudaError_t check_event(CUevent_st *event)
{
    if (!is_event(event))
        return cudaErrorInvalidResourceHandle;
    if (event->recording)
        return event->recording->ended ? cudaErrorCapturedEvent : invalidate(event->recording, cudaErrorCapturedEvent);
    return is_recording_here() ? refuse_unsafe() : cudaSuccess;
}

static cudaError_t record_event(cudaEvent_t event, cudaStream_t given, unsigned flags)
{
    hold lock(engine);
    CUstream_st *stream = stream_of(given);
    cudaError_t error = standing();
    if (error != cudaSuccess)
        return error;
    if (!is_event(event) || !is_stream(given))
        return cudaErrorInvalidResourceHandle;
    if (stream->recording && (flags & cudaEventRecordExternal)) {
        auto what = std::make_shared<work>(WORK_RECORD, "record");
        what->event = event;
        return record_work(stream, what);
    }
    if (stream->recording && stream->recording->invalid)
        return cudaErrorStreamCaptureInvalidated;
    if (!stream->recording && stream == &state().legacy && is_recording_here())
        return refuse_unsafe();
    event->recording = stream->recording;
    event->frontier = stream->frontier;
    event->recorded_s = now_s();
    event->last = stream->recording ? nullptr : stream->last;
    return cudaSuccess;
}

static cudaError_t wait_event(cudaStream_t given, cudaEvent_t event, unsigned flags)
{
    hold lock(engine);
    CUstream_st *stream = stream_of(given);
    cudaError_t error = standing();
    if (error != cudaSuccess)
        return error;
    if (!is_event(event) || !is_stream(given))
        return cudaErrorInvalidResourceHandle;
    if (stream->recording || event->recording)
        return wait_in_recording(stream, event, flags);
    std::vector<op_ref> needs = needs_of(stream);
    if (event->last && event->last->state != operation::DONE) {
        needs.push_back(event->last);
        stream->last = add_operation(lock, nullptr, needs);
    }
    return cudaSuccess;
}

/* ---- copies ---- */

/* Is it what the copy's direction says? Checked when it is asked for and when it is done: the block may be gone by then. */
static std::string check_operand(const void *pointer, size_t n_bytes, bool device)
{
    size_t left;
    memory_kind kind = kind_of(pointer, &left);
    char text[128];
    if (device)
        return check_device(pointer, n_bytes);
    if (kind == MEMORY_UNKNOWN || (kind == MEMORY_PINNED && n_bytes <= left))
        return "";
    snprintf(text, sizeof text, "%p is %s, not host memory of %zu bytes", pointer, kind == MEMORY_DEVICE ? "device memory" : kind == MEMORY_FREED ? "freed" : "pinned", n_bytes);
    return text;
}

static std::string check_copy(const void *to, const void *from, size_t n_bytes, bool to_device, bool from_device)
{
    std::string wrong = check_operand(to, n_bytes, to_device);
    return wrong.empty() ? check_operand(from, n_bytes, from_device) : wrong;
}

static bool is_pinned(const void *pointer)
{
    size_t left;
    return kind_of(pointer, &left) == MEMORY_PINNED;
}

static cudaError_t wrong_operand(const char *what, const std::string &wrong)
{
    fprintf(stderr, "emulated CUDA: %s: %s\n", what, wrong.c_str());
    return cudaErrorInvalidValue;
}

static cudaError_t copy(void *to, const void *from, size_t n_bytes, cudaMemcpyKind kind, cudaStream_t stream)
{
    hold lock(engine);
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice, from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (n_bytes == 0)
        return standing();
    if (kind == cudaMemcpyHostToHost || kind > cudaMemcpyDeviceToDevice)
        return cudaErrorInvalidMemcpyDirection;
    std::string wrong = check_copy(to, from, n_bytes, to_device, from_device);
    if (!wrong.empty())
        return wrong_operand("copy", wrong);
    const void *host = to_device ? from_device ? NULL : from : to;
    bool pageable = host && !is_pinned(host);
    if (pageable && is_stream(stream) && stream_of(stream)->recording)
        return invalidate(stream_of(stream)->recording, cudaErrorStreamCaptureUnsupported);
    std::shared_ptr<std::vector<unsigned char>> staged;
    if (pageable && to_device && !is_dry())
        staged = std::make_shared<std::vector<unsigned char>>((const unsigned char *)from, (const unsigned char *)from + n_bytes);
    auto what = std::make_shared<work>(WORK_COPY, "copy", [=] {
        std::string gone = check_copy(to, from, n_bytes, to_device, from_device);
        if (gone.empty())
            memmove(to, staged ? staged->data() : from, n_bytes);
        else
            fail(cudaErrorIllegalAddress, "copy: " + gone);
    });
    what->n_bytes = n_bytes;
    what->pinned = pageable ? NULL : host;
    op_ref op;
    cudaError_t error = enqueue(lock, stream, what, &op);
    return error == cudaSuccess && pageable && from_device ? wait_for(lock, op) : error;
}

static cudaError_t set_memory(void *block, int value, size_t n_bytes, cudaStream_t stream)
{
    hold lock(engine);
    std::string wrong = n_bytes ? check_device(block, n_bytes) : "";
    if (!wrong.empty())
        return wrong_operand("memset", wrong);
    if (n_bytes == 0)
        return standing();
    auto what = std::make_shared<work>(WORK_MEMSET, "memset", [=] {
        std::string gone = check_device(block, n_bytes);
        if (gone.empty())
            memset(block, value, n_bytes);
        else
            fail(cudaErrorIllegalAddress, "memset: " + gone);
    });
    what->n_bytes = n_bytes;
    return enqueue(lock, stream, what);
}

static cudaError_t allocate(void **out, size_t n_bytes, memory_kind kind)
{
    hold lock(engine);
    *out = NULL;
    cudaError_t error = standing();
    if (error == cudaSuccess && is_recording_here())
        error = refuse_unsafe();
    return error == cudaSuccess ? create_block(out, n_bytes, kind) : error;
}

/* cudaFree() waits for the device, cudaFreeHost() does not say that it does. */
static cudaError_t release(void *block, memory_kind kind)
{
    hold lock(engine);
    if (!block)
        return cudaSuccess;
    if (is_recording_here())
        return refuse_unsafe();
    if (kind == MEMORY_DEVICE)
        force_all(lock);
    else
        for (auto &each : state().pending)
            if (each.second->what && each.second->what->pinned) {
                size_t from_block, from_use;
                kind_of(block, &from_block);
                kind_of(each.second->what->pinned, &from_use);
                uintptr_t at = (uintptr_t)each.second->what->pinned;
                if (at >= (uintptr_t)block && at < (uintptr_t)block + from_block)
                    fail(cudaErrorIllegalAddress, "cudaFreeHost of memory that a queued copy needs");
            }
    look_at_guards("host code");
    cudaError_t error = destroy_block(block, kind);
    return error == cudaSuccess ? standing() : error;
}

}

using namespace emulated;

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t *out)
{
    return result(create_stream(out, cudaStreamDefault));
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    return result(create_stream(out, flags));
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    return result(destroy_stream(stream));
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    return result(synchronize_stream(stream));
}

cudaError_t cudaStreamQuery(cudaStream_t given)
{
    hold lock(engine);
    if (!is_stream(given))
        return result(cudaErrorInvalidResourceHandle);
    CUstream_st *stream = stream_of(given);
    if (stream->recording)
        return result(invalidate(stream->recording, cudaErrorStreamCaptureUnsupported));
    return result(is_recording_here() ? refuse_unsafe() : query(lock, stream->last));
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    return result(wait_event(stream, event, flags));
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *context)
{
    hold lock(engine);
    return result(enqueue(lock, stream, std::make_shared<work>(WORK_HOST, "host", [=] { function(context); })));
}

cudaError_t cudaEventCreate(cudaEvent_t *out)
{
    return result(create_event(out, cudaEventDefault));
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags)
{
    return result(create_event(out, flags));
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    hold lock(engine);
    if (state().events.erase(event) == 0)
        return result(cudaErrorInvalidResourceHandle);
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    return result(record_event(event, stream, cudaEventRecordDefault));
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags)
{
    return result(record_event(event, stream, flags));
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    hold lock(engine);
    cudaError_t error = check_event(event);
    return result(error == cudaSuccess ? wait_for(lock, event->last) : error);
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    hold lock(engine);
    cudaError_t error = check_event(event);
    return result(error == cudaSuccess ? query(lock, event->last) : error);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    hold lock(engine);
    const CUevent_st *event[2] = {from, to};
    double at[2];
    for (int i = 0; i < 2; i++) {
        if (!is_event((cudaEvent_t)event[i]) || !event[i]->timing)
            return result(cudaErrorInvalidResourceHandle);
        if (event[i]->last && event[i]->last->state != operation::DONE)
            return cudaErrorNotReady;
        at[i] = event[i]->last ? event[i]->last->done_s : event[i]->recorded_s;
    }
    *ms = at[1] - at[0] > 1e-6 ? (float)(1e3 * (at[1] - at[0])) : 1e-3f;
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n_bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    return result(copy(to, from, n_bytes, kind, stream));
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t n_bytes, enum cudaMemcpyKind kind)
{
    cudaError_t error = copy(to, from, n_bytes, kind, NULL);
    return result(error == cudaSuccess ? synchronize_stream(NULL) : error);
}

cudaError_t cudaMemsetAsync(void *block, int value, size_t n_bytes, cudaStream_t stream)
{
    return result(set_memory(block, value, n_bytes, stream));
}

cudaError_t cudaMalloc(void **out, size_t n_bytes)
{
    return result(allocate(out, n_bytes, MEMORY_DEVICE));
}

cudaError_t cudaFree(void *block)
{
    return result(release(block, MEMORY_DEVICE));
}

cudaError_t cudaMallocHost(void **out, size_t n_bytes)
{
    return result(allocate(out, n_bytes, MEMORY_PINNED));
}

cudaError_t cudaFreeHost(void *block)
{
    return result(release(block, MEMORY_PINNED));
}

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
    last_error = cudaSuccess;
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
        if (row.error == error)
            return row.text;
    snprintf(text, sizeof text, "error %d", (int)error);
    return text;
}

void emulated_enqueue(cudaStream_t stream, const char *name, void (*run)(void *context), const void *context, size_t context_bytes)
{
    std::vector<unsigned char> copied((const unsigned char *)context, (const unsigned char *)context + context_bytes);
    hold lock(engine);
    cudaError_t error = enqueue(lock, stream, std::make_shared<work>(WORK_LIBRARY, name, [=] {
        std::vector<unsigned char> own(copied); /* a replay finds it as it was recorded */
        run(own.data());
    }));
    if (error != cudaSuccess && error != cudaErrorStreamCaptureInvalidated)
        fail(error, std::string(name) + ": " + cudaGetErrorString(error));
    result(error);
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
