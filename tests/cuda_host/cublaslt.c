/* cuBLASLt for the emulated build: descriptors that are checked, a choice of algorithms (some need workspace, some are not to be had, one fails
 * when it is run), and the product itself. What a caller does wrong is a fault (library.h) and gets the status the library documents. */
#include "tests/cuda_host/include/cublasLt.h"
#include "tests/cuda_host/library.h"
#include <stdlib.h>
#include <string.h>

enum { LAYOUT = 0x4c41594f, MATMUL = 0x4d41544d, PREFERENCE = 0x50524546, HANDLE = 0x424c4153, BIAS_ALIGN = 16, WORKSPACE_ALIGN = 256 };
static const char *const library = "cuBLASLt";

struct emulated_blas {
    uint32_t kind;
};

struct emulated_layout {
    uint32_t kind;
    int32_t type, order, batch;
    uint64_t rows, cols;
    int64_t ld, stride;
};

struct emulated_matmul {
    uint32_t kind;
    int32_t compute, scale, op_a, op_b;
    uint32_t epilogue;
    const void *bias;
    int32_t bias_type; /* 0: that of d */
};

struct emulated_preference {
    uint32_t kind;
    uint64_t workspace_bytes;
    uint32_t alignment[4]; /* of a, b, c, d */
};

typedef struct operand {
    int64_t rows, cols, ld, stride; /* as stored, column after column */
} operand;

typedef struct problem { /* hashed as bytes: zeroed first */
    int64_t m, n, k, batch;
    operand a, b, c, d;
    int32_t transpose_a, transpose_b;
    int32_t type, result; /* ac_dtype of a and b, of c, d and the bias */
    int32_t tf32, bias;
} problem;

typedef enum algorithm_id { WIDE = 1, SPLIT, PLAIN, NARROW, STUCK, GONE } algorithm_id;

/* What an opaque cublasLtMatmulAlgo_t holds. */
typedef struct algorithm {
    uint64_t magic, id, problem, workspace_bytes, alignment, unused[2], check;
} algorithm;
_Static_assert(sizeof(algorithm) == sizeof(cublasLtMatmulAlgo_t), "an algorithm fits");

static uint64_t hash(const void *from, size_t n)
{
    const unsigned char *bytes = from;
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ bytes[i]) * 1099511628211u;
    return h;
}

#define REFUSE(status, ...) return emulated_fault(library, __VA_ARGS__), (status)

/* ---- descriptors ---- */

size_t cublasLtGetVersion(void)
{
    return 130000;
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    static const char *const names[] = {"not initialized", "allocation failed", "invalid value", "architecture mismatch", "execution failed", "internal error", "not supported"};
    return status == CUBLAS_STATUS_SUCCESS ? "success" : names[status - CUBLAS_STATUS_NOT_INITIALIZED];
}

/* New, zeroed memory that says what it is. */
static cublasStatus_t make(size_t n_bytes, uint32_t kind, void **out)
{
    if (!out)
        REFUSE(CUBLAS_STATUS_INVALID_VALUE, "nowhere to put a descriptor");
    *out = calloc(1, n_bytes);
    if (!*out)
        return CUBLAS_STATUS_ALLOC_FAILED;
    memcpy(*out, &kind, sizeof kind);
    return CUBLAS_STATUS_SUCCESS;
}

static bool is_live(const void *descriptor, uint32_t kind)
{
    uint32_t is = 0;
    if (descriptor)
        memcpy(&is, descriptor, sizeof is);
    if (is != kind)
        emulated_fault(library, "%s is not what it should be, or was destroyed", kind == LAYOUT ? "a layout" : kind == MATMUL ? "a product" : kind == HANDLE ? "a handle" : "a preference");
    return is == kind;
}

static cublasStatus_t destroy(void *descriptor, uint32_t kind)
{
    if (!is_live(descriptor, kind))
        return CUBLAS_STATUS_INVALID_VALUE;
    memset(descriptor, 0, sizeof kind);
    free(descriptor);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    return make(sizeof **handle, HANDLE, (void **)handle);
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    return destroy(handle, HANDLE);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows, uint64_t cols, int64_t ld)
{
    cublasStatus_t status = make(sizeof **layout, LAYOUT, (void **)layout);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    struct emulated_layout *l = *layout;
    l->type = (int32_t)type;
    l->order = CUBLASLT_ORDER_COL;
    l->rows = rows;
    l->cols = cols;
    l->ld = ld;
    l->batch = 1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    return destroy(layout, LAYOUT);
}

static cublasStatus_t put(void *to, size_t size, const void *value, size_t n_bytes)
{
    if (!to)
        REFUSE(CUBLAS_STATUS_INVALID_VALUE, "an attribute this descriptor does not have");
    if (!value || n_bytes != size)
        REFUSE(CUBLAS_STATUS_INVALID_VALUE, "an attribute of %zu bytes is set with %zu", size, n_bytes);
    memcpy(to, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute, const void *value, size_t n_bytes)
{
    if (!is_live(layout, LAYOUT))
        return CUBLAS_STATUS_INVALID_VALUE;
    switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
        return put(&layout->type, sizeof layout->type, value, n_bytes);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
        return put(&layout->order, sizeof layout->order, value, n_bytes);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
        return put(&layout->rows, sizeof layout->rows, value, n_bytes);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
        return put(&layout->cols, sizeof layout->cols, value, n_bytes);
    case CUBLASLT_MATRIX_LAYOUT_LD:
        return put(&layout->ld, sizeof layout->ld, value, n_bytes);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
        return put(&layout->batch, sizeof layout->batch, value, n_bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
        return put(&layout->stride, sizeof layout->stride, value, n_bytes);
    }
    return put(NULL, 0, value, n_bytes);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *matmul, cublasComputeType_t compute, cudaDataType_t scale)
{
    cublasStatus_t status = make(sizeof **matmul, MATMUL, (void **)matmul);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    (*matmul)->compute = (int32_t)compute;
    (*matmul)->scale = (int32_t)scale;
    (*matmul)->op_a = (*matmul)->op_b = CUBLAS_OP_N;
    (*matmul)->epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t matmul)
{
    return destroy(matmul, MATMUL);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t matmul, cublasLtMatmulDescAttributes_t attribute, const void *value, size_t n_bytes)
{
    if (!is_live(matmul, MATMUL))
        return CUBLAS_STATUS_INVALID_VALUE;
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
        return put(&matmul->compute, sizeof matmul->compute, value, n_bytes);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
        return put(&matmul->scale, sizeof matmul->scale, value, n_bytes);
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return put(&matmul->op_a, sizeof matmul->op_a, value, n_bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return put(&matmul->op_b, sizeof matmul->op_b, value, n_bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return put(&matmul->epilogue, sizeof matmul->epilogue, value, n_bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return put(&matmul->bias, sizeof matmul->bias, value, n_bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        return put(&matmul->bias_type, sizeof matmul->bias_type, value, n_bytes);
    }
    return put(NULL, 0, value, n_bytes);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    cublasStatus_t status = make(sizeof **preference, PREFERENCE, (void **)preference);
    for (int i = 0; status == CUBLAS_STATUS_SUCCESS && i < 4; i++)
        (*preference)->alignment[i] = 256; /* as documented: what is not said is taken to be so */
    return status;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    return destroy(preference, PREFERENCE);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const void *value,
                                                    size_t n_bytes)
{
    if (!is_live(preference, PREFERENCE))
        return CUBLAS_STATUS_INVALID_VALUE;
    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return put(&preference->workspace_bytes, sizeof preference->workspace_bytes, value, n_bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        return put(&preference->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], sizeof *preference->alignment, value, n_bytes);
    }
    return put(NULL, 0, value, n_bytes);
}

/* ---- what the descriptors say together ---- */

static bool type_of(int32_t type, int32_t *out)
{
    *out = type == CUDA_R_16BF ? AC_BF16 : type == CUDA_R_16F ? AC_F16 : AC_F32;
    return type == CUDA_R_16BF || type == CUDA_R_16F || type == CUDA_R_32F;
}

/* One layout alone: the number of elements from the first to behind the last is returned, 0 after a fault. */
static int64_t read_layout(const struct emulated_layout *l, const char *name, operand *out)
{
    if (!is_live(l, LAYOUT))
        return 0;
    *out = (operand){(int64_t)l->rows, (int64_t)l->cols, l->ld, l->batch > 1 ? l->stride : 0};
    if (l->order != CUBLASLT_ORDER_COL)
        return emulated_fault(library, "%s: an order this build does not know", name), 0;
    if (out->rows < 1 || out->cols < 1 || l->batch < 1)
        return emulated_fault(library, "%s: %lld rows, %lld columns, %d of them", name, (long long)out->rows, (long long)out->cols, l->batch), 0;
    if (out->ld < out->rows)
        return emulated_fault(library, "%s: columns of %lld elements, %lld apart", name, (long long)out->rows, (long long)out->ld), 0;
    if (l->batch == 1 && l->stride != 0)
        return emulated_fault(library, "%s: a stride, but one matrix", name), 0;
    if (out->stride < 0)
        return emulated_fault(library, "%s: a negative stride", name), 0;
    return (l->batch - 1) * out->stride + (out->cols - 1) * out->ld + out->rows;
}

/* Results of a batch may lie one behind the other, or side by side within a column's distance. */
static bool results_are_apart(const operand *d, int64_t batch)
{
    bool behind = d->stride >= (d->cols - 1) * d->ld + d->rows, beside = d->stride >= d->rows && batch * d->stride <= d->ld;
    return batch == 1 || behind || beside;
}

static cublasStatus_t check_shapes(problem *p)
{
    int64_t rows_a = p->transpose_a ? p->a.cols : p->a.rows, cols_a = p->transpose_a ? p->a.rows : p->a.cols;
    int64_t rows_b = p->transpose_b ? p->b.cols : p->b.rows, cols_b = p->transpose_b ? p->b.rows : p->b.cols;
    p->m = p->d.rows;
    p->n = p->d.cols;
    p->k = cols_a;
    if (rows_a != p->m || cols_b != p->n || rows_b != p->k)
        REFUSE(CUBLAS_STATUS_INVALID_VALUE, "[%lld, %lld] x [%lld, %lld] into [%lld, %lld]", (long long)rows_a, (long long)cols_a, (long long)rows_b, (long long)cols_b,
               (long long)p->m, (long long)p->n);
    if (p->c.rows != p->d.rows || p->c.cols != p->d.cols)
        REFUSE(CUBLAS_STATUS_INVALID_VALUE, "the addend is [%lld, %lld], the result [%lld, %lld]", (long long)p->c.rows, (long long)p->c.cols, (long long)p->d.rows,
               (long long)p->d.cols);
    if (!results_are_apart(&p->d, p->batch))
        REFUSE(CUBLAS_STATUS_INVALID_VALUE, "results of a batch lie in each other");
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t read_problem(cublasLtHandle_t handle, cublasLtMatmulDesc_t matmul, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                   cublasLtMatrixLayout_t d, problem *p)
{
    int32_t type_b, type_c;
    memset(p, 0, sizeof *p);
    if (!is_live(handle, HANDLE))
        return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!is_live(matmul, MATMUL) || !read_layout(a, "a", &p->a) || !read_layout(b, "b", &p->b) || !read_layout(c, "c", &p->c) || !read_layout(d, "d", &p->d))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!type_of(a->type, &p->type) || !type_of(b->type, &type_b) || !type_of(c->type, &type_c) || !type_of(d->type, &p->result))
        REFUSE(CUBLAS_STATUS_NOT_SUPPORTED, "a type of elements that is not known here");
    if (type_b != p->type || type_c != p->result || (p->result != p->type && p->result != AC_F32))
        REFUSE(CUBLAS_STATUS_NOT_SUPPORTED, "types that do not go together");
    if (matmul->scale != CUDA_R_32F || (matmul->compute != CUBLAS_COMPUTE_32F && matmul->compute != CUBLAS_COMPUTE_32F_FAST_TF32))
        REFUSE(CUBLAS_STATUS_NOT_SUPPORTED, "sums or factors that are not float");
    p->tf32 = matmul->compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    if (p->tf32 && p->type != AC_F32)
        REFUSE(CUBLAS_STATUS_NOT_SUPPORTED, "tf32 of operands that are not float");
    if ((matmul->op_a != CUBLAS_OP_N && matmul->op_a != CUBLAS_OP_T) || (matmul->op_b != CUBLAS_OP_N && matmul->op_b != CUBLAS_OP_T))
        REFUSE(CUBLAS_STATUS_INVALID_VALUE, "an operation on an operand that is neither N nor T");
    if (matmul->epilogue != CUBLASLT_EPILOGUE_DEFAULT && matmul->epilogue != CUBLASLT_EPILOGUE_BIAS)
        REFUSE(CUBLAS_STATUS_NOT_SUPPORTED, "an epilogue that is not known here");
    if (matmul->bias_type && matmul->bias_type != d->type)
        REFUSE(CUBLAS_STATUS_NOT_SUPPORTED, "a bias that is not of the result's type");
    p->transpose_a = matmul->op_a == CUBLAS_OP_T;
    p->transpose_b = matmul->op_b == CUBLAS_OP_T;
    p->bias = matmul->epilogue == CUBLASLT_EPILOGUE_BIAS;
    p->batch = d->batch;
    if (a->batch != d->batch || b->batch != d->batch || c->batch != d->batch)
        REFUSE(CUBLAS_STATUS_INVALID_VALUE, "%d, %d, %d and %d matrices", a->batch, b->batch, c->batch, d->batch);
    return check_shapes(p);
}

/* ---- algorithms ---- */

/* Something the library lacks. */
static bool is_lacking(const problem *p)
{
    return p->bias && p->type != AC_F32 && (p->m % 8 || p->k % 8);
}

static uint64_t workspace_of(const problem *p, algorithm_id id)
{
    uint64_t n = (uint64_t)(p->m * p->n * p->batch) * sizeof(float), most = 1 << 20;
    return id == SPLIT ? ((n < most ? n : most) + WORKSPACE_ALIGN - 1) / WORKSPACE_ALIGN * WORKSPACE_ALIGN : 0;
}

static bool suits(const problem *p, algorithm_id id)
{
    switch (id) {
    case SPLIT:
        return p->k >= 64;
    case STUCK:
        return p->k % 3 == 0;
    case GONE:
        return p->n % 5 != 1;
    default:
        return true;
    }
}

static algorithm make_algorithm(const problem *p, algorithm_id id)
{
    algorithm a = {.magic = 0x616c676f, .id = id, .problem = hash(p, sizeof *p), .workspace_bytes = workspace_of(p, id)};
    a.alignment = id == WIDE ? 256 : id == NARROW ? emulated_type_bytes((ac_dtype)p->type) : 16;
    a.check = hash(&a, offsetof(algorithm, check));
    return a;
}

static bool read_algorithm(const cublasLtMatmulAlgo_t *from, algorithm *out)
{
    memcpy(out, from, sizeof *out);
    return out->magic == 0x616c676f && out->check == hash(out, offsetof(algorithm, check));
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t matmul, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t found[], int *n_found)
{
    static const algorithm_id order[2][6] = {{WIDE, SPLIT, GONE, PLAIN, STUCK, NARROW}, {WIDE, GONE, PLAIN, SPLIT, NARROW, STUCK}};
    problem p;
    cublasStatus_t status = read_problem(handle, matmul, a, b, c, d, &p);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    if (!is_live(preference, PREFERENCE) || requested < 1 || !found || !n_found)
        REFUSE(CUBLAS_STATUS_INVALID_VALUE, "a search without preference or room for results");
    *n_found = 0;
    if (is_lacking(&p))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    for (int i = 0; i < 6 && *n_found < requested; i++) {
        algorithm_id id = order[p.n % 3 == 0][i];
        algorithm made = make_algorithm(&p, id);
        bool fits = suits(&p, id) && made.workspace_bytes <= preference->workspace_bytes;
        for (int k = 0; k < 4; k++)
            fits &= preference->alignment[k] >= made.alignment;
        if (!fits)
            continue;
        cublasLtMatmulHeuristicResult_t *to = &found[(*n_found)++];
        memset(to, 0, sizeof *to);
        to->state = id == GONE ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
        to->workspaceSize = made.workspace_bytes;
        if (id != GONE)
            memcpy(&to->algo, &made, sizeof made);
    }
    return CUBLAS_STATUS_SUCCESS;
}

/* The algorithm belongs to the problem; no fault when it does not: that is what a caller may ask. */
static cublasStatus_t check_algorithm(const problem *p, const cublasLtMatmulAlgo_t *from, algorithm *out)
{
    if (!read_algorithm(from, out) || out->id < WIDE || out->id > STUCK)
        return CUBLAS_STATUS_INVALID_VALUE;
    return out->problem == hash(p, sizeof *p) && !is_lacking(p) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t matmul, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t *algo, cublasLtMatmulHeuristicResult_t *result)
{
    problem p;
    algorithm made;
    cublasStatus_t status = read_problem(handle, matmul, a, b, c, d, &p);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    if (!algo || !result)
        REFUSE(CUBLAS_STATUS_INVALID_VALUE, "a check of nothing");
    status = check_algorithm(&p, algo, &made);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    result->algo = *algo;
    result->state = CUBLAS_STATUS_SUCCESS;
    result->workspaceSize = made.workspace_bytes;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- the product ---- */

typedef struct job {
    problem p;
    const void *a, *b, *c, *bias;
    void *d, *workspace;
    size_t workspace_bytes;
    float alpha, beta;
    bool split;
} job;

static size_t span_bytes(const operand *o, int64_t batch, int32_t type)
{
    return (size_t)((batch - 1) * o->stride + (o->cols - 1) * o->ld + o->rows) * emulated_type_bytes((ac_dtype)type);
}

static cublasStatus_t check_memory(const job *j, const algorithm *made, size_t workspace_bytes)
{
    const problem *p = &j->p;
    size_t align = made->alignment;
    emulated_span a = {"a", j->a, span_bytes(&p->a, p->batch, p->type), align}, b = {"b", j->b, span_bytes(&p->b, p->batch, p->type), align};
    emulated_span c = {"c", j->c, span_bytes(&p->c, p->batch, p->result), align}, d = {"d", j->d, span_bytes(&p->d, p->batch, p->result), align};
    emulated_span bias = {"the bias", j->bias, (size_t)p->m * emulated_type_bytes((ac_dtype)p->result), BIAS_ALIGN};
    emulated_span workspace = {"the workspace", j->workspace, workspace_bytes, WORKSPACE_ALIGN};
    if (workspace_bytes < made->workspace_bytes)
        REFUSE(CUBLAS_STATUS_INVALID_VALUE, "%llu bytes of workspace are needed, %zu given", (unsigned long long)made->workspace_bytes, workspace_bytes);
    if (!emulated_check_span(library, &a) || !emulated_check_span(library, &b) || !emulated_check_span(library, &d) || (j->beta != 0 && !emulated_check_span(library, &c)) ||
        (p->bias && !emulated_check_span(library, &bias)) || (workspace_bytes > 0 && !emulated_check_span(library, &workspace)))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (emulated_overlap(&a, &d) || emulated_overlap(&b, &d) || (p->bias && emulated_overlap(&bias, &d)))
        REFUSE(CUBLAS_STATUS_INVALID_VALUE, "the result lies in an operand");
    if (j->beta != 0 && emulated_overlap(&c, &d) && (j->c != j->d || memcmp(&p->c, &p->d, sizeof p->c) != 0))
        REFUSE(CUBLAS_STATUS_INVALID_VALUE, "the addend lies in the result, but not as the result does");
    const emulated_span *busy[] = {&a, &b, &d, &c, &bias};
    for (int i = 0; workspace_bytes > 0 && i < 5; i++)
        if (busy[i]->at && emulated_overlap(busy[i], &workspace) && (i != 3 || j->beta != 0) && (i != 4 || p->bias))
            REFUSE(CUBLAS_STATUS_INVALID_VALUE, "the workspace lies in %s", busy[i]->what);
    return CUBLAS_STATUS_SUCCESS;
}

/* Number `index` of a batch as float: where it lies, or a copy to be freed. */
static emulated_matrix load(const problem *p, const operand *o, const void *from, int64_t index, float **copy)
{
    *copy = NULL;
    if (p->type == AC_F32 && !p->tf32)
        return (emulated_matrix){(const float *)from + index * o->stride, o->ld, 1};
    *copy = emulated_block((size_t)(o->rows * o->cols) * sizeof(float));
    for (int64_t i = 0; i < o->cols; i++)
        emulated_to_float(*copy + i * o->rows, (ac_dtype)p->type, from, index * o->stride + i * o->ld, o->rows);
    if (p->tf32)
        emulated_round_tf32(*copy, o->rows * o->cols);
    return (emulated_matrix){*copy, o->rows, 1};
}

static emulated_matrix turned(emulated_matrix m, bool turn)
{
    return turn ? (emulated_matrix){m.values, m.column, m.row} : m;
}

static emulated_matrix from_k(emulated_matrix m, int64_t row, int64_t column)
{
    m.values += row * m.row + column * m.column;
    return m;
}

/* d = alpha sums + bias + beta c, rounded once. */
static void finish(const job *j, int64_t index, const float *sums, float *row, const float *bias)
{
    const problem *p = &j->p;
    for (int64_t col = 0; col < p->n; col++) {
        if (j->beta != 0)
            emulated_to_float(row, (ac_dtype)p->result, j->c, index * p->c.stride + col * p->c.ld, p->m);
        for (int64_t i = 0; i < p->m; i++) {
            double value = (double)j->alpha * (double)sums[col * p->m + i] + (bias ? (double)bias[i] : 0.0);
            row[i] = (float)(j->beta != 0 ? value + (double)j->beta * (double)row[i] : value);
        }
        emulated_from_float((ac_dtype)p->result, j->d, index * p->d.stride + col * p->d.ld, row, p->m);
    }
}

static void run(void *context)
{
    const job *j = context;
    const problem *p = &j->p;
    bool direct = p->result == AC_F32 && !p->bias && j->alpha == 1 && (j->beta == 0 || (j->beta == 1 && j->c == j->d));
    float *sums = direct ? NULL : emulated_block((size_t)(p->m * p->n) * sizeof *sums);
    float *row = emulated_block((size_t)p->m * 2 * sizeof *row), *bias = p->bias ? row + p->m : NULL;
    int64_t half = j->split ? p->k / 2 : p->k;
    if (j->workspace_bytes)
        memset(j->workspace, 0xFF, j->workspace_bytes);
    if (bias)
        emulated_to_float(bias, (ac_dtype)p->result, j->bias, 0, p->m);
    for (int64_t index = 0; index < p->batch; index++) { /* rows of ours are columns here: [n, k] x [k, m] */
        float *copy_a, *copy_b, *to = direct ? (float *)j->d + index * p->d.stride : sums;
        int64_t to_row = direct ? p->d.ld : p->m;
        emulated_matrix b = turned(load(p, &p->b, j->b, index, &copy_b), p->transpose_b), a = turned(load(p, &p->a, j->a, index, &copy_a), p->transpose_a);
        emulated_product(p->n, p->m, half, b, a, to, to_row, direct && j->beta != 0);
        if (half < p->k)
            emulated_product(p->n, p->m, p->k - half, from_k(b, 0, half), from_k(a, half, 0), to, to_row, true);
        if (!direct)
            finish(j, index, sums, row, bias);
        free(copy_a);
        free(copy_b);
    }
    free(row);
    free(sums);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t matmul, const void *alpha, const void *a, cublasLtMatrixLayout_t a_layout,
                              const void *b, cublasLtMatrixLayout_t b_layout, const void *beta, const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_bytes, cudaStream_t stream)
{
    job j;
    algorithm made;
    memset(&j, 0, sizeof j);
    cublasStatus_t status = read_problem(handle, matmul, a_layout, b_layout, c_layout, d_layout, &j.p);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    if (!alpha || !beta || !algo)
        REFUSE(CUBLAS_STATUS_INVALID_VALUE, "a factor or the algorithm is missing");
    status = check_algorithm(&j.p, algo, &made);
    if (status != CUBLAS_STATUS_SUCCESS)
        REFUSE(status, "an algorithm that was not found for this product");
    if (!stream)
        REFUSE(CUBLAS_STATUS_INVALID_VALUE, "no stream");
    memcpy(&j.alpha, alpha, sizeof j.alpha);
    memcpy(&j.beta, beta, sizeof j.beta);
    j.a = a;
    j.b = b;
    j.c = c;
    j.d = d;
    j.bias = matmul->bias;
    j.split = made.id == SPLIT;
    j.workspace = workspace;
    status = check_memory(&j, &made, workspace_bytes);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    if (made.id == STUCK)
        return CUBLAS_STATUS_NOT_SUPPORTED; /* as some do only then */
    j.workspace_bytes = made.workspace_bytes;
    emulated_enqueue(stream, "product", run, &j, sizeof j);
    return CUBLAS_STATUS_SUCCESS;
}
