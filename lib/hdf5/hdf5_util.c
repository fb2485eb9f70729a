/* HDF5 calls with our errors. */
#include "hdf5/hdf5_util.h"
#include "anyclass/alloc.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

void ac_hdf5_begin(void)
{
    H5dont_atexit();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

ac_status ac_hdf5_create(const char *path, size_t user_block_bytes, hid_t *file)
{
    ac_hdf5_begin();
    errno = 0;
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    hid_t create = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_obj_track_times(create, 0);
    H5Pset_userblock(create, user_block_bytes);
    *file = H5Fcreate(path, H5F_ACC_TRUNC, create, access);
    int cause = errno;
    H5Pclose(create);
    H5Pclose(access);
    errno = cause ? cause : EIO;
    return *file < 0 ? ac_error_errno("%s: cannot be created", path) : AC_OK;
}

ac_status ac_hdf5_close(hid_t *file, const char *path)
{
    hid_t open = *file;
    *file = -1;
    errno = 0;
    if (open < 0 || H5Fclose(open) >= 0)
        return AC_OK;
    errno = errno ? errno : EIO;
    return ac_error_errno("%s: close", path);
}

ac_status ac_hdf5_group(hid_t file, const char *name)
{
    hid_t create = H5Pcreate(H5P_GROUP_CREATE);
    H5Pset_obj_track_times(create, 0);
    hid_t group = H5Gcreate2(file, name, H5P_DEFAULT, create, H5P_DEFAULT);
    H5Pclose(create);
    if (group < 0 || H5Gclose(group) < 0)
        return ac_error(AC_ERR_IO, "group %s cannot be written", name);
    return AC_OK;
}

ac_status ac_hdf5_write(hid_t file, const char *name, hid_t type, int n_dims, const hsize_t *dims, const void *data)
{
    hsize_t n = 1;
    for (int i = 0; i < n_dims; i++)
        n *= dims[i];
    errno = 0;
    hid_t space = H5Screate_simple(n_dims, dims, NULL), create = H5Pcreate(H5P_DATASET_CREATE), links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    H5Pset_obj_track_times(create, 0);
    H5Pset_layout(create, H5D_CONTIGUOUS);
    H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(create, H5D_FILL_TIME_NEVER);
    hid_t set = H5Dcreate2(file, name, type, space, links, create, H5P_DEFAULT);
    bool good = set >= 0 && (n == 0 || H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    good &= set >= 0 && H5Dclose(set) >= 0;
    int cause = errno;
    H5Pclose(links);
    H5Pclose(create);
    H5Sclose(space);
    errno = cause ? cause : EIO;
    return good ? AC_OK : ac_error_errno("dataset %s", name);
}

static ac_status write_attribute(hid_t file, const char *object, const char *name, hid_t type, hid_t space, const void *value)
{
    hid_t attribute = H5Acreate_by_name(file, object, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    bool good = attribute >= 0 && H5Awrite(attribute, type, value) >= 0;
    good &= attribute >= 0 && H5Aclose(attribute) >= 0;
    return good ? AC_OK : ac_error(AC_ERR_IO, "attribute %s of %s cannot be written", name, object);
}

ac_status ac_hdf5_write_text(hid_t file, const char *object, const char *name, const char *text)
{
    size_t n = strlen(text);
    if (n > 60000) { /* an attribute takes 64 KiB: longer text is a dataset's business */
        return ac_error(AC_ERR_RANGE, "attribute %s of %zu bytes", name, n);
    }
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, n + 1);
    H5Tset_cset(type, H5T_CSET_UTF8);
    ac_status status = write_attribute(file, object, name, type, space, text);
    H5Sclose(space);
    H5Tclose(type);
    return status;
}

ac_status ac_hdf5_write_number(hid_t file, const char *object, const char *name, hid_t type, int n, const void *value)
{
    hsize_t dims = (hsize_t)n;
    hid_t space = n == 1 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &dims, NULL);
    ac_status status = write_attribute(file, object, name, type, space, value);
    H5Sclose(space);
    return status;
}

ac_status ac_hdf5_open(const char *path, hid_t *file)
{
    ac_hdf5_begin();
    *file = -1;
    if (access(path, R_OK) != 0)
        return ac_error_errno("%s", path);
    *file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    return *file < 0 ? ac_error(AC_ERR_DATA, "%s: no HDF5 file, or a damaged one", path) : AC_OK;
}

ac_status ac_hdf5_dims(hid_t file, const char *name, int n_dims, hsize_t *dims)
{
    hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    hid_t space = set < 0 ? -1 : H5Dget_space(set);
    bool good = space >= 0 && H5Sget_simple_extent_ndims(space) == n_dims && H5Sget_simple_extent_dims(space, dims, NULL) == n_dims;
    if (space >= 0)
        H5Sclose(space);
    if (set >= 0)
        H5Dclose(set);
    return good ? AC_OK : ac_error(AC_ERR_DATA, "dataset %s is missing or has not %d dimensions", name, n_dims);
}

ac_status ac_hdf5_read(hid_t file, const char *name, hid_t type, size_t n, void *data)
{
    hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    hid_t space = set < 0 ? -1 : H5Dget_space(set);
    bool good = space >= 0 && H5Sget_simple_extent_npoints(space) == (hssize_t)n;
    good = good && (n == 0 || H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    if (space >= 0)
        H5Sclose(space);
    if (set >= 0)
        H5Dclose(set);
    return good ? AC_OK : ac_error(AC_ERR_DATA, "dataset %s is missing, damaged or has not %zu elements", name, n);
}

ac_status ac_hdf5_read_text(hid_t file, const char *object, const char *name, char **text)
{
    ac_status status = AC_OK;
    *text = NULL;
    hid_t attribute = H5Aopen_by_name(file, object, name, H5P_DEFAULT, H5P_DEFAULT);
    hid_t type = attribute < 0 ? -1 : H5Aget_type(attribute), space = attribute < 0 ? -1 : H5Aget_space(attribute);
    if (type < 0 || H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0 || H5Tget_size(type) > 1 << 16 ||
        space < 0 || H5Sget_simple_extent_npoints(space) != 1)
        AC_TRY(ac_error(AC_ERR_DATA, "attribute %s of %s is missing or not one text", name, object));
    AC_TRY(ac_calloc(H5Tget_size(type) + 1, 1, text));
    if (H5Aread(attribute, type, *text) < 0)
        AC_TRY(ac_error(AC_ERR_DATA, "attribute %s of %s cannot be read", name, object));
out:
    if (status != AC_OK) {
        ac_free(*text);
        *text = NULL;
    }
    if (space >= 0)
        H5Sclose(space);
    if (type >= 0)
        H5Tclose(type);
    if (attribute >= 0)
        H5Aclose(attribute);
    return status;
}

ac_status ac_hdf5_read_number(hid_t file, const char *object, const char *name, hid_t type, int n, void *value)
{
    hid_t attribute = H5Aopen_by_name(file, object, name, H5P_DEFAULT, H5P_DEFAULT), space = attribute < 0 ? -1 : H5Aget_space(attribute);
    bool good = space >= 0 && H5Sget_simple_extent_npoints(space) == n && H5Aread(attribute, type, value) >= 0;
    if (space >= 0)
        H5Sclose(space);
    if (attribute >= 0)
        H5Aclose(attribute);
    return good ? AC_OK : ac_error(AC_ERR_DATA, "attribute %s of %s is missing or damaged", name, object);
}

ac_status ac_hdf5_offset(hid_t file, const char *name, unsigned long long *offset)
{
    hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    haddr_t address = set < 0 ? HADDR_UNDEF : H5Dget_offset(set);
    if (set >= 0)
        H5Dclose(set);
    *offset = address;
    return address == HADDR_UNDEF ? ac_error(AC_ERR_DATA, "dataset %s has no contiguous data", name) : AC_OK;
}
