/* Between the parts of the emulated runtime: memory.cc, stream.cc, graph.cc, emulate.cc (kernels). */
#ifndef ANYCLASS_TESTS_CUDA_HOST_INTERNAL_H
#define ANYCLASS_TESTS_CUDA_HOST_INTERNAL_H

#include "tests/cuda_host/runtime.h"
#include <functional>
#include <string>

namespace emulated {

/* ---- memory.cc; each call takes its own lock ---- */

enum memory_kind { MEMORY_UNKNOWN, MEMORY_DEVICE, MEMORY_PINNED, MEMORY_FREED };

/** Whose memory `pointer` is; *left: bytes from there to the end of its block. */
memory_kind kind_of(const void *pointer, size_t *left);
/** "" or why [pointer, + n) is not within a living device block. */
std::string check_device(const void *pointer, size_t n_bytes);
/** Guards of all living blocks: "" or which one is damaged. */
std::string check_guards();
/** false: ANYCLASS_EMULATE_NO_FILL. */
bool is_filled();

}

#endif
