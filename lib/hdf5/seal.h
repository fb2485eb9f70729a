/* The seal of a file: the block in front of its HDF5 content that says where each dataset lies and what its bytes hash
 * to. It is checked before anything else is read: libhdf5 does not survive every damaged structure. Formats in
 * docs/formats.md. Texts of failures do not name the file. Not installed. */
#ifndef ANYCLASS_LIB_SEAL_H
#define ANYCLASS_LIB_SEAL_H

#include "anyclass/hash.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ac_seal_kind { /* what is sealed */
    const char *name;         /* "shard": the block's first line is "anyclass shard, format 3" */
    int format;
    size_t block_bytes;     /* fixed size of the block; 0: its second line says it */
    bool first_is_unhashed; /* the first dataset is hashed in another way: its hash is zero here */
    const char *advice;     /* what to do about a file of another format */
} ac_seal_kind;

typedef struct ac_seal_part { /* a dataset */
    const char *name;         /* borrowed by writers; in the seal's memory after ac_seal_read() */
    uint64_t at;              /* position in the file, 0 for an empty dataset */
    uint64_t n_bytes;
    ac_hash hash;
} ac_seal_part;

typedef struct ac_seal {
    const ac_seal_kind *kind;
    size_t block_bytes; /* HDF5's user block: a power of two from 512 on */
    uint64_t file_bytes;
    ac_seal_part *part; /* [n_parts]; the writer's own, or the seal's after ac_seal_read() */
    size_t n_parts;
    ac_hash structure; /* of every byte behind the block that is in no dataset: HDF5's own */
    ac_hash root;      /* of the block's lines, and so of all the file */
    void *owned;       /* what ac_seal_read() allocated */
} ac_seal;

/** Room for the seal of n parts whose names have n_name_bytes together: the user block to make the file with. */
size_t ac_seal_block_bytes(const ac_seal_kind *kind, size_t n_parts, size_t n_name_bytes);

/** Fill in the hash of every part from what lies in the file. AC_ERR_IO, AC_ERR_DATA when the file ends before. */
AC_NODISCARD ac_status ac_seal_hash_parts(int fd, ac_seal *seal);
/** Hash the structure of the finished file and write the block. `seal` gives the rest; file_bytes, structure and root
 * are filled in. AC_ERR_IO. */
AC_NODISCARD ac_status ac_seal_write(int fd, ac_seal *seal);

/** Read the block and compare it with its own hash and with the file's size; every part then lies in the file. Release
 * after success. AC_ERR_DATA: not of this kind, another format, damaged, truncated; AC_ERR_IO. */
AC_NODISCARD ac_status ac_seal_read(int fd, const ac_seal_kind *kind, ac_seal *seal);
/** Safe on a zeroed struct, which is what it leaves, and on a writer's. */
void ac_seal_release(ac_seal *seal);

/** Compare the bytes of every part and of the structure with the seal; a first part that is unhashed counts as good.
 * @param[out] damaged  [n_parts + 1], the last for the structure: true where they differ.
 * @return AC_OK whether or not some do; AC_ERR_IO. */
AC_NODISCARD ac_status ac_seal_check(int fd, const ac_seal *seal, bool *damaged);
/** The same in one word: AC_ERR_DATA naming the first thing that is damaged. */
AC_NODISCARD ac_status ac_seal_verify(int fd, const ac_seal *seal);

#endif
