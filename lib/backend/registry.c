/* Which backends this build has, and their kernel rows by operator. */
#include "backend/backends.h"
#include <string.h>

static const ac_backend *const backends[] = {&ac_backend_cpu, &ac_backend_ref};

const ac_backend *ac_backend_find(const char *name)
{
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (strcmp(backends[i]->name, name) == 0)
            return backends[i];
    return NULL;
}

const char *ac_backend_names(void)
{
    return "cpu|ref";
}

const ac_kernel *ac_backend_kernel(const ac_backend *backend, const ac_op *op)
{
    for (size_t i = 0; i < backend->n_kernels; i++)
        if (backend->kernels[i]->op == op)
            return backend->kernels[i];
    return NULL;
}
