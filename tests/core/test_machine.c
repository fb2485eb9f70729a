/* What is left of memory and open files: sane, and within limits that are set. */
#define _GNU_SOURCE
#include "anyclass/machine.h"
#include "tests/tap.h"
#include <sys/resource.h>

int main(void)
{
    struct rlimit limit, old;
    uint64_t bytes = ac_machine_memory_bytes();
    TAP_OK(bytes > (uint64_t)1 << 20 && bytes < (uint64_t)1 << 50, "%llu MiB are left", (unsigned long long)bytes >> 20);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)old;
    TAP_SKIP("a sanitizer needs its address space");
#else
    getrlimit(RLIMIT_AS, &old);
    limit = old;
    limit.rlim_cur = (rlim_t)300 << 20;
    TAP_OK(setrlimit(RLIMIT_AS, &limit) == 0 && ac_machine_memory_bytes() <= (uint64_t)300 << 20, "a limit of 300 MiB is seen");
    setrlimit(RLIMIT_AS, &old);
#endif
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 64;
    limit.rlim_max = 400;
    TAP_OK(setrlimit(RLIMIT_NOFILE, &limit) == 0 && ac_machine_allow_files(100) == 100, "100 files more: the soft limit is raised");
    getrlimit(RLIMIT_NOFILE, &limit);
    TAP_OK(limit.rlim_cur >= 164 && limit.rlim_cur <= 400, "to %llu", (unsigned long long)limit.rlim_cur);
    TAP_OK(ac_machine_allow_files(1000) < 400, "1000 files are more than the hard limit");
    return tap_done();
}
