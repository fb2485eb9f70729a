/* Recordings of streams (stream capture) and their replays: what is asked for becomes nodes, a launch makes queued work of them. Refuses what CUDA refuses,
 * and on the safe side of its rules: whatever waits or allocates in the recording thread makes the recording invalid. */
#include "tests/cuda_host/internal.h"
#include <algorithm>
#include <unordered_set>

struct CUgraph_st {
    std::vector<emulated::graph_node> node;
};

struct CUgraphExec_st {
    std::vector<emulated::graph_node> node;
    emulated::op_ref last; /* a launch comes behind the one before */
};

namespace emulated {

emulated_counts n_recorded;
static std::vector<recording_ref> under_way;
static std::unordered_set<CUgraph_st *> graphs;
static std::unordered_set<CUgraphExec_st *> execs;

bool is_recording_anywhere()
{
    return !under_way.empty();
}

static bool forbids_here(const recording &r)
{
    return r.mode == cudaStreamCaptureModeGlobal || (r.mode == cudaStreamCaptureModeThreadLocal && r.owner == std::this_thread::get_id());
}

bool is_recording_here()
{
    return std::any_of(under_way.begin(), under_way.end(), [](const recording_ref &r) { return forbids_here(*r); });
}

cudaError_t refuse_unsafe()
{
    for (recording_ref &each : under_way)
        each->invalid = each->invalid || forbids_here(*each);
    return cudaErrorStreamCaptureUnsupported;
}

cudaError_t invalidate(const recording_ref &which, cudaError_t error)
{
    which->invalid = true;
    return error;
}

cudaError_t record_work(CUstream_st *stream, work_ref what)
{
    recording &r = *stream->recording;
    if (r.invalid)
        return cudaErrorStreamCaptureInvalidated;
    count(&n_recorded, *what);
    r.node.push_back({std::move(what), stream->frontier});
    stream->frontier = {r.node.size() - 1};
    return cudaSuccess;
}

static void join(std::vector<size_t> &frontier, const std::vector<size_t> &other)
{
    for (size_t each : other)
        if (std::find(frontier.begin(), frontier.end(), each) == frontier.end())
            frontier.push_back(each);
}

cudaError_t wait_in_recording(CUstream_st *stream, CUevent_st *event, unsigned flags)
{
    if (stream->recording && stream->recording->invalid)
        return cudaErrorStreamCaptureInvalidated;
    if (stream->recording && (flags & cudaEventWaitExternal)) {
        auto what = std::make_shared<work>(WORK_WAIT, "wait");
        what->event = event;
        return record_work(stream, what);
    }
    if (!event->recording)
        return invalidate(stream->recording, cudaErrorStreamCaptureIsolation);
    if (event->recording->ended)
        return stream->recording ? invalidate(stream->recording, cudaErrorStreamCaptureIsolation) : cudaErrorCapturedEvent;
    if (event->recording->invalid)
        return cudaErrorStreamCaptureInvalidated;
    if (stream->recording && stream->recording != event->recording) {
        invalidate(event->recording, cudaErrorStreamCaptureMerge);
        return invalidate(stream->recording, cudaErrorStreamCaptureMerge);
    }
    if (!stream->recording) {
        stream->recording = event->recording;
        stream->frontier.clear();
        stream->recording->streams.push_back(stream);
    }
    join(stream->frontier, event->frontier);
    return cudaSuccess;
}

static cudaError_t begin_recording(cudaStream_t stream, cudaStreamCaptureMode mode)
{
    hold lock(engine);
    cudaError_t error = standing();
    if (error != cudaSuccess)
        return error;
    if (!stream)
        return cudaErrorStreamCaptureUnsupported;
    if (!is_stream(stream))
        return cudaErrorInvalidResourceHandle;
    if (stream->recording)
        return cudaErrorIllegalState;
    recording_ref r = std::make_shared<recording>();
    r->origin = stream;
    r->mode = mode;
    r->owner = std::this_thread::get_id();
    r->streams = {stream};
    stream->recording = r;
    stream->frontier.clear();
    under_way.push_back(r);
    return cudaSuccess;
}

/* Is all that other streams were given in front of where the origin stands now? */
static bool is_joined(const recording &r)
{
    std::vector<bool> reached(r.node.size());
    for (size_t each : r.origin->frontier)
        reached[each] = true;
    for (size_t i = r.node.size(); i-- > 0;)
        if (reached[i])
            for (size_t each : r.node[i].needs)
                reached[each] = true;
    return std::find(reached.begin(), reached.end(), false) == reached.end();
}

static cudaError_t end_recording(cudaStream_t stream, cudaGraph_t *out)
{
    hold lock(engine);
    *out = NULL;
    if (!stream || !is_stream(stream))
        return cudaErrorInvalidResourceHandle;
    recording_ref r = stream->recording;
    if (!r)
        return cudaErrorIllegalState;
    if (r->origin != stream)
        return invalidate(r, cudaErrorStreamCaptureUnmatched);
    if (r->mode != cudaStreamCaptureModeRelaxed && r->owner != std::this_thread::get_id())
        return cudaErrorStreamCaptureWrongThread;
    cudaError_t error = r->invalid ? cudaErrorStreamCaptureInvalidated : is_joined(*r) ? cudaSuccess : cudaErrorStreamCaptureUnjoined;
    r->ended = true;
    for (CUstream_st *each : r->streams)
        each->recording.reset();
    under_way.erase(std::find(under_way.begin(), under_way.end(), r));
    if (error == cudaSuccess) {
        *out = new CUgraph_st{r->node};
        graphs.insert(*out);
    }
    r->node.clear(); /* events that were recorded in it keep the rest */
    return error == cudaSuccess ? standing() : error;
}

/* Memory that a replay reads or writes may be gone: the copies themselves look. Events of others must be there still. */
static cudaError_t launch(CUgraphExec_st *graph, cudaStream_t stream)
{
    hold lock(engine);
    cudaError_t error = standing();
    if (error != cudaSuccess)
        return error;
    if (!execs.count(graph) || !stream || !is_stream(stream))
        return cudaErrorInvalidResourceHandle;
    if (stream->recording)
        return invalidate(stream->recording, cudaErrorStreamCaptureUnsupported);
    op_ref first = add_operation(lock, nullptr, {stream->last, graph->last});
    std::vector<op_ref> made;
    std::vector<bool> needed(graph->node.size());
    for (const graph_node &node : graph->node) {
        std::vector<op_ref> needs;
        for (size_t each : node.needs) {
            needs.push_back(made[each]);
            needed[each] = true;
        }
        if (needs.empty())
            needs.push_back(first);
        if (node.what->event && !is_event(node.what->event))
            return cudaErrorInvalidResourceHandle;
        if (node.what->kind == WORK_WAIT)
            needs.push_back(node.what->event->last);
        made.push_back(add_operation(lock, node.what, needs));
        if (node.what->kind == WORK_RECORD) {
            node.what->event->last = made.back();
            node.what->event->recording.reset();
        }
    }
    std::vector<op_ref> ends = {first};
    for (size_t i = 0; i < made.size(); i++)
        if (!needed[i])
            ends.push_back(made[i]);
    graph->last = stream->last = add_operation(lock, nullptr, ends);
    return cudaSuccess;
}

}

using namespace emulated;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    return result(begin_recording(stream, mode));
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    return result(end_recording(stream, out));
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *out)
{
    hold lock(engine);
    if (!is_stream(stream))
        return result(cudaErrorInvalidResourceHandle);
    const recording *r = stream ? stream->recording.get() : nullptr;
    *out = !r ? cudaStreamCaptureStatusNone : r->invalid ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long)
{
    hold lock(engine);
    *out = NULL;
    if (!graphs.count(graph))
        return result(cudaErrorInvalidResourceHandle);
    *out = new CUgraphExec_st{graph->node, nullptr};
    execs.insert(*out);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream)
{
    return result(launch(graph, stream));
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) /* launches under way go on */
{
    hold lock(engine);
    if (!execs.erase(graph))
        return result(cudaErrorInvalidResourceHandle);
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    hold lock(engine);
    if (!graphs.erase(graph))
        return result(cudaErrorInvalidResourceHandle);
    delete graph;
    return cudaSuccess;
}

void emulated_graph_counts(cudaGraph_t graph, emulated_counts *out)
{
    hold lock(engine);
    *out = {};
    if (graphs.count(graph))
        for (const graph_node &node : graph->node)
            count(out, *node.what);
}

const char *emulated_graph_name(cudaGraph_t graph, size_t i)
{
    hold lock(engine);
    return graphs.count(graph) && i < graph->node.size() ? graph->node[i].what->name : NULL;
}

}
