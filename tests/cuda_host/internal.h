/* Between the parts of the emulated runtime: memory.cc, engine.cc (queued work), stream.cc,
 * copy.cc, graph.cc (recordings), emulate.cc (kernels). */
#ifndef ANYCLASS_TESTS_CUDA_HOST_INTERNAL_H
#define ANYCLASS_TESTS_CUDA_HOST_INTERNAL_H

#include "tests/cuda_host/runtime.h"
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace emulated {

/* ---- memory.cc; each call takes its own lock, and may be made under the engine's ---- */

enum memory_kind { MEMORY_UNKNOWN, MEMORY_DEVICE, MEMORY_PINNED, MEMORY_FREED };

/** Whose memory `pointer` is; *left: bytes from there to the end of its block. */
memory_kind kind_of(const void *pointer, size_t *left);
/** "" or why [pointer, + n) is not within a living device block. */
std::string check_device(const void *pointer, size_t n_bytes);
/** Guards of all living blocks: "" or which one is damaged; it is repaired, so that each damage is told once. */
std::string check_guards();
cudaError_t create_block(void **out, size_t n_bytes, memory_kind kind);
/** The block reads as 0xFF and counts as freed from now on. cudaErrorInvalidValue: it is none of this kind. */
cudaError_t destroy_block(void *block, memory_kind kind);
/** ANYCLASS_EMULATE_DRY. */
bool is_dry();

/* ---- engine.cc: what is asked for, and when it is done ---- */

enum work_kind { WORK_KERNEL, WORK_LIBRARY, WORK_COPY, WORK_MEMSET, WORK_HOST, WORK_WAIT, WORK_RECORD };

struct work { /* never changed after it was made: recordings and their replays share it */
    work_kind kind;
    const char *name;
    std::function<void()> run;
    size_t n_bytes = 0;
    const void *pinned = nullptr; /* host memory that it needs until it is done */
    cudaEvent_t event = nullptr;  /* WORK_WAIT, WORK_RECORD: from outside of a recording */
    work(work_kind kind_, const char *name_, std::function<void()> run_ = nullptr) : kind(kind_), name(name_), run(std::move(run_)) {}
};
typedef std::shared_ptr<const work> work_ref;

struct operation;
typedef std::shared_ptr<operation> op_ref;

struct operation { /* one item of queued work; without `what` it only joins what it needs */
    work_ref what;
    std::vector<op_ref> needs;
    std::vector<operation *> followers;
    unsigned n_missing = 0;
    size_t ready_at = 0; /* its place among what could be done */
    uint64_t serial = 0;
    double asked_s = 0, done_s = 0;
    enum { WAITING, RUNNING, DONE } state = WAITING;
};

struct graph_node {
    work_ref what;
    std::vector<size_t> needs; /* earlier nodes */
};

struct recording { /* under way; streams and events refer to it */
    std::vector<graph_node> node;
    CUstream_st *origin;
    cudaStreamCaptureMode mode;
    std::thread::id owner;
    std::vector<CUstream_st *> streams;
    bool ended = false, invalid = false;
};
typedef std::shared_ptr<recording> recording_ref;

/** The one lock, held by whoever asks for work or does it; not while a host function runs. */
extern std::mutex engine;
typedef std::unique_lock<std::mutex> hold;

/** Queue it behind `needs`; done when the mode says so. */
op_ref add_operation(hold &lock, work_ref what, std::vector<op_ref> needs);
/** Do what must be done so that it is done. */
void force(hold &lock, op_ref target);
void force_all(hold &lock);
/** The same, then errors of queued work are told. NULL: nothing to wait for. */
cudaError_t wait_for(hold &lock, const op_ref &target);
/** cudaErrorNotReady, after one step towards it. */
cudaError_t query(hold &lock, const op_ref &target);
/** Does queued work need this pinned block? */
bool is_needed(const void *block);
void count(emulated_counts *counts, const work &what);
double now_s();
/** Queued work failed; the first text is kept. */
void fail(cudaError_t error, const std::string &text);
void look_at_guards(const char *name);
/** The failure of queued work that was not taken yet, and from a host function cudaErrorNotPermitted; cudaSuccess otherwise. */
cudaError_t standing();
/** Remembers a call's result for cudaGetLastError(). */
cudaError_t result(cudaError_t error);
/** The same, with words that cudaGetErrorString() adds. */
cudaError_t explain(cudaError_t error, const std::string &text);

/* ---- stream.cc ---- */

bool is_event(cudaEvent_t event);
bool is_stream(cudaStream_t stream);
CUstream_st *stream_of(cudaStream_t stream);
/** Queue or record on a stream (NULL: the legacy one). *out: the operation, NULL in a recording. */
cudaError_t enqueue(hold &lock, cudaStream_t stream, work_ref what, op_ref *out = nullptr);
cudaError_t synchronize_stream(cudaStream_t stream);

/* ---- graph.cc, under the engine's lock ---- */

/** A call that a recording in this thread forbids: it is invalid from here on. */
cudaError_t refuse_unsafe();
/** Adds to the recording of a stream that is part of one. */
cudaError_t record_work(CUstream_st *stream, work_ref what);
/** Of a stream or an event that is part of a recording: which then is invalid. */
cudaError_t invalidate(const recording_ref &which, cudaError_t error);
cudaError_t wait_in_recording(CUstream_st *stream, CUevent_st *event, unsigned flags);
bool is_recording_here();
bool is_recording_anywhere();
extern emulated_counts n_recorded;

/* ---- emulate.cc ---- */

/** NULL: as the environment says. */
void set_thread_order(const char *order);

}

struct CUstream_st {
    emulated::op_ref last;
    bool blocking = false;
    emulated::recording_ref recording;
    std::vector<size_t> frontier; /* of the recording: what the next one needs */
};

struct CUevent_st {
    emulated::op_ref last; /* what was asked for before it was recorded */
    double recorded_s = 0;
    bool timing = false;
    emulated::recording_ref recording; /* it was recorded last in this one */
    std::vector<size_t> frontier;
};

#endif
