/* Choices of algorithms kept in a file: the file itself (damage, other GPUs, two writers, nowhere to write), and what gemm.c and conv.c make of it. */
#include "anyclass/log.h"
#include "anyclass/random.h"
#include "backend/cuda/cache.h"
#include "backend/cuda/cuda.h"
#include "tests/cuda_host/library.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include "anyclass/alloc.h"
#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[AC_PATH_BYTES];
static const char *const gpu = "GPU of a test 9.0 cuDNN 1 cuBLASLt 2";

/* The one file in the folder, "" when there is none or there are several. */
static const char *the_file(int *n)
{
    static char path[2 * AC_PATH_BYTES];
    DIR *dir = opendir(folder);
    path[0] = '\0';
    *n = 0;
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (strstr(e->d_name, ".txt") && !strstr(e->d_name, ".part")) {
            (*n)++;
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        }
    if (dir)
        closedir(dir);
    return path;
}

static void empty(void)
{
    int n;
    for (const char *path = the_file(&n); n > 0; path = the_file(&n))
        remove(path);
}

static bool holds(cuda_cache *cache, const char *key, int n, const char *value)
{
    const char *found = cuda_cache_find(cache, key, n);
    return value ? found && strcmp(found, value) == 0 : !found;
}

/* The text of the file, owned by the caller. */
static char *text(void)
{
    int n;
    uint8_t *bytes = NULL;
    size_t size = 0;
    const char *path = the_file(&n);
    return n == 1 && ac_file_read_all(path, 0, &bytes, &size) == AC_OK ? (char *)bytes : NULL;
}

static bool replace(const char *with, size_t size)
{
    int n;
    FILE *f = fopen(the_file(&n), "w");
    return f && fwrite(with, 1, size, f) == size && fclose(f) == 0;
}

static int count(const char *in, const char *what)
{
    int n = 0;
    for (const char *at = in; at && (at = strstr(at, what)); at++)
        n++;
    return n;
}

/* ---- the file ---- */

static void round_trip(void)
{
    cuda_cache *a = NULL, *b = NULL;
    int n;
    TAP_OK(cuda_cache_open(folder, gpu, &a) == AC_OK && cuda_cache_keeps(a) && holds(a, "one 1", 1, NULL), "an empty folder holds no choice and takes some");
    TAP_OK(!cuda_cache_keep(a, "one 1", 4, "first 7=3") && !cuda_cache_keep(a, "two 2", 8, "second"), "two are kept");
    TAP_OK(holds(a, "one 1", 4, "first 7=3") && holds(a, "one 1", 2, "first 7=3") && holds(a, "one 1", 5, NULL), "found among as many candidates or fewer, not among more");
    the_file(&n);
    TAP_OK(n == 1 && cuda_cache_open(folder, gpu, &b) == AC_OK && holds(b, "one 1", 4, "first 7=3") && holds(b, "two 2", 8, "second") && holds(b, "two", 1, NULL),
           "another process finds them while the first still runs");
    cuda_cache_keep(b, "three", 4, "third");
    TAP_OK(holds(a, "three", 4, "third"), "and the first finds what the other chose since");
    const char *standing = cuda_cache_keep(a, "three", 4, "otherwise");
    TAP_OK(standing && strcmp(standing, "third") == 0 && holds(a, "three", 1, "third"), "who chose first is right");
    TAP_OK(!cuda_cache_keep(a, "three", 8, "better") && holds(a, "three", 8, "better") && holds(b, "three", 4, "third"), "unless the choice was among more");
    cuda_cache_forget(a, "two 2");
    TAP_OK(holds(a, "two 2", 1, NULL) && !cuda_cache_keep(a, "two 2", 8, "anew") && holds(a, "two 2", 8, "anew"), "what does not fit is replaced");
    cuda_cache_close(a);
    cuda_cache_close(b);
    TAP_OK(cuda_cache_open(folder, gpu, &a) == AC_OK && holds(a, "one 1", 4, "first 7=3") && holds(a, "two 2", 8, "anew") && holds(a, "three", 8, "better"), "all is there at the end");
    cuda_cache_close(a);
    TAP_OK(cuda_cache_open(folder, "GPU of a test 9.0 cuDNN 1 cuBLASLt 3", &a) == AC_OK && holds(a, "one 1", 1, NULL), "another version has none of it");
    TAP_OK(!cuda_cache_keep(a, "one 1", 4, "other"), "and keeps its own");
    cuda_cache_close(a);
    the_file(&n);
    TAP_OK(n == 2 && cuda_cache_open(folder, gpu, &a) == AC_OK && holds(a, "one 1", 4, "first 7=3"), "in a file of its own");
    cuda_cache_close(a);
    empty();
}

static void damage(void)
{
    cuda_cache *a = NULL;
    char key[32], value[32];
    if (!TAP_CALL(cuda_cache_open(folder, gpu, &a)))
        return;
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "key %d", i);
        snprintf(value, sizeof value, "value %d", 3 * i);
        cuda_cache_keep(a, key, 4, value);
    }
    cuda_cache_close(a);
    char *whole = text();
    if (!TAP_OK(whole && count(whole, "\n") == 21, "a line for each of 20 choices behind the first"))
        return;
    size_t size = strlen(whole), n_wrong = 0, n_lost = 0;
    for (size_t at = 0; at < size; at++) { /* one byte of it is another */
        char *bad = malloc(size);
        memcpy(bad, whole, size);
        bad[at] = (char)(bad[at] ^ (1 << at % 7));
        replace(bad, size);
        free(bad);
        if (cuda_cache_open(folder, gpu, &a) != AC_OK)
            n_wrong++;
        int n_found = 0;
        for (int i = 0; i < 20; i++) {
            snprintf(key, sizeof key, "key %d", i);
            snprintf(value, sizeof value, "value %d", 3 * i);
            const char *found = cuda_cache_find(a, key, 1);
            n_found += found != NULL;
            n_wrong += found && strcmp(found, value) != 0;
        }
        n_lost += n_found < 18 && n_found != 0; /* a line feed that is none takes two with it; the first line, all */
        cuda_cache_close(a);
    }
    TAP_OK(n_wrong == 0 && n_lost == 0, "a byte changed anywhere, %zu places: no wrong choice is read, and no other line is lost", size);
    replace(whole, size - 5);
    TAP_OK(cuda_cache_open(folder, gpu, &a) == AC_OK && holds(a, "key 18", 1, "value 54") && holds(a, "key 19", 1, NULL), "a last line that is torn is left out");
    cuda_cache_keep(a, "key 19", 4, "anew");
    cuda_cache_close(a);
    char *mended = text();
    TAP_OK(mended && count(mended, "\n") == 21 && strstr(mended, "key 19 = 4 anew #") && strstr(mended, "key 18 = "), "and the next choice mends the file");
    replace("PK\3\4 something else\n", 20);
    TAP_OK(cuda_cache_open(folder, gpu, &a) == AC_OK && holds(a, "key 1", 1, NULL) && !cuda_cache_keep(a, "key 1", 4, "x") && holds(a, "key 1", 4, "x"),
           "a file that is something else is not read, and replaced");
    cuda_cache_close(a);
    replace("", 0);
    TAP_OK(cuda_cache_open(folder, gpu, &a) == AC_OK && holds(a, "key 1", 1, NULL), "an empty file is an empty cache");
    cuda_cache_close(a);
    ac_free(whole);
    ac_free(mended);
    empty();
}

static void nowhere(void)
{
    cuda_cache *a = NULL;
    char path[2 * AC_PATH_BYTES];
    static const char *const folders[] = {"/proc/anyclass-cache", "/dev/null"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        TAP_OK(cuda_cache_open(folders[i], gpu, &a) == AC_OK && !cuda_cache_keeps(a) && !cuda_cache_keep(a, "key", 4, "value") && holds(a, "key", 1, NULL),
               "%s takes nothing, and nothing fails", folders[i]);
        cuda_cache_close(a);
    }
    snprintf(path, sizeof path, "%s/deeper/and/deeper", folder);
    TAP_OK(cuda_cache_open(path, gpu, &a) == AC_OK && cuda_cache_keeps(a) && !cuda_cache_keep(a, "key", 4, "value") && holds(a, "key", 1, "value"), "folders are made");
    cuda_cache_close(a);
    TAP_OK(!cuda_cache_find(NULL, "key", 1) && !cuda_cache_keep(NULL, "key", 4, "value") && !cuda_cache_keeps(NULL), "no cache finds and keeps nothing");
    for (uint64_t k = 1; k <= 8; k++) { /* a full disk at each of the operations */
        if (cuda_cache_open(folder, gpu, &a) != AC_OK)
            return;
        cuda_cache_keep(a, "before", 4, "value");
        ac_file_fail_at(k);
        cuda_cache_keep(a, "during", (int)k, "value");
        ac_file_fail_at(0);
        bool mine = holds(a, "during", (int)k, "value");
        cuda_cache_close(a);
        TAP_OK(mine && cuda_cache_open(folder, gpu, &a) == AC_OK && holds(a, "before", 4, "value") && holds(a, "during", (int)k, "value"),
               "operation %d fails: the choice holds here, and is written in the end", (int)k);
        cuda_cache_close(a);
    }
    empty();
}

static void write_many(int process, int n)
{
    cuda_cache *a = NULL;
    char key[64];
    if (cuda_cache_open(folder, gpu, &a) != AC_OK)
        _exit(1);
    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof key, "process %d key %d", process, i);
        cuda_cache_keep(a, key, 4, "value of its own");
        snprintf(key, sizeof key, "shared %d", i);
        cuda_cache_keep(a, key, 4, process ? "by one" : "by the other");
    }
    cuda_cache_close(a);
    _exit(0);
}

static void two_processes(void)
{
    enum { N = 40 };
    pid_t child[2];
    int n_torn = 0, n_files, done = 0, result, bad = 0;
    for (int p = 0; p < 2; p++)
        if ((child[p] = fork()) == 0)
            write_many(p, N);
    while (done < 2) { /* what a reader sees meanwhile */
        char *now = text();
        if (now)
            n_torn += strncmp(now, "anyclass choices ", 17) != 0 || now[strlen(now) - 1] != '\n';
        ac_free(now);
        for (int p = 0; p < 2; p++)
            if (child[p] > 0 && waitpid(child[p], &result, WNOHANG) == child[p]) {
                bad += result != 0;
                child[p] = 0;
                done++;
            }
    }
    char *whole = text();
    TAP_OK(bad == 0 && n_torn == 0 && whole && count(whole, "value of its own") == 2 * N && count(whole, "shared ") == N && count(whole, "\n") == 3 * N + 1,
           "two processes write %d choices each and %d both: none is lost (%d lines), no reader saw half a file", N, N, count(whole, "\n"));
    ac_free(whole);
    the_file(&n_files);
    TAP_OK(n_files == 1, "one file");
    empty();
}

/* ---- gemm.c and conv.c ---- */

static ac_device *device;

static bool open_with(const char *cache, const char *tune)
{
    if (cache)
        setenv("ANYCLASS_CUDA_CACHE", cache, 1);
    else
        unsetenv("ANYCLASS_CUDA_CACHE");
    if (tune)
        setenv("ANYCLASS_CUDA_TUNE", tune, 1);
    else
        unsetenv("ANYCLASS_CUDA_TUNE");
    return ac_backend_cuda.open(1, &device) == AC_OK;
}

static cuda_gemm_spec product(int type)
{
    cuda_gemm_spec s;
    memset(&s, 0, sizeof s);
    s.m = 40;
    s.n = 72;
    s.k = 128;
    s.ab = s.d = type;
    return s;
}

static cuda_conv_spec convolution(int type)
{
    cuda_conv_spec s;
    memset(&s, 0, sizeof s);
    s.n = 2;
    s.h = s.w = s.oh = s.ow = 8;
    s.c = 16;
    s.o = 24;
    s.kernel = 3;
    s.stride = s.padding = s.groups = 1;
    s.type = s.result = type;
    return s;
}

/* How many calls of the libraries finding both takes: 0 when none was timed; -1 when something fails. */
static int find_both(cuda_gemm **g, cuda_conv **c)
{
    emulated_counts before, after, recorded;
    cuda_gemm_spec gs = product(AC_F32);
    cuda_conv_spec cs = convolution(AC_F32);
    bool good = device->backend->synchronize(device) == AC_OK;
    emulated_total_counts(&before, &recorded);
    good = good && cuda_gemm_find(cuda_of(device), &gs, g) == AC_OK && cuda_conv_find(cuda_of(device), &cs, c) == AC_OK && device->backend->synchronize(device) == AC_OK;
    emulated_total_counts(&after, &recorded);
    return good ? (int)(after.n_library - before.n_library) : -1;
}

/* Both results, of the same numbers each time, as bytes. */
static bool compute(const cuda_gemm *g, const cuda_conv *c, float out[2][8192])
{
    enum { N = 8192 };
    const ac_backend *b = device->backend;
    static float values[N];
    void *x = NULL, *w = NULL, *y[2] = {NULL, NULL}, *workspace = NULL;
    for (int i = 0; i < N; i++)
        values[i] = (float)ac_random_block(3, AC_STREAM_TEST, 0, (uint32_t)i).word[0] / 4294967296.0f - 0.5f;
    bool good = b->allocate(device, sizeof values, &x) == AC_OK && b->allocate(device, 2 * sizeof values, &w) == AC_OK && b->allocate(device, sizeof values, &y[0]) == AC_OK &&
                b->allocate(device, sizeof values, &y[1]) == AC_OK && b->allocate(device, cuda_conv_workspace_bytes(c), &workspace) == AC_OK &&
                b->upload(device, x, values, sizeof values) == AC_OK && b->upload(device, w, values, sizeof values) == AC_OK &&
                b->upload(device, (char *)w + sizeof values, values, sizeof values) == AC_OK &&
                cuda_gemm_run(cuda_of(device), g, x, w, y[0], y[0], NULL, 0) == AC_OK && cuda_conv_run(cuda_of(device), c, x, w, y[1], workspace) == AC_OK &&
                b->download(device, out[0], y[0], 40 * 72 * sizeof(float)) == AC_OK && b->download(device, out[1], y[1], 2 * 64 * 24 * sizeof(float)) == AC_OK;
    b->release(device, x);
    b->release(device, w);
    b->release(device, y[0]);
    b->release(device, y[1]);
    b->release(device, workspace);
    return good;
}

static double largest_difference(float a[2][8192], float b[2][8192])
{
    double worst = 0;
    for (int i = 0; i < 40 * 72; i++)
        worst = worse(worst, fabs((double)a[0][i] - (double)b[0][i]));
    for (int i = 0; i < 2 * 64 * 24; i++)
        worst = worse(worst, fabs((double)a[1][i] - (double)b[1][i]));
    return worst;
}

static float first[2][8192], now[2][8192];

/* Each value of the file that belongs to `kind` becomes `value`, as whole as before. */
static void exchange(const char *kind, const char *value)
{
    cuda_cache *cache = NULL;
    char identity[384] = "", *whole = text(), *end = whole ? strchr(whole, '\n') : NULL, *line = end ? strstr(end, kind) : NULL;
    if (!TAP_OK(line != NULL, "the file has a line for a %s", kind))
        return;
    *end = '\0';
    snprintf(identity, sizeof identity, "%s", strchr(whole, ':') + 2);
    *strstr(line, " = ") = '\0';
    if (cuda_cache_open(folder, identity, &cache) == AC_OK && cuda_cache_find(cache, line, 1)) {
        cuda_cache_forget(cache, line);
        cuda_cache_keep(cache, line, 100, value);
    }
    cuda_cache_close(cache);
    ac_free(whole);
}

static void kept_choices(void)
{
    cuda_gemm *g;
    cuda_conv *c;
    int n_files, n = open_with(folder, NULL) ? find_both(&g, &c) : -1;
    TAP_OK(n > 8 && compute(g, c, first), "where choices are kept, several are timed without being asked for (%d calls)", n);
    ac_backend_cuda.close(device);
    char *whole = text();
    TAP_OK(whole && count(whole, "\nproduct ") == 1 && count(whole, "\nconvolution ") == 1 && count(whole, " = 4 ") == 2, "and kept, as the best of 4");
    ac_free(whole);
    TAP_OK(open_with(folder, NULL) && find_both(&g, &c) == 0 && compute(g, c, now) && largest_difference(first, now) == 0, "the next job times nothing, and computes the same bits");
    ac_backend_cuda.close(device);
    TAP_OK(open_with(folder, "8") && find_both(&g, &c) > 8, "who asks for 8 is not served by the best of 4");
    ac_backend_cuda.close(device);
    TAP_OK(open_with(folder, "3") && find_both(&g, &c) == 0, "who asks for 3 is served by the best of 8");
    ac_backend_cuda.close(device);
    TAP_OK(open_with(folder, "1") && find_both(&g, &c) == 0 && compute(g, c, now) && largest_difference(first, now) < 1e-5, "the libraries' own choice gives the same but for rounding");
    ac_backend_cuda.close(device);
    static const char *const engines[] = {"engine 1", "engine 2", "engine 0", "engine 99", "engine 4 1=9", "engine 4 1=1 x", "engine 6", "engine 7", "motor 4", "engine"};
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++) {
        exchange("convolution ", engines[i]);
        TAP_OK(open_with(folder, NULL) && find_both(&g, &c) > 0 && compute(g, c, now) && largest_difference(first, now) < 1e-5, "\"%s\" is not taken, another is chosen",
               engines[i]);
        ac_backend_cuda.close(device);
        TAP_OK(open_with(folder, NULL) && find_both(&g, &c) == 0, "and kept");
        ac_backend_cuda.close(device);
    }
    exchange("product ", "616c676f00000000");
    TAP_OK(open_with(folder, NULL) && find_both(&g, &c) > 0 && compute(g, c, now) && largest_difference(first, now) < 1e-5, "half an algorithm is not taken");
    ac_backend_cuda.close(device);
    exchange("product ", "00000000616c676f0000000000000002000000000000000000000000000000000000000000000010000000000000000000000000000000000000000000000000");
    TAP_OK(open_with(folder, NULL) && find_both(&g, &c) > 0 && compute(g, c, now) && largest_difference(first, now) < 1e-5, "nor one of another product");
    ac_backend_cuda.close(device);
    empty();
    TAP_OK(open_with("off", NULL) && find_both(&g, &c) == 0, "without a cache nothing is timed");
    ac_backend_cuda.close(device);
    TAP_OK(open_with("off", "4") && find_both(&g, &c) > 8, "unless it is asked for");
    ac_backend_cuda.close(device);
    TAP_OK(open_with("/proc/anyclass-cache", NULL) && find_both(&g, &c) == 0, "nor where choices cannot be kept");
    ac_backend_cuda.close(device);
    the_file(&n_files);
    TAP_OK(n_files == 0 && emulated_n_faults() == 0, "and no file is written");
}

int main(void)
{
    ac_log_init("test_choices", 0, 1, AC_LOG_ERROR, false);
    if (!tap_folder(folder))
        return tap_done();
    round_trip();
    damage();
    nowhere();
    two_processes();
    kept_choices();
    tap_remove(folder);
    return tap_done();
}
