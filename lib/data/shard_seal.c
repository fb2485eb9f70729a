/* The datasets of a shard, and its seal. */
#include "data/shard_seal.h"
#include <string.h>

const ac_seal_kind ac_shard_seal_kind = {.name = "shard",
                                         .format = AC_SHARD_FORMAT,
                                         .block_bytes = AC_SEAL_BYTES,
                                         .first_is_unhashed = true,
                                         .advice = ": run anyclass-preprocess again"};

const char *ac_shard_part_name(ac_shard_part part)
{
    static const char *const name[AC_SEAL_N_DATASETS] = {
        "images", "labels", "name_offsets", "name_bytes", "image_hash", "rejected_offsets", "rejected_bytes"};
    return name[part];
}

void ac_shard_seal_begin(ac_seal *seal, ac_seal_part *part)
{
    *seal = (ac_seal){
        .kind = &ac_shard_seal_kind, .block_bytes = AC_SEAL_BYTES, .part = part, .n_parts = AC_SEAL_N_DATASETS};
    for (int k = 0; k < AC_SEAL_N_DATASETS; k++)
        part[k] = (ac_seal_part){.name = ac_shard_part_name((ac_shard_part)k)};
}

ac_status ac_shard_seal_read(int fd, ac_seal *seal)
{
    ac_status status = ac_seal_read(fd, &ac_shard_seal_kind, seal);
    if (status != AC_OK)
        return status;
    bool good = seal->n_parts == AC_SEAL_N_DATASETS;
    for (int k = 0; good && k < AC_SEAL_N_DATASETS; k++)
        good = strcmp(seal->part[k].name, ac_shard_part_name((ac_shard_part)k)) == 0;
    if (good)
        return AC_OK;
    ac_seal_release(seal);
    return ac_error(AC_ERR_DATA, "the seal is damaged");
}
