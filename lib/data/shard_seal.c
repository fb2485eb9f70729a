/* The seal of a shard: text lines, so that `head` shows them, closed by a hash of the lines themselves. */
#include "data/shard_seal.h"
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static const char first_line[] = "anyclass shard, format ";
static const char hdf5_magic[] = "\x89HDF\r\n\x1a\n";

const char *ac_seal_part_name(ac_seal_part part)
{
    static const char *const name[AC_SEAL_N_PARTS] = {"images",     "labels",           "name_offsets",   "name_bytes",
                                                      "image_hash", "rejected_offsets", "rejected_bytes", "structure"};
    return name[part];
}

/* The block as text, and the root; the rest is zeros. The numbers have a fixed width, so it always fits. */
static void print_seal(ac_seal *seal, char block[AC_SEAL_BYTES])
{
    char hash[AC_HASH_TEXT_BYTES];
    memset(block, 0, AC_SEAL_BYTES);
    size_t n = (size_t)snprintf(block, AC_SEAL_BYTES, "%s%d\nfile_bytes %020" PRIu64 "\n", first_line, AC_SHARD_FORMAT,
                                seal->file_bytes);
    for (int k = 0; k < AC_SEAL_N_PARTS; k++) {
        uint64_t at = k < AC_SEAL_N_DATASETS ? seal->at[k] : 0, n_bytes = k < AC_SEAL_N_DATASETS ? seal->n_bytes[k] : 0;
        ac_hash_format(seal->hash[k], hash);
        n += (size_t)snprintf(block + n, AC_SEAL_BYTES - n, "%s %020" PRIu64 " %020" PRIu64 " %s\n",
                              ac_seal_part_name((ac_seal_part)k), at, n_bytes, hash);
    }
    seal->root = ac_hash_bytes(block, n);
    ac_hash_format(seal->root, hash);
    snprintf(block + n, AC_SEAL_BYTES - n, "seal %s\n", hash);
}

/* Numbers and hashes of the block. What is printed from them again must be the block, so nothing else is checked. */
static bool scan_seal(const char *block, ac_seal *seal)
{
    const char *line = strchr(block, '\n');
    if (!line || sscanf(line, "\nfile_bytes %" SCNu64, &seal->file_bytes) != 1)
        return false;
    for (int k = 0; k < AC_SEAL_N_PARTS; k++) {
        uint64_t at, n_bytes;
        char hash[AC_HASH_TEXT_BYTES];
        line = strchr(line + 1, '\n');
        if (!line || sscanf(line, "\n%*31s %" SCNu64 " %" SCNu64 " %32s", &at, &n_bytes, hash) != 3)
            return false;
        if (ac_hash_parse(hash, &seal->hash[k]) != AC_OK)
            return false;
        if (k < AC_SEAL_N_DATASETS) {
            seal->at[k] = at;
            seal->n_bytes[k] = n_bytes;
        }
    }
    return true;
}

typedef struct hashing { /* the running hash of one part */
    int fd;
    XXH3_state_t *state;
    uint8_t *piece;
} hashing;

enum { PIECE_BYTES = 1 << 18 };

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

/* Every byte behind the block that lies in no dataset. */
static ac_status add_structure(hashing *h, const ac_seal *seal)
{
    ac_status status = AC_OK;
    for (uint64_t at = AC_SEAL_BYTES; at < seal->file_bytes;) {
        uint64_t end = seal->file_bytes, behind = end;
        for (int k = 0; k < AC_SEAL_N_DATASETS; k++)
            if (seal->n_bytes[k] && seal->at[k] >= at && seal->at[k] < end) {
                end = seal->at[k];
                behind = end + seal->n_bytes[k];
            }
        AC_TRY(add_range(h, at, end));
        at = behind;
    }
out:
    return status;
}

static ac_status hash_parts(int fd, const ac_seal *seal, ac_hash out[AC_SEAL_N_PARTS])
{
    ac_status status = AC_OK;
    hashing h = {.fd = fd};
    memset(out, 0, AC_SEAL_N_PARTS * sizeof *out);
    AC_TRY(ac_malloc(PIECE_BYTES, 1, &h.piece));
    h.state = XXH3_createState();
    if (!h.state)
        AC_TRY(ac_error(AC_ERR_MEMORY, "cannot allocate a hash state"));
    for (int k = AC_SEAL_IMAGES + 1; k < AC_SEAL_N_PARTS; k++) {
        XXH3_128bits_reset(h.state);
        if (k == AC_SEAL_STRUCTURE)
            AC_TRY(add_structure(&h, seal));
        else
            AC_TRY(add_range(&h, seal->at[k], seal->at[k] + seal->n_bytes[k]));
        XXH128_hash_t hash = XXH3_128bits_digest(h.state);
        out[k] = (ac_hash){hash.low64, hash.high64};
    }
out:
    XXH3_freeState(h.state);
    ac_free(h.piece);
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

ac_status ac_seal_write(int fd, ac_seal *seal)
{
    ac_status status = AC_OK;
    char block[AC_SEAL_BYTES];
    AC_TRY(file_size(fd, &seal->file_bytes));
    AC_TRY(hash_parts(fd, seal, seal->hash));
    print_seal(seal, block);
    for (size_t done = 0; done < sizeof block;) {
        ssize_t n = pwrite(fd, block + done, sizeof block - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ac_error_errno("seal");
        done += (size_t)n;
    }
out:
    return status;
}

/* Why a block that does not begin as it should is none. */
static ac_status refuse_start(const char *block, size_t n)
{
    if (n >= sizeof hdf5_magic - 1 && memcmp(block, hdf5_magic, sizeof hdf5_magic - 1) == 0)
        return ac_error(AC_ERR_DATA, "an HDF5 file without the seal of a shard: another file, or a shard of an older "
                                     "version: run anyclass-preprocess again");
    if (strncmp(block, first_line, sizeof first_line - 1) == 0)
        return ac_error(AC_ERR_DATA, "shard format %.9s, this program reads %d: run anyclass-preprocess again",
                        block + sizeof first_line - 1, AC_SHARD_FORMAT);
    return ac_error(AC_ERR_DATA, "no shard");
}

ac_status ac_seal_read(int fd, ac_seal *seal)
{
    ac_status status = AC_OK;
    char block[AC_SEAL_BYTES + 1] = "", again[AC_SEAL_BYTES], start[64];
    uint64_t n_bytes = 0;
    memset(seal, 0, sizeof *seal);
    AC_TRY(file_size(fd, &n_bytes));
    size_t n = n_bytes < AC_SEAL_BYTES ? (size_t)n_bytes : AC_SEAL_BYTES;
    AC_TRY(ac_file_read_at(fd, 0, block, n));
    int length = snprintf(start, sizeof start, "%s%d\n", first_line, AC_SHARD_FORMAT);
    if (strncmp(block, start, (size_t)length) != 0) {
        block[strcspn(block, "\n")] = 0;
        return refuse_start(block, n);
    }
    if (n < AC_SEAL_BYTES)
        return ac_error(AC_ERR_DATA, "truncated: %" PRIu64 " bytes", n_bytes);
    if (!scan_seal(block, seal))
        return ac_error(AC_ERR_DATA, "the seal is damaged");
    print_seal(seal, again);
    if (memcmp(block, again, AC_SEAL_BYTES) != 0)
        return ac_error(AC_ERR_DATA, "the seal is damaged");
    if (n_bytes != seal->file_bytes)
        return ac_error(AC_ERR_DATA, "%s: %" PRIu64 " bytes of %" PRIu64,
                        n_bytes < seal->file_bytes ? "truncated" : "something was appended", n_bytes, seal->file_bytes);
    for (int k = 0; k < AC_SEAL_N_DATASETS; k++)
        if (seal->n_bytes[k] > n_bytes || seal->at[k] > n_bytes - seal->n_bytes[k])
            return ac_error(AC_ERR_DATA, "the seal puts %s beyond the file's end", ac_seal_part_name((ac_seal_part)k));
out:
    return status;
}

ac_status ac_seal_check(int fd, const ac_seal *seal, bool *damaged)
{
    ac_hash now[AC_SEAL_N_PARTS];
    ac_status status = hash_parts(fd, seal, now);
    for (int k = 0; k < AC_SEAL_N_PARTS && status == AC_OK; k++)
        damaged[k] = k != AC_SEAL_IMAGES && !ac_hash_equal(now[k], seal->hash[k]);
    return status;
}
