/* Instances files in, instances files out. The inputs are scanned once for their tables, then once per list that is
 * written: in the outputs images stand before annotations, and an image's output is known before its record is met. */
#include "preprocess/prepare_coco.h"
#include "anyclass/alloc.h"
#include "anyclass/json.h"
#include "anyclass/log.h"
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

static ac_status check_categories(const coco_input *first, const coco_input *other)
{
    const ac_coco_table *a = &first->table, *b = &other->table;
    for (size_t i = 0; i < a->n_categories || i < b->n_categories; i++) {
        bool both = i < a->n_categories && i < b->n_categories;
        if (both && a->category[i].id == b->category[i].id && strcmp(a->category[i].name, b->category[i].name) == 0)
            continue;
        if (!both)
            return ac_error(AC_ERR_DATA, "%s has %zu categories and %s has %zu: they must be the same", first->path,
                            a->n_categories, other->path, b->n_categories);
        ac_status status =
            ac_error(AC_ERR_DATA, "category '%s', id %" PRId64 ", where %s has '%s', id %" PRId64, b->category[i].name,
                     b->category[i].id, first->path, a->category[i].name, a->category[i].id);
        return ac_coco_error_at(status, other->path, b->category[i].at);
    }
    return AC_OK;
}

ac_status coco_rewrite_open(coco_rewrite *r, const ac_string_list *paths)
{
    ac_status status = AC_OK;
    AC_TRY(ac_calloc(paths->n_items, sizeof *r->input, &r->input));
    for (size_t i = 0; i < paths->n_items; i++) {
        coco_input *input = &r->input[i];
        input->path = paths->item[i];
        for (size_t k = 0; k < i; k++)
            if (is_same_file(paths->item[k], paths->item[i]))
                AC_TRY(ac_error(AC_ERR_USAGE, "--input names %s twice", input->path));
        AC_TRY(ac_coco_table_read(input->path, true, &input->table));
        r->n_inputs = i + 1;
        input->first_image = r->n_images;
        r->n_images += input->table.n_images;
        AC_TRY(check_categories(&r->input[0], input));
    }
    AC_TRY(ac_calloc(r->n_images + 1, 1, &r->output_of));
out:
    return status;
}

ac_status coco_rewrite_add_outputs(coco_rewrite *r, size_t n)
{
    if (n > UINT8_MAX)
        return ac_error(AC_ERR_USAGE, "more than %d files at once", UINT8_MAX);
    ac_status status = ac_calloc(n, sizeof *r->output, &r->output);
    r->n_outputs = status == AC_OK ? n : 0;
    return status;
}

void coco_rewrite_close(coco_rewrite *r)
{
    for (size_t i = 0; i < r->n_inputs; i++)
        ac_coco_table_release(&r->input[i].table);
    for (size_t p = 0; p < r->n_outputs; p++)
        ac_file_discard(&r->output[p].file);
    ac_free(r->input);
    ac_free(r->output);
    ac_free(r->output_of);
    ac_free(r->new_category);
    *r = (coco_rewrite){0};
}

ac_status coco_rewrite_check_outputs(const coco_rewrite *r, bool overwrite)
{
    ac_status status = AC_OK;
    for (size_t p = 0; p < r->n_outputs; p++) {
        for (size_t i = 0; i < r->n_inputs; i++)
            if (is_same_file(r->output[p].path, r->input[i].path))
                return ac_error(AC_ERR_USAGE, "%s is an input: use another --output", r->output[p].path);
        AC_TRY(prepare_check_output(r->output[p].path, overwrite));
    }
out:
    return status;
}

void coco_rewrite_log_dry_run(const coco_rewrite *r)
{
    for (size_t p = 0; p < r->n_outputs; p++) {
        size_t n = 0;
        for (size_t i = 0; i < r->n_images; i++)
            n += r->output_of[i] == p;
        ac_log(AC_LOG_INFO, "%s: %zu images", r->output[p].path, n);
    }
}

enum { MAX_EDITS = 3, EDIT_BYTES = 32 };

typedef struct edits { /* pieces of a record that are replaced, in order of their place */
    size_t n;
    struct {
        size_t begin, end;
        const char *text;
        char own[EDIT_BYTES];
    } item[MAX_EDITS];
} edits;

/* text[begin, end) becomes `text`, or the number when `text` is NULL. */
static void add_edit(edits *e, size_t begin, size_t end, const char *text, int64_t number)
{
    size_t i = e->n++;
    for (; i > 0 && e->item[i - 1].begin > begin; i--)
        e->item[i] = e->item[i - 1];
    e->item[i].begin = begin;
    e->item[i].end = end;
    e->item[i].text = text;
    snprintf(e->item[i].own, EDIT_BYTES, "%" PRId64, number);
}

static void edit_id(edits *e, const ac_coco_record *record, ac_coco_member member, int64_t id)
{
    if (record->has[member])
        add_edit(e, record->begin[member], record->end[member], NULL, id);
}

static ac_status write_record(coco_output *output, const ac_coco_record *record, const edits *e)
{
    ac_status status = AC_OK;
    size_t at = 0;
    AC_TRY(ac_file_printf(&output->file, output->n_in_list++ ? ",\n" : "\n"));
    for (size_t i = 0; i < e->n; i++) {
        const char *text = e->item[i].text ? e->item[i].text : e->item[i].own;
        AC_TRY(ac_file_write(&output->file, record->text + at, e->item[i].begin - at));
        AC_TRY(ac_file_write(&output->file, text, strlen(text)));
        at = e->item[i].end;
    }
    AC_TRY(ac_file_write(&output->file, record->text + at, record->n_bytes - at));
out:
    return status;
}

typedef struct visit { /* of one list of one input */
    coco_rewrite *r;
    size_t input;
} visit;

static ac_status changed(const coco_input *input)
{
    return ac_error(AC_ERR_IO, "%s changed while it was read", input->path);
}

static ac_status write_image(visit *v, const ac_coco_record *record)
{
    coco_rewrite *r = v->r;
    const coco_input *input = &r->input[v->input];
    edits e = {0};
    size_t i = (size_t)record->number - 1;
    if (i >= input->table.n_images || input->table.image[i].id != record->value[AC_COCO_ID])
        return changed(input);
    size_t number = input->first_image + i;
    if (input->folder) /* behind the opening quote */
        add_edit(&e, record->begin[AC_COCO_NAME] + 1, record->begin[AC_COCO_NAME] + 1, input->folder, 0);
    if (r->renumber)
        edit_id(&e, record, AC_COCO_ID, (int64_t)number + 1);
    coco_output *output = &r->output[r->output_of[number]];
    output->n_images++;
    return write_record(output, record, &e);
}

static ac_status write_annotation(visit *v, const ac_coco_record *record)
{
    coco_rewrite *r = v->r;
    const coco_input *input = &r->input[v->input];
    edits e = {0};
    size_t i = (size_t)record->number - 1;
    if (i >= input->table.n_annotations ||
        input->table.image[input->table.annotation[i].image].id != record->value[AC_COCO_IMAGE_ID])
        return changed(input);
    const ac_coco_annotation *annotation = &input->table.annotation[i];
    size_t number = input->first_image + (size_t)annotation->image;
    if (r->new_category && r->new_category[annotation->category] < 0)
        return AC_OK;
    if (r->new_category)
        edit_id(&e, record, AC_COCO_CATEGORY_ID, r->new_category[annotation->category]);
    if (r->renumber) {
        edit_id(&e, record, AC_COCO_IMAGE_ID, (int64_t)number + 1);
        edit_id(&e, record, AC_COCO_ID, ++r->n_renumbered);
    }
    coco_output *output = &r->output[r->output_of[number]];
    output->n_annotations++;
    return write_record(output, record, &e);
}

static ac_status write_category(visit *v, const ac_coco_record *record)
{
    ac_status status = AC_OK;
    coco_rewrite *r = v->r;
    const coco_input *input = &r->input[v->input];
    edits e = {0};
    size_t i = (size_t)record->number - 1;
    if (i >= input->table.n_categories || input->table.category[i].id != record->value[AC_COCO_ID])
        return changed(input);
    if (r->new_category && r->new_category[i] < 0)
        return AC_OK;
    if (r->new_category)
        edit_id(&e, record, AC_COCO_ID, r->new_category[i]);
    for (size_t p = 0; p < r->n_outputs; p++)
        if (r->output[p].others_from == v->input)
            AC_TRY(write_record(&r->output[p], record, &e));
out:
    return status;
}

static ac_status write_any(void *context, const ac_coco_record *record)
{
    static ac_status (*const write[])(visit *, const ac_coco_record *) = {write_image, write_category,
                                                                          write_annotation};
    return write[record->list](context, record);
}

/* The key as JSON text, quotes included. */
static ac_status write_key(ac_file *file, const char *key)
{
    ac_status status = AC_OK;
    const char *text;
    size_t n;
    ac_json *json = NULL;
    AC_TRY(ac_json_create(&json));
    ac_json_string(json, NULL, key);
    AC_TRY(ac_json_text(json, &text, &n));
    AC_TRY(ac_file_write(file, text + (text[0] == '\n'), n - 1 - (text[0] == '\n')));
out:
    ac_json_destroy(json);
    return status;
}

static ac_status begin_output(const coco_rewrite *r, coco_output *output)
{
    ac_status status = AC_OK;
    const ac_coco_table *table = &r->input[output->others_from].table;
    AC_TRY(ac_file_create(&output->file, output->path));
    AC_TRY(ac_file_printf(&output->file, "{"));
    for (size_t i = 0; i < table->n_others; i++) {
        AC_TRY(write_key(&output->file, table->other[i].key));
        AC_TRY(ac_file_printf(&output->file, ": "));
        AC_TRY(ac_file_write(&output->file, table->other[i].text, strlen(table->other[i].text)));
        AC_TRY(ac_file_printf(&output->file, ",\n"));
    }
out:
    return status;
}

static ac_status write_list(coco_rewrite *r, ac_coco_list list)
{
    static const char *const begin[] = {"\"images\": [", "\"categories\": [", "\"annotations\": ["};
    ac_status status = AC_OK;
    ac_coco_scan_options options = {.lists = 1u << list, .with_text = 1u << list, .may_end_early = true};
    for (size_t p = 0; p < r->n_outputs; p++) {
        AC_TRY(ac_file_printf(&r->output[p].file, "%s", begin[list]));
        r->output[p].n_in_list = 0;
    }
    for (size_t i = 0; i < r->n_inputs; i++) {
        visit v = {r, i};
        AC_TRY(ac_coco_scan(r->input[i].path, &options, write_any, &v));
    }
    for (size_t p = 0; p < r->n_outputs; p++)
        AC_TRY(ac_file_printf(&r->output[p].file, "%s", list == AC_COCO_CATEGORIES ? "\n]}\n" : "\n],\n"));
out:
    return status;
}

ac_status coco_rewrite_write(coco_rewrite *r)
{
    ac_status status = AC_OK;
    for (size_t p = 0; p < r->n_outputs; p++)
        AC_TRY(begin_output(r, &r->output[p]));
    AC_TRY(write_list(r, AC_COCO_IMAGES));
    AC_TRY(write_list(r, AC_COCO_ANNOTATIONS));
    AC_TRY(write_list(r, AC_COCO_CATEGORIES));
    for (size_t p = 0; p < r->n_outputs; p++)
        AC_TRY(ac_file_sync(&r->output[p].file));
    for (size_t p = 0; p < r->n_outputs; p++)
        AC_TRY(prepare_remove_old(r->output[p].path));
    for (size_t p = 0; p < r->n_outputs; p++)
        AC_TRY(ac_file_commit(&r->output[p].file));
out:
    return status;
}
