/* Writes the first inputs of the fuzz targets below a folder: what can be made is not kept in the tree.
 * usage: seeds FOLDER    makes FOLDER/TARGET/NAME for every target */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "checkpoint/weights_zip.h"
#include "tests/fuzz/checkpoint_seed.h"
#include "tests/fuzz/shard_seed.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIXTURES "tests/image/fixtures"

static const char *top; /* FOLDER */

static void check(ac_status status)
{
    if (status == AC_OK)
        return;
    fprintf(stderr, "seeds: %s\n", ac_error_text());
    exit(ac_status_exit_code(status));
}

/* FOLDER/TARGET/NAME: the bytes that steer the target, then those of a file */
static void put(const char *target, const char *name, const char *steer, size_t n_steer, const void *bytes, size_t n)
{
    char folder[AC_PATH_BYTES], path[AC_PATH_BYTES];
    ac_file file = {0};
    check(ac_path_join(folder, top, target));
    check(ac_path_make_folders(folder));
    check(ac_path_join(path, folder, name));
    check(ac_file_create(&file, path));
    check(ac_file_write(&file, steer, n_steer));
    check(ac_file_write(&file, bytes, n));
    check(ac_file_commit(&file));
}

/* Every small image of the tests, once strict and once with everything allowed. */
static void images(void)
{
    enum { LARGEST_BYTES = 4096 };
    DIR *folder = opendir(FIXTURES);
    if (!folder)
        check(ac_error_errno(FIXTURES));
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        const char *dot = strrchr(entry->d_name, '.');
        char path[AC_PATH_BYTES], name[300];
        uint8_t *bytes;
        size_t n;
        if (!dot || entry->d_name[0] == '.' || strcmp(dot, ".tsv") == 0 || strcmp(dot, ".py") == 0)
            continue;
        check(ac_path_join(path, FIXTURES, entry->d_name));
        check(ac_file_read_all(path, 0, &bytes, &n));
        snprintf(name, sizeof name, "all-%s", entry->d_name);
        if (n <= LARGEST_BYTES) {
            put("image", entry->d_name, "\x08\x1f\x00\x00", 4, bytes, n);
            put("image", name, "\x37\x07\x00\x08", 4, bytes, n);
        }
        ac_free(bytes);
    }
    closedir(folder);
}

/* EXIF blocks of both byte orders: the orientation as byte, short and long, behind another entry. */
static void exif_blocks(void)
{
    static const char little[] = "II*\0\x08\0\0\0\2\0\x0f\1\2\0\2\0\0\0a\0\0\0\x12\1\3\0\1\0\0\0\6\0\0";
    static const char big[] = "MM\0*\0\0\0\x08\0\1\1\x12\0\4\0\0\0\1\0\0\0\5";
    static const char byte[] = "MM\0*\0\0\0\x08\0\1\1\x12\0\1\0\0\0\1\7\0\0";
    put("image", "exif-short", "\x40\x00\x00\x00", 4, little, sizeof little);
    put("image", "exif-long", "\x40\x00\x00\x00", 4, big, sizeof big - 1);
    put("image", "exif-byte", "\x40\x00\x01\x00", 4, byte, sizeof byte);
}

/* A manifest as it is, and one to be sealed anew. */
static void manifests(void)
{
    static char *classes[] = {"RB", "caf\xC3\xA9 \"x\""};
    int64_t counts[] = {12, 3};
    ac_manifest_entry shards[] = {
        {.file = "train-00000-of-00002.h5", .n_samples = 20, .hash = {.low = 1, .high = 2}},
        {.file = "train-00001-of-00002.h5", .n_samples = 17, .hash = {.low = 3, .high = 4}},
    };
    const ac_manifest manifest = {.split = "train",
                                  .dataset = "csv",
                                  .source = "list.csv",
                                  .options = "{}",
                                  .class_name = classes,
                                  .n_classes = 2,
                                  .class_count = counts,
                                  .n_negative = 22,
                                  .n_samples = 37,
                                  .n_rejected = 1,
                                  .image_size_px = 8,
                                  .mean = {.5f, .25f, .1f},
                                  .std = {.1f, .2f, .3f},
                                  .shard = shards,
                                  .n_shards = 2};
    char path[AC_PATH_BYTES];
    uint8_t *bytes;
    size_t n;
    check(ac_path_make_folders(top));
    check(ac_manifest_save(&manifest, top));
    check(ac_path_join(path, top, "train-manifest.json"));
    check(ac_file_read_all(path, 0, &bytes, &n));
    put("manifest", "as-it-is", "\x00\x00", 2, bytes, n);
    put("manifest", "to-seal", "\x01\x00", 2, bytes, n);
    put("json", "manifest", "", 1, bytes, n);
    ac_free(bytes);
    remove(path);
}

/* A key of the document, a name and a number that are longer than the COCO reader takes. */
static void long_texts(void)
{
    static const char *const format[] = {
        "{\"%s\":1,\"images\":[],\"annotations\":[],\"categories\":[]}",
        "{\"images\":[{\"id\":1,\"file_name\":\"%s\"}],\"annotations\":[],\"categories\":[{\"id\":1,\"name\":\"a\"}]}",
        "{\"images\":[{\"id\":%.40s,\"file_name\":\"a\"}],\"annotations\":[],\"categories\":[]}"};
    char digits[1100], text[1400], name[16];
    memset(digits, '1', sizeof digits - 1);
    digits[sizeof digits - 1] = 0;
    for (size_t i = 0; i < sizeof format / sizeof *format; i++) {
        const int n = snprintf(text, sizeof text, format[i], digits);
        snprintf(name, sizeof name, "long-%zu", i);
        put("coco", name, "\x00\x00", 2, text, (size_t)n);
    }
}

/* A whole shard and an empty one as they are and with their seal mended; edits; and other schemas (all usual). */
static void shards(void)
{
    static const char zeros[64];
    char path[AC_PATH_BYTES], name[32];
    uint8_t *bytes;
    size_t n;
    check(ac_path_join(path, top, "shard.h5"));
    for (size_t n_images = 0; n_images <= 3; n_images += 3) {
        check(fuzz_write_shard(path, n_images));
        check(ac_file_read_all(path, 0, &bytes, &n));
        snprintf(name, sizeof name, "whole-%zu", n_images);
        put("shard", name, "\x08\x00", 2, bytes, n);
        snprintf(name, sizeof name, "mended-%zu", n_images);
        put("shard", name, "\x04\x00", 2, bytes, n);
        ac_free(bytes);
    }
    remove(path);
    put("shard", "edits", "\x09\x00", 2, "\0\2\1zz\3\5\0\0\2\1\7\1\0\0\0\0\0\0\0", 20);
    put("shard", "edits-unsealed", "\x19\x00", 2,
        "\1\2\1zz\x08\x1a\1"
        "55",
        10);
    put("shard", "edits-of-seal", "\x0d\x00", 2,
        "\7\x50\x00"
        "9",
        4);
    put("shard", "schema", "\x0a\x00", 2, zeros, sizeof zeros);
    put("shard", "schema-memory", "\x02\x05", 2, zeros, sizeof zeros);
}

/* A whole checkpoint as it is and with its seal mended, edits, its info alone. */
static void checkpoints(void)
{
    char path[AC_PATH_BYTES];
    uint8_t *bytes;
    size_t n;
    check(ac_path_join(path, top, "checkpoint.h5"));
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    check(fuzz_write_checkpoint(fd));
    close(fd);
    check(ac_file_read_all(path, 0, &bytes, &n));
    put("checkpoint", "whole", "\x00\x00", 2, bytes, n);
    put("checkpoint", "mended", "\x04\x00", 2, bytes, n);
    put("checkpoint", "cut", "\x00\x00", 2, bytes, n / 2);
    const uint8_t *info = bytes + FUZZ_BLOCK_BYTES, *end = info;
    while (end[0] != '\n' || end[1] != 0)
        end++;
    put("checkpoint", "info", "\x02\x00", 2, info, (size_t)(end - info) + 1);
    put("checkpoint", "info-memory", "\x02\x05", 2, info, (size_t)(end - info) + 1);
    put("checkpoint", "edits", "\x01\x00", 2, "\1\0\2abc\4\2\1zz", 11);
    put("checkpoint", "edits-of-seal", "\x05\x00", 2, "\0\x50\0009", 4);
    put("checkpoint", "edits-sealed", "\x09\x00", 2, "\0\x50\0009\0\x20\0001", 8);
    ac_free(bytes);
    remove(path);
}

/* The pickle in one of torch's files, alone and in a zip file of the target's own. */
static void pickle_of(const char *name, const char *path, const uint8_t *bytes, size_t n)
{
    ac_zip zip;
    uint64_t at;
    char title[80];
    const int fd = open(path, O_RDONLY);
    check(ac_zip_open(fd, n, &zip));
    for (size_t k = 0; k < zip.n; k++) {
        if (zip.entry[k].n_name < 9 || memcmp(zip.entry[k].name + zip.entry[k].n_name - 9, "/data.pkl", 9) != 0)
            continue;
        check(ac_zip_locate(fd, &zip, k, &at));
        snprintf(title, sizeof title, "pickle-%s", name);
        put("weights_pth", title, "\x01\x00", 2, bytes + at, (size_t)zip.entry[k].n_bytes);
        snprintf(title, sizeof title, "zipped-%s", name);
        put("weights_pth", title, "\x02\x00", 2, bytes + at, (size_t)zip.entry[k].n_bytes);
    }
    ac_zip_release(&zip);
    close(fd);
}

static void weights(void)
{
    static const char *const files[] = {"plain.pth", "protocol4.pth", "parameters.pth", "views.pth", "no_checksums.pth", "nested.pth", "lightning.ckpt",
                                        "namespace.ckpt", "legacy.pth", "plain.safetensors", "half.safetensors", "double.safetensors"};
    /* a float and a half tensor in the storages that the target has */
    static const char small[] = "\x80\2}(X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\nq\0((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
                                "0X\3\0\0\0cpuK\x08tQK\0K\2K\4\x86K\4K\1\x86\x89NtRX\1\0\0\0bh\0((X\7\0\0\0storagectorch\nHalfStorage\nX\1\0\0\0"
                                "1X\3\0\0\0cpuK\x10tQK\1K\3K\5\x86K\1K\3\x86\x89NtRu.";
    static const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,4],\"data_offsets\":[0,32]},\"b\":{\"dtype\":\"I64\",\"shape\":[4],\"data_offsets\":[32,64]}}";
    char path[AC_PATH_BYTES];
    uint8_t *bytes;
    size_t n;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *target = strstr(files[i], "safetensors") ? "weights_safetensors" : "weights_pth";
        check(ac_path_join(path, "tests/weights/fixtures", files[i]));
        check(ac_file_read_all(path, 0, &bytes, &n));
        put(target, files[i], "\x00\x00", 2, bytes, n);
        if (strcmp(target, "weights_pth") == 0 && strcmp(files[i], "legacy.pth") != 0)
            pickle_of(files[i], path, bytes, n);
        if (strcmp(target, "weights_safetensors") == 0)
            put(target, "memory", "\x00\x09", 2, bytes, n);
        ac_free(bytes);
    }
    put("weights_pth", "small", "\x02\x00", 2, small, sizeof small - 1);
    put("weights_pth", "small-memory", "\x02\x07", 2, small, sizeof small - 1);
    put("weights_safetensors", "header", "\x01\x00", 2, header, sizeof header - 1);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: seeds FOLDER\n");
        return 2;
    }
    top = argv[1];
    images();
    exif_blocks();
    manifests();
    long_texts();
    shards();
    checkpoints();
    weights();
    return 0;
}
