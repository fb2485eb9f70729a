/* Seals: text lines, so that `head` shows them, closed by a hash of the lines themselves. */
#include "hdf5/seal.h"
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { PIECE_BYTES = 1 << 18, START_BYTES = 128, MIN_BLOCK_BYTES = 2048, MAX_BLOCK_BYTES = 1 << 21 };
enum { LINE_BYTES = 2 * 21 + 1 + AC_HASH_TEXT_BYTES }; /* of a part, without its name */

static const char hdf5_magic[] = "\x89HDF\r\n\x1a\n";

size_t ac_seal_block_bytes(const ac_seal_kind *kind, size_t n_parts, size_t n_name_bytes)
{
    size_t wanted = START_BYTES + (n_parts + 2) * LINE_BYTES + n_name_bytes, n = MIN_BLOCK_BYTES;
    while (n < wanted)
        n *= 2;
    return kind->block_bytes ? kind->block_bytes : n;
}

/* The lines that do not depend on the parts. Returns their length. */
static int print_start(const ac_seal *seal, char *out, size_t capacity)
{
    const ac_seal_kind *kind = seal->kind;
    int n = snprintf(out, capacity, "anyclass %s, format %d\n", kind->name, kind->format);
    if (!kind->block_bytes)
        n += snprintf(out + n, capacity - (size_t)n, "block_bytes %020zu\n", seal->block_bytes);
    return n + snprintf(out + n, capacity - (size_t)n, "file_bytes %020" PRIu64 "\n", seal->file_bytes);
}

static size_t print_part(char *out, size_t capacity, const char *name, uint64_t at, uint64_t n_bytes, ac_hash hash)
{
    char text[AC_HASH_TEXT_BYTES];
    ac_hash_format(hash, text);
    int n = snprintf(out, capacity, "%s %020" PRIu64 " %020" PRIu64 " %s\n", name, at, n_bytes, text);
    return (size_t)n < capacity ? (size_t)n : capacity;
}

/* The block as text, and the root; the rest is zeros. The numbers have a fixed width, so what fitted once always fits.
 */
static void print_seal(ac_seal *seal, char *block)
{
    char hash[AC_HASH_TEXT_BYTES];
    size_t capacity = seal->block_bytes;
    memset(block, 0, capacity);
    size_t n = (size_t)print_start(seal, block, capacity);
    for (size_t k = 0; k < seal->n_parts; k++) {
        const ac_seal_part *part = &seal->part[k];
        n += print_part(block + n, capacity - n, part->name, part->at, part->n_bytes, part->hash);
    }
    n += print_part(block + n, capacity - n, "structure", 0, 0, seal->structure);
    seal->root = ac_hash_bytes(block, n);
    ac_hash_format(seal->root, hash);
    snprintf(block + n, capacity - n, "seal %s\n", hash);
}

typedef struct hashing { /* the running hash of one part */
    int fd;
    XXH3_state_t *state;
    uint8_t *piece;
} hashing;

static ac_status begin_hashing(hashing *h, int fd)
{
    ac_status status = AC_OK;
    *h = (hashing){.fd = fd};
    AC_TRY(ac_malloc(PIECE_BYTES, 1, &h->piece));
    h->state = XXH3_createState();
    if (!h->state)
        status = ac_error(AC_ERR_MEMORY, "cannot allocate a hash state");
out:
    return status;
}

static void end_hashing(hashing *h)
{
    XXH3_freeState(h->state);
    ac_free(h->piece);
}

static ac_status add_range(hashing *h, uint64_t from, uint64_t to)
{
    ac_status status = AC_OK;
    while (from < to) {
        size_t n = to - from < PIECE_BYTES ? (size_t)(to - from) : PIECE_BYTES;
        AC_TRY(ac_file_read_at(h->fd, from, h->piece, n));
        XXH3_128bits_update(h->state, h->piece, n);
        from += n;
    }
out:
    return status;
}

static ac_hash digest(const hashing *h)
{
    XXH128_hash_t hash = XXH3_128bits_digest(h->state);
    return (ac_hash){hash.low64, hash.high64};
}

static ac_status hash_part(hashing *h, const ac_seal *seal, size_t k, ac_hash *out)
{
    const ac_seal_part *part = &seal->part[k];
    *out = (ac_hash){0, 0};
    if (k == 0 && seal->kind->first_is_unhashed)
        return AC_OK;
    XXH3_128bits_reset(h->state);
    ac_status status = add_range(h, part->at, part->at + part->n_bytes);
    *out = digest(h);
    return status;
}

/* Every byte behind the block that lies in no dataset. */
static ac_status hash_structure(hashing *h, const ac_seal *seal, ac_hash *out)
{
    ac_status status = AC_OK;
    const ac_seal_part *part = seal->part;
    XXH3_128bits_reset(h->state);
    for (uint64_t at = seal->block_bytes; at < seal->file_bytes;) {
        uint64_t end = seal->file_bytes, behind = end;
        for (size_t k = 0; k < seal->n_parts; k++)
            if (part[k].n_bytes && part[k].at >= at && part[k].at < end) {
                end = part[k].at;
                behind = end + part[k].n_bytes;
            }
        AC_TRY(add_range(h, at, end));
        at = behind;
    }
    *out = digest(h);
out:
    return status;
}

static ac_status file_size(int fd, uint64_t *n_bytes)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return ac_error_errno("cannot look at it");
    if (!S_ISREG(info.st_mode))
        return ac_error(AC_ERR_DATA, "is no regular file");
    *n_bytes = (uint64_t)info.st_size;
    return AC_OK;
}

ac_status ac_seal_hash_parts(int fd, ac_seal *seal)
{
    ac_status status = AC_OK;
    hashing h = {0};
    AC_TRY(begin_hashing(&h, fd));
    for (size_t k = 0; k < seal->n_parts; k++)
        AC_TRY(hash_part(&h, seal, k, &seal->part[k].hash));
out:
    end_hashing(&h);
    return status;
}

static ac_status write_block(int fd, const char *block, size_t n_bytes)
{
    for (size_t done = 0; done < n_bytes;) {
        ssize_t n = pwrite(fd, block + done, n_bytes - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ac_error_errno("seal");
        done += (size_t)n;
    }
    return AC_OK;
}

ac_status ac_seal_write(int fd, ac_seal *seal)
{
    ac_status status = AC_OK;
    char *block = NULL;
    hashing h = {0};
    AC_TRY(begin_hashing(&h, fd));
    AC_TRY(ac_malloc(seal->block_bytes, 1, &block));
    AC_TRY(file_size(fd, &seal->file_bytes));
    AC_TRY(hash_structure(&h, seal, &seal->structure));
    print_seal(seal, block);
    AC_TRY(write_block(fd, block, seal->block_bytes));
out:
    ac_free(block);
    end_hashing(&h);
    return status;
}

/* Why a block that does not begin as it should is none. */
static ac_status refuse_start(const ac_seal_kind *kind, char *block)
{
    char first[START_BYTES];
    const int n = snprintf(first, sizeof first, "anyclass %s, format ", kind->name);
    if (memcmp(block, hdf5_magic, sizeof hdf5_magic - 1) == 0)
        return ac_error(AC_ERR_DATA,
                        "an HDF5 file without the seal of a %s: another file, or a %s of an older version%s",
                        kind->name, kind->name, kind->advice);
    if (strncmp(block, first, (size_t)n) != 0)
        return ac_error(AC_ERR_DATA, "no %s", kind->name);
    block[strcspn(block, "\n")] = 0;
    return ac_error(AC_ERR_DATA, "%s format %.9s, this program reads %d%s", kind->name, block + n, kind->format,
                    kind->advice);
}

/* The size of the block, from its start (zero behind the file's end). */
static ac_status read_start(int fd, const ac_seal_kind *kind, uint64_t n_bytes, size_t *block_bytes)
{
    ac_status status = AC_OK;
    char block[START_BYTES + 1] = "", start[START_BYTES];
    uint64_t stated = kind->block_bytes;
    AC_TRY(ac_file_read_at(fd, 0, block, n_bytes < START_BYTES ? (size_t)n_bytes : START_BYTES));
    const int n = snprintf(start, sizeof start, "anyclass %s, format %d\n", kind->name, kind->format);
    if (strncmp(block, start, (size_t)n) != 0)
        return refuse_start(kind, block);
    if (!stated && (sscanf(block + n, "block_bytes %20" SCNu64, &stated) != 1 || stated < MIN_BLOCK_BYTES ||
                    stated > MAX_BLOCK_BYTES || (stated & (stated - 1))))
        return ac_error(AC_ERR_DATA, "the seal is damaged");
    if (n_bytes < stated)
        return ac_error(AC_ERR_DATA, "truncated: %" PRIu64 " bytes", n_bytes);
    *block_bytes = (size_t)stated;
out:
    return status;
}

/* One line of a part; its name is ended by a zero. Returns the next line, NULL for what is no such line. */
static char *scan_part(char *line, ac_seal_part *part)
{
    char hash[AC_HASH_TEXT_BYTES], *end = strchr(line, '\n'), *space = strchr(line, ' ');
    if (!end || !space || space > end || end - space != LINE_BYTES - 1 ||
        sscanf(space, " %20" SCNu64 " %20" SCNu64 " %32s", &part->at, &part->n_bytes, hash) != 3 ||
        ac_hash_parse(hash, &part->hash) != AC_OK)
        return NULL;
    *space = 0;
    part->name = line;
    return end + 1;
}

/* Parts and hashes of the block, whose names stay in `text`. What is printed from them again must be the block, so
 * nothing else is checked here. */
static bool scan_seal(char *text, ac_seal *seal)
{
    ac_seal_part *part = seal->part;
    char *line = strstr(text, "\nfile_bytes ");
    if (!line || sscanf(line, "\nfile_bytes %20" SCNu64, &seal->file_bytes) != 1)
        return false;
    line = strchr(line + 1, '\n');
    line = line ? line + 1 : NULL;
    while (line && (line = scan_part(line, part)) && strcmp(part->name, "structure") != 0)
        part++;
    seal->n_parts = (size_t)(part - seal->part);
    seal->structure = part->hash;
    return line != NULL;
}

static ac_status check_places(const ac_seal *seal)
{
    for (size_t k = 0; k < seal->n_parts; k++) {
        const ac_seal_part *part = &seal->part[k];
        if (part->n_bytes > seal->file_bytes || part->at > seal->file_bytes - part->n_bytes)
            return ac_error(AC_ERR_DATA, "the seal puts %s beyond the file's end", part->name);
    }
    return AC_OK;
}

/* The block again, behind it the same as text, then room for as many parts as it may hold. */
static ac_status read_block(int fd, ac_seal *seal, char **text)
{
    ac_status status = AC_OK;
    const size_t n = seal->block_bytes, n_most = n / LINE_BYTES + 2;
    AC_TRY(ac_malloc(n_most * sizeof *seal->part + n + 1, 1, &seal->owned));
    seal->part = seal->owned;
    *text = (char *)(seal->part + n_most);
    AC_TRY(ac_file_read_at(fd, 0, *text, n));
    (*text)[n] = 0;
out:
    return status;
}

ac_status ac_seal_read(int fd, const ac_seal_kind *kind, ac_seal *seal)
{
    ac_status status = AC_OK;
    uint64_t n_bytes = 0;
    char *text, *block = NULL, *again = NULL;
    memset(seal, 0, sizeof *seal);
    seal->kind = kind;
    AC_TRY(file_size(fd, &n_bytes));
    AC_TRY(read_start(fd, kind, n_bytes, &seal->block_bytes));
    AC_TRY(read_block(fd, seal, &text));
    AC_TRY(ac_malloc(seal->block_bytes, 2, &block));
    again = block + seal->block_bytes;
    memcpy(block, text, seal->block_bytes);
    if (!scan_seal(text, seal))
        AC_TRY(ac_error(AC_ERR_DATA, "the seal is damaged"));
    print_seal(seal, again);
    if (memcmp(block, again, seal->block_bytes) != 0)
        AC_TRY(ac_error(AC_ERR_DATA, "the seal is damaged"));
    if (n_bytes != seal->file_bytes)
        AC_TRY(ac_error(AC_ERR_DATA, "%s: %" PRIu64 " bytes of %" PRIu64,
                        n_bytes < seal->file_bytes ? "truncated" : "something was appended", n_bytes,
                        seal->file_bytes));
    AC_TRY(check_places(seal));
out:
    ac_free(block);
    if (status != AC_OK)
        ac_seal_release(seal);
    return status;
}

void ac_seal_release(ac_seal *seal)
{
    ac_free(seal->owned);
    memset(seal, 0, sizeof *seal);
}

ac_status ac_seal_check(int fd, const ac_seal *seal, bool *damaged)
{
    ac_status status = AC_OK;
    hashing h = {0};
    ac_hash now;
    AC_TRY(begin_hashing(&h, fd));
    for (size_t k = 0; k < seal->n_parts; k++) {
        AC_TRY(hash_part(&h, seal, k, &now));
        damaged[k] = !(k == 0 && seal->kind->first_is_unhashed) && !ac_hash_equal(now, seal->part[k].hash);
    }
    AC_TRY(hash_structure(&h, seal, &now));
    damaged[seal->n_parts] = !ac_hash_equal(now, seal->structure);
out:
    end_hashing(&h);
    return status;
}

ac_status ac_seal_verify(int fd, const ac_seal *seal)
{
    ac_status status = AC_OK;
    bool *damaged = NULL;
    AC_TRY(ac_calloc(seal->n_parts + 1, sizeof *damaged, &damaged));
    AC_TRY(ac_seal_check(fd, seal, damaged));
    for (size_t k = 0; k < seal->n_parts; k++)
        if (damaged[k])
            AC_TRY(ac_error(AC_ERR_DATA, "dataset %s is damaged: its hash differs", seal->part[k].name));
    if (damaged[seal->n_parts])
        status = ac_error(AC_ERR_DATA, "the file's structure is damaged: its hash differs");
out:
    ac_free(damaged);
    return status;
}
