/* Initial values of parameters. */
#ifndef ANYCLASS_LIB_NN_INITIAL_H
#define ANYCLASS_LIB_NN_INITIAL_H

#include "anyclass/graph.h"

/** Element e of parameter p, a function of (seed, AC_STREAM_INIT, p, e): log and cos are the C library's. */
float initial_draw(const ac_init *init, uint64_t seed, size_t p, size_t e);
/** Elements first .. first + n of parameter p, the very numbers of initial_draw(), about five times as fast. */
void initial_draw_many(const ac_init *init, uint64_t seed, size_t p, size_t first, size_t n, float *out);

#endif
