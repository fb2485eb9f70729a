/* Writes a small data set with pictures that can be learnt, in the formats of the three benchmarks: SewerML (CSV, PNG
 * and JPEG), COCO (JSON, JPEG) and ChestX-ray14 (CSV and lists, grey PNG). */
#include "anyclass/alloc.h"
#include "anyclass/dataset.h"
#include "anyclass/file.h"
#include "anyclass/image.h"
#include "anyclass/json.h"
#include "anyclass/log.h"
#include "anyclass/option.h"
#include "scene.h"
#include <inttypes.h>
#include <string.h>

enum { STYLE_SEWER, STYLE_COCO, STYLE_CHEST };

typedef struct config {
    ac_common_config common;
    const char *output;
    int style;
    int64_t n_train, n_val, n_test, size_px, seed;
} config;

static const ac_option options[] = {
    {.name = "output", .type = AC_OPTION_STRING, .offset = offsetof(config, output), .required = true, .unit = "FOLDER",
     .help = "Folder to write: images/ and annotations/."},
    {.name = "style", .type = AC_OPTION_CHOICE, .offset = offsetof(config, style), .fallback = "coco", .choices = "sewer|coco|chest",
     .help = "Annotation format."},
    {.name = "n_train", .type = AC_OPTION_INT, .offset = offsetof(config, n_train), .fallback = "1600", .min = 1, .max = 1e7, .unit = "N",
     .help = "Training images."},
    {.name = "n_val", .type = AC_OPTION_INT, .offset = offsetof(config, n_val), .fallback = "400", .min = 1, .max = 1e7, .unit = "N",
     .help = "Validation images."},
    {.name = "n_test", .type = AC_OPTION_INT, .offset = offsetof(config, n_test), .fallback = "400", .min = 1, .max = 1e7, .unit = "N",
     .help = "Test images."},
    {.name = "size", .type = AC_OPTION_INT, .offset = offsetof(config, size_px), .fallback = "96", .min = 32, .max = 2048, .unit = "PIXELS",
     .help = "Side of the pictures."},
    {.name = "seed", .type = AC_OPTION_INT, .offset = offsetof(config, seed), .fallback = "1", .min = 0, .max = 1e15, .unit = "N",
     .help = "Every picture is a function of the seed and its number."},
    AC_COMMON_OPTIONS(config),
};
static const ac_program program = {
    .name = "make_demo_data",
    .summary = "Draw a small learnable data set.",
    .usage = "--output FOLDER [--style sewer|coco|chest]",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .config_bytes = sizeof(config),
};

static const char *const sewer_columns[] = {"RB", "OB", "PF", "DE", "FS", "IS", "RO", "IN", "AF", "BE", "FO", "GR", "PH", "PB", "OS", "OP", "OK"};
static const char *const sewer_kind[SCENE_N_KINDS] = {"RB", "OB", "DE", "FS", "RO", "AF"};
static const char *const chest_kind[SCENE_N_KINDS] = {"Nodule", "Effusion", "Fibrosis", "Mass", "Edema", "Hernia"};
static const int coco_id[SCENE_N_KINDS] = {1, 2, 5, 7, 11, 90}; /* with gaps, as the real ones */

typedef struct writer {
    const config *config;
    ac_split split;
    int64_t first, n; /* picture numbers of this split */
    scene picture;
    uint8_t *grey;
    char image_folder[AC_PATH_BYTES], annotation_folder[AC_PATH_BYTES];
    ac_file table;    /* CSV of this split (chest: of all) */
    ac_file list;     /* chest: the split's list */
    ac_json *images, *annotations;
    int64_t n_annotations;
} writer;

static void image_name(const writer *w, int64_t i, char out[64])
{
    switch (w->config->style) {
    case STYLE_COCO:
        snprintf(out, 64, "%012" PRId64 ".jpg", i);
        break;
    case STYLE_SEWER:
        snprintf(out, 64, "%08" PRId64 ".%s", i, i % 2 ? "png" : "jpg");
        break;
    default:
        snprintf(out, 64, "%08" PRId64 "_%03d.png", i / 2, (int)(i % 2));
    }
}

static ac_status write_image(writer *w, const char *name)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    int side = w->picture.size_px;
    AC_TRY(ac_path_join(path, w->image_folder, name));
    if (strstr(name, ".jpg"))
        return ac_image_write_jpeg(path, w->picture.rgb, side, side, 3, 92);
    if (w->config->style != STYLE_CHEST)
        return ac_image_write_png(path, w->picture.rgb, side, side, 3);
    for (int i = 0; i < side * side; i++)
        w->grey[i] = w->picture.rgb[3 * i];
    AC_TRY(ac_image_write_png(path, w->grey, side, side, 1));
out:
    return status;
}

static bool shows(const scene *picture, int kind)
{
    for (int b = 0; b < picture->n_boxes; b++)
        if (picture->box[b].kind == kind)
            return true;
    return false;
}

static ac_status add_sewer_row(writer *w, const char *name)
{
    ac_status status = AC_OK;
    AC_TRY(ac_file_printf(&w->table, "%s,0,0", name));
    for (size_t c = 0; c < sizeof sewer_columns / sizeof *sewer_columns; c++) {
        int value = 0;
        for (int kind = 0; kind < SCENE_N_KINDS; kind++)
            value |= strcmp(sewer_columns[c], sewer_kind[kind]) == 0 && shows(&w->picture, kind);
        AC_TRY(ac_file_printf(&w->table, ",%d", value));
    }
    AC_TRY(ac_file_printf(&w->table, ",%d,%d\n", w->picture.n_boxes == 0, w->picture.n_boxes > 0));
out:
    return status;
}

static ac_status add_chest_row(writer *w, const char *name, int64_t i)
{
    ac_status status = AC_OK;
    AC_TRY(ac_file_printf(&w->table, "%s,", name));
    for (int b = 0; b < w->picture.n_boxes; b++)
        AC_TRY(ac_file_printf(&w->table, "%s%s", b ? "|" : "", chest_kind[w->picture.box[b].kind]));
    if (w->picture.n_boxes == 0)
        AC_TRY(ac_file_printf(&w->table, "No Finding"));
    AC_TRY(ac_file_printf(&w->table, ",%d,%" PRId64 ",%03d,%s,PA,%d,%d,0.143,0.143\n", (int)(i % 2), i / 2, (int)(20 + i % 60),
                          i % 4 < 2 ? "F" : "M", w->picture.size_px, w->picture.size_px));
    AC_TRY(ac_file_printf(&w->list, "%s\n", name));
out:
    return status;
}

static void add_coco_rows(writer *w, const char *name, int64_t i)
{
    ac_json_begin_object(w->images, NULL);
    ac_json_int(w->images, "id", i);
    ac_json_string(w->images, "file_name", name);
    ac_json_int(w->images, "width", w->picture.size_px);
    ac_json_int(w->images, "height", w->picture.size_px);
    ac_json_end_object(w->images);
    for (int b = 0; b < w->picture.n_boxes; b++) {
        const scene_box *box = &w->picture.box[b];
        ac_json_begin_object(w->annotations, NULL);
        ac_json_int(w->annotations, "id", ++w->n_annotations);
        ac_json_int(w->annotations, "image_id", i);
        ac_json_int(w->annotations, "category_id", coco_id[box->kind]);
        ac_json_int(w->annotations, "iscrowd", 0);
        ac_json_int(w->annotations, "area", (int64_t)box->width * box->height);
        ac_json_begin_array(w->annotations, "bbox");
        ac_json_int(w->annotations, NULL, box->x);
        ac_json_int(w->annotations, NULL, box->y);
        ac_json_int(w->annotations, NULL, box->width);
        ac_json_int(w->annotations, NULL, box->height);
        ac_json_end_array(w->annotations);
        ac_json_end_object(w->annotations);
    }
}

/* The two lists are written apart and joined here, so that each grows without the other. */
static ac_status save_coco(writer *w)
{
    ac_status status = AC_OK;
    const char *images, *annotations;
    size_t n_images, n_annotations;
    char path[AC_PATH_BYTES], name[64];
    ac_file file = {0};
    ac_json_end_array(w->images);
    ac_json_end_array(w->annotations);
    AC_TRY(ac_json_text(w->images, &images, &n_images));
    AC_TRY(ac_json_text(w->annotations, &annotations, &n_annotations));
    snprintf(name, sizeof name, "instances_%s.json", ac_split_name(w->split));
    AC_TRY(ac_path_join(path, w->annotation_folder, name));
    AC_TRY(ac_file_create(&file, path));
    AC_TRY(ac_file_printf(&file, "{\"info\": {\"description\": \"demo\"}, \"categories\": ["));
    for (int kind = 0; kind < SCENE_N_KINDS; kind++)
        AC_TRY(ac_file_printf(&file, "%s{\"id\": %d, \"name\": \"%s\"}", kind ? ", " : "", coco_id[kind], scene_kind_name[kind]));
    AC_TRY(ac_file_printf(&file, "],\n\"images\": %s,\n\"annotations\": %s}\n", images, annotations));
    AC_TRY(ac_file_commit(&file));
out:
    ac_file_discard(&file);
    return status;
}

static ac_status open_tables(writer *w)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES], name[64];
    static const char *const sewer_split[] = {"Train", "Val", "Test"};
    if (w->config->style == STYLE_COCO) {
        AC_TRY(ac_json_create(&w->images));
        AC_TRY(ac_json_create(&w->annotations));
        ac_json_begin_array(w->images, NULL);
        ac_json_begin_array(w->annotations, NULL);
        w->n_annotations = 0;
    } else if (w->config->style == STYLE_SEWER) {
        snprintf(name, sizeof name, "SewerML_%s.csv", sewer_split[w->split]);
        AC_TRY(ac_path_join(path, w->annotation_folder, name));
        AC_TRY(ac_file_create(&w->table, path));
        AC_TRY(ac_file_printf(&w->table, "Filename,WaterLevel,VA,RB,OB,PF,DE,FS,IS,RO,IN,AF,BE,FO,GR,PH,PB,OS,OP,OK,ND,Defect\n"));
    } else {
        snprintf(name, sizeof name, "train_val_test/%s.txt", ac_split_name(w->split));
        AC_TRY(ac_path_join(path, w->annotation_folder, name));
        AC_TRY(ac_file_create(&w->list, path));
        if (w->split != AC_SPLIT_TRAIN)
            return AC_OK;
        AC_TRY(ac_path_join(path, w->annotation_folder, "Data_Entry_2017_v2020.csv"));
        AC_TRY(ac_file_create(&w->table, path));
        AC_TRY(ac_file_printf(&w->table, "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
                                         "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"));
    }
out:
    return status;
}

static ac_status close_tables(writer *w)
{
    ac_status status = AC_OK;
    if (w->config->style == STYLE_COCO)
        AC_TRY(save_coco(w));
    if (w->config->style == STYLE_SEWER || (w->config->style == STYLE_CHEST && w->split == AC_SPLIT_TEST))
        AC_TRY(ac_file_commit(&w->table));
    if (w->config->style == STYLE_CHEST)
        AC_TRY(ac_file_commit(&w->list));
out:
    ac_json_destroy(w->images);
    ac_json_destroy(w->annotations);
    w->images = w->annotations = NULL;
    return status;
}

static ac_status write_split(writer *w)
{
    ac_status status = AC_OK;
    char name[64];
    AC_TRY(open_tables(w));
    for (int64_t i = w->first; i < w->first + w->n; i++) {
        scene_draw(&w->picture, (uint64_t)w->config->seed, (uint64_t)i);
        image_name(w, i, name);
        AC_TRY(write_image(w, name));
        if (w->config->style == STYLE_SEWER)
            AC_TRY(add_sewer_row(w, name));
        else if (w->config->style == STYLE_CHEST)
            AC_TRY(add_chest_row(w, name, i));
        else
            add_coco_rows(w, name, i);
    }
    AC_TRY(close_tables(w));
out:
    return status;
}

static ac_status run(const config *c)
{
    ac_status status = AC_OK;
    writer w = {.config = c, .picture = {.size_px = (int)c->size_px, .grey = c->style == STYLE_CHEST}};
    const int64_t n[] = {c->n_train, c->n_val, c->n_test};
    char lists[AC_PATH_BYTES];
    AC_TRY(ac_path_join(w.image_folder, c->output, "images"));
    AC_TRY(ac_path_join(w.annotation_folder, c->output, "annotations"));
    AC_TRY(ac_path_join(lists, w.annotation_folder, "train_val_test"));
    AC_TRY(ac_path_make_folders(w.image_folder));
    AC_TRY(ac_path_make_folders(c->style == STYLE_CHEST ? lists : w.annotation_folder));
    AC_TRY(ac_malloc((size_t)(c->size_px * c->size_px), 3, &w.picture.rgb));
    AC_TRY(ac_malloc((size_t)(c->size_px * c->size_px), 1, &w.grey));
    for (int split = 0; split < 3; split++) {
        w.split = (ac_split)split;
        w.first += split ? n[split - 1] : 2; /* an even start keeps both pictures of a "patient" together */
        w.n = n[split];
        AC_TRY(write_split(&w));
    }
out:
    ac_file_discard(&w.table);
    ac_file_discard(&w.list);
    ac_free(w.picture.rgb);
    ac_free(w.grey);
    return status;
}

int main(int argc, char **argv)
{
    config c;
    ac_options *parsed = NULL;
    ac_option_action action;
    ac_log_init(program.name, 0, 1, AC_LOG_INFO, false);
    ac_status status = ac_options_parse(&program, argc, argv, &c, NULL, &action, &parsed);
    if (status == AC_OK)
        status = action == AC_ACTION_RUN ? run(&c) : ac_options_answer(&program, action, &c);
    if (status != AC_OK)
        ac_log(AC_LOG_ERROR, "%s", ac_error_text());
    ac_options_destroy(parsed);
    return ac_status_exit_code(status);
}
