/* Memory and open files: what the system and the job's limits leave. */
#define _GNU_SOURCE
#include "anyclass/machine.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t read_meminfo(void)
{
    char line[128];
    uint64_t kibibytes = 0;
    FILE *file = fopen("/proc/meminfo", "r");
    if (!file)
        return UINT64_MAX;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %" SCNu64, &kibibytes) == 1)
            break;
    fclose(file);
    return kibibytes ? kibibytes * 1024 : UINT64_MAX;
}

/* A number in a file; "max" and a file that is not there mean no limit. */
static uint64_t read_limit(const char *path)
{
    uint64_t value;
    FILE *file = fopen(path, "r");
    if (!file)
        return UINT64_MAX;
    if (fscanf(file, "%" SCNu64, &value) != 1)
        value = UINT64_MAX;
    fclose(file);
    return value;
}

/* The limits of a group and of all groups around it: Slurm sets one on the job, the step or the task. */
static uint64_t group_limit(const char *root, char *group, const char *name)
{
    uint64_t limit = UINT64_MAX;
    char path[1024];
    for (;;) {
        snprintf(path, sizeof path, "%s%s/%s", root, strcmp(group, "/") == 0 ? "" : group, name);
        limit = smaller(limit, read_limit(path));
        char *slash = strrchr(group, '/');
        if (!slash || !group[1])
            return limit;
        slash[slash == group] = 0;
    }
}

static uint64_t read_groups(void)
{
    char line[800];
    uint64_t limit = UINT64_MAX;
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (!file)
        return limit;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group || group[1] != '/')
            continue;
        *group++ = 0;
        if (controllers[1] == 0)
            limit = smaller(limit, group_limit("/sys/fs/cgroup", group, "memory.max"));
        else if (strcmp(controllers + 1, "memory") == 0)
            limit = smaller(limit, group_limit("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
    }
    fclose(file);
    return limit;
}

uint64_t ac_machine_memory_bytes(void)
{
    struct rlimit address_space;
    uint64_t bytes = smaller(read_meminfo(), read_groups());
    if (getrlimit(RLIMIT_AS, &address_space) == 0 && address_space.rlim_cur != RLIM_INFINITY)
        bytes = smaller(bytes, (uint64_t)address_space.rlim_cur);
    return bytes == UINT64_MAX ? 0 : bytes;
}

size_t ac_machine_allow_files(size_t n)
{
    enum { OTHERS = 256 }; /* of the program itself, MPI and libraries */
    struct rlimit files;
    rlim_t wanted = (rlim_t)n + OTHERS;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return n;
    if (files.rlim_cur != RLIM_INFINITY && files.rlim_cur < wanted) {
        files.rlim_cur = files.rlim_max == RLIM_INFINITY || files.rlim_max > wanted ? wanted : files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0)
            return 0;
    }
    if (files.rlim_cur == RLIM_INFINITY || files.rlim_cur >= wanted)
        return n;
    return files.rlim_cur > OTHERS ? (size_t)files.rlim_cur - OTHERS : 0;
}
