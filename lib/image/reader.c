/* A picture's file to the pixels that a network sees: read, decoded, resized, and which pictures are bad. */
#include "anyclass/alloc.h"
#include "anyclass/image.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* True when nothing is there under that name. */
static bool is_absent(const char *path)
{
    struct stat info;
    return stat(path, &info) != 0 && (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG || errno == ELOOP);
}

/* The recorded error without the path in front: reasons are stored, and must not depend on where the images lie. */
static void copy_reason(const char *path, char reason[AC_IMAGE_REASON_BYTES])
{
    const char *text = ac_error_text();
    size_t n = 0;
    while (path[n] && (text[n] == path[n] || text[n] == '?')) /* errors show control characters as ? */
        n++;
    if (!path[n] && strncmp(text + n, ": ", 2) == 0)
        text += n + 2;
    snprintf(reason, AC_IMAGE_REASON_BYTES, "%s", text[0] ? text : "cannot be decoded");
}

ac_status ac_image_reader_read(ac_image_reader *reader, const char *path, const ac_decode_options *options,
                               ac_simd level, int size_px, uint8_t *out, char reason[AC_IMAGE_REASON_BYTES])
{
    ac_status status = AC_OK;
    reason[0] = 0;
    if (!reader->resizer)
        AC_TRY(ac_resizer_create_with(size_px, level, &reader->resizer));
    status = ac_image_load(path, options, &reader->image, &reader->scratch, &reader->scratch_bytes);
    if (status == AC_ERR_DATA) {
        copy_reason(path, reason);
        return AC_OK;
    }
    if (status == AC_ERR_IO && is_absent(path)) {
        snprintf(reason, AC_IMAGE_REASON_BYTES, "no such file");
        return AC_OK;
    }
    AC_TRY(status);
    AC_TRY(ac_resizer_run(reader->resizer, &reader->image, out));
out:
    return status;
}

void ac_image_reader_release(ac_image_reader *reader)
{
    ac_resizer_destroy(reader->resizer);
    ac_image_release(&reader->image);
    ac_free(reader->scratch);
    *reader = (ac_image_reader){0};
}
