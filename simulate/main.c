/* anyclass-simulate. */
#include "anyclass/program.h"
#include "simulate/simulate.h"

int main(int argc, char **argv)
{
    return ac_main(argc, argv, ac_simulate_run);
}
