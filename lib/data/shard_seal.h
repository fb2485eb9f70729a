/* The seal of a shard: the block in front of its HDF5 content that says where each dataset lies and what its bytes hash
 * to. It is checked before libhdf5 sees the file, since libhdf5 does not survive every damaged structure. Format in
 * docs/formats.md. Not installed. */
#ifndef ANYCLASS_LIB_SHARD_SEAL_H
#define ANYCLASS_LIB_SHARD_SEAL_H

#include "anyclass/hash.h"
#include "anyclass/shard.h"
#include <stdbool.h>
#include <stdint.h>

enum { AC_SEAL_BYTES = 2048 }; /* HDF5's user block: a power of two from 512 on */

typedef enum ac_seal_part { /* what the seal tells apart, in the order of its lines */
    AC_SEAL_IMAGES,         /* each image has a hash of its own, in image_hash: this part is not hashed */
    AC_SEAL_LABELS,
    AC_SEAL_NAME_OFFSETS,
    AC_SEAL_NAME_BYTES,
    AC_SEAL_IMAGE_HASH,
    AC_SEAL_REJECTED_OFFSETS,
    AC_SEAL_REJECTED_BYTES,
    AC_SEAL_N_DATASETS,
    AC_SEAL_STRUCTURE = AC_SEAL_N_DATASETS, /* every byte that is in none of the others: HDF5's own */
    AC_SEAL_N_PARTS
} ac_seal_part;

/** Name of the dataset; "structure" for the last. */
const char *ac_seal_part_name(ac_seal_part part);

typedef struct ac_seal {
    uint64_t file_bytes;
    uint64_t at[AC_SEAL_N_DATASETS]; /* position in the file, 0 for an empty dataset */
    uint64_t n_bytes[AC_SEAL_N_DATASETS];
    ac_hash hash[AC_SEAL_N_PARTS]; /* zero for the images */
    ac_hash root;                  /* of the lines, and so of all the file: the images' hashes are a part that it covers */
} ac_seal;

/** Hash what `fd` holds and write the block at its start. `seal` gives positions and sizes; hashes are filled in.
 * AC_ERR_IO without the file's name. */
AC_NODISCARD ac_status ac_seal_write(int fd, ac_seal *seal);

/** Read the block and compare it with its own hash and with the file's size. AC_ERR_DATA without the file's name: no
 * shard, another format version, damaged, truncated; AC_ERR_IO. */
AC_NODISCARD ac_status ac_seal_read(int fd, ac_seal *seal);

/** Compare the bytes of every part but the images with the seal.
 * @param[out] damaged  [AC_SEAL_N_PARTS] true where they differ. @return AC_OK whether or not some do; AC_ERR_IO. */
AC_NODISCARD ac_status ac_seal_check(int fd, const ac_seal *seal, bool *damaged);

#endif
