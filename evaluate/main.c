/* anyclass-evaluate. */
#include "anyclass/program.h"
#include "evaluate/evaluate.h"

int main(int argc, char **argv)
{
    return ac_main(argc, argv, ac_evaluate_run);
}
