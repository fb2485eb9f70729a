/* The most wrong images: lists with names and labels, and their pixels, each image once however many lists it is in. */
#include "anyclass/alloc.h"
#include "anyclass/image.h"
#include "anyclass/log.h"
#include "evaluate/report.h"
#include <string.h>

enum { SIDE_PX = 96, QUALITY = 72, SHOWN_IF_RIGHT = 4 };

static void write_labels(ac_markup *out, const label_table *labels, uint64_t image)
{
    const uint8_t *label = labels->label + image * labels->n_classes;
    if (!labels->image_positive[image])
        ac_markup_add(out, "<i>nothing</i>");
    for (size_t c = 0; c < labels->n_classes; c++)
        if (label[c]) {
            ac_markup_add(out, "<b>");
            ac_markup_escape(out, labels->class_name[c]);
            ac_markup_add(out, "</b> ");
        }
}

/* Of the images whose decision is right only the first few are shown, where there are no others. */
static bool is_shown(const report *r, const ac_wrong_image *wrong, uint32_t i, bool missed)
{
    return i < r->n_wrong && (i < SHOWN_IF_RIGHT || (wrong->score < r->config->threshold) == missed);
}

static void write_image(ac_markup *out, const report *r, const ac_wrong_image *wrong, bool missed)
{
    const char *name = r->labels->name[wrong->image];
    bool right = (wrong->score < r->config->threshold) != missed;
    ac_markup_add(out, right ? "<li class=\"right\">" : "<li>");
    if (r->has_pixels)
        ac_markup_format(out, "<svg viewBox=\"0 0 %d %d\" aria-hidden=\"true\"><use href=\"#i%llu\"/></svg>", SIDE_PX,
                         SIDE_PX, (unsigned long long)wrong->image);
    ac_markup_format(out, "<span class=\"score\">%.3f</span>%s<span class=\"file\" title=\"", wrong->score,
                     right ? "<i>right</i>" : "");
    ac_markup_escape(out, name);
    ac_markup_add(out, "\">");
    ac_markup_escape(out, name);
    ac_markup_add(out, "</span><span class=\"tags\">");
    write_labels(out, r->labels, wrong->image);
    ac_markup_add(out, "</span></li>\n");
}

static void write_list(ac_markup *out, const report *r, bool missed, const char *title, const ac_wrong_image *wrong,
                       uint32_t n)
{
    if (n == 0)
        return;
    ac_markup_format(out, "<h5>%s</h5><ul class=\"wrong %s%s\">\n", title, missed ? "miss" : "alarm",
                     r->has_pixels ? "" : " bare");
    for (uint32_t i = 0; i < n; i++)
        if (is_shown(r, &wrong[i], i, missed))
            write_image(out, r, &wrong[i], missed);
    ac_markup_add(out, "</ul>\n");
}

void report_write_wrong(ac_markup *out, const report *r, const report_version *v, size_t c)
{
    const ac_profile *profile = &r->result[v->set].profile[c];
    write_list(out, r, true, "Missed: it is there, lowest scores first", profile->missed, profile->n_missed);
    write_list(out, r, false, "False alarms: it is not there, highest scores first", profile->false_alarm,
               profile->n_false_alarms);
}

static void mark(const report *r, bool missed, const ac_wrong_image *wrong, uint32_t n, uint8_t *wanted)
{
    for (uint32_t i = 0; i < n; i++)
        if (is_shown(r, &wrong[i], i, missed))
            wanted[wrong[i].image] = 1;
}

static void write_placeholder(ac_markup *out, uint64_t image)
{
    ac_markup_format(
        out,
        "<g id=\"i%llu\"><rect width=\"%d\" height=\"%d\" fill=\"#8884\"/><text x=\"48\" y=\"45\">damaged</text>"
        "<text x=\"48\" y=\"60\">in the shards</text></g>\n",
        (unsigned long long)image, SIDE_PX, SIDE_PX);
}

typedef struct thumbnails { /* buffers used from image to image */
    uint8_t *pixels, *small, *jpeg;
    size_t jpeg_capacity;
    ac_resizer *resizer; /* NULL: the shards' images are small enough as they are */
    int side_px;
} thumbnails;

static ac_status write_thumbnail(ac_markup *out, report *r, uint64_t image, thumbnails *of)
{
    ac_status status = ac_store_read_image(&r->store, (int64_t)image, of->pixels);
    const uint8_t *small = of->pixels;
    size_t n_bytes;
    if (status == AC_ERR_DATA) {
        ac_log(AC_LOG_WARN, "%s: the report shows a placeholder", ac_error_text());
        write_placeholder(out, image);
        return AC_OK;
    }
    if (status != AC_OK)
        return status;
    if (of->resizer) {
        ac_image view = {.pixel = of->pixels, .width_px = r->store.image_size_px, .height_px = r->store.image_size_px};
        AC_TRY(ac_resizer_run(of->resizer, &view, of->small));
        small = of->small;
    }
    AC_TRY(ac_image_encode_jpeg(small, of->side_px, of->side_px, 3, QUALITY, &of->jpeg, &of->jpeg_capacity, &n_bytes));
    ac_markup_format(out, "<image id=\"i%llu\" width=\"%d\" height=\"%d\" href=\"data:image/jpeg;base64,",
                     (unsigned long long)image, SIDE_PX, SIDE_PX);
    ac_markup_base64(out, of->jpeg, n_bytes);
    ac_markup_add(out, "\"/>\n");
out:
    return status;
}

static ac_status begin_thumbnails(const ac_store *store, thumbnails *of)
{
    ac_status status = AC_OK;
    of->side_px = store->image_size_px < SIDE_PX ? store->image_size_px : SIDE_PX;
    AC_TRY(ac_malloc(store->image_bytes, 1, &of->pixels));
    AC_TRY(ac_malloc((size_t)of->side_px * (size_t)of->side_px * 3, 1, &of->small));
    if (of->side_px < store->image_size_px)
        AC_TRY(ac_resizer_create(of->side_px, &of->resizer));
out:
    return status;
}

ac_status report_write_pixels(ac_markup *out, report *r)
{
    ac_status status = AC_OK;
    uint8_t *wanted = NULL;
    thumbnails of = {0};
    if (!r->has_pixels)
        return AC_OK;
    AC_TRY(ac_calloc(r->labels->n_images, 1, &wanted));
    AC_TRY(begin_thumbnails(&r->store, &of));
    for (size_t i = 0; i < r->n_versions; i++)
        for (size_t c = 0; c <= r->labels->n_classes; c++) {
            const ac_profile *profile = &r->result[r->version[i].set].profile[c];
            mark(r, true, profile->missed, profile->n_missed, wanted);
            mark(r, false, profile->false_alarm, profile->n_false_alarms, wanted);
        }
    ac_markup_add(out, "<svg class=\"pixels\" aria-hidden=\"true\"><defs>\n");
    for (size_t i = 0; i < r->labels->n_images; i++)
        if (wanted[i])
            AC_TRY(write_thumbnail(out, r, i, &of));
    ac_markup_add(out, "</defs></svg>\n");
out:
    ac_free(wanted);
    ac_free(of.pixels);
    ac_free(of.small);
    ac_free(of.jpeg);
    ac_resizer_destroy(of.resizer);
    return status;
}
