/* Streams and events of the emulated device: they turn calls into queued work (engine.cc), or into a recording (graph.cc). */
#include "tests/cuda_host/internal.h"
#include <unordered_set>

namespace emulated {

static std::unordered_set<CUstream_st *> streams;
static std::unordered_set<CUevent_st *> events;

static CUstream_st *legacy()
{
    static CUstream_st *the = [] {
        CUstream_st *made = new CUstream_st;
        made->blocking = true;
        return made;
    }();
    return the;
}

bool is_event(cudaEvent_t event)
{
    return events.count(event) > 0;
}

bool is_stream(cudaStream_t stream)
{
    return stream == NULL || streams.count(stream) > 0;
}

CUstream_st *stream_of(cudaStream_t stream)
{
    return stream ? stream : legacy();
}

/* What the next work on a stream needs: the one before, and between the legacy stream and those that wait for it what CUDA puts in. */
static std::vector<op_ref> needs_of(const CUstream_st *stream)
{
    std::vector<op_ref> needs = {stream->last};
    if (stream == legacy()) {
        for (CUstream_st *each : streams)
            if (each->blocking)
                needs.push_back(each->last);
    } else if (stream->blocking) {
        needs.push_back(legacy()->last);
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
    if (stream == legacy() && is_recording_here()) {
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

static cudaError_t create_stream(cudaStream_t *out, unsigned flags)
{
    hold lock(engine);
    *out = NULL;
    if (standing() != cudaSuccess)
        return standing();
    CUstream_st *stream = new CUstream_st;
    stream->blocking = !(flags & cudaStreamNonBlocking);
    streams.insert(stream);
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
    events.insert(event);
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
    streams.erase(stream);
    delete stream;
    return cudaSuccess;
}

cudaError_t synchronize_stream(cudaStream_t given)
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
    if (!stream->recording && stream == legacy() && is_recording_here())
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
    if (events.erase(event) == 0)
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

void emulated_enqueue(cudaStream_t stream, const char *name, void (*run)(void *context), const void *context, size_t context_bytes)
{
    emulated_enqueue_held(stream, name, run, context, context_bytes, NULL, NULL);
}

void emulated_enqueue_held(cudaStream_t stream, const char *name, void (*run)(void *context), const void *context, size_t context_bytes, void (*released)(void *with), void *with)
{
    std::vector<unsigned char> copied((const unsigned char *)context, (const unsigned char *)context + context_bytes);
    std::shared_ptr<void> holder(with, [=](void *what) { /* the work's, so it ends with it */
        if (released)
            released(what);
    });
    hold lock(engine);
    cudaError_t error = enqueue(lock, stream, std::make_shared<work>(WORK_LIBRARY, name, [copied, run, holder] {
        std::vector<unsigned char> own(copied); /* a replay finds it as it was recorded */
        run(own.data());
    }));
    if (error != cudaSuccess && error != cudaErrorStreamCaptureInvalidated)
        fail(error, std::string(name) + ": " + cudaGetErrorString(error));
    result(error);
}

}
