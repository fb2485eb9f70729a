/* Which backend the tests of operators and models try: ANYCLASS_TEST_BACKEND, or the CPU's. */
#ifndef ANYCLASS_TESTS_BACKEND_H
#define ANYCLASS_TESTS_BACKEND_H

#include <stdlib.h>

static inline const char *tested_backend(void)
{
    const char *name = getenv("ANYCLASS_TEST_BACKEND");
    return name && *name ? name : "cpu";
}

#endif
