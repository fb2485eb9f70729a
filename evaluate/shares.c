/* Which bytes of a set of CSV files are a rank's, and the way through them. Leaves the meaning of rows to its callers. */
#include "evaluate/shares.h"
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

ac_status evaluate_agree(MPI_Comm comm, ac_status mine)
{
    char text[AC_ERROR_TEXT_BYTES];
    int rank, n = 0;
    ac_status status = ac_comm_agree(comm, mine);
    snprintf(text, sizeof text, "%s", ac_error_text());
    if (status != AC_OK && sscanf(text, "rank %d: %n", &rank, &n) == 1 && n > 0)
        return ac_error(status, "%s", text + n);
    return status;
}

void row_share_release(row_share *share)
{
    ac_free(share->start);
    memset(share, 0, sizeof *share);
}

uint64_t row_share_bytes(const row_share *share)
{
    return share->end - share->begin;
}

static ac_status measure_files(row_share *share)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    for (size_t file = 0; file < share->n_files; file++) {
        struct stat info;
        FILE *stream;
        AC_TRY(share->path(share->context, file, path));
        AC_TRY(ac_file_open_regular(path, &stream));
        status = fstat(fileno(stream), &info) == 0 ? AC_OK : ac_error_errno("%s", path);
        fclose(stream);
        if (status != AC_OK)
            return status;
        share->start[file + 1] = share->start[file] + (uint64_t)info.st_size;
    }
out:
    return status;
}

/* Where the rows behind the header begin in a file: its end when there are none. */
static ac_status find_header_end(const char *path, uint64_t file_bytes, uint64_t *end)
{
    ac_status status = AC_OK;
    ac_rows rows;
    bool have_row;
    AC_TRY(ac_rows_open(&rows, path, 0, file_bytes, AC_ROWS_AT_ROW));
    status = ac_rows_next(&rows, &have_row);
    *end = have_row ? rows.next : file_bytes;
    ac_rows_close(&rows);
out:
    return status;
}

size_t row_share_find_file(const row_share *share, uint64_t at)
{
    size_t file = 0;
    while (file + 1 < share->n_files && share->start[file + 1] <= at)
        file++;
    return file;
}

/* How the state at this share's end follows from that at its begin: looks at the part of the file that goes on behind the share. */
static ac_status scan_share(const row_share *share, ac_rows_state to[AC_ROWS_N_STATES])
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    uint64_t header_end = 0;
    for (int i = 0; i < AC_ROWS_N_STATES; i++)
        to[i] = (ac_rows_state)i;
    if (share->end == share->begin || share->is_last)
        return AC_OK;
    size_t file = row_share_find_file(share, share->end - 1);
    uint64_t start = share->start[file], begin = share->begin > start ? share->begin - start : 0;
    if (share->end == share->start[file + 1])
        return AC_OK;
    AC_TRY(share->path(share->context, file, path));
    AC_TRY(find_header_end(path, share->start[file + 1] - start, &header_end));
    bool known = begin <= header_end;
    begin = known ? header_end : begin;
    if (begin < share->end - start)
        AC_TRY(ac_rows_scan(path, begin, share->end - start, to));
    for (int i = 0; known && i < AC_ROWS_N_STATES; i++)
        to[i] = to[AC_ROWS_AT_ROW];
out:
    return status;
}

/* What stands at the begin of each share depends on all bytes of its file before: a line break may be inside quotes. */
static ac_status find_state(MPI_Comm comm, row_share *share, int rank, int size)
{
    ac_status status = AC_OK;
    enum { N = AC_ROWS_N_STATES };
    ac_rows_state to[N], *all = NULL;
    share->state = AC_ROWS_AT_ROW;
    AC_TRY(ac_comm_agree(comm, ac_malloc((size_t)size * N, sizeof *all, &all)));
    AC_TRY(evaluate_agree(comm, scan_share(share, to)));
    AC_TRY(ac_comm_check(MPI_Allgather(to, sizeof to, MPI_BYTE, all, sizeof to, MPI_BYTE, comm), "gathering states"));
    for (int r = 0; r < rank; r++)
        share->state = all[r * N + (int)share->state];
out:
    ac_free(all);
    return status;
}

ac_status row_share_divide(MPI_Comm comm, row_share_path path, const void *context, size_t n_files, row_share *out)
{
    ac_status status = AC_OK;
    int rank, size;
    int64_t first, n;
    *out = (row_share){.path = path, .context = context, .n_files = n_files};
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    AC_TRY(ac_comm_agree(comm, ac_calloc(n_files + 1, sizeof *out->start, &out->start)));
    AC_TRY(evaluate_agree(comm, rank == 0 ? measure_files(out) : AC_OK));
    AC_TRY(ac_comm_broadcast(comm, out->start, (n_files + 1) * sizeof *out->start));
    ac_comm_slice((int64_t)out->start[n_files], rank, size, &first, &n);
    out->begin = (uint64_t)first;
    out->end = (uint64_t)(first + n);
    out->is_last = rank == size - 1;
    if (size > 1)
        AC_TRY(find_state(comm, out, rank, size));
out:
    return status;
}

static ac_status read_part(const row_share *share, size_t file, const row_visitor *visitor, void *context)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_rows rows = {0};
    bool have_row;
    uint64_t start = share->start[file], stop = share->start[file + 1];
    uint64_t begin = share->begin > start ? share->begin - start : 0;
    uint64_t end = (share->end < stop ? share->end : stop) - start;
    AC_TRY(share->path(share->context, file, path));
    AC_TRY(ac_rows_open(&rows, path, 0, stop - start, AC_ROWS_AT_ROW));
    AC_TRY(ac_rows_next(&rows, &have_row));
    if (!have_row)
        AC_TRY(ac_error(AC_ERR_DATA, "%s line 1: the file is empty, a header is wanted", rows.fields.name));
    AC_TRY(ac_rows_split(&rows));
    AC_TRY(ac_rows_count_lines(&rows));
    AC_TRY(visitor->header(context, file, &rows.fields));
    ac_rows_state state = begin <= rows.next ? AC_ROWS_AT_ROW : share->state;
    begin = begin <= rows.next ? rows.next : begin;
    ac_rows_close(&rows);
    AC_TRY(ac_rows_open(&rows, path, begin, end, state));
    AC_TRY(visitor->rows(context, file, &rows));
out:
    ac_rows_close(&rows);
    return status;
}

ac_status row_share_read(const row_share *share, const row_visitor *visitor, void *context)
{
    ac_status status = AC_OK;
    uint64_t n_bytes = share->start[share->n_files];
    for (size_t file = 0; file < share->n_files; file++) {
        uint64_t start = share->start[file], stop = share->start[file + 1];
        bool has_start = (share->begin <= start && start < share->end) || (start == n_bytes && share->is_last);
        bool has_part = share->begin < stop && start < share->end;
        if (has_start || has_part)
            AC_TRY(read_part(share, file, visitor, context));
    }
out:
    return status;
}
