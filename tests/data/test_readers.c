/* Annotation readers: what each format's files mean, and what is refused, with file, line and column. */
#include "anyclass/alloc.h"
#include "anyclass/chest.h"
#include "anyclass/coco.h"
#include "anyclass/dataset.h"
#include "anyclass/hash.h"
#include "anyclass/json.h"
#include "anyclass/random.h"
#include "tests/tap.h"
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include <yajl/yajl_parse.h>

static char folder[AC_PATH_BYTES];

static void write_bytes(const char *name, const void *bytes, size_t n)
{
    char path[AC_PATH_BYTES];
    FILE *file = ac_path_join(path, folder, name) == AC_OK ? fopen(path, "wb") : NULL;
    if (!file || fwrite(bytes, 1, n, file) != n || fclose(file) != 0)
        tap_check(false, __FILE__, __LINE__, "%s is written", name);
}

static void write_text(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text));
}

static ac_status read_split(const char *kind, ac_split split, ac_dataset *d)
{
    return ac_dataset_read(&(ac_dataset_options){kind, folder, split}, d);
}

/* Name and class names of each sample, "a.png RB OB|b.png|". */
static const char *describe(const ac_dataset *d)
{
    static char text[4096];
    size_t n = 0;
    for (size_t i = 0; i < d->n_samples; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", ac_dataset_name(d, i));
        for (size_t c = 0; c < d->n_classes; c++)
            if (d->label[i * d->n_classes + c])
                n += (size_t)snprintf(text + n, sizeof text - n, " %s", d->class_name[c]);
        n += (size_t)snprintf(text + n, sizeof text - n, "|");
    }
    return text;
}

/* The split reads as `wanted`. */
static void reads(const char *kind, ac_split split, const char *wanted, const char *what)
{
    ac_dataset d;
    if (TAP_OK(read_split(kind, split, &d) == AC_OK, "%s: read", what)) {
        TAP_OK(strcmp(describe(&d), wanted) == 0, "%s: %s", what, describe(&d));
        ac_dataset_release(&d);
    }
}

/* Refused with `status` and a message that holds `wanted`. */
static void refused(const char *kind, ac_split split, ac_status wanted_status, const char *wanted, const char *what)
{
    ac_dataset d;
    ac_status status = read_split(kind, split, &d);
    TAP_OK(status == wanted_status && strstr(ac_error_text(), wanted), "%s: %s", what, ac_error_text());
    if (status == AC_OK)
        ac_dataset_release(&d);
}

/* ---- sewer ---- */

static const char sewer_header[] =
    "Filename,WaterLevel,VA,RB,OB,PF,DE,FS,IS,RO,IN,AF,BE,FO,GR,PH,PB,OS,OP,OK,ND,Defect\n";

/* `line` replaces data line `n` (1 or 2) of a good file. */
static void sewer_with(int n, const char *line)
{
    char text[1024];
    snprintf(text, sizeof text, "%s%s\n%s\n", sewer_header,
             n == 1 ? line : "00000001.png,10,1,1,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,1",
             n == 2 ? line : "00000048.png,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0");
    write_text("SewerML_Train.csv", text);
}

static void test_sewer(void)
{
    static const char *const order[] = {"RB", "OB", "PF", "DE", "FS", "IS", "RO", "IN", "AF",
                                        "BE", "FO", "GR", "PH", "PB", "OS", "OP", "OK"};
    ac_dataset d;
    sewer_with(0, "");
    reads("sewer", AC_SPLIT_TRAIN, "00000001.png RB FS|00000048.png|", "sewer: VA is no label");
    if (TAP_CALL(read_split("sewer", AC_SPLIT_TRAIN, &d))) {
        bool same = d.n_classes == 17;
        for (size_t c = 0; same && c < 17; c++)
            same = strcmp(d.class_name[c], order[c]) == 0;
        TAP_OK(same, "sewer: 17 classes in their order");
        TAP_OK(d.mean[0] == .523f && d.mean[1] == .453f && d.mean[2] == .345f && d.std[0] == .210f &&
                   d.std[1] == .199f && d.std[2] == .154f && strcmp(d.source, "SewerML_Train.csv") == 0,
               "sewer: normalisation and source");
        ac_dataset_release(&d);
    }
    write_text("SewerML_Valid.csv", "\xEF\xBB\xBFOK,Extra,OS,OP,PB,PH,GR,FO,BE,AF,IN,RO,IS,FS,DE,PF,OB,RB,Filename\r\n"
                                    "1,\"x, y\",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,a.png\r\n"
                                    "0,,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,b.png");
    reads("sewer", AC_SPLIT_VAL, "a.png RB OK|b.png|",
          "sewer: columns in any order, SewerML_Valid.csv, CRLF, no final newline");
    write_text("SewerML_Test.csv", "Filename\n00000007.png\n");
    refused("sewer", AC_SPLIT_TEST, AC_ERR_DATA,
            "SewerML_Test.csv line 1: the header has no column RB OB PF DE FS IS RO IN AF BE FO GR PH PB OS OP OK: no "
            "labels",
            "sewer: the published test file");
    write_text("SewerML_Test.csv",
               "Filename,RB,OB,PF,DE,FS,IS,RO,IN,AF,BE,FO,GR,PH,PB,OS,OK\na,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0\n");
    refused("sewer", AC_SPLIT_TEST, AC_ERR_DATA, "line 1: the header has no column OP", "sewer: a missing column");
    write_text("SewerML_Test.csv", "Filename,RB,RB\na,0,0\n");
    refused("sewer", AC_SPLIT_TEST, AC_ERR_DATA, "line 1: the header has more than one column RB",
            "sewer: a column twice");
    write_text("SewerML_Test.csv", "");
    refused("sewer", AC_SPLIT_TEST, AC_ERR_DATA, "SewerML_Test.csv: is empty", "sewer: an empty file");
    write_text("SewerML_Test.csv", sewer_header);
    refused("sewer", AC_SPLIT_TEST, AC_ERR_DATA, "SewerML_Test.csv: names no image", "sewer: a header alone");
    sewer_with(2, "00000002.png,10,1,1,0,0,0,1,0,0,0,0,0,2,0,0,0,0,0,0,0,1");
    refused("sewer", AC_SPLIT_TRAIN, AC_ERR_DATA, "SewerML_Train.csv line 3: column FO: '2' is neither 0 nor 1",
            "sewer: a label of 2");
    sewer_with(1, "00000002.png,10,1,1,0,0,0,1,0,0,0,0,0,1,0,0,0,0,0,0,0");
    refused("sewer", AC_SPLIT_TRAIN, AC_ERR_DATA, "SewerML_Train.csv line 2: 21 fields, the header has 22",
            "sewer: a short row");
    sewer_with(2, ",10,1,1,0,0,0,1,0,0,0,0,0,1,0,0,0,0,0,0,0,1");
    refused("sewer", AC_SPLIT_TRAIN, AC_ERR_DATA, "line 3: column Filename: an empty file name", "sewer: no file name");
    sewer_with(2, "00000001.png,10,1,1,0,0,0,1,0,0,0,0,0,1,0,0,0,0,0,0,0,1");
    refused("sewer", AC_SPLIT_TRAIN, AC_ERR_DATA,
            "SewerML_Train.csv line 3: file name '00000001.png' occurs twice, first in line 2",
            "sewer: an image twice");
    sewer_with(2, "00000048.png,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1");
    reads("sewer", AC_SPLIT_TRAIN, "00000001.png RB FS|00000048.png|",
          "sewer: Defect that contradicts the classes is a warning");
}

/* ---- csv ---- */

static void test_csv(void)
{
    write_text("train.csv", "f,\"b, c\",d\nx.jpg,1,0\n\ny.jpg,0,0\n");
    reads("csv", AC_SPLIT_TRAIN, "x.jpg b, c|y.jpg|", "csv");
    write_text("train.csv", "f,b,d\nx.jpg,1,0\n\ny.jpg,0,a\n");
    refused("csv", AC_SPLIT_TRAIN, AC_ERR_DATA, "train.csv line 4: column d: 'a' is neither 0 nor 1",
            "csv: file, line and column");
    write_text("train.csv", "f,b,d\nx.jpg,1,0\n\nx.jpg,0,1\n");
    refused("csv", AC_SPLIT_TRAIN, AC_ERR_DATA, "train.csv line 4: file name 'x.jpg' occurs twice, first in line 2",
            "csv: an image twice");
    write_text("train.csv", "f,b,b\nx.jpg,1,0\n");
    refused("csv", AC_SPLIT_TRAIN, AC_ERR_DATA, "train.csv line 1: column 3: class 'b' occurs twice",
            "csv: a class twice");
    write_text("train.csv", "f,b\n,1\n");
    refused("csv", AC_SPLIT_TRAIN, AC_ERR_DATA, "train.csv line 2: column 1: an empty file name", "csv: no file name");
    write_text("train.csv", "f,b\nx,\"1\n");
    refused("csv", AC_SPLIT_TRAIN, AC_ERR_DATA, "train.csv line 2: a quote is never closed (field 2)",
            "csv: an open quote");
    refused("none", AC_SPLIT_TRAIN, AC_ERR_USAGE, "sewer|coco|chest|csv", "an unknown kind");
}

/* ---- chest ---- */

/* As the editions are: the 2017 file has CRLF, a comma at the end of its header, padded numbers, ages with a unit. */
static const char edition_2017[] =
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View "
    "Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\r\n"
    "00000001_000.png,Cardiomegaly,000,00000001,058Y,M,PA,2682,2749,0.143,0.143\r\n"
    "00000001_001.png,Cardiomegaly|Emphysema,001,00000001,058Y,M,PA,2894,2729,0.143,0.143\r\n"
    "00000002_000.png,No Finding,000,00000002,414Y,M,PA,2500,2048,0.171,0.171\r\n"
    "00000003_000.png,Hernia|Pleural_Thickening|Infiltration,000,00000003,011M,F,PA,2582,2991,0.143,0.143\r\n";
static const char edition_2020[] =
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View "
    "Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
    "00000001_000.png,Cardiomegaly,0,1,57,M,PA,2682,2749,0.14300000000000002,0.14300000000000002\n"
    "00000001_001.png,No Finding,1,1,58,M,PA,2894,2729,0.14300000000000002,0.14300000000000002\n";

static void remove_file(const char *name)
{
    char path[AC_PATH_BYTES];
    if (ac_path_join(path, folder, name) == AC_OK)
        remove(path);
}

static void chest_row(const char *row, const char *wanted, const char *what)
{
    char text[2048], message[256];
    snprintf(text, sizeof text, "%s%s\n", edition_2020, row);
    write_text("Data_Entry_2017_v2020.csv", text);
    snprintf(message, sizeof message, "Data_Entry_2017_v2020.csv line 4: %s", wanted);
    refused("chest", AC_SPLIT_TRAIN, AC_ERR_DATA, message, what);
}

static void test_chest(void)
{
    ac_dataset d;
    char path[AC_PATH_BYTES];
    if (!TAP_CALL(ac_path_join(path, folder, "train_val_test")) || !TAP_CALL(ac_path_make_folders(path)))
        return;
    write_text("train_val_test/train.txt", "00000003_000.png\r\n\r\n00000001_001.png\r\n00000002_000.png");
    write_text("train_val_test/val.txt", "00000001_000.png\n");
    refused("chest", AC_SPLIT_TRAIN, AC_ERR_IO, "neither Data_Entry_2017_v2020.csv nor Data_Entry_2017.csv",
            "chest: no table");
    refused("chest", AC_SPLIT_TEST, AC_ERR_IO, "no annotation file train_val_test/test.txt in it", "chest: no list");
    write_text("Data_Entry_2017.csv", edition_2017);
    reads("chest", AC_SPLIT_TRAIN,
          "00000003_000.png Infiltration Pleural_Thickening Hernia|00000001_001.png Cardiomegaly "
          "Emphysema|00000002_000.png|",
          "chest 2017: the list's order, CRLF, no final newline");
    if (TAP_CALL(read_split("chest", AC_SPLIT_VAL, &d))) {
        TAP_OK(d.mean[0] == .506f && d.mean[2] == .506f && d.std[1] == .230f &&
                   strcmp(d.source, "Data_Entry_2017.csv, val.txt") == 0,
               "chest: normalisation and source");
        TAP_OK(d.n_classes == 14 && strcmp(d.class_name[7], "Pleural_Thickening") == 0 &&
                   strcmp(d.class_name[0], "Infiltration") == 0 && strcmp(d.class_name[13], "Hernia") == 0,
               "chest: 14 classes in their order");
        ac_dataset_release(&d);
    }
    if (TAP_CALL(ac_path_join(path, folder, "train_val_test/val.txt")) &&
        TAP_CALL(ac_dataset_read(&(ac_dataset_options){"chest", path, AC_SPLIT_VAL}, &d))) {
        TAP_OK(strcmp(describe(&d), "00000001_000.png Cardiomegaly|") == 0, "chest: the list itself as ann_root");
        ac_dataset_release(&d);
    }
    write_text("train_val_test/train.txt", "00000001_001.png\n");
    write_text("Data_Entry_2017_v2020.csv", edition_2020);
    reads("chest", AC_SPLIT_TRAIN, "00000001_001.png|", "chest: the 2020 edition before that of 2017");
    write_text("train_val_test/train.txt", "00000001_001.png\n00000003_000.png\n");
    refused("chest", AC_SPLIT_TRAIN, AC_ERR_DATA, "train.txt line 2: the image '00000003_000.png' is not in the table",
            "chest: an unknown name");
    write_text("train_val_test/train.txt", "00000001_001.png\n\n00000001_001.png\n");
    refused("chest", AC_SPLIT_TRAIN, AC_ERR_DATA,
            "train.txt line 3: the image '00000001_001.png' occurs twice, first in line 1", "chest: a name twice");
    write_text("train_val_test/train.txt", "\n");
    refused("chest", AC_SPLIT_TRAIN, AC_ERR_DATA, "train.txt: names no image", "chest: an empty list");
    write_text("train_val_test/train.txt", "00000001_001.png\n");
    chest_row("x.png,Cardiomegali,0,9,1,M,PA,1,1,1,1",
              "column Finding Labels: 'Cardiomegali' in 'Cardiomegali' is none of the 14", "chest: an unknown finding");
    chest_row("x.png,Mass|No Finding,0,9,1,M,PA,1,1,1,1",
              "column Finding Labels: 'No Finding' in 'Mass|No Finding' is none of the 14 findings, it stands alone",
              "chest: No Finding beside another");
    chest_row("x.png,No Finding|Mass,0,9,1,M,PA,1,1,1,1", "column Finding Labels: 'No Finding'",
              "chest: No Finding before another");
    chest_row("x.png,Mass|Mass,0,9,1,M,PA,1,1,1,1", "column Finding Labels: 'Mass' occurs twice",
              "chest: a finding twice");
    chest_row("x.png,Mass|,0,9,1,M,PA,1,1,1,1", "column Finding Labels: '' in 'Mass|'", "chest: an empty finding");
    chest_row("x.png,,0,9,1,M,PA,1,1,1,1", "column Finding Labels: '' in ''", "chest: no finding at all");
    chest_row("x.png,Mass,0,P9,1,M,PA,1,1,1,1", "column Patient ID: 'P9' is no whole number",
              "chest: a patient that is no number");
    chest_row("x.png,Mass,0,9,1,M,PA,1,1,1", "10 fields, the header has 11", "chest: a short row");
    chest_row("x.png,Mass,0,9,1,M,PA,1,1,1,1,1", "12 fields, the header has 11", "chest: a long row");
    chest_row("00000001_000.png,Mass,0,9,1,M,PA,1,1,1,1", "file name '00000001_000.png' occurs twice, first in line 2",
              "chest: an image twice");
    write_text("Data_Entry_2017_v2020.csv", "Image Index,Findings\na.png,Mass\n");
    refused("chest", AC_SPLIT_TRAIN, AC_ERR_DATA,
            "Data_Entry_2017_v2020.csv line 1: the header has no column Finding Labels", "chest: a missing column");
    remove_file("Data_Entry_2017_v2020.csv");
}

/* Counts of the real table, by the file that says what they must be. */
static void test_real_chest(const char *shared)
{
    ac_chest_table table;
    ac_json_value *expected = NULL;
    char path[AC_PATH_BYTES];
    int64_t wanted, n_patients = 0;
    size_t n_wrong = 0, n_negative = 0, *row, n;
    snprintf(path, sizeof path, "%s/data/chest/Data_Entry_2017_v2020.csv", shared);
    if (!TAP_CALL(ac_chest_table_read(path, &table)))
        return;
    snprintf(path, sizeof path, "%s/data/chest/expected_counts.json", shared);
    TAP_CALL(ac_json_load(path, &expected));
    const ac_json_value *counts = ac_json_get(expected, "counts_v2020");
    for (size_t c = 0; c < table.rows.n_classes; c++) {
        int64_t count = 0;
        for (size_t i = 0; i < table.rows.n_samples; i++)
            count += table.rows.label[i * table.rows.n_classes + c];
        n_wrong += ac_json_read_int(ac_json_get(counts, table.rows.class_name[c]), "count", &wanted) != AC_OK ||
                   wanted != count;
    }
    TAP_OK(n_wrong == 0, "real chest: the counts of all 14 classes");
    for (size_t i = 0; i < table.rows.n_samples; i++)
        n_negative += memchr(table.rows.label + i * table.rows.n_classes, 1, table.rows.n_classes) == NULL;
    TAP_OK(ac_json_read_int(ac_json_get(counts, "No Finding"), "count", &wanted) == AC_OK &&
               (size_t)wanted == n_negative,
           "real chest: %zu without a finding", n_negative);
    char *seen = NULL;
    TAP_CALL(ac_calloc(1000000, 1, &seen));
    for (size_t i = 0; i < table.rows.n_samples; i++)
        if (table.patient[i] < 1000000 && !seen[table.patient[i]]) {
            seen[table.patient[i]] = 1;
            n_patients++;
        }
    ac_free(seen);
    TAP_OK(table.rows.n_samples == 112120 && n_patients == 30805, "real chest: 112120 rows of 30805 patients");
    static const struct {
        const char *file;
        size_t n;
    } list[] = {{"train_val_list.txt", 86524}, {"test_list.txt", 25596}};
    for (int k = 0; k < 2; k++) {
        snprintf(path, sizeof path, "%s/data/chest/%s", shared, list[k].file);
        if (TAP_CALL(ac_chest_list_read(path, &table, &row, &n)))
            TAP_OK(n == list[k].n, "real chest: %s names %zu images", list[k].file, n);
        ac_free(row);
    }
    ac_json_release(expected);
    ac_chest_table_release(&table);
}

/* ---- coco ---- */

#define CATEGORIES                                                                                                     \
    "[{\"supercategory\": \"a\", \"id\": 7, \"name\": \"cat\"}, {\"id\": 90, \"name\": \"unlabeled\"}, {\"id\": 3, "   \
    "\"name\": \"dog\"}]"
#define IMAGES                                                                                                         \
    "[{\"license\": 4, \"file_name\": \"b[1, 2, 3, 4].jpg\", \"id\": 508}, {\"id\": 2, \"file_name\": "                \
    "\"a\\u00e9\\\"[0,0,0,0,0\"}]"
static const char annotations[] =
    "[{\"segmentation\": [[510.66, 423.01, -5e+2, 0, 1E-3], [1,2,3,4,5,6,7,8]], \"image_id\": 508, \"bbox\": [1.5, 2, "
    "3, 4.25], \"category_id\": 3, \"id\": 1},\n"
    "{\"segmentation\": {\"counts\": [20736, 2, 453, 3], \"size\": [480, 640]}, \"iscrowd\": 1, \"image_id\": 508, "
    "\"category_id\": 7, \"id\": 2},\n"
    "{\"image_id\": 2, \"note\": {\"id\": 9, \"category_id\": 7, \"x\": [\"\\\"[1,2,3,4,5,6]\", \"[1,2,3,4,5,6]\", "
    "[true, null, {}]]}, \"category_id\": 90, \"id\": 3}]";
static const char coco_wanted[] = "b[1, 2, 3, 4].jpg cat dog|a\xC3\xA9\"[0,0,0,0,0|";

static void coco_file(char *text, size_t capacity, const char *images, const char *categories, const char *list)
{
    snprintf(text, capacity,
             "{\"info\": {\"year\": [2017, 1, 2, 3]}, \"images\": %s,\n\"annotations\": %s,\n\"categories\": %s}",
             images, list, categories);
}

static void coco_refused(const char *images, const char *categories, const char *list, const char *wanted,
                         const char *what)
{
    char text[4096];
    coco_file(text, sizeof text, images, categories, list);
    write_text("instances_val.json", text);
    refused("coco", AC_SPLIT_VAL, AC_ERR_DATA, wanted, what);
}

static void test_coco(void)
{
    char text[4096];
    coco_file(text, sizeof text, IMAGES, CATEGORIES, annotations);
    write_text("instances_train2017.json", text);
    reads("coco", AC_SPLIT_TRAIN, coco_wanted, "coco: ids with gaps, crowds, categories last");
    snprintf(text, sizeof text, "{\"annotations\": %s, \"categories\": %s, \"images\": %s}", annotations, CATEGORIES,
             IMAGES);
    write_text("instances_val.json", text);
    reads("coco", AC_SPLIT_VAL, coco_wanted, "coco: annotations first");
    coco_refused(IMAGES, CATEGORIES,
                 "[{\"image_id\": 508, \"category_id\": 3},\n {\"image_id\": 5, \"category_id\": 3}]",
                 "instances_val.json line 3 column 2 (byte", "coco: line and column of an annotation");
    coco_refused(IMAGES, CATEGORIES, "[{\"image_id\": 5, \"category_id\": 3}]", "annotation 1: no image has the id 5",
                 "coco: of an unknown image");
    coco_refused(IMAGES, CATEGORIES, "[{\"image_id\": 2, \"category_id\": 1}]",
                 "line 2 column 17 (byte 172): annotation 1: no category has the id 1", "coco: of an unknown category");
    coco_refused(IMAGES, CATEGORIES, "[{\"image_id\": 2}]",
                 "record 1 of 'annotations' lacks a whole number 'image_id' or 'category_id'", "coco: no category_id");
    coco_refused(IMAGES, CATEGORIES, "[{\"image_id\": 2, \"category_id\": \"7\"}]", "record 1 of 'annotations' lacks",
                 "coco: category_id as text");
    coco_refused(IMAGES, CATEGORIES, "[{\"image_id\": 2.0, \"category_id\": 7}]", "the id 2.0 is no whole number",
                 "coco: an id with a point");
    coco_refused(IMAGES, CATEGORIES, "[{\"image_id\": 2, \"category_id\": 99999999999999999999}]",
                 "the id 99999999999999999999 is no whole", "coco: a long id");
    coco_refused(IMAGES, CATEGORIES, "[{\"image_id\": 2, \"image_id\": 508, \"category_id\": 7}]",
                 "the member 'image_id' occurs twice", "coco: a member twice");
    coco_refused(IMAGES, CATEGORIES, "[1, 2, 3, 4, 5, 6]", "the list 'annotations' holds something that is no object",
                 "coco: numbers for annotations");
    coco_refused(IMAGES, CATEGORIES, "[[1, 2, 3, 4, 5, 6]]", "the list 'annotations' holds something that is no object",
                 "coco: arrays for annotations");
    coco_refused(IMAGES, CATEGORIES, "{}", "has no list 'annotations'", "coco: an object for a list");
    coco_refused(IMAGES, CATEGORIES, "[], \"annotations\": []", "the list 'annotations' occurs twice",
                 "coco: a list twice");
    coco_refused(IMAGES, "[{\"id\": 1, \"name\": \"a\"}, {\"id\": 1, \"name\": \"b\"}]", "[]",
                 "category id 1 occurs twice", "coco: a category id twice");
    coco_refused(IMAGES, "[{\"id\": 1, \"name\": \"a\"},\n{\"id\": 2, \"name\": \"a\"}]", "[]",
                 "line 4 column 1 (byte 214): class 'a' occurs twice", "coco: a category twice");
    coco_refused(IMAGES, "[{\"id\": 1, \"name\": \"unlabeled\"}]", "[]", "no category that is a class",
                 "coco: no class");
    coco_refused("[{\"id\": 1, \"file_name\": \"a\"}, {\"id\": 1, \"file_name\": \"b\"}]", CATEGORIES, "[]",
                 "image id 1 occurs twice", "coco: an image id twice");
    coco_refused("[{\"id\": 1, \"file_name\": \"a\"}, {\"id\": 2, \"file_name\": \"a\"}]", CATEGORIES, "[]",
                 "line 1 column 77 (byte 76): file name 'a' occurs twice (images 1 and 2)", "coco: a file name twice");
    coco_refused("[{\"id\": 1}]", CATEGORIES, "[]",
                 "record 1 of 'images' lacks a whole number 'id' or a text 'file_name'", "coco: no file_name");
    coco_refused("[]", CATEGORIES, "[]", "names no image", "coco: no image");
    write_text("instances_val.json", "[]");
    refused("coco", AC_SPLIT_VAL, AC_ERR_DATA, "the document is no object", "coco: an array");
    write_text("instances_val.json", "");
    refused("coco", AC_SPLIT_VAL, AC_ERR_DATA, "instances_val.json line 1 column 1 (byte 0)", "coco: an empty file");
}

static bool is_json(const char *text, size_t n)
{
    yajl_handle handle = yajl_alloc(NULL, NULL, NULL);
    bool good = yajl_parse(handle, (const unsigned char *)text, n) == yajl_status_ok &&
                yajl_complete_parse(handle) == yajl_status_ok;
    yajl_free(handle);
    return good;
}

/* Changed bytes anywhere, also where arrays are skipped: what is no JSON is never read. */
static void test_damaged_coco(void)
{
    static const char bytes[] = "0-.,[]{}\"\\e \x01\xFFz";
    char text[4096], path[AC_PATH_BYTES];
    ac_dataset d;
    int n_bad = 0, n_unseen = 0, n_cut = 0, n_cut_unseen = 0;
    coco_file(text, sizeof text, IMAGES, CATEGORIES, annotations);
    size_t n = strlen(text);
    write_bytes("instances_val.json", text, n);
    int fd = ac_path_join(path, folder, "instances_val.json") == AC_OK ? open(path, O_WRONLY) : -1;
    for (size_t at = 0; at < n; at++)
        for (size_t k = 0; k < sizeof bytes - 1; k++) {
            char kept = text[at];
            text[at] = bytes[k];
            if (!is_json(text, n)) {
                n_bad += pwrite(fd, text + at, 1, (off_t)at) == 1;
                if (read_split("coco", AC_SPLIT_VAL, &d) == AC_OK) {
                    n_unseen++;
                    printf("# byte %zu as '%c' is not seen\n", at, bytes[k]);
                    ac_dataset_release(&d);
                }
            }
            text[at] = kept;
            if (pwrite(fd, &kept, 1, (off_t)at) != 1)
                n_unseen++;
        }
    TAP_OK(n_bad > 5000 && n_unseen == 0, "coco: %d files that are no JSON, %d of them read", n_bad, n_unseen);
    for (size_t at = n; at-- > 0; n_cut++) {
        if (ftruncate(fd, (off_t)at) != 0)
            n_cut_unseen++;
        if (read_split("coco", AC_SPLIT_VAL, &d) == AC_OK) {
            n_cut_unseen++;
            ac_dataset_release(&d);
        }
    }
    close(fd);
    TAP_OK(n_cut_unseen == 0, "coco: cut short at %d lengths, %d of them read", n_cut, n_cut_unseen);
}

typedef struct digest { /* of all that a scan tells, places relative to the document's first byte */
    uint64_t hash;
    uint64_t shift;
} digest;

static ac_status add_to_digest(void *context, const ac_coco_record *r)
{
    digest *d = context;
    uint64_t parts[3 * AC_COCO_N_MEMBERS + 6] = {d->hash,
                                                 (uint64_t)r->list,
                                                 r->list == AC_COCO_OTHER ? 0 : r->number,
                                                 r->at - d->shift,
                                                 ac_hash64_bytes(r->text, r->n_bytes),
                                                 ac_hash64_bytes(r->name, strlen(r->name))};
    if (r->list == AC_COCO_ANNOTATIONS)
        parts[5] = 0;
    for (int m = 0; m < AC_COCO_N_MEMBERS; m++)
        if (r->has[m]) {
            parts[6 + 3 * m] = (uint64_t)r->value[m];
            parts[7 + 3 * m] = ac_hash64_bytes(r->text + r->begin[m], r->end[m] - r->begin[m]);
            parts[8 + 3 * m] = r->begin[m];
        }
    d->hash = ac_hash64_bytes(parts, sizeof parts);
    return AC_OK;
}

/* A file is read in pieces of 2^16 bytes: move the border through the whole document. */
static void test_pieces(void)
{
    enum { BORDER = 1 << 16 };
    static char padded[BORDER + 4096];
    char text[4096], path[AC_PATH_BYTES];
    unsigned all = (1u << AC_COCO_N_LISTS) - 1;
    ac_coco_scan_options options = {.lists = all, .with_text = all};
    digest first = {0};
    int n_differ = 0;
    coco_file(text, sizeof text, IMAGES, CATEGORIES, annotations);
    size_t n = strlen(text);
    write_text("pieces.json", text);
    if (!TAP_CALL(ac_path_join(path, folder, "pieces.json")) ||
        !TAP_CALL(ac_coco_scan(path, &options, add_to_digest, &first)))
        return;
    memset(padded, ' ', sizeof padded);
    for (size_t k = 0; k <= n; k++) {
        digest d = {.shift = BORDER - k};
        memcpy(padded + BORDER - k, text, n);
        write_bytes("pieces.json", padded, BORDER - k + n);
        n_differ += ac_coco_scan(path, &options, add_to_digest, &d) != AC_OK || d.hash != first.hash;
    }
    TAP_OK(n_differ == 0, "coco: a border between pieces at %zu places changes nothing (%d differ)", n + 1, n_differ);
}

/* Members that are no list are kept as they stand, from the first byte of the value on. */
static void test_others(void)
{
    char path[AC_PATH_BYTES];
    ac_coco_table table;
    write_text("others.json", "{\"info\" \f:\v {\"a\": [1, 2, 3, 4, 5]}, \"n\":\t12 ,\"images\": [], \"annotations\": [], "
                              "\"categories\": [], \"s\": \"[1, 2, 3, 4, 5]\"}");
    if (!TAP_CALL(ac_path_join(path, folder, "others.json")) || !TAP_CALL(ac_coco_table_read(path, true, &table)))
        return;
    TAP_OK(table.n_others == 3 && strcmp(table.other[0].text, "{\"a\": [1, 2, 3, 4, 5]}") == 0 &&
               strcmp(table.other[1].text, "12") == 0 && strcmp(table.other[2].text, "\"[1, 2, 3, 4, 5]\"") == 0,
           "coco: other members as they stand: %s", table.n_others ? table.other[0].text : "none");
    ac_coco_table_release(&table);
}

int main(void)
{
    if (!tap_folder(folder))
        return tap_done();
    test_sewer();
    test_csv();
    test_chest();
    test_coco();
    test_damaged_coco();
    test_pieces();
    test_others();
    const char *shared = tap_shared();
    if (shared)
        test_real_chest(shared);
    else
        TAP_SKIP("shared inputs are absent");
    tap_remove(folder);
    return tap_done();
}
