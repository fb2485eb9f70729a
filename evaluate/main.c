/* anyclass-evaluate: MPI begins and ends here, everything else is in run.c. */
#include "evaluate/evaluate.h"

int main(int argc, char **argv)
{
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &(int){0});
    int code = ac_evaluate_run(MPI_COMM_WORLD, argc, argv);
    MPI_Finalize();
    return code;
}
