/* The COCO reader, whose table is compared with what the small JSON reader finds in the same document; the table that
 * keeps members as they stand; records with their bytes. First two bytes: allocation that fails, options. The build
 * makes the pieces in which a file is read small. */
#include "anyclass/coco.h"
#include "anyclass/json.h"
#include "tests/fuzz/fuzz.h"

enum { TABLE = 1, RECORDS = 2, END_EARLY = 4 };

/* The list of that name: the longest one, should members of other kinds have its name too. */
static const ac_json_value *find_list(const ac_json_value *document, const char *name)
{
    const ac_json_value *found = NULL;
    for (size_t i = 0; i < ac_json_count(document); i++)
        if (strcmp(ac_json_key_at(document, i), name) == 0 && !ac_json_key_at(ac_json_at(document, i), 0) &&
            ac_json_count(ac_json_at(document, i)) >= ac_json_count(found))
            found = ac_json_at(document, i);
    return found;
}

static int64_t id_of(const ac_json_value *record, const char *name)
{
    int64_t id = 0;
    FUZZ_REQUIRE(ac_json_read_int(ac_json_get(record, name), name, &id) == AC_OK);
    return id;
}

/* Record of the list with that id. */
static size_t find_id(const ac_json_value *list, int64_t id)
{
    size_t i = 0;
    while (i < ac_json_count(list) && id_of(ac_json_at(list, i), "id") != id)
        i++;
    FUZZ_REQUIRE(i < ac_json_count(list));
    return i;
}

static const char *text_of(const ac_json_value *record, const char *name)
{
    const char *text = "";
    FUZZ_REQUIRE(ac_json_read_string(ac_json_get(record, name), name, &text) == AC_OK);
    return text;
}

/* Class of a category; d->n_classes for the negative one. */
static size_t class_of(const ac_dataset *d, const char *name)
{
    size_t c = 0;
    while (c < d->n_classes && strcmp(d->class_name[c], name) != 0)
        c++;
    FUZZ_REQUIRE((c == d->n_classes) == (strcmp(name, "unlabeled") == 0));
    return c;
}

static void compare(const ac_dataset *d, const ac_json_value *document)
{
    const ac_json_value *images = find_list(document, "images"), *categories = find_list(document, "categories"),
                        *annotations = find_list(document, "annotations");
    uint8_t *label = calloc(d->n_samples, d->n_classes);
    FUZZ_REQUIRE(ac_json_count(images) == d->n_samples);
    for (size_t i = 0; i < d->n_samples; i++)
        FUZZ_REQUIRE(strcmp(text_of(ac_json_at(images, i), "file_name"), ac_dataset_name(d, i)) == 0);
    for (size_t k = 0, n_before = 0; k < ac_json_count(categories); k++) {
        const size_t c = class_of(d, text_of(ac_json_at(categories, k), "name"));
        FUZZ_REQUIRE(c == d->n_classes || c == n_before++);
    }
    for (size_t k = 0; k < ac_json_count(annotations); k++) {
        const ac_json_value *annotation = ac_json_at(annotations, k);
        const size_t image = find_id(images, id_of(annotation, "image_id"));
        const ac_json_value *category = ac_json_at(categories, find_id(categories, id_of(annotation, "category_id")));
        const size_t c = class_of(d, text_of(category, "name"));
        if (c < d->n_classes)
            label[image * d->n_classes + c] = 1;
    }
    FUZZ_REQUIRE(memcmp(label, d->label, d->n_samples * d->n_classes) == 0);
    free(label);
}

/* The reader has accepted a document: so does a plain JSON parser, and finds the same in it. Texts with a zero byte end
 * there for the plain one, so that names in them may seem to be others. */
static void check_against_json(const ac_dataset *d, const fuzz_input *input)
{
    ac_json_value *document = NULL;
    const ac_status status = ac_json_parse("document", (const char *)input->bytes, input->n, &document);
    FUZZ_REQUIRE(status == AC_OK || strstr(ac_error_text(), "nested deeper"));
    bool with_zero = false;
    for (size_t i = 0; i + 6 <= input->n; i++)
        with_zero |= memcmp(input->bytes + i, "\\u0000", 6) == 0;
    if (document && !with_zero)
        compare(d, document);
    ac_json_release(document);
}

static void check_json(const char *text, size_t n)
{
    ac_json_value *value = NULL;
    FUZZ_REQUIRE(ac_json_parse("part", text, n, &value) == AC_OK || strstr(ac_error_text(), "nested deeper"));
    ac_json_release(value);
}

/* A value that is kept as it stands is JSON. */
static void read_table(const fuzz_input *file, uint64_t fail)
{
    const char *path = fuzz_file(file->bytes, file->n);
    ac_coco_table table;
    const fuzz_run run = fuzz_begin(fail);
    const ac_status status = ac_coco_table_read(path, true, &table);
    fuzz_check_status(&run, status);
    for (size_t i = 0; i < table.n_others; i++) {
        check_json(table.other[i].text, strlen(table.other[i].text));
    }
    for (size_t i = 0; i < table.n_annotations; i++) {
        FUZZ_REQUIRE((size_t)table.annotation[i].image < table.n_images);
        FUZZ_REQUIRE((size_t)table.annotation[i].category < table.n_categories);
    }
    ac_coco_table_release(&table);
    fuzz_end(&run);
}

/* A record's bytes are JSON, and so are those of its members, which are the numbers that the record tells. */
static ac_status visit(void *context, const ac_coco_record *r)
{
    (void)context;
    check_json(r->text, r->n_bytes);
    for (int m = 0; m < AC_COCO_N_MEMBERS; m++) {
        if (!r->has[m])
            continue;
        FUZZ_REQUIRE(r->begin[m] < r->end[m] && r->end[m] <= r->n_bytes);
        check_json(r->text + r->begin[m], r->end[m] - r->begin[m]);
        if (m != AC_COCO_NAME)
            FUZZ_REQUIRE(strtoll(r->text + r->begin[m], NULL, 10) == r->value[m]);
    }
    return AC_OK;
}

static void read_records(const fuzz_input *file, bool end_early)
{
    const char *path = fuzz_file(file->bytes, file->n);
    const unsigned all = (1u << AC_COCO_N_LISTS) - 1;
    const ac_coco_scan_options options = {.lists = all, .with_text = all, .may_end_early = end_early};
    const fuzz_run run = fuzz_begin(0);
    fuzz_check_status(&run, ac_coco_scan(path, &options, visit, NULL));
    fuzz_end(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    fuzz_input input = {bytes, n_bytes};
    const unsigned fail = fuzz_byte(&input), options = fuzz_byte(&input);
    if (options & TABLE)
        read_table(&input, fail);
    else if (options & RECORDS)
        read_records(&input, options & END_EARLY);
    else
        fuzz_read_dataset("coco", &input, fail, check_against_json);
    return 0;
}
