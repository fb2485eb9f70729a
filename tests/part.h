/* ANYCLASS_TEST_PART=i/n: every n-th case of a test from the i-th on, counted from 0, for n processes side by side or where time is short. */
#ifndef ANYCLASS_TESTS_PART_H
#define ANYCLASS_TESTS_PART_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Asked once for each case. */
static inline bool part_has_next(void)
{
    static int k;
    const char *part = getenv("ANYCLASS_TEST_PART");
    int i, n;
    return !part || sscanf(part, "%d/%d", &i, &n) != 2 || n < 1 || k++ % n == i;
}

#endif
