/* What the seal of a shard (hdf5/seal.h) tells apart. Format in docs/formats.md. Not installed. */
#ifndef ANYCLASS_LIB_SHARD_SEAL_H
#define ANYCLASS_LIB_SHARD_SEAL_H

#include "anyclass/shard.h"
#include "hdf5/seal.h"

enum { AC_SEAL_BYTES = 2048 }; /* HDF5's user block */

typedef enum ac_shard_part {                 /* in the order of the seal's lines */
                             AC_SEAL_IMAGES, /* each image has a hash of its own, in image_hash: this part is not hashed
                                              */
                             AC_SEAL_LABELS,
                             AC_SEAL_NAME_OFFSETS,
                             AC_SEAL_NAME_BYTES,
                             AC_SEAL_IMAGE_HASH,
                             AC_SEAL_REJECTED_OFFSETS,
                             AC_SEAL_REJECTED_BYTES,
                             AC_SEAL_N_DATASETS,
                             AC_SEAL_STRUCTURE =
                                 AC_SEAL_N_DATASETS, /* every byte that is in none of the others: HDF5's own */
                             AC_SEAL_N_PARTS
} ac_shard_part;

extern const ac_seal_kind ac_shard_seal_kind;

/** Name of the dataset. */
const char *ac_shard_part_name(ac_shard_part part);

/** A seal to be written: the parts' names in part[AC_SEAL_N_DATASETS], the caller's, the rest zero. */
void ac_shard_seal_begin(ac_seal *seal, ac_seal_part *part);

/** Read the block as ac_seal_read() does; AC_ERR_DATA also when it names other datasets than a shard has. */
AC_NODISCARD ac_status ac_shard_seal_read(int fd, ac_seal *seal);

#endif
