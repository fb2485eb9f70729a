/* Opening and verifying shards. libhdf5 must never meet a structure that it did not write, so there are three ways to
 * make an input (first byte): the file's bytes as they are, its seal mended on request; edits of a good shard, whose
 * data are sealed anew; a file that libhdf5 writes with other types, sizes and texts than a shard has, sealed.
 * Second byte: allocation that fails. */
#include "anyclass/shard.h"
#include "data/shard_seal.h"
#include "hdf5/hdf5_util.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seal.h"
#include "tests/fuzz/shard_seed.h"

enum { RAW, EDIT, SCHEMA, N_WAYS, MEND_SEAL = 4, VERIFY = 8, LEAVE_SEAL = 16 };
enum { TYPE_BITS = 15, LAYOUT_SHIFT = 4, LAYOUT_BITS = 3, DIMS = 64, ABSENT = 128 }; /* of a byte of SCHEMA */

static void require(ac_status status)
{
    FUZZ_REQUIRE(status == AC_OK);
}

/* A good shard, made once. */
static const uint8_t *good_shard(size_t *n, ac_seal *seal)
{
    static uint8_t *bytes;
    static size_t n_bytes;
    static ac_seal good_seal;
    char path[AC_PATH_BYTES];
    if (!bytes) {
        fuzz_tmp_path(path, "good.h5");
        require(fuzz_write_shard(path, 3));
        require(ac_file_read_all(path, 0, &bytes, &n_bytes));
        fuzz_file(bytes, n_bytes);
        require(ac_shard_seal_read(fuzz_file_fd(), &good_seal));
    }
    *n = n_bytes;
    *seal = good_seal;
    return bytes;
}

static void make_raw(const fuzz_input *input, bool mend)
{
    uint8_t *bytes = malloc(input->n + 1);
    memcpy(bytes, input->bytes, input->n);
    if (mend)
        fuzz_mend_seal(bytes, input->n, AC_SEAL_BYTES);
    fuzz_file(bytes, input->n);
    free(bytes);
}

typedef enum closing { RESEAL, MEND, LEAVE } closing;

/* Edits: what, first byte of it, how many, their values. In a shard that is sealed anew only data may change; with its
 * seal mended, the seal's lines too; else every byte. */
static void make_edited(fuzz_input *input, closing how)
{
    size_t n;
    ac_seal seal;
    const uint8_t *good = good_shard(&n, &seal);
    uint8_t *bytes = malloc(n);
    memcpy(bytes, good, n);
    while (input->n > 2) {
        const unsigned part = fuzz_byte(input) % (AC_SEAL_N_DATASETS + (unsigned)how);
        const size_t first = fuzz_byte(input), n_and_page = fuzz_byte(input), page = n_and_page / 8 * 256;
        const size_t from = part < AC_SEAL_N_DATASETS ? (size_t)seal.part[part].at : 0;
        const size_t n_part = part < AC_SEAL_N_DATASETS    ? (size_t)seal.part[part].n_bytes
                              : part == AC_SEAL_N_DATASETS ? AC_SEAL_BYTES
                                                           : n;
        for (size_t k = 0; k <= n_and_page % 8; k++)
            bytes[from + (page + first + k) % n_part] = (uint8_t)fuzz_byte(input);
    }
    if (how == MEND)
        fuzz_mend_seal(bytes, n, AC_SEAL_BYTES);
    fuzz_file(bytes, n);
    if (how == RESEAL) {
        require(ac_seal_hash_parts(fuzz_file_fd(), &seal));
        require(ac_seal_write(fuzz_file_fd(), &seal));
    }
    free(bytes);
}

/* One of the types HDF5 has; `usual` for 0. Close what is not `usual`. */
static hid_t type_of(unsigned choice, hid_t usual, size_t usual_bytes)
{
    const hsize_t three = 3;
    hid_t type = -1;
    switch (choice) {
    case 0:
        return usual;
    case 1:
        return H5Tcopy(H5T_STD_I8BE);
    case 2:
        return H5Tcopy(H5T_STD_U64BE);
    case 3:
        return H5Tcopy(H5T_IEEE_F64LE);
    case 4:
        return H5Tcopy(H5T_STD_B16LE);
    case 5:
        return H5Tcreate(H5T_OPAQUE, 7);
    case 6:
        return H5Tarray_create2(H5T_STD_U8LE, 1, &three);
    case 7:
        return H5Tenum_create(H5T_STD_U16LE);
    case 8:
        return H5Tvlen_create(H5T_STD_U8LE);
    case 9:
        return H5Tcopy(H5T_STD_REF_OBJ);
    case 10:
        type = H5Tcreate(H5T_COMPOUND, 16);
        H5Tinsert(type, "a", 1, H5T_STD_U8LE);
        return type;
    case 11:
        type = H5Tcopy(H5T_C_S1);
        H5Tset_size(type, H5T_VARIABLE);
        return type;
    default: /* text, of the length and of others, padded in three ways */
        type = H5Tcopy(H5T_C_S1);
        H5Tset_size(type, choice == 12 ? usual_bytes : choice);
        H5Tset_strpad(type, (H5T_str_t)(choice % 3));
        return type;
    }
}

static const uint64_t content[256]; /* zeros: valid as any type but those with pointers, and there as nothing */

static void make_attribute(hid_t file, const char *name, hid_t usual, size_t usual_bytes, hsize_t n, const void *value,
                           fuzz_input *input)
{
    const unsigned odd = fuzz_byte(input);
    const hsize_t other = odd & DIMS ? fuzz_byte(input) % 32 : n;
    const hid_t type = type_of(odd & TYPE_BITS, usual, usual_bytes);
    const hid_t space = other == 1 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &other, NULL);
    uint8_t own[sizeof content] = {0};
    if (odd & ABSENT && odd & DIMS) /* of the usual type, with the input's bytes */
        for (size_t i = 0, n_own = fuzz_byte(input); i < n_own; i++)
            own[i] = (uint8_t)fuzz_byte(input);
    if (!(odd & ABSENT) || odd & DIMS) {
        const hid_t made = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
        const bool fits = other * H5Tget_size(type) <= sizeof content;
        if (made >= 0 && fits)
            H5Awrite(made, type, odd & ABSENT && type == usual ? own : type == usual && other == n ? value : content);
        if (made >= 0)
            H5Aclose(made);
    }
    H5Sclose(space);
    if (type != usual)
        H5Tclose(type);
}

static void make_attributes(hid_t file, fuzz_input *input)
{
    static const char *const numbers[] = {"image_size_px", "shard", "n_shards"};
    static const char *const texts[][2] = {
        {"split", "train"}, {"dataset", "csv"}, {"source", "list.csv"}, {"options", "{}"}, {"class_names", "a\nb\n"}};
    const int64_t format = AC_SHARD_FORMAT, two = 2;
    const float third[] = {.5f, .25f, .125f};
    make_attribute(file, "format", H5T_NATIVE_INT64, 8, 1, &format, input);
    for (size_t i = 0; i < 3; i++)
        make_attribute(file, numbers[i], H5T_NATIVE_INT64, 8, 1, &two, input);
    make_attribute(file, "mean", H5T_NATIVE_FLOAT, 4, 3, third, input);
    make_attribute(file, "std", H5T_NATIVE_FLOAT, 4, 3, third, input);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const size_t n = strlen(texts[i][1]) + 1;
        const hid_t type = H5Tcopy(H5T_C_S1);
        H5Tset_size(type, n);
        make_attribute(file, texts[i][0], type, n, 1, texts[i][1], input);
        H5Tclose(type);
    }
}

/* Contiguous as in shards, contiguous without data, chunks, chunks packed, compact, a null or scalar space. */
static hid_t layout_of(unsigned choice, int n_dims)
{
    const hsize_t chunk[] = {2, 1, 2, 3};
    const hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_alloc_time(create, choice == 1 ? H5D_ALLOC_TIME_LATE : H5D_ALLOC_TIME_DEFAULT);
    if ((choice == 2 || choice == 3) && n_dims > 0)
        H5Pset_chunk(create, n_dims, chunk);
    if (choice == 3 && n_dims > 0)
        H5Pset_shuffle(create);
    if (choice == 4)
        H5Pset_layout(create, H5D_COMPACT);
    return create;
}

static void make_dataset(hid_t file, ac_shard_part part, fuzz_input *input, ac_seal *seal)
{
    static const uint64_t offsets[] = {0, 2, 4}, hash[] = {0, 0};
    const struct {
        hid_t type;
        int n_dims;
        hsize_t dims[4];
        const void *data;
    } usual[AC_SEAL_N_DATASETS] = {
        {H5T_STD_U8LE, 4, {2, 2, 2, 3}, content},
        {H5T_STD_U8LE, 2, {2, 2}, "\0\1\1\0"},
        {H5T_STD_U64LE, 1, {3}, offsets},
        {H5T_STD_U8LE, 1, {4}, "x\0y"},
        {H5T_STD_U64LE, 1, {2}, hash},
        {H5T_STD_U64LE, 1, {1}, offsets},
        {H5T_STD_U8LE, 1, {0}, ""},
    };
    const unsigned odd = fuzz_byte(input), layout = odd >> LAYOUT_SHIFT & LAYOUT_BITS;
    int n_dims = usual[part].n_dims;
    hsize_t dims[4], n = 1;
    memcpy(dims, usual[part].dims, sizeof dims);
    if (odd & DIMS) {
        n_dims = (int)(fuzz_byte(input) % 5);
        for (int i = 0; i < n_dims; i++) {
            const unsigned size = fuzz_byte(input);
            dims[i] = layout == 1 && size & 128 ? (hsize_t)1 << size % 40 : size % 8;
        }
    }
    for (int i = 0; i < n_dims; i++)
        n *= dims[i];
    if (odd & ABSENT)
        return;
    const hid_t type = type_of(odd & TYPE_BITS, usual[part].type, 3);
    const hid_t space = n_dims > 0 ? H5Screate_simple(n_dims, dims, NULL) : H5Screate(layout ? H5S_NULL : H5S_SCALAR);
    const hid_t create = layout_of(layout, n_dims);
    const hid_t set = H5Dcreate2(file, ac_shard_part_name(part), type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    if (set >= 0 && layout != 1 && n * H5Tget_size(type) <= sizeof content)
        H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                 type == usual[part].type && !(odd & DIMS) ? usual[part].data : content);
    if (set >= 0) {
        const haddr_t at = H5Dget_offset(set);
        if (at != HADDR_UNDEF && H5Dget_storage_size(set) > 0) {
            seal->part[part].at = at;
            seal->part[part].n_bytes = H5Dget_storage_size(set);
        }
        H5Dclose(set);
    }
    H5Pclose(create);
    H5Sclose(space);
    if (type != usual[part].type)
        H5Tclose(type);
}

static void make_schema(fuzz_input *input)
{
    ac_seal_part parts[AC_SEAL_N_DATASETS];
    ac_seal seal;
    hid_t file;
    ac_shard_seal_begin(&seal, parts);
    require(ac_hdf5_create(fuzz_file(NULL, 0), AC_SEAL_BYTES, &file));
    make_attributes(file, input);
    for (int part = 0; part < AC_SEAL_N_DATASETS; part++)
        make_dataset(file, (ac_shard_part)part, input, &seal);
    require(ac_hdf5_close(&file, "input"));
    require(ac_seal_hash_parts(fuzz_file_fd(), &seal));
    require(ac_seal_write(fuzz_file_fd(), &seal));
}

/* All that an open shard offers. */
static void use(const ac_shard *s)
{
    uint8_t *pixels = malloc((size_t)s->image_size_px * (size_t)s->image_size_px * 3);
    size_t n_text = 0;
    FUZZ_REQUIRE(s->image_size_px >= 1 && s->image_size_px <= 4096 && s->n_classes > 0);
    FUZZ_REQUIRE(s->split && s->dataset && s->source && s->options);
    for (size_t c = 0; c < s->n_classes; c++)
        n_text += strlen(s->class_name[c]);
    for (size_t i = 0; i < s->n; i++) {
        n_text += strlen(ac_shard_name(s, i));
        const ac_status status = ac_shard_read_image(s, i, true, pixels);
        FUZZ_REQUIRE(status == AC_OK || status == AC_ERR_DATA);
    }
    for (size_t i = 0; i < s->n * s->n_classes; i++)
        FUZZ_REQUIRE(s->label[i] <= 1);
    for (size_t i = 0; i < s->n_rejected; i++) {
        const char *reason;
        n_text += strlen(ac_shard_rejected(s, i, &reason));
        n_text += strlen(reason);
    }
    FUZZ_REQUIRE(n_text < 1 << 20 && ac_shard_read_image(s, s->n, true, pixels) == AC_ERR_RANGE);
    free(pixels);
}

static void open_and_use(const char *path, uint64_t fail, bool verify)
{
    ac_shard shard;
    const fuzz_run run = fuzz_begin(fail);
    const ac_status status = ac_shard_open(path, &shard);
    fuzz_check_status(&run, status);
    if (status == AC_OK)
        use(&shard);
    ac_shard_close(&shard);
    fuzz_end(&run);
    if (verify) {
        size_t n_failures = 0;
        const fuzz_run again = fuzz_begin(fail);
        const ac_status verified = ac_shard_verify(path, &n_failures);
        fuzz_check_status(&again, verified);
        FUZZ_REQUIRE(verified == AC_ERR_MEMORY || (verified == AC_OK) == (n_failures == 0));
        FUZZ_REQUIRE(status == AC_OK || verified != AC_OK || fail > 0);
        fuzz_end(&again);
    }
    FUZZ_REQUIRE(H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_ALL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    fuzz_input input = {bytes, n_bytes};
    const unsigned choice = fuzz_byte(&input), fail = fuzz_byte(&input);
    ac_hdf5_begin();
    if (choice % 4 % N_WAYS == RAW)
        make_raw(&input, choice & MEND_SEAL);
    else if (choice % 4 == EDIT)
        make_edited(&input, choice & LEAVE_SEAL ? LEAVE : choice & MEND_SEAL ? MEND : RESEAL);
    else
        make_schema(&input);
    open_and_use(fuzz_file_path(), fail, choice & VERIFY);
    return 0;
}
