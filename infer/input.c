/* What is scored: splits of shards, or a folder of pictures; both as a source behind a loader. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "infer/steps.h"
#include <string.h>

static ac_status split_of(const char *name, const char **title, const char **file_name)
{
    static const char *const known[][2] = {{"Train", "train"}, {"Val", "val"}, {"Test", "test"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i][0]) == 0 || strcmp(name, known[i][1]) == 0) {
            *title = known[i][0];
            *file_name = known[i][1];
            return AC_OK;
        }
    return ac_error(AC_ERR_USAGE, "--split: '%s' is none of Val, Test, Train", name);
}

/* What the shards hold, whatever their folder and that of the images. */
static ac_hash hash_shards(const ac_manifest *manifest)
{
    ac_hash hash = ac_hash_bytes("", 0);
    for (size_t i = 0; i < manifest->n_shards; i++) {
        const ac_hash pair[2] = {hash, manifest->shard[i].hash};
        hash = ac_hash_bytes(pair, sizeof pair);
    }
    return hash;
}

static ac_status open_split(infer *in, const char *name)
{
    ac_status status = AC_OK;
    const char *file_name = NULL;
    infer_input input = {.title = NULL};
    AC_TRY(split_of(name, &input.title, &file_name));
    for (size_t i = 0; i < in->n_inputs; i++)
        if (strcmp(in->input[i].title, input.title) == 0)
            return ac_error(AC_ERR_USAGE, "--split names %s twice", input.title);
    infer_input *to = &in->input[in->n_inputs];
    *to = input;
    AC_TRY(ac_store_open(in->config->data_root, file_name, &to->store));
    in->n_inputs++;
    to->n = to->store.n_samples;
    to->hash = hash_shards(&to->store.manifest);
    if (to->n == 0)
        return ac_error(AC_ERR_DATA, "%s: the split %s holds no image", in->config->data_root, file_name);
out:
    return status;
}

/* Ranks that open them one after the other may see shards that are being made anew. */
static ac_status check_same(const infer *in)
{
    ac_status status = AC_OK;
    for (size_t i = 0; i < in->n_inputs; i++) {
        const infer_input *input = &in->input[i];
        bool same;
        AC_TRY(ac_comm_same(in->run->comm, &input->hash, sizeof input->hash, &same));
        if (!same)
            return ac_error(AC_ERR_DATA, "%s: ranks see other shards of the split %s: are they being made anew?",
                            in->config->data_root, input->title);
    }
out:
    return status;
}

static ac_status open_splits(infer *in)
{
    ac_status status = AC_OK;
    static const char *both[] = {"Val", "Test"};
    const ac_string_list splits = in->config->do_val_test ? (ac_string_list){both, 2} : in->config->split;
    const char *title, *file_name;
    for (size_t i = 0; i < splits.n_items; i++) /* a wrong word first: opening takes time */
        AC_TRY(split_of(splits.item[i], &title, &file_name));
    for (size_t i = 0; i < splits.n_items; i++)
        AC_TRY(open_split(in, splits.item[i]));
out:
    return status;
}

/* One rank lists: the folder may change while it is looked at. */
static ac_status list_pictures(infer *in)
{
    ac_status status = AC_OK;
    infer_input *input = &in->input[0];
    ac_pictures *pictures = &input->pictures;
    MPI_Comm comm = in->run->comm;
    const char *folder = in->config->images;
    char *names = NULL;
    *input = (infer_input){.title = "Images", .is_pictures = true};
    in->n_inputs = 1;
    if (in->run->rank == 0)
        status = ac_pictures_list(folder, pictures);
    ac_watchdog_at(in->run->watchdog, "opening data", -1, true);
    AC_TRY(ac_comm_agree(comm, status));
    size_t n_bytes = pictures->n_name_bytes;
    AC_TRY(ac_comm_broadcast(comm, &n_bytes, sizeof n_bytes));
    AC_TRY(ac_comm_agree(comm, in->run->rank == 0 ? AC_OK : ac_malloc(n_bytes, 1, &names)));
    AC_TRY(ac_comm_broadcast(comm, in->run->rank == 0 ? pictures->names : names, n_bytes));
    status = in->run->rank == 0 ? AC_OK : ac_pictures_take(folder, names, n_bytes, pictures);
    AC_TRY(ac_comm_agree(comm, status));
    input->n = (int64_t)pictures->n;
    input->hash = ac_pictures_hash(pictures);
    ac_log(AC_LOG_INFO, "%s: %zu pictures", folder, pictures->n);
out:
    return status;
}

ac_status infer_inputs_open(infer *in)
{
    ac_status status = AC_OK;
    ac_watchdog_at(in->run->watchdog, "opening data", -1, false);
    status = in->config->images ? list_pictures(in) : open_splits(in);
    ac_watchdog_at(in->run->watchdog, "opening data", -1, true);
    AC_TRY(ac_comm_agree(in->run->comm, status));
    if (in->config->data_root)
        AC_TRY(check_same(in));
out:
    return status;
}

void infer_inputs_close(infer *in)
{
    for (size_t i = 0; i < in->n_inputs; i++) {
        ac_loader_destroy(in->input[i].loader);
        ac_store_close(&in->input[i].store);
        ac_pictures_release(&in->input[i].pictures);
    }
    in->n_inputs = 0;
}

ac_status infer_check_fit(const infer *in, const infer_weights *w, const infer_input *input)
{
    const ac_store *store = &input->store;
    const char *name = infer_class_name(&in->jobs, w, 0);
    if (input->is_pictures)
        return AC_OK;
    if (w->n_classes != store->n_classes || w->image_size_px != store->image_size_px)
        return ac_error(AC_ERR_DATA, "%s has %zu classes at %d pixels, the shards %zu at %d", w->path, w->n_classes,
                        w->image_size_px, store->n_classes, store->image_size_px);
    for (size_t c = 0; c < w->n_classes; c++, name += strlen(name) + 1)
        if (strcmp(name, store->manifest.class_name[c]) != 0)
            return ac_error(AC_ERR_DATA, "%s: class %zu is %s, in the shards %s", w->path, c, name,
                            store->manifest.class_name[c]);
    return AC_OK;
}

ac_source infer_input_source(infer_input *input)
{
    return input->is_pictures ? ac_pictures_source(&input->pictures) : ac_store_source(&input->store);
}

/* Decoding a picture may take as long as the network does with it. */
static int count_workers(const infer *in, const infer_input *input)
{
    if (in->config->n_workers > 0)
        return (int)in->config->n_workers;
    return input->is_pictures ? 2 : 1;
}

ac_status infer_input_begin(const infer *in, infer_input *input, int image_size_px, int64_t rows)
{
    ac_status status = AC_OK;
    enum { PREFETCH_BYTES = 1 << 27 };
    int n_workers = count_workers(in, input);
    ac_decode_options decode = {.allow_warnings = in->config->allow_warnings};
    if (input->loader && input->loader_rows == rows && input->loader_size_px == image_size_px)
        return AC_OK;
    ac_loader_destroy(input->loader);
    input->loader = NULL;
    if (input->is_pictures)
        AC_TRY(ac_pictures_begin(&input->pictures, image_size_px, &decode, n_workers));
    const ac_source source = infer_input_source(input);
    const ac_loader_config config = {.source = &source,
                                     .global_batch = rows,
                                     .slice_n = rows,
                                     .n_threads = n_workers,
                                     .memory_bytes = PREFETCH_BYTES,
                                     .n_sharing = in->run->n_local};
    AC_TRY(ac_loader_create(&config, &input->loader));
    input->loader_rows = rows;
    input->loader_size_px = image_size_px;
out:
    return status;
}
