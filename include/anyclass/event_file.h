/* TensorBoard event files: numbers and text over the steps of a run, as TensorBoard and its Python package read them.
 * What is worth recording, and when to flush, is the caller's. Not collective: one rank writes. */
#ifndef ANYCLASS_EVENT_FILE_H
#define ANYCLASS_EVENT_FILE_H

#include "anyclass/status.h"
#include <stddef.h>
#include <stdint.h>

typedef struct ac_event_file ac_event_file;

/** Begin a file of its own in `folder`, which must exist: events.out.tfevents.{unix time}.{host}.{process}.{n}. Readers take
 * the files of a folder in the order of their names, so the time is the present one or, should that be no later than an
 * existing file's, that file's plus one second.
 * @param first_step  the smallest step this file will hold. Readers drop what earlier files of the folder hold from this
 *                    step on: after a resume the steps that are made again, after a new beginning (0) everything.
 * @param[out] out    owned by the caller; NULL after a failure. The file is on disk, with its head, on return.
 * @return AC_ERR_IO with the path, AC_ERR_MEMORY, AC_ERR_USAGE for a path too long. */
AC_NODISCARD ac_status ac_event_file_open(const char *folder, int64_t first_step, ac_event_file **out);

/** Name of the file with its folder; valid until it is closed. */
const char *ac_event_file_path(const ac_event_file *file);

/** Record a number. Stored as float, as all readers take it; NaN and infinities too.
 * @param tag   its name, UTF-8; "a/b" stands in group a
 * @param step  of any granularity, the same for all of a tag's numbers
 * @return AC_ERR_MEMORY, or AC_ERR_IO when records had to be written to make room and could not be: this one is not taken. */
AC_NODISCARD ac_status ac_event_file_scalar(ac_event_file *file, const char *tag, int64_t step, double value);

/** Record a text of lines, which TensorBoard shows as it stands (indented by four blanks, Markdown's mark for that).
 * Returns as ac_event_file_scalar() does. */
AC_NODISCARD ac_status ac_event_file_text(ac_event_file *file, const char *tag, int64_t step, const char *text);

/** Hand all records to the system: they outlive the process from now on. Without it, after every 32 KiB.
 * A process killed in the middle of it leaves a part of a record behind whole ones, which readers tolerate.
 * @return AC_ERR_IO with the path (disk full ...): records are kept, and the next flush writes them again. */
AC_NODISCARD ac_status ac_event_file_flush(ac_event_file *file);

/** Flush, sync, close and release, each checked; *file is NULL afterwards, also after a failure. NULL in *file is allowed.
 * The status may be left alone where another failure is reported already. */
ac_status ac_event_file_close(ac_event_file **file);

/** CRC-32C (Castagnoli; RFC 3720, B.4), the checksum of a record before TensorFlow's mask. */
uint32_t ac_event_crc32c(const void *bytes, size_t n);

#endif
