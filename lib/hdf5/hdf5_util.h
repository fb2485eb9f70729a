/* Short forms of HDF5 calls with our errors. Every close is checked: a full disk may show there first. */
#ifndef ANYCLASS_LIB_HDF5_UTIL_H
#define ANYCLASS_LIB_HDF5_UTIL_H

#include "anyclass/status.h"
#include <hdf5.h>
#include <stddef.h>

/** Once per process before any other call: no exit handler (it crashes on a full disk), no error stack on stderr. */
void ac_hdf5_begin(void);

/* Writing. Files hold no times, so that the same content is the same bytes. */
/** user_block_bytes: room in front that HDF5 leaves alone; 0, or a power of two from 512 on. */
AC_NODISCARD ac_status ac_hdf5_create(const char *path, size_t user_block_bytes, hid_t *file);
AC_NODISCARD ac_status ac_hdf5_close(hid_t *file, const char *path);
AC_NODISCARD ac_status ac_hdf5_group(hid_t file, const char *name);
AC_NODISCARD ac_status ac_hdf5_write(hid_t file, const char *name, hid_t type, int n_dims, const hsize_t *dims, const void *data);
AC_NODISCARD ac_status ac_hdf5_write_text(hid_t file, const char *object, const char *name, const char *text);
AC_NODISCARD ac_status ac_hdf5_write_number(hid_t file, const char *object, const char *name, hid_t type, int n, const void *value);

/* Reading. AC_ERR_DATA with the name of what is missing or of another size. */
AC_NODISCARD ac_status ac_hdf5_open(const char *path, hid_t *file);
AC_NODISCARD ac_status ac_hdf5_dims(hid_t file, const char *name, int n_dims, hsize_t *dims);
/** Read a whole dataset of exactly n elements. */
AC_NODISCARD ac_status ac_hdf5_read(hid_t file, const char *name, hid_t type, size_t n, void *data);
/** A fixed-length text attribute; owned by the caller. */
AC_NODISCARD ac_status ac_hdf5_read_text(hid_t file, const char *object, const char *name, char **text);
AC_NODISCARD ac_status ac_hdf5_read_number(hid_t file, const char *object, const char *name, hid_t type, int n, void *value);
/** Byte offset of a contiguous dataset's data in the file, its user block counted. */
AC_NODISCARD ac_status ac_hdf5_offset(hid_t file, const char *name, unsigned long long *offset);

#endif
