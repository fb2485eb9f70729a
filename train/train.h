/* The program anyclass-train as a function. */
#ifndef ANYCLASS_TRAIN_H
#define ANYCLASS_TRAIN_H

#include <mpi.h>

/** Run the program on the ranks of `comm` (MPI initialised with MPI_THREAD_FUNNELED or more). Collective.
 * @return the exit code: 0 or one of SPEC's codes, the same on all ranks. */
int ac_train_run(MPI_Comm comm, int argc, char **argv);

#endif
