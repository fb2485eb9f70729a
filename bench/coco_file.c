/* A COCO instances file of a given size: the members, lists and number formats of the real files, polygons the bulk.
 * And the time and memory that reading a file takes. usage: coco_file write FILE MEGABYTES | coco_file read FILE
 * [ROUNDS] */
#include "anyclass/dataset.h"
#include "anyclass/file.h"
#include "anyclass/log.h"
#include "anyclass/random.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { N_CATEGORIES = 80, ANNOTATIONS_PER_IMAGE = 7 };

static uint32_t draw(uint64_t index, uint32_t k, uint32_t below)
{
    return ac_random_block(1, AC_STREAM_TEST, index, k).word[0] % below;
}

static ac_status write_images(ac_file *file, int64_t n)
{
    ac_status status = AC_OK;
    AC_TRY(ac_file_printf(file, "\"images\": ["));
    for (int64_t i = 0; i < n; i++)
        AC_TRY(ac_file_printf(
            file,
            "%s{\"license\": %d,\"file_name\": \"%012" PRId64
            ".jpg\",\"coco_url\": \"http://images.cocodataset.org/train2017/%012" PRId64
            ".jpg\",\"height\": 480,\"width\": 640,\"date_captured\": \"2013-11-14 11:18:45\",\"flickr_url\": "
            "\"http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg\",\"id\": %" PRId64 "}",
            i ? "," : "", (int)(i % 8) + 1, 5 * i + 9, 5 * i + 9, 5 * i + 9));
    AC_TRY(ac_file_printf(file, "],"));
out:
    return status;
}

/* About 26 points of two numbers with two digits behind the point: the mean of the real train2017 file. */
static ac_status write_annotation(ac_file *file, uint64_t number, int64_t image_id)
{
    ac_status status = AC_OK;
    uint32_t n_points = 8 + draw(number, 0, 38);
    AC_TRY(ac_file_printf(file, "%s{\"segmentation\": [[", number ? "," : ""));
    for (uint32_t k = 0; k < 2 * n_points; k++) {
        uint32_t value = draw(number, k + 1, 64000);
        AC_TRY(ac_file_printf(file, "%s%u.%02u", k ? "," : "", value / 100, value % 100));
    }
    AC_TRY(ac_file_printf(file,
                          "]],\"area\": %u.%04u,\"iscrowd\": 0,\"image_id\": %" PRId64
                          ",\"bbox\": [%u.%02u,%u.%02u,%u.%02u,%u.%02u],\"category_id\": %u,\"id\": %" PRIu64 "}",
                          draw(number, 200, 90000), draw(number, 201, 9999), image_id, draw(number, 202, 600),
                          draw(number, 203, 99), draw(number, 204, 400), draw(number, 205, 99), draw(number, 206, 200),
                          draw(number, 207, 99), draw(number, 208, 200), draw(number, 209, 99),
                          draw(number, 210, N_CATEGORIES) + 1, number + 1));
out:
    return status;
}

/* Categories last, as in the real files. */
static ac_status write_file(const char *path, int64_t n_bytes)
{
    ac_status status = AC_OK;
    int64_t n_images = n_bytes / 3900;
    ac_file file = {0};
    AC_TRY(ac_file_create(&file, path));
    AC_TRY(ac_file_printf(&file, "{\"info\": {\"description\": \"generated\"},\"licenses\": [],"));
    AC_TRY(write_images(&file, n_images));
    AC_TRY(ac_file_printf(&file, "\"annotations\": ["));
    for (uint64_t i = 0; ftello(file.stream) < n_bytes - 4096; i++)
        AC_TRY(write_annotation(&file, i, 5 * (int64_t)(i / ANNOTATIONS_PER_IMAGE % (uint64_t)n_images) + 9));
    AC_TRY(ac_file_printf(&file, "],\"categories\": ["));
    for (int c = 0; c < N_CATEGORIES; c++)
        AC_TRY(ac_file_printf(&file, "%s{\"supercategory\": \"s\",\"id\": %d,\"name\": \"category %d\"}", c ? "," : "",
                              c + 1, c + 1));
    AC_TRY(ac_file_printf(&file, "]}"));
    AC_TRY(ac_file_commit(&file));
out:
    ac_file_discard(&file);
    return status;
}

static double cpu_s(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
           1e-6 * (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
}

static ac_status read_file(const char *path, int rounds)
{
    ac_status status = AC_OK;
    struct stat info;
    struct rusage usage;
    if (stat(path, &info) != 0)
        return ac_error_errno("%s", path);
    for (int r = 0; r < rounds; r++) {
        ac_dataset d;
        getrusage(RUSAGE_SELF, &usage);
        double start = ac_now_s(), cpu_before = cpu_s(&usage);
        AC_TRY(ac_dataset_read(&(ac_dataset_options){"coco", path, AC_SPLIT_TRAIN}, &d));
        double took = ac_now_s() - start;
        getrusage(RUSAGE_SELF, &usage);
        double cpu = cpu_s(&usage);
        printf("anyclass: %.2f s, %.0f MB/s, %.2f s of CPU, %zu images, %zu classes, peak RSS %.0f MB\n", took,
               (double)info.st_size / 1e6 / took, cpu - cpu_before, d.n_samples, d.n_classes,
               (double)usage.ru_maxrss * 1024 / 1e6);
        ac_dataset_release(&d);
    }
out:
    return status;
}

int main(int argc, char **argv)
{
    ac_status status = AC_ERR_USAGE;
    ac_log_init("coco_file", 0, 1, AC_LOG_INFO, false);
    if (argc == 4 && strcmp(argv[1], "write") == 0)
        status = write_file(argv[2], 1000000 * (int64_t)atoi(argv[3]));
    else if (argc >= 3 && strcmp(argv[1], "read") == 0)
        status = read_file(argv[2], argc > 3 ? atoi(argv[3]) : 1);
    else
        ac_error(AC_ERR_USAGE, "usage: coco_file write FILE MEGABYTES | coco_file read FILE [ROUNDS]");
    if (status != AC_OK)
        ac_log(AC_LOG_ERROR, "%s", ac_error_text());
    return ac_status_exit_code(status);
}
