/* anyclass-infer. */
#include "anyclass/program.h"
#include "infer/infer.h"

int main(int argc, char **argv)
{
    return ac_main(argc, argv, ac_infer_run);
}
