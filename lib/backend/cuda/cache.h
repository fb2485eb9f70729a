/* Choices of algorithms that were timed, kept in a file from job to job: one line per shape, in a file per kind of GPU and version of the libraries.
 * A cache never fails a job: what cannot be read or kept is said once in the log. Not collective; one thread at a time. */
#ifndef ANYCLASS_LIB_BACKEND_CUDA_CACHE_H
#define ANYCLASS_LIB_BACKEND_CUDA_CACHE_H

#include "anyclass/status.h"
#include <stdbool.h>

enum { CUDA_CACHE_KEY_BYTES = 256, CUDA_CACHE_VALUE_BYTES = 512 };

typedef struct cuda_cache cuda_cache;

/** Folder from the environment: ANYCLASS_CUDA_CACHE, or anyclass in XDG_CACHE_HOME or in .cache of HOME.
 * @param[out] out  [AC_PATH_BYTES]
 * @return false: none, or "off" */
bool cuda_cache_folder(char *out);
/** Read what there is. `identity` is what choices depend on, one line: GPU, its compute capability, versions.
 * @param[out] out  cuda_cache_close() frees it. AC_ERR_MEMORY alone; a file that cannot be read is an empty one. */
AC_NODISCARD ac_status cuda_cache_open(const char *folder, const char *identity, cuda_cache **out);
/** Safe on NULL. Tries once more to write what could not be written before. */
void cuda_cache_close(cuda_cache *cache);
/** Whether choices can be kept: the folder is there, or was made, and takes files. */
bool cuda_cache_keeps(const cuda_cache *cache);
/** What was chosen for `key` among at least `n_candidates`, by this process or another one so far; NULL when nothing was, or cache is NULL. Valid
 * until the next call. */
const char *cuda_cache_find(cuda_cache *cache, const char *key, int n_candidates);
/** Keep a choice. When another process has kept one for the key meanwhile, out of as many or more, that one stands and is returned, so that processes
 * that start together come to choose alike; else NULL. Key and value are words with single blanks between, at most so many bytes as above. */
const char *cuda_cache_keep(cuda_cache *cache, const char *key, int n_candidates, const char *value);
/** The entry does not fit: it is not found again, and replaced by the next choice. */
void cuda_cache_forget(cuda_cache *cache, const char *key);

#endif
