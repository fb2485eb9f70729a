/* `anyclass-train sweep`: a file of ranges, the points that are taken of them, and what is written of each. Private to this folder,
 * not collective but for the program itself. */
#ifndef ANYCLASS_TRAIN_SWEEP_H
#define ANYCLASS_TRAIN_SWEEP_H

#include "anyclass/option.h"
#include "anyclass/status.h"
#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SWEEP_VALUE_BYTES = 128, /* of a value as a word, the final zero included */
    SWEEP_MOST_ELEMENTS = 100000,
    SWEEP_N_DIMENSIONS = 53  /* of Sobol's sequence: all polynomials up to degree 8 */
};

typedef enum sweep_scale { SWEEP_LINEAR, SWEEP_LOG, SWEEP_LOG1M, SWEEP_POW2 } sweep_scale;
typedef enum sweep_method { SWEEP_GRID, SWEEP_RANDOM, SWEEP_SOBOL } sweep_method;

typedef struct sweep_key { /* a line of the file: an option of the trainer and its values */
    const ac_option *option;
    size_t line;
    char (*value)[SWEEP_VALUE_BYTES]; /* [n_values] a list; */
    size_t n_values, capacity;        /* 0: a range, */
    sweep_scale scale;                /* from low to high, both included */
    double low, high;
} sweep_key;

typedef struct sweep_ranges { /* in the order of the file */
    sweep_key *key;
    size_t n_keys, capacity;
    const sweep_key *seed; /* the line of the option seed, which is a list that every point is repeated over; NULL: none */
    char name[256];        /* of the file, for messages */
} sweep_ranges;

/** Read a file of ranges and hold every value against the trainer's options. AC_ERR_USAGE "NAME line N: ..." for what cannot be understood or
 * what the trainer would refuse, AC_ERR_IO, AC_ERR_MEMORY. Release in any case. */
AC_NODISCARD ac_status sweep_read_ranges(const char *path, sweep_ranges *out);
/** Turn ranges into lists: of whole numbers or powers of two all. AC_ERR_USAGE naming the line of a range without a count. */
AC_NODISCARD ac_status sweep_list_ranges(sweep_ranges *ranges);
/** The same for one line, whose number the message then lacks. */
AC_NODISCARD ac_status sweep_list_range(sweep_key *key);
void sweep_release_ranges(sweep_ranges *ranges);
/** The value of a range at t in [0, 1], of which both ends are reached: what a count divides evenly. */
void sweep_range_at(const sweep_key *key, double t, char out[SWEEP_VALUE_BYTES]);
/** The value at u in [0, 1): of a list one with equal shares, of a range so that its scale is even. Six digits (log1m: of 1 - value), never
 * beyond the ends. */
void sweep_value_at(const sweep_key *key, double u, char out[SWEEP_VALUE_BYTES]);

typedef struct sweep_points { /* which points, all of them a function of this and the ranges alone */
    sweep_method method;
    uint64_t seed;
    int64_t n_points; /* random, sobol */
    bool scramble;    /* sobol: Owen's, by the seed */
} sweep_points;

/** Number of elements: points times seeds. AC_ERR_USAGE when there are more than SWEEP_MOST_ELEMENTS, or more lines than Sobol's sequence has
 * dimensions here. For SWEEP_GRID after sweep_list_ranges(). */
AC_NODISCARD ac_status sweep_count(const sweep_ranges *ranges, const sweep_points *points, size_t *n_elements);
/** Values of element i, value[n_keys]. Seeds run fastest, then the last line. More points leave element i of random and sobol as it is. */
void sweep_element(const sweep_ranges *ranges, const sweep_points *points, size_t i, char (*value)[SWEEP_VALUE_BYTES]);

/** Coordinate `dimension` (from 0, < SWEEP_N_DIMENSIONS) of point i of Sobol's sequence, times 2^32; the points come in Gray code's order
 * (Antonov and Saleev), the first is 0. */
uint32_t sweep_sobol(uint32_t i, int dimension);
/** Owen's nested uniform scrambling of such a coordinate: each bit is flipped or not as (seed, dimension, the bits above it) say, so that n points
 * stay as evenly spread as they were and more points leave the first ones as they are. */
uint32_t sweep_scramble(uint32_t x, int dimension, uint64_t seed);

/** `anyclass-train sweep`: the program's other face. Collective; returns the exit code. */
int sweep_run(MPI_Comm comm, int argc, char **argv);

#endif
