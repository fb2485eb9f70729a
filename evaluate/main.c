/* anyclass-evaluate. */
#include "anyclass/program.h"
#include "anyclass/stop.h"
#include "evaluate/evaluate.h"

int main(int argc, char **argv)
{
    ac_stop_catch(); /* a signal while MPI starts is not lost */
    return ac_main(argc, argv, ac_evaluate_run);
}
