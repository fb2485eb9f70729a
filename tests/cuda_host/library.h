/* What the doubles of cuBLASLt and cuDNN share: misuse made loud, checks of device memory, numbers to and from float, and a fast product. */
#ifndef ANYCLASS_TESTS_CUDA_HOST_LIBRARY_H
#define ANYCLASS_TESTS_CUDA_HOST_LIBRARY_H

#include "anyclass/graph.h"
#include "anyclass/status.h"
#include "tests/cuda_host/runtime.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What a caller did wrong, as opposed to what a library lacks: said on stderr, and the end of the program, because callers take an error of a library
 * while a plan is made as a reason for other code. A test that provokes it says so first: then it is counted. */
AC_PRINTF(2, 3)
void emulated_fault(const char *library, const char *format, ...);
void emulated_expect_faults(bool expected);
int emulated_n_faults(void);
const char *emulated_fault_text(void); /* the last one, "" before */

typedef struct emulated_span { /* memory that a call reads or writes */
    const char *what;
    const void *at;
    size_t n_bytes, alignment;
} emulated_span;

/** A fault unless the span is aligned and inside one live allocation of the device. */
bool emulated_check_span(const char *library, const emulated_span *span);
bool emulated_overlap(const emulated_span *a, const emulated_span *b);

size_t emulated_type_bytes(ac_dtype type);
/** F32, BF16 or F16 to float and back, rounded once. */
void emulated_to_float(float *to, ac_dtype type, const void *from, int64_t first, int64_t n);
void emulated_from_float(ac_dtype type, void *to, int64_t first, const float *from, int64_t n);
/** Operands as tf32 reads them: ten bits behind the point, ties away from zero. */
void emulated_round_tf32(float *values, int64_t n);
void emulated_round_bf16(float *values, int64_t n);

typedef struct emulated_matrix { /* element (i, j) is values[i * row + j * column]; row or column is 1 */
    const float *values;
    int64_t row, column;
} emulated_matrix;

/** c [m, n], rows c_row apart, = or += a [m, k] b [k, n]; sums in float (small ones in double), in an order that does not depend on threads. Ends the program when there is no memory. */
void emulated_product(int64_t m, int64_t n, int64_t k, emulated_matrix a, emulated_matrix b, float *c, int64_t c_row, bool add);
/** Aligned to 64 bytes, not zeroed; ends the program when there is none. */
void *emulated_block(size_t n_bytes);

#endif
