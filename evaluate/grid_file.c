/* Tables as files: the format by the file's ending, and all files complete or absent. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "evaluate/grid.h"
#include <string.h>
#include <strings.h>

bool grid_find_format(const char *path, grid_format *out)
{
    static const char *const ending[] = {
        [GRID_TEXT] = ".txt", [GRID_CSV] = ".csv", [GRID_MARKDOWN] = ".md", [GRID_LATEX] = ".tex"};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    for (size_t i = 0; dot && dot > name && i < sizeof ending / sizeof *ending; i++)
        if (strcasecmp(dot, ending[i]) == 0) {
            *out = (grid_format)i;
            return true;
        }
    return false;
}

ac_status grid_check_files(const char *option, const ac_string_list *files)
{
    grid_format ignored;
    for (size_t i = 0; i < files->n_items; i++) {
        if (!grid_find_format(files->item[i], &ignored))
            return ac_error(AC_ERR_USAGE, "--%s %s: a file name that ends with .txt, .csv, .md or .tex is wanted",
                            option, files->item[i]);
        for (size_t k = 0; k < i; k++)
            if (strcmp(files->item[k], files->item[i]) == 0)
                return ac_error(AC_ERR_USAGE, "--%s names %s twice", option, files->item[i]);
    }
    return AC_OK;
}

static ac_status folder_of(const char *path, char folder[AC_PATH_BYTES])
{
    ac_status status = ac_path_join(folder, "", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    else
        strcpy(folder, ".");
    return status;
}

ac_status grid_check_folder(const char *path)
{
    char folder[AC_PATH_BYTES];
    ac_status status = folder_of(path, folder);
    return status == AC_OK ? ac_path_check_writable(folder) : status;
}

ac_status grid_make_folder(const char *path)
{
    char folder[AC_PATH_BYTES];
    ac_status status = folder_of(path, folder);
    return status == AC_OK ? ac_path_make_folders(folder) : status;
}

static ac_status prepare_file(const char *path, grid_fill fill, const void *context, ac_file *file)
{
    ac_status status = AC_OK;
    grid_text text = {0};
    grid_format format = GRID_TEXT;
    grid_find_format(path, &format);
    AC_TRY(grid_make_folder(path));
    AC_TRY(fill(context, format, &text));
    AC_TRY(ac_file_create(file, path));
    AC_TRY(ac_file_write(file, text.text, text.n));
    AC_TRY(ac_file_sync(file));
out:
    grid_release_text(&text);
    return status;
}

ac_status grid_write_files(const ac_string_list *files, grid_fill fill, const void *context)
{
    ac_status status = AC_OK;
    ac_file *file = NULL;
    AC_TRY(ac_calloc(files->n_items, sizeof *file, &file));
    for (size_t i = 0; i < files->n_items; i++)
        AC_TRY(prepare_file(files->item[i], fill, context, &file[i]));
    for (size_t i = 0; i < files->n_items; i++)
        AC_TRY(ac_file_commit(&file[i]));
out:
    for (size_t i = 0; file && i < files->n_items; i++)
        ac_file_discard(&file[i]);
    ac_free(file);
    return status;
}
