/* The program anyclass-evaluate as a function, so that tests can call it. */
#ifndef ANYCLASS_EVALUATE_H
#define ANYCLASS_EVALUATE_H

#include <mpi.h>

/** Join scores with labels, write one JSON of metrics per score set and print a table of them all on stdout (rank 0).
 * Collective over `comm`, which is borrowed; MPI must be initialised. Returns the exit code (status.h), the same on
 * every rank. */
int ac_evaluate_run(MPI_Comm comm, int argc, char **argv);

#endif
