/* The short forms of HDF5 calls on files that are valid HDF5 but not what was asked for: refused by name, never read
 * over the end of the caller's memory (run under AddressSanitizer). */
#include "anyclass/alloc.h"
#include "hdf5/hdf5_util.h"
#include "tests/tap.h"
#include <string.h>

/* Attribute of n texts of 8 bytes each; n == 0: one text of variable length. */
static void put_texts(hid_t file, const char *name, hsize_t n)
{
    static const char eights[4][8] = {"first", "second", "third", "fourth"};
    const char *variable = "variable";
    hid_t type = H5Tcopy(H5T_C_S1), space = n == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &n, NULL);
    H5Tset_size(type, n == 0 ? H5T_VARIABLE : sizeof *eights);
    hid_t attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    TAP_OK(attribute >= 0 && H5Awrite(attribute, type, n == 0 ? (const void *)&variable : eights) >= 0, "%s is written", name);
    H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
}

static void refused(hid_t file, const char *name)
{
    char *text;
    TAP_OK(ac_hdf5_read_text(file, "/", name, &text) == AC_ERR_DATA && !text && strstr(ac_error_text(), name), "%s is not one text", name);
}

int main(void)
{
    char folder[AC_PATH_BYTES], path[AC_PATH_BYTES], *text = NULL;
    double numbers[3];
    hid_t file;
    if (!tap_folder(folder) || !TAP_CALL(ac_path_join(path, folder, "odd.h5")) || !TAP_CALL(ac_hdf5_create(path, 0, &file)))
        return tap_done();
    put_texts(file, "one", 1);
    put_texts(file, "four", 4);
    put_texts(file, "variable", 0);
    TAP_CALL(ac_hdf5_write_number(file, "/", "number", H5T_NATIVE_DOUBLE, 3, (double[]){1, 2, 3}));
    TAP_CALL(ac_hdf5_close(&file, path));
    if (TAP_CALL(ac_hdf5_open(path, &file))) {
        TAP_OK(ac_hdf5_read_text(file, "/", "one", &text) == AC_OK && strcmp(text, "first") == 0, "one text is read");
        ac_free(text);
        refused(file, "four");
        refused(file, "variable");
        refused(file, "number");
        refused(file, "absent");
        TAP_OK(ac_hdf5_read_number(file, "/", "number", H5T_NATIVE_DOUBLE, 2, numbers) == AC_ERR_DATA, "three numbers are not two");
        TAP_OK(ac_hdf5_read_number(file, "/", "four", H5T_NATIVE_DOUBLE, 3, numbers) == AC_ERR_DATA, "texts are no numbers");
        TAP_CALL(ac_hdf5_close(&file, path));
    }
    tap_remove(folder);
    return tap_done();
}
