/* The worst of some errors. fmax() passes over what is not a number and `error > worst` is false for it; here it is infinitely wrong, and stays so. */
#ifndef ANYCLASS_TESTS_WORSE_H
#define ANYCLASS_TESTS_WORSE_H

#include <math.h>

static inline double worse(double worst, double error)
{
    return isnan(error) ? INFINITY : fmax(worst, error);
}

#endif
