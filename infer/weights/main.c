/* anyclass-weights. */
#include "anyclass/program.h"
#include "infer/weights/weights.h"

int main(int argc, char **argv)
{
    return ac_main(argc, argv, ac_weights_run);
}
