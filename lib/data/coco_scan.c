/* Streaming COCO instances files. YAJL checks the JSON and calls back; what makes up most of such a file, arrays of
 * plain numbers inside a record (polygons, run lengths, boxes), is checked here and kept from YAJL: it is never looked
 * at. */
#include "anyclass/alloc.h"
#include "anyclass/coco.h"
#include "anyclass/file.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#ifndef AC_COCO_PIECE_BYTES /* the fuzz target reads in small pieces, so that every document crosses their borders */
#define AC_COCO_PIECE_BYTES (1 << 16)
#endif
enum { PIECE_BYTES = AC_COCO_PIECE_BYTES, NAME_BYTES = 1024, LIST_DEPTH = 2, RECORD_DEPTH = 3, SHORT_ARRAY = 8 };
enum { MAX_TEXT_BYTES = 1 << 28, MAX_TOKEN_BYTES = 1 << 22 };
enum { NO_MEMBER = AC_COCO_N_MEMBERS };

static const char *const list_name[AC_COCO_OTHER] = {"images", "categories", "annotations"};

typedef struct scan {
    const char *path;
    const ac_coco_scan_options *options;
    ac_coco_visit *visit;
    void *context;
    yajl_handle handle;
    uint64_t base;              /* byte of the file at which what YAJL was given last begins */
    const unsigned char *piece; /* bytes of the file in memory, from piece_base on */
    uint64_t piece_base;
    int depth;         /* of open objects and arrays */
    ac_coco_list list; /* that is open, AC_COCO_OTHER outside */
    bool seen[AC_COCO_OTHER];
    uint64_t n_records[AC_COCO_N_LISTS]; /* begun so far */
    char key[NAME_BYTES];                /* last key of the document itself */
    char name[NAME_BYTES];
    int member;                                                          /* last key of the record */
    uint64_t value_from[AC_COCO_N_MEMBERS], value_to[AC_COCO_N_MEMBERS]; /* bytes of the file */
    bool open; /* a record, or an OTHER's value, is under way */
    ac_coco_record record;
    char *carry; /* its bytes from the pieces before this one */
    size_t carry_bytes, carry_capacity;
    uint64_t called_at; /* byte of the file up to which YAJL had read when it called back last */
    bool done;          /* ended early */
    ac_status status;   /* why a callback stopped YAJL */
    uint64_t status_at;
} scan;

static uint64_t here(const scan *s)
{
    return s->base + yajl_get_bytes_consumed(s->handle);
}

/* For every callback. */
static scan *scan_of(void *context)
{
    scan *s = context;
    s->called_at = here(s);
    return s;
}

static int stop(scan *s, ac_status status, uint64_t at)
{
    if (status != AC_OK && s->status == AC_OK) {
        s->status = status;
        s->status_at = at;
    }
    return status == AC_OK;
}

static bool has_list(unsigned mask, ac_coco_list list)
{
    return (mask >> list & 1) != 0;
}

static bool wanted(const scan *s)
{
    return s->list != AC_COCO_OTHER && has_list(s->options->lists, s->list);
}

/* Append the file's bytes [from, to), which lie in this piece, to the record's. */
static ac_status carry(scan *s, uint64_t from, uint64_t to)
{
    ac_status status = AC_OK;
    size_t n = (size_t)(to - from);
    if (s->carry_bytes + n > MAX_TEXT_BYTES)
        return ac_error(AC_ERR_DATA, "a record of more than %d MiB", MAX_TEXT_BYTES >> 20);
    AC_TRY(ac_reserve(&s->carry, &s->carry_capacity, s->carry_bytes + n + 1, 1));
    memcpy(s->carry + s->carry_bytes, s->piece + (from - s->piece_base), n);
    s->carry_bytes += n;
out:
    return status;
}

/* Where this piece's part of the open record begins. */
static uint64_t record_from(const scan *s)
{
    return s->record.at > s->piece_base ? s->record.at : s->piece_base;
}

static void begin_record(scan *s, ac_coco_list list, uint64_t at)
{
    memset(&s->record, 0, sizeof s->record);
    s->record.list = list;
    s->record.at = at;
    s->record.number = ++s->n_records[list];
    s->carry_bytes = 0;
    s->member = NO_MEMBER;
    s->open = true;
}

/* What YAJL passes over between tokens: JSON's blanks and two more. */
static bool is_blank(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A value's bytes begin behind its key, a colon and blanks. */
static size_t skip_to_value(const char *text, size_t at, size_t end)
{
    while (at < end && (text[at] == ':' || is_blank((unsigned char)text[at])))
        at++;
    return at;
}

static ac_status attach_text(scan *s, uint64_t end)
{
    ac_status status = AC_OK;
    ac_coco_record *r = &s->record;
    if (s->carry_bytes) {
        AC_TRY(carry(s, record_from(s), end));
        r->text = s->carry;
    } else {
        r->text = (const char *)s->piece + (r->at - s->piece_base);
    }
    r->n_bytes = (size_t)(end - r->at);
    for (int m = 0; m < AC_COCO_N_MEMBERS; m++)
        if (r->has[m]) {
            r->end[m] = (size_t)(s->value_to[m] - r->at);
            r->begin[m] = skip_to_value(r->text, (size_t)(s->value_from[m] - r->at), r->end[m]);
        }
    if (r->list == AC_COCO_OTHER) {
        size_t skipped = skip_to_value(r->text, 0, r->n_bytes);
        r->text += skipped;
        r->n_bytes -= skipped;
    }
out:
    return status;
}

static ac_status check_members(const ac_coco_record *r)
{
    static const char *const needs[AC_COCO_OTHER] = {"a whole number 'id' or a text 'file_name'",
                                                     "a whole number 'id' or a text 'name'",
                                                     "a whole number 'image_id' or 'category_id'"};
    bool good = r->list == AC_COCO_ANNOTATIONS ? r->has[AC_COCO_IMAGE_ID] && r->has[AC_COCO_CATEGORY_ID]
                                               : r->has[AC_COCO_ID] && r->has[AC_COCO_NAME];
    if (!good)
        return ac_error(AC_ERR_DATA, "record %" PRIu64 " of '%s' lacks %s", r->number, list_name[r->list],
                        needs[r->list]);
    return AC_OK;
}

static int end_record(scan *s)
{
    ac_status status = AC_OK;
    s->open = false;
    s->record.name = s->record.list == AC_COCO_OTHER ? s->key : s->name;
    if (s->record.list != AC_COCO_OTHER)
        AC_TRY(check_members(&s->record));
    if (has_list(s->options->with_text, s->record.list))
        AC_TRY(attach_text(s, here(s)));
    AC_TRY(s->visit(s->context, &s->record));
out:
    return stop(s, status, s->record.at);
}

/* A value has ended: is it that of an OTHER member of the document? */
static int end_value(scan *s)
{
    return s->open && s->depth == 1 && s->record.list == AC_COCO_OTHER ? end_record(s) : 1;
}

/* What is neither object nor array. */
static int on_scalar(scan *s)
{
    if (s->depth == 0)
        return stop(s, ac_error(AC_ERR_DATA, "the document is no object"), here(s));
    if (s->depth == LIST_DEPTH && s->list != AC_COCO_OTHER)
        return stop(s, ac_error(AC_ERR_DATA, "the list '%s' holds something that is no object", list_name[s->list]),
                    here(s));
    return end_value(s);
}

static int on_null(void *context)
{
    return on_scalar(scan_of(context));
}

static int on_boolean(void *context, int value)
{
    (void)value;
    return on_scalar(scan_of(context));
}

static int on_open_object(void *context)
{
    scan *s = scan_of(context);
    if (++s->depth == RECORD_DEPTH && wanted(s))
        begin_record(s, s->list, here(s) - 1);
    return 1;
}

static int on_close_object(void *context)
{
    scan *s = scan_of(context);
    if (s->depth-- == RECORD_DEPTH && wanted(s))
        return end_record(s);
    return end_value(s);
}

static int open_list(scan *s)
{
    for (ac_coco_list list = 0; list < AC_COCO_OTHER; list++) {
        if (strcmp(s->key, list_name[list]) != 0)
            continue;
        if (s->seen[list])
            return stop(s, ac_error(AC_ERR_DATA, "the list '%s' occurs twice", list_name[list]), here(s) - 1);
        s->seen[list] = true;
        s->list = list;
        s->open = false;
    }
    return 1;
}

static int on_open_array(void *context)
{
    scan *s = scan_of(context);
    if (s->depth == 0 || (s->depth == LIST_DEPTH && s->list != AC_COCO_OTHER))
        return on_scalar(s);
    return ++s->depth == LIST_DEPTH ? open_list(s) : 1;
}

static int on_close_array(void *context)
{
    scan *s = scan_of(context);
    if (s->depth-- != LIST_DEPTH || s->list == AC_COCO_OTHER)
        return end_value(s);
    s->list = AC_COCO_OTHER;
    s->done = s->options->may_end_early;
    for (ac_coco_list list = 0; list < AC_COCO_OTHER; list++)
        s->done = s->done && (s->seen[list] || !has_list(s->options->lists, list));
    return !s->done;
}

static bool same(const unsigned char *text, size_t n, const char *word)
{
    return strlen(word) == n && memcmp(text, word, n) == 0;
}

static int member_of(ac_coco_list list, const unsigned char *text, size_t n)
{
    static const char *const names[AC_COCO_N_MEMBERS] = {"id", "image_id", "category_id", "name"};
    for (int m = 0; m < AC_COCO_N_MEMBERS; m++) {
        bool belongs = m == AC_COCO_ID || (list == AC_COCO_ANNOTATIONS) == (m != AC_COCO_NAME);
        if (belongs && same(text, n, m == AC_COCO_NAME && list == AC_COCO_IMAGES ? "file_name" : names[m]))
            return m;
    }
    return NO_MEMBER;
}

static int on_key(void *context, const unsigned char *text, size_t n)
{
    scan *s = scan_of(context);
    if (s->depth == 1) {
        if (n >= sizeof s->key || memchr(text, 0, n))
            return stop(s, ac_error(AC_ERR_DATA, "a key of %zu bytes or with a zero byte", n), here(s));
        memcpy(s->key, text, n);
        s->key[n] = 0;
        if (has_list(s->options->lists, AC_COCO_OTHER))
            begin_record(s, AC_COCO_OTHER, here(s)); /* unless it turns out to be a list */
    } else if (s->depth == RECORD_DEPTH && wanted(s)) {
        s->member = member_of(s->list, text, n);
        if (s->member == NO_MEMBER)
            return 1;
        if (s->record.has[s->member])
            return stop(s, ac_error(AC_ERR_DATA, "the member '%.*s' occurs twice in a record", (int)n, text), here(s));
        s->value_from[s->member] = here(s);
    }
    return 1;
}

static int on_number(void *context, const char *text, size_t n)
{
    scan *s = scan_of(context);
    char copy[24] = "", *end = copy;
    int m = s->member;
    if (s->depth != RECORD_DEPTH || !wanted(s) || m == NO_MEMBER || m == AC_COCO_NAME)
        return on_scalar(s);
    if (n < sizeof copy)
        memcpy(copy, text, n);
    errno = 0;
    s->record.value[m] = strtoll(copy, &end, 10);
    if (end == copy || *end || errno)
        return stop(s, ac_error(AC_ERR_DATA, "the id %.*s is no whole number of 64 bits", (int)(n < 40 ? n : 40), text),
                    here(s) - n);
    s->record.has[m] = true;
    s->value_to[m] = here(s);
    return 1;
}

static int on_string(void *context, const unsigned char *text, size_t n)
{
    scan *s = scan_of(context);
    if (s->depth != RECORD_DEPTH || !wanted(s) || s->member != AC_COCO_NAME)
        return on_scalar(s);
    if (n >= sizeof s->name || memchr(text, 0, n))
        return stop(s, ac_error(AC_ERR_DATA, "a name of %zu bytes or with a zero byte", n), here(s));
    memcpy(s->name, text, n);
    s->name[n] = 0;
    s->record.has[AC_COCO_NAME] = true;
    s->value_to[AC_COCO_NAME] = here(s);
    return 1;
}

static bool is_digit(unsigned char c)
{
    return (unsigned)(c - '0') < 10;
}

/* Behind the digits at `at`, or NULL when there is none. */
static const unsigned char *skip_digits(const unsigned char *at)
{
    if (!is_digit(*at))
        return NULL;
    while (is_digit(*at))
        at++;
    return at;
}

/* Behind the JSON number at `at`, or NULL when it is none. */
static const unsigned char *skip_number(const unsigned char *at)
{
    at += *at == '-';
    at = *at == '0' ? at + 1 : skip_digits(at);
    if (at && *at == '.')
        at = skip_digits(at + 1);
    if (at && (*at == 'e' || *at == 'E')) {
        at++;
        at += *at == '+' || *at == '-';
        at = skip_digits(at);
    }
    return at;
}

/* `at` stands behind a '['. The ']' that closes it if there is nothing but numbers up to it, else NULL. The text ends
 * with a zero byte, which no rule here passes. */
static const unsigned char *skip_numbers(const unsigned char *at)
{
    for (;;) {
        while (is_blank(*at))
            at++;
        at = skip_number(at);
        if (!at)
            return NULL;
        while (is_blank(*at))
            at++;
        if (*at == ']')
            return at;
        if (*at++ != ',')
            return NULL;
    }
}

static ac_status yajl_failure(scan *s)
{
    uint64_t at = here(s);
    if (s->status != AC_OK)
        return ac_coco_error_at(s->status, s->path, s->status_at);
    unsigned char *why = yajl_get_error(s->handle, 0, NULL, 0);
    size_t length = why ? strcspn((char *)why, "\n") : 0;
    ac_status status = ac_error(AC_ERR_DATA, "%.*s", (int)length, why ? (char *)why : "");
    if (why)
        yajl_free_error(s->handle, why);
    return ac_coco_error_at(status, s->path, at);
}

/* Give the bytes [from, to) of the piece to YAJL. */
static ac_status feed(scan *s, const unsigned char *from, const unsigned char *to)
{
    if (from == to)
        return AC_OK;
    s->base = s->piece_base + (uint64_t)(from - s->piece);
    return yajl_parse(s->handle, from, (size_t)(to - from)) == yajl_status_ok || s->done ? AC_OK : yajl_failure(s);
}

/* A '[' may also stand in a text. Inside a record's members nobody reads texts either, and one that loses digits and
 * commas is still a text, so there both are treated alike. */
static ac_status scan_piece(scan *s, size_t n)
{
    ac_status status = AC_OK;
    const unsigned char *end = s->piece + n, *fed = s->piece, *at = s->piece;
    while (!s->done && (at = memchr(at, '[', (size_t)(end - at))) != NULL) {
        const unsigned char *close = skip_numbers(++at);
        if (!close || close - at < SHORT_ARRAY)
            continue;
        AC_TRY(feed(s, fed, at));
        fed = at;
        if (s->depth > RECORD_DEPTH) /* inside a member of a record, or of a document's member that is no list */
            fed = at = close;
    }
    if (!s->done)
        AC_TRY(feed(s, fed, end));
    if (s->open && has_list(s->options->with_text, s->record.list))
        AC_TRY(carry(s, record_from(s), s->piece_base + n));
out:
    return status;
}

/* YAJL reads a text or number that a piece does not complete from its beginning again with the next one: the time grows
 * with the square of its length. `end`: bytes of the file that it has been given. */
static ac_status check_token(scan *s, uint64_t end)
{
    if (end - s->called_at <= MAX_TOKEN_BYTES)
        return AC_OK;
    return ac_coco_error_at(ac_error(AC_ERR_DATA, "a text, number or blank of more than %d MiB", MAX_TOKEN_BYTES >> 20),
                            s->path, s->called_at);
}

static ac_status scan_file(scan *s, FILE *file, unsigned char *piece)
{
    ac_status status = AC_OK;
    size_t n;
    s->piece = piece;
    do {
        n = fread(piece, 1, PIECE_BYTES, file);
        if (ferror(file))
            return ac_error_errno("%s: read", s->path);
        piece[n] = 0;
        AC_TRY(scan_piece(s, n));
        s->piece_base += n;
        AC_TRY(s->done ? AC_OK : check_token(s, s->piece_base));
    } while (n && !s->done);
    if (s->done)
        return AC_OK;
    s->base = s->piece_base;
    if (yajl_complete_parse(s->handle) != yajl_status_ok)
        return yajl_failure(s);
    for (ac_coco_list list = 0; list < AC_COCO_OTHER; list++)
        if (!s->seen[list])
            return ac_error(AC_ERR_DATA, "%s: has no list '%s'", s->path, list_name[list]);
out:
    return status;
}

ac_status ac_coco_scan(const char *path, const ac_coco_scan_options *options, ac_coco_visit *visit, void *context)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_open_object,
        .yajl_map_key = on_key,
        .yajl_end_map = on_close_object,
        .yajl_start_array = on_open_array,
        .yajl_end_array = on_close_array,
    };
    ac_status status = AC_OK;
    unsigned char *piece = NULL;
    scan *s = NULL;
    FILE *file;
    status = ac_file_open_regular(path, &file);
    if (status != AC_OK)
        return status;
    AC_TRY(ac_calloc(1, sizeof *s, &s));
    AC_TRY(ac_malloc(PIECE_BYTES + 1, 1, &piece));
    *s = (scan){.path = path, .options = options, .visit = visit, .context = context, .list = AC_COCO_OTHER};
    s->handle = yajl_alloc(&callbacks, NULL, s);
    if (!s->handle)
        AC_TRY(ac_error(AC_ERR_MEMORY, "%s: no memory for a parser", path));
    AC_TRY(scan_file(s, file, piece));
out:
    if (s && s->handle)
        yajl_free(s->handle);
    if (s)
        ac_free(s->carry);
    ac_free(s);
    ac_free(piece);
    fclose(file);
    return status;
}

ac_status ac_coco_error_at(ac_status status, const char *path, uint64_t byte)
{
    uint64_t line = 1, column = 1, at = 0;
    FILE *file = fopen(path, "rb");
    if (!file)
        return ac_error_in(status, "%s byte %" PRIu64, path, byte);
    for (int c; at < byte && (c = getc(file)) != EOF; at++) {
        column = c == '\n' ? 1 : column + 1;
        line += c == '\n';
    }
    fclose(file);
    return ac_error_in(status, "%s line %" PRIu64 " column %" PRIu64 " (byte %" PRIu64 ")", path, line, column, at);
}
