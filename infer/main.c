/* anyclass-infer. */
#include "anyclass/program.h"
#include "anyclass/stop.h"
#include "infer/infer.h"

int main(int argc, char **argv)
{
    ac_stop_catch(); /* a signal while MPI starts is not lost */
    return ac_main(argc, argv, ac_infer_run);
}
