/* anyclass-preprocess. */
#include "anyclass/program.h"
#include "preprocess/preprocess.h"

int main(int argc, char **argv)
{
    return ac_main(argc, argv, ac_preprocess_run);
}
