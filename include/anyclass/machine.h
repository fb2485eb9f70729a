/* What this machine has, as far as a program's own limits let it use it. Not collective. */
#ifndef ANYCLASS_MACHINE_H
#define ANYCLASS_MACHINE_H

#include <stddef.h>
#include <stdint.h>

/** Bytes of memory that this process may still take: what the system has available (MemAvailable of /proc/meminfo), and
 * no more than the limit of any control group it is in (as Slurm sets for --mem) or of RLIMIT_AS. The ranks of a node
 * share it. 0 when the system does not say. */
uint64_t ac_machine_memory_bytes(void);

/** Let this process open `n` files beside those it has, as far as its hard limit goes. Not thread-safe.
 * @return how many it may open; fewer than `n` when the hard limit is lower. */
size_t ac_machine_allow_files(size_t n);

#endif
