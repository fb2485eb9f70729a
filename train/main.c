/* anyclass-train. */
#include "anyclass/program.h"
#include "train/train.h"

int main(int argc, char **argv)
{
    return ac_main(argc, argv, ac_train_run);
}
