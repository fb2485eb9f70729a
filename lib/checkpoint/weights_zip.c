/* Reading zip files as torch.save() writes them: entries that are stored uncompressed, of more than 4 GiB too. Every offset
 * is checked before it is followed. Leaves compressed entries to nobody: torch writes none. */
#include "checkpoint/weights_zip.h"
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include <stdlib.h>
#include <string.h>

enum {
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    ENTRY_BYTES = 46,
    LOCAL_BYTES = 30,
    MOST_COMMENT_BYTES = 65535,
    MOST_DIRECTORY_BYTES = 1 << 26
};

static uint32_t get(const uint8_t *bytes, int n)
{
    uint32_t value = 0;
    for (int i = 0; i < n; i++)
        value |= (uint32_t)bytes[i] << 8 * i;
    return value;
}

static uint64_t get64(const uint8_t *bytes)
{
    return get(bytes, 4) | (uint64_t)get(bytes + 4, 4) << 32;
}

typedef struct extent { /* of the directory, as the end of the file tells it */
    uint64_t at, n_bytes, n_entries, limit;
} extent;

/* Sizes that do not fit into the old record stand in a new one in front of it. */
static ac_status read_end64(int fd, uint64_t end_at, extent *e)
{
    ac_status status = AC_OK;
    uint8_t locator[LOCATOR_BYTES], end[END64_BYTES];
    if (end_at < LOCATOR_BYTES + END64_BYTES)
        return AC_OK;
    AC_TRY(ac_file_read_at(fd, end_at - LOCATOR_BYTES, locator, sizeof locator));
    if (get(locator, 4) != 0x07064b50)
        return AC_OK;
    const uint64_t at = get64(locator + 8);
    if (at > end_at - LOCATOR_BYTES - END64_BYTES)
        return ac_error(AC_ERR_DATA, "its zip directory lies outside of it");
    AC_TRY(ac_file_read_at(fd, at, end, sizeof end));
    if (get(end, 4) != 0x06064b50 || get(end + 16, 4) != 0 || get(end + 20, 4) != 0)
        return ac_error(AC_ERR_DATA, "the end of its zip directory is damaged");
    *e = (extent){get64(end + 48), get64(end + 40), get64(end + 32), at};
out:
    return status;
}

/* The record at the end of the file, in front of a comment that torch does not write. */
static ac_status find_end(int fd, uint64_t file_bytes, extent *e)
{
    ac_status status = AC_OK;
    uint8_t *tail = NULL;
    size_t n = file_bytes < END_BYTES + MOST_COMMENT_BYTES ? (size_t)file_bytes : END_BYTES + MOST_COMMENT_BYTES;
    AC_TRY(ac_malloc(n, 1, &tail));
    AC_TRY(ac_file_read_at(fd, file_bytes - n, tail, n));
    size_t k = n < END_BYTES ? 0 : n - END_BYTES + 1;
    while (k > 0 && !(get(tail + k - 1, 4) == 0x06054b50 && get(tail + k + 19, 2) == n - (k - 1) - END_BYTES))
        k--;
    if (k == 0)
        AC_TRY(ac_error(AC_ERR_DATA, "its zip directory is missing: the file was cut off, or more was written behind it"));
    const uint8_t *end = tail + k - 1;
    const uint64_t end_at = file_bytes - n + k - 1;
    if (get(end + 4, 2) != 0 || get(end + 6, 2) != 0)
        AC_TRY(ac_error(AC_ERR_DATA, "it is a part of a divided zip file"));
    *e = (extent){get(end + 16, 4), get(end + 12, 4), get(end + 10, 2), end_at};
    AC_TRY(read_end64(fd, end_at, e));
    if (e->at > e->limit || e->n_bytes > e->limit - e->at || e->n_entries > e->n_bytes / ENTRY_BYTES)
        AC_TRY(ac_error(AC_ERR_DATA, "its zip directory lies outside of it"));
    if (e->n_bytes > MOST_DIRECTORY_BYTES)
        AC_TRY(ac_error(AC_ERR_DATA, "its zip directory has more than %d MiB", MOST_DIRECTORY_BYTES >> 20));
out:
    ac_free(tail);
    return status;
}

/* Sizes of 4 GiB and more: a field of the entry is all ones, its value stands in the extra field, in this order. */
static bool read_extra(const uint8_t *extra, size_t n, ac_zip_entry *entry)
{
    uint64_t *const field[] = {&entry->n_bytes, &entry->n_stored_bytes, &entry->header_at};
    bool wanted = false;
    for (int i = 0; i < 3; i++)
        wanted = wanted || *field[i] == UINT32_MAX;
    for (size_t k = 0; wanted && n - k >= 4;) {
        const size_t n_block = get(extra + k + 2, 2);
        size_t at = k + 4, end = at + n_block;
        if (end > n)
            return false;
        for (int i = 0; get(extra + k, 2) == 1 && i < 3; i++)
            if (*field[i] == UINT32_MAX) {
                if (end - at < 8)
                    return false;
                *field[i] = get64(extra + at);
                at += 8;
            }
        if (get(extra + k, 2) == 1)
            return true;
        k = end;
    }
    return !wanted;
}

static ac_status read_entries(ac_zip *zip, size_t n_bytes)
{
    size_t at = 0;
    for (size_t k = 0; k < zip->n; k++) {
        const uint8_t *e = zip->directory + at;
        if (n_bytes - at < ENTRY_BYTES || get(e, 4) != 0x02014b50)
            return ac_error(AC_ERR_DATA, "entry %zu of its zip directory is damaged", k);
        const size_t n_name = get(e + 28, 2), n_extra = get(e + 30, 2), n_all = ENTRY_BYTES + n_name + n_extra + get(e + 32, 2);
        ac_zip_entry *entry = &zip->entry[k];
        *entry = (ac_zip_entry){.name = (const char *)e + ENTRY_BYTES,
                                .n_name = n_name,
                                .header_at = get(e + 42, 4),
                                .n_bytes = get(e + 24, 4),
                                .n_stored_bytes = get(e + 20, 4),
                                .crc = get(e + 16, 4),
                                .method = (uint16_t)get(e + 10, 2),
                                .flags = (uint16_t)get(e + 8, 2)};
        if (n_all > n_bytes - at || !read_extra(e + ENTRY_BYTES + n_name, n_extra, entry))
            return ac_error(AC_ERR_DATA, "entry %zu of its zip directory is damaged", k);
        at += n_all;
    }
    return AC_OK;
}

static int compare_names(const char *a, size_t n_a, const char *b, size_t n_b)
{
    const int order = memcmp(a, b, n_a < n_b ? n_a : n_b);
    return order ? order : (n_a > n_b) - (n_a < n_b);
}

static int by_name(const void *a, const void *b)
{
    const ac_zip_entry *x = a, *y = b;
    return compare_names(x->name, x->n_name, y->name, y->n_name);
}

ac_status ac_zip_open(int fd, uint64_t file_bytes, ac_zip *out)
{
    ac_status status = AC_OK;
    extent e;
    memset(out, 0, sizeof *out);
    AC_TRY(find_end(fd, file_bytes, &e));
    AC_TRY(ac_malloc((size_t)e.n_bytes, 1, &out->directory));
    AC_TRY(ac_file_read_at(fd, e.at, out->directory, (size_t)e.n_bytes));
    AC_TRY(ac_malloc((size_t)e.n_entries, sizeof *out->entry, &out->entry));
    out->n = (size_t)e.n_entries;
    out->directory_at = e.at;
    AC_TRY(read_entries(out, (size_t)e.n_bytes));
    if (out->n)
        qsort(out->entry, out->n, sizeof *out->entry, by_name);
    for (size_t k = 1; k < out->n; k++)
        if (by_name(&out->entry[k - 1], &out->entry[k]) == 0)
            return ac_error(AC_ERR_DATA, "two entries of its zip directory are called %.*s", (int)out->entry[k].n_name, out->entry[k].name);
out:
    return status;
}

void ac_zip_release(ac_zip *zip)
{
    ac_free(zip->directory);
    ac_free(zip->entry);
    memset(zip, 0, sizeof *zip);
}

size_t ac_zip_find(const ac_zip *zip, const char *name, size_t n_name)
{
    size_t low = 0, high = zip->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = compare_names(zip->entry[middle].name, zip->entry[middle].n_name, name, n_name);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return SIZE_MAX;
}

ac_status ac_zip_locate(int fd, const ac_zip *zip, size_t k, uint64_t *at)
{
    ac_status status = AC_OK;
    const ac_zip_entry *e = &zip->entry[k];
    uint8_t local[LOCAL_BYTES];
    if (e->flags & 1)
        return ac_error(AC_ERR_DATA, "its entry %.*s is encrypted", (int)e->n_name, e->name);
    if (e->method != 0 || e->n_bytes != e->n_stored_bytes)
        return ac_error(AC_ERR_DATA, "its entry %.*s is compressed, which torch.save() does not do: repack the file with zip -0", (int)e->n_name,
                        e->name);
    if (e->header_at > zip->directory_at || zip->directory_at - e->header_at < LOCAL_BYTES)
        return ac_error(AC_ERR_DATA, "its entry %.*s lies outside of it", (int)e->n_name, e->name);
    AC_TRY(ac_file_read_at(fd, e->header_at, local, sizeof local));
    const uint64_t skipped = LOCAL_BYTES + get(local + 26, 2) + get(local + 28, 2), left = zip->directory_at - e->header_at;
    if (get(local, 4) != 0x04034b50 || skipped > left || e->n_bytes > left - skipped)
        return ac_error(AC_ERR_DATA, "its entry %.*s lies outside of it", (int)e->n_name, e->name);
    *at = e->header_at + skipped;
out:
    return status;
}

typedef struct crc_table {
    uint32_t of[8][256];
} crc_table;

static void make_table(crc_table *table)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        table->of[0][i] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int i = 0; i < 256; i++)
            table->of[k][i] = table->of[k - 1][i] >> 8 ^ table->of[0][table->of[k - 1][i] & 255];
}

/* Eight bytes at a time: the checksum must not take longer than the disk. */
static uint32_t add_crc(const crc_table *t, uint32_t crc, const uint8_t *bytes, size_t n)
{
    for (; n >= 8; n -= 8, bytes += 8) {
        const uint32_t a = get(bytes, 4) ^ crc, b = get(bytes + 4, 4);
        crc = t->of[7][a & 255] ^ t->of[6][a >> 8 & 255] ^ t->of[5][a >> 16 & 255] ^ t->of[4][a >> 24] ^ t->of[3][b & 255] ^ t->of[2][b >> 8 & 255] ^
              t->of[1][b >> 16 & 255] ^ t->of[0][b >> 24];
    }
    for (; n; n--)
        crc = crc >> 8 ^ t->of[0][(crc ^ *bytes++) & 255];
    return crc;
}

ac_status ac_zip_check(int fd, ac_zip *zip, size_t k)
{
    enum { PIECE_BYTES = 1 << 18 };
    ac_status status = AC_OK;
    ac_zip_entry *e = &zip->entry[k];
    crc_table table;
    uint8_t *piece = NULL;
    uint32_t crc = UINT32_MAX;
    uint64_t at;
    if (e->checked || e->crc == 0)
        return AC_OK;
    make_table(&table);
    AC_TRY(ac_zip_locate(fd, zip, k, &at));
    AC_TRY(ac_malloc(e->n_bytes < PIECE_BYTES ? (size_t)e->n_bytes : PIECE_BYTES, 1, &piece));
    for (uint64_t done = 0; done < e->n_bytes;) {
        const size_t n = e->n_bytes - done < PIECE_BYTES ? (size_t)(e->n_bytes - done) : PIECE_BYTES;
        AC_TRY(ac_file_read_at(fd, at + done, piece, n));
        crc = add_crc(&table, crc, piece, n);
        done += n;
    }
    if (~crc != e->crc)
        AC_TRY(ac_error(AC_ERR_DATA, "its entry %.*s is damaged: its checksum differs", (int)e->n_name, e->name));
    e->checked = true;
out:
    ac_free(piece);
    return status;
}
