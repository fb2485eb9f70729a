/* A folder of pictures as a source of pixels: no annotations, no shards. Not collective, but for what is said of many
 * ranks. */
#ifndef ANYCLASS_PICTURES_H
#define ANYCLASS_PICTURES_H

#include "anyclass/hash.h"
#include "anyclass/image.h"
#include "anyclass/store.h"

typedef struct ac_pictures {
    char *folder;
    char *names; /* zero-terminated paths below the folder, ascending by bytes; [n_name_bytes] */
    size_t n_name_bytes;
    size_t *name_at; /* [n] where each begins */
    size_t n;
    int image_size_px; /* what follows: after ac_pictures_begin() */
    ac_decode_options decode;
    ac_image_reader *reader; /* [n_threads] */
    int n_threads;
    char **reason; /* [n] why a picture has no pixels; NULL: none was found so far */
} ac_pictures;

/** List the regular files below `folder` whose name ends in .jpg, .jpeg or .png in any case, however deep. Links to
 * folders are not followed, which a warning says; links to files are, and one that leads nowhere is listed. Release in
 * any case.
 * @return AC_ERR_IO naming a folder that cannot be read, AC_ERR_DATA when there is no picture. */
AC_NODISCARD ac_status ac_pictures_list(const char *folder, ac_pictures *out);
/** The same list on another rank, from the first one's `names`, which are taken over in any case (they come from
 * ac_malloc). */
AC_NODISCARD ac_status ac_pictures_take(const char *folder, char *names, size_t n_name_bytes, ac_pictures *out);
/** Safe on a zeroed struct, which is what it leaves. After the loaders that read from it. */
void ac_pictures_release(ac_pictures *pictures);
/** Hash of the names: pictures' content is not looked at. */
ac_hash ac_pictures_hash(const ac_pictures *pictures);
/** From now on pictures become image_size_px x image_size_px, read by at most n_threads threads. Forgets all reasons.
 * AC_ERR_MEMORY. */
AC_NODISCARD ac_status ac_pictures_begin(ac_pictures *pictures, int image_size_px, const ac_decode_options *decode,
                                         int n_threads);
/** Forget why pictures were bad. No loader may be reading. */
void ac_pictures_forget(ac_pictures *pictures);
/** As a source without labels, after ac_pictures_begin(). A picture that is bad (image.h) is not usable. */
ac_source ac_pictures_source(ac_pictures *pictures);

#endif
