/* Finds out what an image file is and hands it to its decoder; reading image files.
 * Leaves the formats to jpeg.c and png.c, the orientation to exif.c, memory to image.c. */
#include "image_internal.h"
#include "anyclass/alloc.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t MAX_FILE_BYTES = (size_t)1 << 30;

/* what the first bytes of a file say; `at` is where they stand */
static const struct magic {
    const char *name;
    const char *bytes;
    size_t at, n;
} other_formats[] = {
    {"GIF", "GIF8", 0, 4},
    {"WebP", "WEBP", 8, 4},
    {"BMP", "BM", 0, 2},
    {"TIFF", "II*\0", 0, 4},
    {"TIFF", "MM\0*", 0, 4},
    {"BigTIFF", "II+\0", 0, 4},
    {"JPEG 2000", "\0\0\0\x0cjP  ", 0, 8},
    {"JPEG 2000", "\xff\x4f\xff\x51", 0, 4},
    {"JPEG XL", "\xff\x0a", 0, 2},
    {"JPEG XL", "\0\0\0\x0cJXL ", 0, 8},
    {"AVIF", "ftypavif", 4, 8},
    {"HEIF", "ftyp", 4, 4},
    {"Photoshop", "8BPS", 0, 4},
    {"icon", "\0\0\1\0", 0, 4},
    {"PDF", "%PDF", 0, 4},
    {"PostScript", "%!PS", 0, 4},
    {"DICOM", "DICM", 128, 4},
    {"HDF5", "\x89HDF\r\n\x1a\n", 0, 8},
    {"MNG", "\x8aMNG", 0, 4},
    {"gzip", "\x1f\x8b", 0, 2},
    {"ZIP", "PK\3\4", 0, 4},
    {"HTML or XML", "<", 0, 1},
};

static ac_status refuse_unknown(const uint8_t *bytes, size_t n_bytes)
{
    if (n_bytes == 0)
        return ac_error(AC_ERR_DATA, "empty file, not an image");
    if (n_bytes >= 4 && memcmp(bytes, "\x89PNG", 4) == 0)
        return ac_error(AC_ERR_DATA, "PNG with a damaged signature (copied in text mode?)");
    for (size_t i = 0; i < sizeof other_formats / sizeof *other_formats; i++) {
        const struct magic *m = &other_formats[i];
        if (n_bytes >= m->at + m->n && memcmp(bytes + m->at, m->bytes, m->n) == 0)
            return ac_error(AC_ERR_DATA, "%s file: only JPEG and PNG images are read", m->name);
    }
    if (n_bytes >= 2 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '7')
        return ac_error(AC_ERR_DATA, "PNM file: only JPEG and PNG images are read");
    return ac_error(AC_ERR_DATA, "not a JPEG or PNG image (first bytes %02x %02x)", (unsigned)bytes[0],
                    n_bytes > 1 ? (unsigned)bytes[1] : 0u);
}

ac_status ac_image_decode(const uint8_t *bytes, size_t n_bytes, const ac_decode_options *options, ac_image *image)
{
    ac_status status = AC_OK;
    int orientation = 1;
    if (n_bytes >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0)
        status = ac_jpeg_decode(bytes, n_bytes, options, image, &orientation);
    else if (n_bytes >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0)
        status = ac_png_decode(bytes, n_bytes, options, image, &orientation);
    else
        status = refuse_unknown(bytes, n_bytes);
    if (status == AC_OK && orientation != 1)
        status = ac_image_orient(image, orientation);
    return status;
}

/* The size of the file behind `fd`, of which only regular files will do: a pipe could block for ever. */
static ac_status file_size(int fd, size_t *n_bytes)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return ac_error_errno("cannot look at it");
    if (!S_ISREG(info.st_mode))
        return ac_error(AC_ERR_DATA, "not a regular file");
    if ((uint64_t)info.st_size > MAX_FILE_BYTES)
        return ac_error(AC_ERR_DATA, "%" PRId64 " bytes are too many for one image", (int64_t)info.st_size);
    *n_bytes = (size_t)info.st_size;
    return AC_OK;
}

static ac_status read_file(int fd, uint8_t *bytes, size_t n_bytes, size_t *n_read)
{
    size_t done = 0;
    while (done < n_bytes) {
        const ssize_t n = read(fd, bytes + done, n_bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ac_error_errno("cannot read it");
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *n_read = done;
    return AC_OK;
}

ac_status ac_image_load(const char *path, const ac_decode_options *options, ac_image *image, uint8_t **scratch,
                        size_t *scratch_bytes)
{
    ac_status status = AC_OK;
    size_t n_bytes = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return ac_error_errno("%s", path);
    AC_TRY(file_size(fd, &n_bytes));
    if (!*scratch || *scratch_bytes < n_bytes) {
        ac_free(*scratch);
        *scratch = NULL;
        *scratch_bytes = 0;
        AC_TRY(ac_malloc(n_bytes, 1, scratch));
        *scratch_bytes = n_bytes;
    }
    AC_TRY(read_file(fd, *scratch, n_bytes, &n_bytes));
    AC_TRY(ac_image_decode(*scratch, n_bytes, options, image));
out:
    close(fd);
    return status == AC_OK ? AC_OK : ac_error_in(status, "%s", path);
}
