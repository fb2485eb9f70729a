/* Scores and labels in every shape, right and wrong, read by 1 to 4 ranks: the same JSON, or the same words about file and line. Usage:
 * mpirun -n 4 read_cases GROUP; the checks are rank 0's. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/sewer.h"
#include "evaluate/evaluate.h"
#include "evaluate/labels.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { MOST_RANKS = 4, MOST_FILES = 3 };

typedef struct text {
    const char *bytes;
    size_t n;
} text;
#define T(bytes) {bytes, sizeof(bytes) - 1}

typedef struct read_case {
    const char *name;
    const char *error; /* what its words must hold; NULL: the JSON is as ever */
    text scores[MOST_FILES];
    text labels; /* none: the usual ones */
} read_case;

static const text usual_labels = T("name,u,v\na.png,0,1\nb.png,0,0\nc.png,1,1\n\"d, \"\"4\"\".png\",1,0\ne.png,0,0\n");

#define H "Filename,u,v\n"
#define A "a.png,0.25,0.75\n"
#define B "b.png,0.5,0.125\n"
#define C "c.png,0.625,0.5\n"
#define D "\"d, \"\"4\"\".png\",0.375,0.25\n"
#define E "e.png,1e-05,0\n"

static const read_case right[] = {
    {"as ever", NULL, {T(H A B C D E)}, {0}},
    {"no final line break", NULL, {T(H A B C D "e.png,1e-05,0")}, {0}},
    {"rows in another order", NULL, {T(H E C D A B)}, {0}},
    {"CRLF", NULL, {T("Filename,u,v\r\na.png,0.25,0.75\r\nb.png,0.5,0.125\r\nc.png,0.625,0.5\r\n\"d, \"\"4\"\".png\",0.375,0.25\r\ne.png,1e-05,0\r\n")}, {0}},
    {"a byte-order mark", NULL, {T("\xEF\xBB\xBF" H A B C D E)}, {0}},
    {"a byte-order mark before quotes, in each file", NULL,
     {T("\xEF\xBB\xBF\"Filename\",u,v\n" A B), T("\xEF\xBB\xBF" H C), T("\xEF\xBB\xBF" H D E)}, {0}},
    {"blank lines", NULL, {T("\n\r\n" H "\n" A B "\n\n\n" C D "\r\n" E "\n\n")}, {0}},
    {"everything in quotes", NULL,
     {T("\"Filename\",\"u\",\"v\"\n\"a.png\",\"0.25\",\"0.75\"\n\"b.png\",\"0.5\",\"0.125\"\n\"c.png\",\"0.625\",\"0.5\"\n"
        "\"d, \"\"4\"\".png\",\"0.375\",\"0.25\"\n\"e.png\",\"1e-05\",\"0\"\n")}, {0}},
    {"columns in another order", NULL,
     {T("v,Filename,u\n0.75,a.png,0.25\n0.125,b.png,0.5\n0.5,c.png,0.625\n0.25,\"d, \"\"4\"\".png\",0.375\n0,e.png,1e-05\n")}, {0}},
    {"classes in another order", NULL,
     {T("Filename,v,u\na.png,0.75,0.25\nb.png,0.125,0.5\nc.png,0.5,0.625\n\"d, \"\"4\"\".png\",0.25,0.375\ne.png,0,1e-05\n")}, {0}},
    {"the first column has another name", NULL, {T("image,u,v\n" A B C D E)}, {0}},
    {"numbers written in other ways", NULL,
     {T(H "a.png,25E-2,.75\nb.png,+0.5,125e-3\nc.png,0.62500000000000000000000,5e-1\n" D "e.png,0.00001,0.0e0\n")}, {0}},
    {"two files", NULL, {T(H C A), T(H E D B)}, {0}},
    {"files without rows", NULL, {T(H), T(H A B C D E), T("Filename,u,v")}, {0}},
    {"all in the last file", NULL, {T(H), T(H), T(H A B C D E)}, {0}},
    {"labels with CRLF, mark and blank lines", NULL, {T(H A B C D E)},
     T("\xEF\xBB\xBFname,u,v\r\n\r\na.png,0,1\r\nb.png,0,0\r\nc.png,1,1\r\n\"d, \"\"4\"\".png\",1,0\r\ne.png,0,0")},
    {"labels in quotes", NULL, {T(H A B C D E)},
     T("\"name\",\"u\",\"v\"\n\"a.png\",\"0\",\"1\"\n\"b.png\",\"0\",\"0\"\n\"c.png\",\"1\",\"1\"\n\"d, \"\"4\"\".png\",\"1\",\"0\"\n\"e.png\",\"0\",\"0\"\n")},
};

static const read_case wrong[] = {
    {"a missing image", "s.rank0000.csv (1 file): 1 of 5 images of labels.csv have no scores, the first is c.png", {T(H A B D E)}, {0}},
    {"a header alone", "(1 file): 5 of 5 images of labels.csv have no scores, the first is a.png", {T(H)}, {0}},
    {"three headers", "(3 files): 5 of 5 images", {T(H), T(H), T(H)}, {0}},
    {"an empty file", "s.rank0000.csv line 1: the file is empty", {T("")}, {0}},
    {"an empty file among others", "s.rank0001.csv line 1: the file is empty", {T(H A B C D E), T(""), T(H)}, {0}},
    {"an empty file at the end", "s.rank0001.csv line 1: the file is empty", {T(H A B C D E), T("")}, {0}},
    {"a byte-order mark alone", "s.rank0000.csv line 1: the file is empty", {T("\xEF\xBB\xBF")}, {0}},
    {"blank lines alone", "s.rank0000.csv line 1: the file is empty", {T("\n\n\r\n")}, {0}},
    {"an image twice", ".: the image b.png has scores twice, in s.rank0000.csv line 3 and in s.rank0000.csv line 7 (1 such images)",
     {T(H A B C D E B)}, {0}},
    {"an image twice behind blank lines and quotes", "in s.rank0000.csv line 6 and in s.rank0000.csv line 12 ",
     {T(H "\n\n" A "\r\n" "\"b.png\",0.5,0.5\n" C D "\n" E "\n" B)}, {0}},
    {"an image three times", "the image a.png has scores twice, in s.rank0000.csv line 2 and in s.rank0001.csv line 2 (1 such images)",
     {T(H A B), T(H A C D), T(H A E)}, {0}},
    {"two images twice, one missing", "the image a.png has scores twice, in s.rank0000.csv line 2 and in s.rank0001.csv line 4 (2 such images)",
     {T(H A B), T(H D B A C)}, {0}},
    {"as many rows as images, one twice", "the image b.png has scores twice, in s.rank0000.csv line 3 and in s.rank0000.csv line 6 (1 such images)",
     {T(H A B C D B)}, {0}},
    {"an unknown image", "s.rank0000.csv line 5: the image x.png has no labels in labels.csv", {T(H A B C "x.png,0,0\n" D E)}, {0}},
    {"an unknown image in the last row", "s.rank0001.csv line 4: the image e.pn has no labels", {T(H A B C), T(H D "\n" "e.pn,0,0")}, {0}},
    {"a name that begins like another", "line 6: the image e.png2 has no labels", {T(H A B C D "e.png2,0,0\n")}, {0}},
    {"a line break in a name", "s.rank0000.csv line 4: the image b.?png has no labels", {T(H A "\"b.\npng\",0,0\n" C D E)}, {0}},
    {"an unknown image before a wrong number", "line 3: the image x.png has no labels", {T(H A "x.png,0,0\nb.png,2,0\n" C D E)}, {0}},
    {"wrong rows in two files", "s.rank0000.csv line 3, column u: ", {T(H A "b.png,?,0\n"), T("Filename,u\n" C D E), T("")}, {0}},
    {"a short row", "s.rank0000.csv line 3: the row has 2 fields, the header 3", {T(H A "b.png,0.5\n" C D E)}, {0}},
    {"a long row", "s.rank0000.csv line 3: the row has 4 fields, the header 3", {T(H A "b.png,0.5,0.5,\n" C D E)}, {0}},
    {"a row of blanks", "s.rank0000.csv line 3: the row has 1 fields, the header 3", {T(H A " \n" B C D E)}, {0}},
    {"NaN", "s.rank0000.csv line 2, column v: 'nan' is no number", {T(H "a.png,0,nan\n" B C D E)}, {0}},
    {"infinity", "line 2, column u: 'inf' is no number", {T(H "a.png,inf,0\n" B C D E)}, {0}},
    {"a number of 16 base", "line 2, column u: '0x1' is no number", {T(H "a.png,0x1,0\n" B C D E)}, {0}},
    {"no number", "line 6, column v: '' is no number", {T(H A B C D "e.png,0,")}, {0}},
    {"a blank before a number", "line 6, column v: ' 0' is no number", {T(H A B C D "e.png,0, 0\n")}, {0}},
    {"a decimal comma", "line 6: the row has 5 fields", {T(H A B C D "e.png,0,5,0,5\n")}, {0}},
    {"above 1", "line 6, column u: the score 1.0000000001 is not in 0..1", {T(H A B C D "e.png,1.0000000001,0\n")}, {0}},
    {"below 0", "line 6, column u: the score -1e-09 is not in 0..1", {T(H A B C D "e.png,-1e-09,0\n")}, {0}},
    {"a zero byte in a name", "line 3: a zero byte (field 1)", {T(H A "b\0.png,0,0\n" C D E)}, {0}},
    {"a zero byte in a number", "line 3: a zero byte (field 3)", {T(H A "b.png,0,0\0\n" C D E)}, {0}},
    {"a zero byte in the header", "line 1: a zero byte (field 2)", {T("Filename,u\0,v\n" A B C D E)}, {0}},
    {"cut in a row", "line 6: the row has 1 fields", {T(H A B C D "e.pn")}, {0}},
    {"cut in a number", "line 6, column u: '1e-' is no number", {T(H A B C E "\"d, \"\"4\"\".png\",1e-,0")}, {0}},
    {"cut in quotes", "line 5: a quote is never closed (field 1)", {T(H A B C "\"d, \"\"4")}, {0}},
    {"text behind a closing quote", "line 3: text behind a closing quote (field 1)", {T(H A "\"b\".png,0,0\n" C D E)}, {0}},
    {"a quote that swallows the rest", "line 3: a quote is never closed", {T(H A "\"b.png,0,0\n" C E)}, {0}},
    {"a wrong row behind a quoted line break", "line 5, column u: '?' is no number", {T(H A "\"b.png\",\"0.5\",\"0.5\"\n" C "c.png,?,0\n" D E)}, {0}},
    {"an unknown class", "s.rank0000.csv line 1: column w is no class of the labels in labels.csv", {T("Filename,u,w\n" A B C D E)}, {0}},
    {"a class missing", "s.rank0001.csv line 1: the header has no column for the class v", {T(H A B), T("Filename,u\nc.png,0\n")}, {0}},
    {"a class twice", "s.rank0000.csv line 3: two columns are named u", {T("\n\nFilename,u,u\n")}, {0}},
    {"no column of names", "line 1: the header has no column Filename", {T("u,v\n0,0\n")}, {0}},
    {"a label of 2", "labels.csv line 3: column v: '2' is neither 0 nor 1", {T(H A B C D E)}, T("name,u,v\na.png,0,1\nb.png,0,2\nc.png,1,1\n")},
    {"a label of 1.0", "labels.csv line 2: column v: '1.0' is neither", {T(H A B C D E)}, T("name,u,v\na.png,0,1.0\nb.png,0,0\n")},
    {"a short row of labels", "labels.csv line 4: 2 fields, the header has 3", {T(H A B C D E)}, T("name,u,v\na.png,0,1\nb.png,0,0\nc.png,1\n")},
    {"labels twice", "labels.csv line 5: file name 'b.png' occurs twice, first in line 3", {T(H A B C D E)},
     T("name,u,v\na.png,0,1\nb.png,0,0\nc.png,1,1\nb.png,0,0\n")},
    {"labels without a name", "labels.csv line 3: column 1: an empty file name", {T(H A B C D E)}, T("name,u,v\na.png,0,1\n,0,0\n")},
    {"a line break in a name of labels", "labels.csv line 4: column 1: the file name 'b?.png' has control characters", {T(H A B C D E)},
     T("name,u,v\na.png,0,1\n\"b\n.png\",0,0\n")},
    {"labels with a zero byte", "labels.csv line 2: a zero byte", {T(H A B C D E)}, T("name,u,v\na\0.png,0,1\nb.png,0,0\n")},
    {"labels with an open quote", "labels.csv line 3: a quote is never closed", {T(H A B C D E)}, T("name,u,v\na.png,0,1\n\"b.png,0,0\nc.png,0,0\n")},
    {"a header of labels alone", "labels.csv: names no image", {T(H A B C D E)}, T("name,u,v\n")},
    {"labels that are empty", "labels.csv: is empty", {T(H A B C D E)}, T("\n")},
    {"labels without classes", "labels.csv line 1: the header needs the file name's column and one column per class", {T(H A)}, T("name\na.png\n")},
    {"a class of labels twice", "labels.csv line 1: column 3: class 'u' occurs twice", {T(H A)}, T("name,u,u\na.png,0,0\n")},
};

static bool write_text(const char *path, const char *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    return file && fwrite(bytes, 1, n, file) == n && fclose(file) == 0;
}

static bool write_string(const char *path, const char *bytes)
{
    return write_text(path, bytes, strlen(bytes));
}

static void write_inputs(const read_case *of)
{
    const text *labels = of->labels.bytes ? &of->labels : &usual_labels;
    bool good = write_text("labels.csv", labels->bytes, labels->n);
    for (int i = 0; i < MOST_FILES; i++) {
        char name[32];
        snprintf(name, sizeof name, "s.rank%04d.csv", i);
        remove(name);
        if (of->scores[i].bytes)
            good = good && write_text(name, of->scores[i].bytes, of->scores[i].n);
    }
    remove("s_metrics.json");
    if (!good)
        abort();
}

/* The program on the first `n` ranks; the others wait. */
static int run_program(int rank, int n, int argc, char **argv)
{
    int code = 0;
    MPI_Comm comm;
    MPI_Comm_split(MPI_COMM_WORLD, rank < n ? 0 : MPI_UNDEFINED, rank, &comm);
    if (comm != MPI_COMM_NULL) {
        code = ac_evaluate_run(comm, argc, argv);
        MPI_Comm_free(&comm);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    return code;
}

static int run_case(int rank, int n, const read_case *of)
{
    static char program[] = "anyclass-evaluate", scores[] = "--scores", labels[] = "--labels", labels_file[] = "labels.csv";
    static char level[] = "--log_level", error[] = "error", file[MOST_FILES][16] = {"s.rank0000.csv", "s.rank0001.csv", "s.rank0002.csv"};
    char *argv[16] = {program, labels, labels_file, level, error, scores};
    int argc = 6;
    for (int i = 0; i < MOST_FILES && of->scores[i].bytes; i++)
        argv[argc++] = file[i];
    if (rank == 0)
        write_inputs(of);
    MPI_Barrier(MPI_COMM_WORLD);
    return run_program(rank, n, argc, argv);
}

/* The JSON of every right case is that of the first. */
static void check_right(int rank, const read_case *of, uint8_t **json, size_t *n_json)
{
    for (int n = 1; n <= MOST_RANKS; n++) {
        uint8_t *bytes = NULL;
        size_t n_bytes = 0;
        int code = run_case(rank, n, of);
        if (rank != 0)
            continue;
        bool good = code == 0 && ac_file_read_all("s_metrics.json", 0, &bytes, &n_bytes) == AC_OK;
        if (good && !*json) {
            *json = bytes;
            *n_json = n_bytes;
            bytes = NULL;
        }
        good = good && n_bytes == *n_json && (!bytes || memcmp(bytes, *json, n_bytes) == 0);
        TAP_OK(good, "%s: the same JSON (%d ranks)", of->name, n);
        ac_free(bytes);
    }
}

static void check_wrong(int rank, const read_case *of)
{
    char first[AC_ERROR_TEXT_BYTES] = "";
    for (int n = 1; n <= MOST_RANKS; n++) {
        int code = run_case(rank, n, of);
        if (rank != 0)
            continue;
        if (n == 1)
            snprintf(first, sizeof first, "%s", ac_error_text());
        bool good = code == 3 && strstr(ac_error_text(), of->error) && strcmp(ac_error_text(), first) == 0;
        if (!good)
            printf("# wanted %s\n# first %s\n", of->error, first);
        TAP_OK(good && !ac_path_exists("s_metrics.json"), "%s (%d ranks)", of->name, n);
    }
}

static evaluate_config config_of(const char *labels, const char *weights)
{
    return (evaluate_config){.split = AC_SPLIT_VAL, .labels = labels, .label_weights = weights};
}

static bool write_sewer(void)
{
    FILE *file = fopen("SewerML_Val.csv", "w");
    if (!file)
        return false;
    fprintf(file, "Filename,Defect,VA");
    for (size_t c = 0; c < AC_SEWER_N_CLASSES; c++)
        fprintf(file, ",%s", ac_sewer_class(c));
    fprintf(file, "\n");
    for (int i = 0; i < 9; i++) {
        fprintf(file, "%d.png,%d,1", i, i % 3 == 0);
        for (int c = 0; c < AC_SEWER_N_CLASSES; c++)
            fprintf(file, ",%d", i % 3 == 0 && c == i);
        fprintf(file, "\n");
    }
    return fclose(file) == 0;
}

/* Read labels on all four ranks; each checks its own table, and all checks must be good. */
#define CHECK_LABELS(config, condition, name)                                                                        \
    do {                                                                                                             \
        label_table labels = {0};                                                                                    \
        ac_status got = evaluate_read_labels(MPI_COMM_WORLD, &(config), AC_SPLIT_VAL, &labels);                      \
        int mine = (condition), all = 0;                                                                             \
        MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);                                             \
        if (rank == 0)                                                                                               \
            TAP_OK(all, "%s", name);                                                                                 \
        if (got == AC_OK)                                                                                            \
            evaluate_release_labels(&labels);                                                                        \
    } while (0)

static bool is_sewer(const label_table *labels)
{
    bool good = labels->n_images == 9 && labels->n_classes == 17 && strcmp(labels->name[8], "8.png") == 0;
    for (size_t i = 0; good && i < 9; i++)
        good = labels->image_positive[i] == (i % 3 == 0) && labels->label[i * 17 + i] == (i % 3 == 0);
    return good;
}

static void test_sources(int rank)
{
    evaluate_config sewer = {.split = AC_SPLIT_VAL, .dataset = 1, .ann_root = ".", .label_weights = "auto"};
    if (rank == 0)
        TAP_OK(write_sewer() && write_text("val.csv", usual_labels.bytes, usual_labels.n) &&
                   write_string("w.csv", "class,weight\nv,0.25\nu,1\n") && write_string("w_twice.csv", "class,weight\nv,0.25\nv,1\n") &&
                   write_string("w_missing.csv", "class,weight\nv,0.25\n") && write_string("w_other.csv", "class,weight\nx,0.25\n") &&
                   write_string("w_header.csv", "v,0.25\nu,1\n") && write_string("w_below.csv", "class,weight\nv,-1\nu,2\n") &&
                   write_string("w_zero.csv", "class,weight\nv,0\nu,0\n") && write_string("w_nan.csv", "class,weight\nv,nan\nu,0\n"),
               "inputs");
    MPI_Barrier(MPI_COMM_WORLD);
    CHECK_LABELS(sewer, got == AC_OK && is_sewer(&labels), "annotations of sewer");
    CHECK_LABELS(sewer, got == AC_OK && labels.label_weight && labels.label_weight[0] == 1 && labels.label_weight[1] == .5518 && labels.label_weight[16] == .4396,
                 "with its weights");
    sewer.label_weights = "none";
    CHECK_LABELS(sewer, got == AC_OK && !labels.label_weight, "or without");
    evaluate_config folder = {.split = AC_SPLIT_VAL, .dataset = 4, .ann_root = "."}, missing = {.split = AC_SPLIT_VAL, .dataset = 2, .ann_root = "."};
    CHECK_LABELS(folder, got == AC_OK && labels.n_images == 5 && strcmp(labels.name[3], "d, \"4\".png") == 0, "a CSV in a folder");
    CHECK_LABELS(missing, got == AC_ERR_IO && strstr(ac_error_text(), "no annotation file instances_val.json"), "no annotations of that kind");
    evaluate_config plain = config_of("val.csv", "auto"), file = config_of("val.csv", "w.csv"), given = config_of("val.csv", "sewer");
    CHECK_LABELS(plain, got == AC_OK && !labels.label_weight && evaluate_find_label(&labels, "e.png") == 4 && evaluate_find_label(&labels, "") < 0,
                 "auto: no weights for other classes");
    CHECK_LABELS(file, got == AC_OK && labels.label_weight[0] == 1 && labels.label_weight[1] == .25, "weights from a CSV");
    CHECK_LABELS(given, got == AC_ERR_USAGE && strstr(ac_error_text(), "the class u of val.csv is none of its"), "sewer's do not fit");
    static const char *const bad[][2] = {{"w_twice.csv", "line 3: the class v occurs twice"},  {"w_missing.csv", "no weight for the class u"},
                                         {"w_other.csv", "line 2: x is no class"},             {"w_header.csv", "line 1: the header class,weight"},
                                         {"w_below.csv", "line 2: column weight: -1 is below"}, {"w_zero.csv", "the sum of the weights is 0"},
                                         {"w_nan.csv", "line 2: column weight: 'nan'"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        evaluate_config config = config_of("val.csv", bad[i][0]);
        CHECK_LABELS(config, got == AC_ERR_DATA && strstr(ac_error_text(), bad[i][1]), bad[i][1]);
    }
    evaluate_config none = config_of("val.csv", "nowhere.csv"), other = {.split = AC_SPLIT_TEST, .labels = "nowhere.csv", .val_labels = "val.csv"};
    CHECK_LABELS(none, got == AC_ERR_IO && strstr(ac_error_text(), "nowhere.csv"), "no file of weights");
    CHECK_LABELS(other, got == AC_OK && labels.n_images == 5, "--val_labels");
}

int main(int argc, char **argv)
{
    int rank, size;
    char folder[AC_PATH_BYTES] = "";
    uint8_t *json = NULL;
    size_t n_json = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &(int){0});
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (rank == 0)
        TAP_OK(tap_folder(folder) && size == MOST_RANKS && argc == 2, "a folder, and %d ranks", MOST_RANKS);
    MPI_Bcast(folder, sizeof folder, MPI_BYTE, 0, MPI_COMM_WORLD);
    if (size != MOST_RANKS || argc != 2 || chdir(folder) != 0)
        MPI_Abort(MPI_COMM_WORLD, 2);
    for (size_t i = 0; strcmp(argv[1], "right") == 0 && i < sizeof right / sizeof *right; i++)
        check_right(rank, &right[i], &json, &n_json);
    for (size_t i = 0; strcmp(argv[1], "wrong") == 0 && i < sizeof wrong / sizeof *wrong; i++)
        check_wrong(rank, &wrong[i]);
    if (strcmp(argv[1], "sources") == 0)
        test_sources(rank);
    ac_free(json);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0)
        tap_remove(folder);
    int failed = rank == 0 ? tap_done() : 0;
    MPI_Bcast(&failed, 1, MPI_INT, 0, MPI_COMM_WORLD);
    MPI_Finalize();
    return failed;
}
