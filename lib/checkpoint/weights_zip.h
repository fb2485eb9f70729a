/* The zip files of torch.save(): a directory of entries that are stored as they are. */
#ifndef ANYCLASS_LIB_WEIGHTS_ZIP_H
#define ANYCLASS_LIB_WEIGHTS_ZIP_H

#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ac_zip_entry {
    const char *name; /* not terminated; in the directory */
    size_t n_name;
    uint64_t header_at; /* of its local header */
    uint64_t n_bytes, n_stored_bytes;
    uint32_t crc; /* 0: torch was told not to compute it */
    uint16_t method, flags;
    bool checked;
} ac_zip_entry;

typedef struct ac_zip {
    uint8_t *directory; /* owned */
    uint64_t directory_at;
    ac_zip_entry *entry; /* [n] by name; owned */
    size_t n;
} ac_zip;

/** Read the directory. Texts do not name the file. Release in any case.
 * @return AC_ERR_IO; AC_ERR_DATA when it is no zip file, cut off, divided, or names an entry twice. */
AC_NODISCARD ac_status ac_zip_open(int fd, uint64_t file_bytes, ac_zip *out);
void ac_zip_release(ac_zip *zip);
/** Number of an entry, or SIZE_MAX. */
size_t ac_zip_find(const ac_zip *zip, const char *name, size_t n_name);
/** Where an entry's bytes begin: all of them lie in front of the directory then.
 * AC_ERR_DATA naming the entry when it is compressed, encrypted or damaged; AC_ERR_IO. */
AC_NODISCARD ac_status ac_zip_locate(int fd, const ac_zip *zip, size_t k, uint64_t *at);
/** Compare an entry's bytes with its checksum, once, if it has one. */
AC_NODISCARD ac_status ac_zip_check(int fd, ac_zip *zip, size_t k);

#endif
