/* Scores and labels of the size of Sewer-ML's training split: N images of its 17 classes, seeded, as labels.csv and val_sigmoid.csv.
 * Usage: evaluate_data FOLDER [N [six|shortest [sorted|shuffled]]] */
#include "anyclass/csv.h"
#include "anyclass/file.h"
#include "anyclass/random.h"
#include "anyclass/sewer.h"
#include "anyclass/store.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 6, N_CLASSES = AC_SEWER_N_CLASSES, ROW_BYTES = 1024, NAME_BYTES = 64 };

static const double share[N_CLASSES] = {.03,  .06, .05, .05, .1,  .02, .03,  .02, .08,
                                        .05, .02, .01, .03, .01, .005, .004, .02}; /* of images that show the class */

/* 41 bytes, as long as the names of inspections are: a row of six decimals then has 195. */
static int write_name(uint64_t image, char *out)
{
    return snprintf(out, NAME_BYTES, "inspection_%07u_section_%u_%08u.png", (unsigned)(image / 40), (unsigned)(image % 7), (unsigned)image);
}

/* Labels and scores of one image: a normal logit for each class, moved up where it is shown. */
static void draw_image(uint64_t image, bool *label, float *score)
{
    ac_philox any = ac_random_block(SEED, AC_STREAM_TEST, image, 0);
    for (int c = 0; c < N_CLASSES; c++) {
        ac_philox block = ac_random_block(SEED, AC_STREAM_TEST, image, (uint32_t)c + 1);
        double u[3];
        for (int i = 0; i < 3; i++)
            u[i] = (block.word[i] + .5) / 4294967296.0;
        label[c] = any.word[0] % 2 && u[0] < 2 * share[c];
        double normal = sqrt(-2 * log(u[1])) * cos(6.283185307179586 * u[2]);
        score[c] = (float)(1 / (1 + exp(3.5 - (label[c] ? 4 : 0) - 1.5 * normal)));
    }
}

static int write_score(float score, bool six, char *out)
{
    if (!six)
        return ac_format_float(score, out);
    unsigned k = (unsigned)lrint(score * 1e6);
    out[0] = (char)('0' + k / 1000000);
    out[1] = '.';
    for (int i = 7; i > 1; i--, k /= 10)
        out[i] = (char)('0' + k % 10);
    return 8;
}

static ac_status write_header(ac_file *file)
{
    ac_status status = AC_OK;
    AC_TRY(ac_file_printf(file, "Filename"));
    for (size_t c = 0; c < N_CLASSES; c++)
        AC_TRY(ac_file_printf(file, ",%s", ac_sewer_class(c)));
    AC_TRY(ac_file_write(file, "\n", 1));
out:
    return status;
}

static ac_status write_row(ac_file *file, uint64_t image, bool labels, bool six)
{
    bool label[N_CLASSES];
    float score[N_CLASSES];
    char row[ROW_BYTES];
    int n = write_name(image, row);
    draw_image(image, label, score);
    for (int c = 0; c < N_CLASSES; c++) {
        row[n++] = ',';
        if (labels)
            row[n++] = (char)('0' + label[c]);
        else
            n += write_score(score[c], six, row + n);
    }
    row[n++] = '\n';
    return ac_file_write(file, row, (size_t)n);
}

static ac_status write_csv(const char *folder, const char *name, uint64_t n, bool labels, bool six, bool shuffled)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_file file = {0};
    ac_order order;
    ac_order_init(&order, n, SEED, 0, shuffled);
    AC_TRY(ac_path_make_folders(folder));
    AC_TRY(ac_path_join(path, folder, name));
    AC_TRY(ac_file_create(&file, path));
    AC_TRY(write_header(&file));
    for (uint64_t i = 0; i < n; i++)
        AC_TRY(write_row(&file, ac_order_at(&order, i), labels, six));
    AC_TRY(ac_file_commit(&file));
out:
    ac_file_discard(&file);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 1040129;
    bool six = argc < 4 || strcmp(argv[3], "shortest") != 0, shuffled = argc > 4 && strcmp(argv[4], "shuffled") == 0;
    ac_status status = write_csv(argv[1], "labels.csv", n, true, six, false);
    if (status == AC_OK)
        status = write_csv(argv[1], "val_sigmoid.csv", n, false, six, shuffled);
    if (status != AC_OK)
        fprintf(stderr, "evaluate_data: %s\n", ac_error_text());
    return ac_status_exit_code(status);
}
