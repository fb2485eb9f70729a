/* exp, expm1, log and log1p in double where there is no C library: in the page's WebAssembly. Everywhere else the C
 * library has them; the tests compare these with it. */
#ifndef ANYCLASS_SIMULATE_PAGE_MATH_H
#define ANYCLASS_SIMULATE_PAGE_MATH_H

/** Each is within 1 ulp of the exact value where that is a normal number (tests/simulate/test_math.c measures it),
 * keeps the signs of zeros and has C's values for infinities and arguments outside its domain. Results below the normal
 * numbers are rounded twice. */
double page_exp(double x);
double page_expm1(double x);
double page_log(double x);
double page_log1p(double x);

#endif
