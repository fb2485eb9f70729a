/* JSON: a writer with stable formatting (two-space indent, keys in call order, shortest exact numbers, NaN and
 * infinity as null) and a small reader for our own documents (manifests, configurations), built on YAJL's tree.
 * Large foreign documents (COCO) are streamed by their reader in lib/data instead. Not collective. */
#ifndef ANYCLASS_JSON_H
#define ANYCLASS_JSON_H

#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ac_json ac_json; /* a document being written, in memory */

/** An empty document. AC_ERR_MEMORY. Owned by the caller. */
AC_NODISCARD ac_status ac_json_create(ac_json **out);
/** NULL is allowed. */
void ac_json_destroy(ac_json *json);
/* Inside an object give a key, inside an array and at the top NULL. Errors are kept and reported by ac_json_text(). */
void ac_json_begin_object(ac_json *json, const char *key);
void ac_json_end_object(ac_json *json);
void ac_json_begin_array(ac_json *json, const char *key); /* elements that are numbers share one line */
void ac_json_end_array(ac_json *json);
void ac_json_string(ac_json *json, const char *key, const char *value); /* NULL writes null; invalid UTF-8 is replaced */
void ac_json_int(ac_json *json, const char *key, int64_t value);
void ac_json_double(ac_json *json, const char *key, double value);
void ac_json_bool(ac_json *json, const char *key, bool value);
/** The finished text with a final newline, owned by `json`; AC_ERR_MEMORY if any call before failed. */
AC_NODISCARD ac_status ac_json_text(ac_json *json, const char **text, size_t *n_bytes);
/** Write the finished text to `path`, complete or absent (file.h). */
AC_NODISCARD ac_status ac_json_save(ac_json *json, const char *path);

typedef struct ac_json_value ac_json_value; /* a parsed document or a part of it; parts are borrowed from the whole */

/** Parse; AC_ERR_DATA names `name` and what is wrong. Depth is limited to 64. Release with ac_json_release(). */
AC_NODISCARD ac_status ac_json_parse(const char *name, const char *text, size_t n_bytes, ac_json_value **out);
/** The same from a file; also AC_ERR_IO. */
AC_NODISCARD ac_status ac_json_load(const char *path, ac_json_value **out);
/** NULL is allowed. Frees the document and every value in it. */
void ac_json_release(ac_json_value *document);
/** Member of an object, NULL if there is none or `object` is none. */
const ac_json_value *ac_json_get(const ac_json_value *object, const char *key);
/** Elements of an array or members of an object; 0 for anything else. */
size_t ac_json_count(const ac_json_value *value);
/** Element i of an array or value of member i of an object; NULL beyond the end. */
const ac_json_value *ac_json_at(const ac_json_value *value, size_t i);
/** Key of member i; NULL beyond the end. */
const char *ac_json_key_at(const ac_json_value *object, size_t i);
/* Typed reads; AC_ERR_DATA naming `what` when the value is absent or of another type. */
AC_NODISCARD ac_status ac_json_read_string(const ac_json_value *value, const char *what, const char **out);
AC_NODISCARD ac_status ac_json_read_int(const ac_json_value *value, const char *what, int64_t *out);
AC_NODISCARD ac_status ac_json_read_double(const ac_json_value *value, const char *what, double *out); /* null reads as NaN */
AC_NODISCARD ac_status ac_json_read_bool(const ac_json_value *value, const char *what, bool *out);

#endif
