/* Which of many names is this one? Open addressing over a pool of names that others own. */
#include "anyclass/alloc.h"
#include "anyclass/hash.h"
#include "data/dataset_internal.h"
#include <string.h>

static size_t find_slot(const ac_name_index *index, const char *name)
{
    size_t at = (size_t)ac_hash64_bytes(name, strlen(name)) & (index->n_slots - 1);
    while (index->slot[at] && strcmp(index->pool + index->offset[index->slot[at] - 1], name) != 0)
        at = (at + 1) & (index->n_slots - 1);
    return at;
}

ac_status ac_name_index_create(const char *pool, const size_t *offset, size_t n, ac_name_index *out, size_t twice[2])
{
    ac_status status = AC_OK;
    *out = (ac_name_index){.pool = pool, .offset = offset, .n_slots = 16};
    while (out->n_slots < 2 * n)
        out->n_slots *= 2;
    twice[0] = twice[1] = 0;
    AC_TRY(ac_calloc(out->n_slots, sizeof *out->slot, &out->slot));
    for (size_t i = 0; i < n; i++) {
        size_t at = find_slot(out, pool + offset[i]);
        if (out->slot[at] && twice[1] == 0) {
            twice[0] = out->slot[at] - 1;
            twice[1] = i;
        }
        if (!out->slot[at])
            out->slot[at] = i + 1;
    }
out:
    return status;
}

void ac_name_index_release(ac_name_index *index)
{
    ac_free(index->slot);
    memset(index, 0, sizeof *index);
}

size_t ac_name_index_find(const ac_name_index *index, const char *name)
{
    size_t found = index->slot[find_slot(index, name)];
    return found ? found - 1 : SIZE_MAX;
}
