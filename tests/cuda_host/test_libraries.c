/* gemm.c and conv.c over the doubles of cuBLASLt and cuDNN, against plain loops: shapes that no vector fits, every pass, type, transpose and
 * layout that the backend asks for, with the library's first choice and with several timed. What a caller must not do is test_library_faults.c's. */
#include "anyclass/f16.h"
#include "anyclass/random.h"
#include "backend/cuda/cuda.h"
#include "tests/cuda_host/library.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include <math.h>
#include <time.h>

static ac_device *device;

/* ---- arrays ---- */

typedef struct array { /* numbers as the device has them, and as double */
    int type;
    int64_t n;
    double *value;
    void *host, *block;
    unsigned char *there; /* in the block, aligned as is promised and no better */
} array;

enum { PROMISED_ALIGN = 16, MOST_WORKSPACE_BYTES = 1 << 30 };

static double get(int type, const void *from, int64_t i)
{
    if (type == AC_F32)
        return (double)((const float *)from)[i];
    return (double)(type == AC_BF16 ? ac_float_from_bf16(((const uint16_t *)from)[i]) : ac_float_from_f16(((const uint16_t *)from)[i]));
}

static void put(int type, void *to, int64_t i, float value)
{
    if (type == AC_F32)
        ((float *)to)[i] = value;
    else
        ((uint16_t *)to)[i] = type == AC_BF16 ? ac_bf16_from_float(value) : ac_f16_from_float(value);
}

/* Uniform in -1..1. */
static array make(int type, int64_t n, uint64_t seed)
{
    array a = {type, n, calloc((size_t)n, sizeof *a.value), calloc((size_t)n, 4), NULL, NULL};
    for (int64_t i = 0; i < n; i++) {
        put(type, a.host, i, 2 * (float)ac_random_block(seed, AC_STREAM_TEST, 0, (uint32_t)i).word[0] / 4294967296.0f - 1);
        a.value[i] = get(type, a.host, i);
    }
    size_t bytes = (size_t)n * ac_dtype_bytes((ac_dtype)type);
    if (device->backend->allocate(device, bytes + PROMISED_ALIGN, &a.block) == AC_OK)
        a.there = (unsigned char *)a.block + PROMISED_ALIGN;
    if (!a.there || device->backend->upload(device, a.there, a.host, bytes) != AC_OK)
        printf("# no memory: %s\n", ac_error_text());
    return a;
}

static void drop(array *a)
{
    device->backend->release(device, a->block);
    free(a->value);
    free(a->host);
}

static bool fetch(array *a)
{
    return device->backend->download(device, a->host, a->there, (size_t)a->n * ac_dtype_bytes((ac_dtype)a->type)) == AC_OK;
}

/* What one rounding to the type may change, relative. */
static double rounding(int type)
{
    return type == AC_BF16 ? 0x1p-8 : type == AC_F16 ? 0x1p-11 : 0x1p-24;
}

/* ---- products ---- */

typedef struct gemm_case {
    int64_t m, n, k;
    int transpose_a, transpose_b, bias;
    float beta;
    int64_t batch, more_a, more_b, more_d; /* more: elements between rows beyond those that are needed */
} gemm_case;

static const gemm_case gemm_cases[] = {
    {1, 1, 1, .bias = 0}, {3, 5, 7, .bias = 0}, {16, 24, 8, .bias = 1}, {17, 9, 33, .transpose_b = 1, .bias = 1}, {40, 64, 72, .transpose_b = 1, .bias = 1},
    {31, 45, 130, .transpose_a = 1, .beta = 1}, {64, 64, 64, .bias = 0}, {64, 64, 64, .transpose_a = 1}, {64, 64, 64, .transpose_b = 1}, {24, 24, 24, .transpose_a = 1, .transpose_b = 1},
    {5, 48, 96, .transpose_b = 1, .bias = 1, .beta = 1}, {12, 20, 28, .more_a = 4, .more_b = 12, .more_d = 8}, {12, 20, 30, .transpose_a = 1, .transpose_b = 1, .more_a = 8, .more_d = 4},
    {7, 11, 65, .batch = 3}, {7, 11, 66, .batch = 4, .transpose_b = 1, .more_a = 16, .beta = 0.5f}, {200, 136, 120, .transpose_b = 1, .bias = 1}, {120, 136, 700, .transpose_a = 1, .beta = 1},
};

static cuda_gemm_spec spec_of(const gemm_case *c, int type, int result)
{
    cuda_gemm_spec s;
    memset(&s, 0, sizeof s);
    s.m = c->m;
    s.n = c->n;
    s.k = c->k;
    s.transpose_a = c->transpose_a;
    s.transpose_b = c->transpose_b;
    s.lda = (c->transpose_a ? c->m : c->k) + c->more_a;
    s.ldb = (c->transpose_b ? c->k : c->n) + c->more_b;
    s.ldd = c->n + c->more_d;
    s.batch = c->batch;
    if (c->batch > 1) { /* the second behind the first, and room between them that keeps the alignment */
        s.stride_a = ((c->transpose_a ? c->k : c->m) * s.lda + 15) / 8 * 8;
        s.stride_b = ((c->transpose_b ? c->n : c->k) * s.ldb + 15) / 8 * 8;
        s.stride_d = (c->m * s.ldd + 15) / 8 * 8;
    }
    s.ab = type;
    s.d = result;
    if (c->batch < 2 && c->more_a + c->more_b + c->more_d == 0)
        s.lda = s.ldb = s.ldd = 0; /* they touch */
    s.epilogue = c->bias ? CUDA_EPILOGUE_BIAS : CUDA_EPILOGUE_NONE;
    return s;
}

/* The largest difference to plain loops over what rounding allows for, in units of that; elements between rows must be as before. */
static double against_loops(const cuda_gemm_spec *s, float beta, const array *a, const array *b, const array *d, const array *bias)
{
    double worst = 0;
    int64_t batch = s->batch > 1 ? s->batch : 1, ldd = s->ldd ? s->ldd : s->n;
    int64_t lda = s->lda ? s->lda : s->transpose_a ? s->m : s->k, ldb = s->ldb ? s->ldb : s->transpose_b ? s->k : s->n;
    for (int64_t p = 0; p < batch; p++)
        for (int64_t i = 0; i < s->m; i++)
            for (int64_t j = 0; j < ldd; j++) {
                int64_t at = p * s->stride_d + i * ldd + j;
                if (at >= d->n)
                    continue;
                double sum = 0, size = 0, found = get(d->type, d->host, at);
                if (j >= s->n) {
                    worst = worse(worst, found != d->value[at] ? INFINITY : 0);
                    continue;
                }
                for (int64_t k = 0; k < s->k; k++) {
                    double x = a->value[p * s->stride_a + (s->transpose_a ? k * lda + i : i * lda + k)];
                    double y = b->value[p * s->stride_b + (s->transpose_b ? j * ldb + k : k * ldb + j)];
                    sum += x * y;
                    size += fabs(x * y);
                }
                if (s->epilogue == CUDA_EPILOGUE_BIAS)
                    sum += bias->value[j];
                sum += (double)beta * d->value[at];
                double allowed = 0x1p-20 * (size + 1) + 1.01 * rounding(d->type) * fabs(sum); /* float sums; one rounding */
                worst = worse(worst, fabs(found - sum) / allowed);
            }
    return worst;
}

static void try_gemm(const gemm_case *c, int type, int result, const char *how)
{
    cuda_gemm_spec s = spec_of(c, type, result);
    int64_t batch = s.batch > 1 ? s.batch : 1, rows_a = c->transpose_a ? c->k : c->m, rows_b = c->transpose_b ? c->n : c->k;
    int64_t lda = (c->transpose_a ? c->m : c->k) + c->more_a, ldb = (c->transpose_b ? c->k : c->n) + c->more_b, ldd = c->n + c->more_d;
    array a = make(type, (batch - 1) * s.stride_a + rows_a * lda, 1), b = make(type, (batch - 1) * s.stride_b + rows_b * ldb, 2);
    array d = make(result, (batch - 1) * s.stride_d + c->m * ldd, 3), bias = make(result, c->n, 4);
    cuda_gemm *g = NULL, *again = NULL;
    int faults = emulated_n_faults();
    ac_status status = cuda_gemm_find(cuda_of(device), &s, &g), known = cuda_gemm_find(cuda_of(device), &s, &again);
    bool lacks = c->bias && type != AC_F32 && (c->n % 8 || c->k % 8);
    TAP_OK(known == status && again == g, "%s: the same product again is the one found", how);
    if (lacks) {
        TAP_OK(status == AC_ERR_UNSUPPORTED, "%s: %lldx%lldx%lld with a bias in %s is lacking", how, (long long)c->m, (long long)c->n, (long long)c->k, ac_dtype_name((ac_dtype)type));
    } else {
        bool ran = status == AC_OK && cuda_gemm_run(cuda_of(device), g, a.there, b.there, d.there, d.there, c->bias ? bias.there : NULL, c->beta) == AC_OK && fetch(&d);
        double worst = ran ? against_loops(&s, c->beta, &a, &b, &d, &bias) : INFINITY;
        TAP_OK(worst < 1 && emulated_n_faults() == faults, "%s: %lldx%lldx%lld%s%s%s, beta %g, batch %lld, %s to %s: %.2g of what is allowed", how, (long long)c->m, (long long)c->n,
               (long long)c->k, c->transpose_a ? ", a^T" : "", c->transpose_b ? ", b^T" : "", c->bias ? ", bias" : "", (double)c->beta, (long long)batch,
               ac_dtype_name((ac_dtype)type), ac_dtype_name((ac_dtype)result), worst);
    }
    drop(&a);
    drop(&b);
    drop(&d);
    drop(&bias);
}

/* ---- convolutions ---- */

typedef struct conv_case {
    int64_t n, h, w, c, o;
    int kernel, stride, padding, groups;
} conv_case;

static const conv_case conv_cases[] = {
    {2, 9, 7, 3, 5, 3, 1, 1, 1},  {1, 8, 8, 16, 16, 3, 1, 1, 1}, {2, 8, 12, 16, 16, 3, 2, 1, 1}, {3, 11, 6, 5, 9, 1, 2, 0, 1}, {2, 14, 14, 3, 8, 7, 2, 3, 1},
    {1, 6, 10, 8, 7, 3, 1, 1, 1}, {2, 5, 9, 8, 12, 3, 1, 1, 4},  {2, 10, 10, 6, 4, 5, 3, 2, 2}, {1, 4, 4, 3, 6, 4, 4, 0, 1},
};

static cuda_conv_spec conv_spec_of(const conv_case *c, int pass, int type)
{
    cuda_conv_spec s;
    memset(&s, 0, sizeof s);
    s.n = c->n;
    s.h = c->h;
    s.w = c->w;
    s.c = c->c;
    s.o = c->o;
    s.oh = (c->h + 2 * c->padding - c->kernel) / c->stride + 1;
    s.ow = (c->w + 2 * c->padding - c->kernel) / c->stride + 1;
    s.kernel = c->kernel;
    s.stride = c->stride;
    s.padding = c->padding;
    s.groups = c->groups;
    s.pass = pass;
    s.type = s.result = type;
    return s;
}

/* sum[] and size[] of the result of the pass, by the definition. */
static void conv_loops(const cuda_conv_spec *s, const double *x, const double *w, const double *y, double *sum, double *size)
{
    int64_t inside = s->c / s->groups, outside = s->o / s->groups;
    for (int64_t at = 0; at < s->n * s->oh * s->ow * s->o; at++)
        for (int64_t t = 0; t < s->kernel * s->kernel * inside; t++) {
            int64_t o = at % s->o, ox = at / s->o % s->ow, oy = at / s->o / s->ow % s->oh, image = at / s->o / s->ow / s->oh;
            int64_t k = t % inside, iy = oy * s->stride - s->padding + t / inside / s->kernel, ix = ox * s->stride - s->padding + t / inside % s->kernel;
            if (iy < 0 || iy >= s->h || ix < 0 || ix >= s->w)
                continue;
            int64_t xi = ((image * s->h + iy) * s->w + ix) * s->c + o / outside * inside + k, wi = o * s->kernel * s->kernel * inside + t;
            double term = s->pass == CUDA_CONV_FORWARD ? x[xi] * w[wi] : s->pass == CUDA_CONV_DX ? y[at] * w[wi] : y[at] * x[xi];
            int64_t to = s->pass == CUDA_CONV_FORWARD ? at : s->pass == CUDA_CONV_DX ? xi : wi;
            sum[to] += term;
            size[to] += fabs(term);
        }
}

/* An engine that conv.c must leave alone shows: it is off by a hundredth, by tf32 or by bf16. */
static void try_conv(const conv_case *c, int pass, int type, const char *how)
{
    static const char *const names[] = {"forward", "dx", "dweight"};
    cuda_conv_spec s = conv_spec_of(c, pass, type);
    array v[3] = {make(type, s.n * s.h * s.w * s.c, 5), make(type, s.o * s.kernel * s.kernel * s.c / s.groups, 6), make(type, s.n * s.oh * s.ow * s.o, 7)};
    array *made = &v[pass == CUDA_CONV_FORWARD ? 2 : pass == CUDA_CONV_DX ? 0 : 1];
    double *sum = calloc((size_t)made->n, sizeof *sum), *size = calloc((size_t)made->n, sizeof *size), worst = INFINITY;
    cuda_conv *conv = NULL;
    void *workspace = NULL;
    int faults = emulated_n_faults();
    bool ran = cuda_conv_find(cuda_of(device), &s, &conv) == AC_OK && cuda_conv_workspace_bytes(conv) <= MOST_WORKSPACE_BYTES && device->backend->allocate(device, cuda_conv_workspace_bytes(conv), &workspace) == AC_OK &&
               cuda_conv_run(cuda_of(device), conv, v[0].there, v[1].there, v[2].there, workspace) == AC_OK && fetch(made);
    conv_loops(&s, v[0].value, v[1].value, v[2].value, sum, size);
    for (int64_t i = 0; ran && i < made->n; i++) {
        double allowed = 0x1p-20 * (size[i] + 1) + 1.01 * rounding(type) * fabs(sum[i]);
        worst = worse(i ? worst : 0, fabs(get(type, made->host, i) - sum[i]) / allowed);
    }
    TAP_OK(worst < 1 && emulated_n_faults() == faults, "%s: %lldx%lldx%lldx%lld, %dx%d/%d, padding %d, to %lld in %d groups, %s, %s: %.2g of what is allowed", how, (long long)s.n,
           (long long)s.h, (long long)s.w, (long long)s.c, s.kernel, s.kernel, s.stride, s.padding, (long long)s.o, s.groups, names[pass], ac_dtype_name((ac_dtype)type), worst);
    device->backend->release(device, workspace);
    free(sum);
    free(size);
    for (int i = 0; i < 3; i++)
        drop(&v[i]);
}

static void lacking_convolutions(void)
{
    conv_case c = {1, 8, 8, 4, 4, 2, 2, 0, 1};
    cuda_conv *conv = NULL;
    cuda_conv_spec s = conv_spec_of(&c, CUDA_CONV_FORWARD, AC_F32);
    TAP_OK(cuda_conv_find(cuda_of(device), &s, &conv) == AC_ERR_UNSUPPORTED && !conv, "a convolution without an engine is lacking");
    TAP_OK(cuda_conv_find(cuda_of(device), &s, &conv) == AC_ERR_UNSUPPORTED && !conv, "and the second time");
    c.kernel = 3;
    s = conv_spec_of(&c, CUDA_CONV_FORWARD, AC_BF16);
    s.result = AC_F32;
    TAP_OK(cuda_conv_find(cuda_of(device), &s, &conv) == AC_ERR_UNSUPPORTED && !conv, "so is one from bf16 to float");
}

/* ---- all ---- */

static void all(const char *how)
{
    static const int types[][2] = {{AC_F32, AC_F32}, {AC_BF16, AC_BF16}, {AC_BF16, AC_F32}, {AC_F16, AC_F16}, {AC_F16, AC_F32}};
    if (!TAP_CALL(ac_backend_cuda.open(1, &device)))
        return;
    for (size_t i = 0; i < sizeof gemm_cases / sizeof *gemm_cases; i++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++)
            try_gemm(&gemm_cases[i], types[t][0], types[t][1], how);
    for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases; i++)
        for (int pass = 0; pass < 3; pass++)
            for (size_t t = 0; t < 5; t += t == 1 ? 2 : 1)
                if (types[t][0] == types[t][1])
                    try_conv(&conv_cases[i], pass, types[t][0], how);
    lacking_convolutions();
    ac_backend_cuda.close(device);
}

/* ---- recorded, and how fast the doubles are ---- */

typedef struct pair { /* a product and a convolution with what they read and write */
    cuda_gemm *product;
    cuda_conv *conv;
    array a, b, d, x, w, y;
    void *workspace;
} pair;

static bool open_pair(pair *p, int64_t side, int type, int pass)
{
    gemm_case g = {side, side, side, .transpose_b = 1};
    conv_case c = {4, side / 4, side / 4, side / 2, side / 2, 3, 1, 1, 1};
    cuda_gemm_spec gs = spec_of(&g, type, type);
    cuda_conv_spec cs = conv_spec_of(&c, pass, type);
    p->workspace = NULL;
    p->a = make(type, side * side, 1);
    p->b = make(type, side * side, 2);
    p->d = make(type, side * side, 3);
    p->x = make(type, cs.n * cs.h * cs.w * cs.c, 4);
    p->w = make(type, cs.o * 9 * cs.c, 5);
    p->y = make(type, cs.n * cs.oh * cs.ow * cs.o, 6);
    return cuda_gemm_find(cuda_of(device), &gs, &p->product) == AC_OK && cuda_conv_find(cuda_of(device), &cs, &p->conv) == AC_OK &&
           device->backend->allocate(device, cuda_conv_workspace_bytes(p->conv), &p->workspace) == AC_OK;
}

static bool run_product(const pair *p)
{
    return cuda_gemm_run(cuda_of(device), p->product, p->a.there, p->b.there, p->d.there, p->d.there, NULL, 0) == AC_OK;
}

static bool run_convolution(const pair *p)
{
    return cuda_conv_run(cuda_of(device), p->conv, p->x.there, p->w.there, p->y.there, p->workspace) == AC_OK;
}

static void close_pair(pair *p)
{
    array *all[] = {&p->a, &p->b, &p->d, &p->x, &p->w, &p->y};
    device->backend->release(device, p->workspace);
    for (int i = 0; i < 6; i++)
        drop(all[i]);
}

static bool same(array *now, const array *before)
{
    return fetch(now) && memcmp(now->host, before->host, (size_t)now->n * ac_dtype_bytes((ac_dtype)now->type)) == 0;
}

/* What is recorded is done when it is replayed, and not before, with what lies in memory then. */
static void recorded(void)
{
    const ac_queue *queue = ac_backend_cuda.queue;
    ac_recording *recording = NULL;
    pair p, q;
    if (!TAP_CALL(ac_backend_cuda.open(1, &device)))
        return;
    bool good = open_pair(&p, 64, AC_F32, CUDA_CONV_FORWARD) && open_pair(&q, 64, AC_F32, CUDA_CONV_FORWARD);
    good = good && run_product(&p) && run_convolution(&p) && fetch(&p.d) && fetch(&p.y); /* p.host: what is to come out */
    size_t bytes = (size_t)q.x.n * sizeof(float);
    memset(q.x.host, 0, bytes);
    good = good && device->backend->upload(device, q.x.there, q.x.host, bytes) == AC_OK && queue->record_begin(device) == AC_OK && run_product(&q) && run_convolution(&q) &&
           queue->record_end(device, &recording) == AC_OK;
    TAP_OK(good, "a product and a convolution are recorded");
    TAP_OK(good && !same(&q.d, &p.d) && !same(&q.y, &p.y), "and not done");
    good = good && device->backend->upload(device, q.x.there, p.x.host, bytes) == AC_OK && queue->replay(device, recording) == AC_OK;
    TAP_OK(good && same(&q.d, &p.d) && same(&q.y, &p.y), "until they are replayed, of what is in memory then");
    queue->release_recording(device, recording);
    close_pair(&p);
    close_pair(&q);
    ac_backend_cuda.close(device);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void speed(void)
{
    static const char *const names[] = {"convolution forward", "dx", "dweight"};
    enum { SIDE = 128 };
    for (int pass = 0; pass < 3 && ac_backend_cuda.open(1, &device) == AC_OK; pass++) {
        pair p;
        double product_s = 0, convolution_s = 0;
        bool good = open_pair(&p, SIDE, AC_BF16, pass);
        for (int k = 0; k < 2; k++) { /* the second time counts */
            double began = seconds();
            good = good && run_product(&p) && device->backend->synchronize(device) == AC_OK;
            product_s = seconds() - began;
            good = good && run_convolution(&p) && device->backend->synchronize(device) == AC_OK;
            convolution_s = seconds() - began - product_s;
        }
        TAP_OK(good, "a product and a %s of middling size", names[pass]);
        printf("# GFLOP/s of processor time, bf16: product %d^3 %.1f, %s 4x%dx%d, 3x3, %d to %d channels %.1f\n", SIDE, 2e-9 * SIDE * SIDE * SIDE / product_s, names[pass],
               SIDE / 4, SIDE / 4, SIDE / 2, SIDE / 2, 2e-9 * 4 * (SIDE / 4) * (SIDE / 4) * 9 * (SIDE / 2) * (SIDE / 2) / convolution_s);
        close_pair(&p);
        ac_backend_cuda.close(device);
    }
}

int main(void)
{
    all("first choice");
    setenv("ANYCLASS_CUDA_TUNE", "8", 1);
    all("of 8");
    unsetenv("ANYCLASS_CUDA_TUNE");
    recorded();
    speed();
    return tap_done();
}
