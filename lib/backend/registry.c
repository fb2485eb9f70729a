/* Which backends this build has, and their kernel rows by operator. */
#include "anyclass/log.h"
#include "backend/backends.h"
#include <string.h>

#ifdef AC_WITH_CUDA
#define CUDA_BACKEND &ac_backend_cuda,
#define CUDA_NAME "|cuda"
#else
#define CUDA_BACKEND
#define CUDA_NAME
#endif
#ifdef AC_WITHOUT_CPU /* a build without oneDNN, to try the others */
#define CPU_BACKEND
#define CPU_NAME
#else
#define CPU_BACKEND &ac_backend_cpu,
#define CPU_NAME "cpu|"
#endif

static const ac_backend *const backends[] = {CPU_BACKEND CUDA_BACKEND &ac_backend_ref};

const ac_backend *ac_backend_find(const char *name)
{
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (strcmp(backends[i]->name, name) == 0)
            return backends[i];
    return NULL;
}

const char *ac_backend_names(void)
{
    return CPU_NAME "ref" CUDA_NAME;
}

ac_status ac_backend_open(const char *name, int n_threads, ac_device **out)
{
    const ac_backend *backend = ac_backend_find(name), *gpu = ac_backend_find("cuda");
    *out = NULL;
    if (strcmp(name, "auto") == 0) {
        if (gpu && gpu->open(n_threads, out) == AC_OK)
            return AC_OK;
        ac_log(AC_LOG_INFO, "--device auto: the CPU, %s", gpu ? ac_error_text() : "this build is without CUDA");
        backend = ac_backend_find("cpu");
    }
    if (!backend)
        return ac_error(AC_ERR_USAGE, "--device: this build has auto|%s, not '%s'", ac_backend_names(), name);
    return backend->open(n_threads, out);
}

const ac_kernel *ac_backend_kernel(const ac_backend *backend, const ac_op *op)
{
    for (size_t i = 0; i < backend->n_kernels; i++)
        if (backend->kernels[i]->op == op)
            return backend->kernels[i];
    return NULL;
}
