/* The program anyclass-simulate as a function, so that tests can call it. */
#ifndef ANYCLASS_SIMULATE_H
#define ANYCLASS_SIMULATE_H

#include <mpi.h>

/** Write surfaces of the loss over two classes' probabilities: a page to look at, an SVG, or a CSV (rank 0). Collective
 * over `comm`, which is borrowed; MPI must be initialised. Returns the exit code (status.h), the same on every rank. */
int ac_simulate_run(MPI_Comm comm, int argc, char **argv);

#endif
