/* What the doubles of cuBLASLt and cuDNN must refuse: each entry breaks one thing of a product or a convolution that is otherwise right, through the
 * libraries' own interface, as an error planted in gemm.c or conv.c would. */
#include "backend/cuda/cuda.h"
#include "tests/cuda_host/library.h"
#include "tests/tap.h"
#include <cublasLt.h>
#include <cudnn.h>

static cudaStream_t stream;
static unsigned char *memory; /* of the device, 1 MiB */
enum { MEMORY_BYTES = 1 << 20 };

/* ---- a product: d [m, n] = a [m, k] b [k, n], columns as the library counts them ---- */

typedef struct matrix {
    cudaDataType type;
    uint64_t rows, cols;
    int64_t ld, stride;
    int32_t batch, order;
    size_t bytes_of_order; /* with which `order` is set; 0: not at all */
} matrix;

typedef struct product {
    matrix a, b, c, d;
    cublasComputeType_t compute;
    cudaDataType scale;
    cublasOperation_t op_a, op_b;
    cublasLtEpilogue_t epilogue;
    size_t op_bytes, workspace_bytes, given_bytes;
    uint32_t alignment; /* as told; 0: not told */
    void *at_a, *at_b, *at_c, *at_d, *bias, *workspace;
    float beta;
    bool other_algorithm, null_algorithm, no_descriptor;
    cudaStream_t on;
} product;

static product right_product(void)
{
    matrix a = {CUDA_R_32F, 24, 96, 24, 0, 1, CUBLASLT_ORDER_COL, 4}, b = {CUDA_R_32F, 96, 40, 96, 0, 1, CUBLASLT_ORDER_COL, 4}, d = {CUDA_R_32F, 24, 40, 24, 0, 1, CUBLASLT_ORDER_COL, 4};
    return (product){a, b, d, d, CUBLAS_COMPUTE_32F, CUDA_R_32F, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_BIAS, sizeof(cublasOperation_t), 1 << 16, 1 << 16, 16,
                     memory, memory + 65536, memory + 131072, memory + 131072, memory + 196608, memory + 262144, 0, false, false, false, stream};
}

static cublasStatus_t make_layout(const matrix *m, cublasLtMatrixLayout_t *out)
{
    cublasStatus_t status = cublasLtMatrixLayoutCreate(out, m->type, m->rows, m->cols, m->ld);
    if (status == CUBLAS_STATUS_SUCCESS && m->bytes_of_order)
        status = cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_ORDER, &m->order, m->bytes_of_order);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &m->batch, sizeof m->batch);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &m->stride, sizeof m->stride);
    return status;
}

typedef struct made { /* descriptors of a product */
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t matmul;
    cublasLtMatrixLayout_t layout[4];
    cublasLtMatmulPreference_t preference;
} made;

static cublasStatus_t describe(const product *p, made *m)
{
    const matrix *all[] = {&p->a, &p->b, &p->c, &p->d};
    cublasStatus_t s = cublasLtCreate(&m->handle);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = cublasLtMatmulDescCreate(&m->matmul, p->compute, p->scale);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = cublasLtMatmulDescSetAttribute(m->matmul, CUBLASLT_MATMUL_DESC_TRANSA, &p->op_a, p->op_bytes);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = cublasLtMatmulDescSetAttribute(m->matmul, CUBLASLT_MATMUL_DESC_TRANSB, &p->op_b, sizeof p->op_b);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = cublasLtMatmulDescSetAttribute(m->matmul, CUBLASLT_MATMUL_DESC_EPILOGUE, &p->epilogue, sizeof p->epilogue);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = cublasLtMatmulDescSetAttribute(m->matmul, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof p->bias);
    for (int i = 0; s == CUBLAS_STATUS_SUCCESS && i < 4; i++)
        s = make_layout(all[i], &m->layout[i]);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = cublasLtMatmulPreferenceCreate(&m->preference);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = cublasLtMatmulPreferenceSetAttribute(m->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &p->workspace_bytes, sizeof p->workspace_bytes);
    for (int i = CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES; s == CUBLAS_STATUS_SUCCESS && p->alignment && i <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES; i++)
        s = cublasLtMatmulPreferenceSetAttribute(m->preference, (cublasLtMatmulPreferenceAttributes_t)i, &p->alignment, sizeof p->alignment);
    return s;
}

static void drop_product(made *m)
{
    for (int i = 0; i < 4; i++)
        if (m->layout[i])
            cublasLtMatrixLayoutDestroy(m->layout[i]);
    if (m->preference)
        cublasLtMatmulPreferenceDestroy(m->preference);
    if (m->matmul)
        cublasLtMatmulDescDestroy(m->matmul);
    if (m->handle)
        cublasLtDestroy(m->handle);
}

static cublasStatus_t try_product(const product *p)
{
    made m;
    cublasLtMatmulHeuristicResult_t found[8];
    int n = 0, k = 0;
    float one = 1;
    memset(&m, 0, sizeof m);
    cublasStatus_t status = describe(p, &m);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmulAlgoGetHeuristic(m.handle, m.matmul, m.layout[0], m.layout[1], m.layout[2], m.layout[3], m.preference, 8, found, &n);
    while (k < n && found[k].state != CUBLAS_STATUS_SUCCESS)
        k++;
    if (status == CUBLAS_STATUS_SUCCESS && k == n)
        status = CUBLAS_STATUS_INTERNAL_ERROR;
    if (status == CUBLAS_STATUS_SUCCESS && p->other_algorithm) { /* what was found before serves another product now */
        cublasOperation_t turned = CUBLAS_OP_T;
        matrix a = p->a;
        a.rows = a.ld = (int64_t)p->a.cols;
        a.cols = p->a.rows;
        cublasLtMatrixLayoutDestroy(m.layout[0]);
        m.layout[0] = NULL;
        status = make_layout(&a, &m.layout[0]);
        cublasLtMatmulDescSetAttribute(m.matmul, CUBLASLT_MATMUL_DESC_TRANSA, &turned, sizeof turned);
    }
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmul(m.handle, p->no_descriptor ? NULL : m.matmul, &one, p->at_a, m.layout[0], p->at_b, m.layout[1], &p->beta, p->at_c, m.layout[2], p->at_d, m.layout[3],
                                p->null_algorithm ? NULL : &found[k].algo, p->workspace, p->given_bytes, p->on);
    drop_product(&m);
    return status;
}

#define PRODUCT(name, change) \
    static void name(product *p) { change; }
PRODUCT(transposed_a, p->op_a = CUBLAS_OP_T)
PRODUCT(transposed_b, p->op_b = CUBLAS_OP_T)
PRODUCT(op_size, p->op_bytes = 8)
PRODUCT(order_size, p->a.bytes_of_order = 1)
PRODUCT(order_of_a, p->a.order = CUBLASLT_ORDER_ROW)
PRODUCT(short_ld_a, p->a.ld = 23)
PRODUCT(short_ld_d, p->d.ld = p->c.ld = 16)
PRODUCT(wrong_k, p->b.rows = 95)
PRODUCT(wrong_n, p->d.cols = p->c.cols = 41)
PRODUCT(wrong_c, p->c.cols = 39)
PRODUCT(no_rows, p->a.rows = 0)
PRODUCT(batch_of_one_operand, p->a.batch = 2; p->a.stride = 24 * 96)
PRODUCT(batch_without_stride, p->a.batch = p->b.batch = p->c.batch = p->d.batch = 2; p->a.stride = 2304; p->b.stride = 3840)
PRODUCT(batch_too_close, p->a.batch = p->b.batch = p->c.batch = p->d.batch = 2; p->a.stride = 2304; p->b.stride = 3840; p->c.stride = p->d.stride = 24 * 40 - 8)
PRODUCT(stride_without_batch, p->b.stride = 96 * 40)
PRODUCT(types, p->b.type = CUDA_R_16BF)
PRODUCT(result_type, p->c.type = p->d.type = CUDA_R_16BF)
PRODUCT(unknown_type, p->a.type = p->b.type = CUDA_R_64F)
PRODUCT(scale_type, p->scale = CUDA_R_16F)
PRODUCT(half_sums, p->compute = CUBLAS_COMPUTE_16F)
PRODUCT(tf32_of_bf16, p->compute = CUBLAS_COMPUTE_32F_FAST_TF32; p->a.type = p->b.type = p->c.type = p->d.type = CUDA_R_16BF)
PRODUCT(epilogue, p->epilogue = CUBLASLT_EPILOGUE_GELU)
PRODUCT(no_bias, p->bias = NULL)
PRODUCT(odd_bias, p->bias = memory + 196608 + 4)
PRODUCT(host_bias, static float host[64]; p->bias = host)
PRODUCT(odd_a, p->at_a = memory + 8)
PRODUCT(odd_d, p->at_d = p->at_c = memory + 131072 + 4)
PRODUCT(untold_alignment, p->alignment = 0; p->at_a = memory + 16)
PRODUCT(no_b, p->at_b = NULL)
PRODUCT(outside_b, p->at_b = memory + MEMORY_BYTES - 96 * 40 * 4 + 16)
PRODUCT(outside_d, p->at_d = p->at_c = memory + MEMORY_BYTES - 1024)
PRODUCT(wide_ld, p->b.ld = 8192)
PRODUCT(result_in_operand, p->at_d = p->at_c = memory + 4096)
PRODUCT(addend_in_result, p->beta = 1; p->at_c = memory + 131072 + 64)
PRODUCT(addend_otherwise, p->beta = 1; p->c.ld = 32)
PRODUCT(small_workspace, p->given_bytes = 256)
PRODUCT(no_workspace, p->workspace = NULL)
PRODUCT(odd_workspace, p->workspace = memory + 262144 + 128)
PRODUCT(workspace_outside, p->workspace = memory + MEMORY_BYTES - 4096)
PRODUCT(workspace_in_operand, p->workspace = memory + 65536)
PRODUCT(no_stream, p->on = NULL)
PRODUCT(algorithm_of_another, p->other_algorithm = true)
PRODUCT(without_algorithm, p->null_algorithm = true)
PRODUCT(without_descriptor, p->no_descriptor = true)

static const struct {
    const char *name;
    void (*change)(product *p);
    cublasStatus_t expected;
} products[] = {
    {"a transposed that is not", transposed_a, CUBLAS_STATUS_INVALID_VALUE},
    {"b transposed that is not", transposed_b, CUBLAS_STATUS_INVALID_VALUE},
    {"an attribute of another size", op_size, CUBLAS_STATUS_INVALID_VALUE},
    {"an order of one byte", order_size, CUBLAS_STATUS_INVALID_VALUE},
    {"rows for columns", order_of_a, CUBLAS_STATUS_INVALID_VALUE},
    {"columns of a closer than they are long", short_ld_a, CUBLAS_STATUS_INVALID_VALUE},
    {"columns of d closer than they are long", short_ld_d, CUBLAS_STATUS_INVALID_VALUE},
    {"two k", wrong_k, CUBLAS_STATUS_INVALID_VALUE},
    {"two n", wrong_n, CUBLAS_STATUS_INVALID_VALUE},
    {"an addend of another shape", wrong_c, CUBLAS_STATUS_INVALID_VALUE},
    {"a matrix of nothing", no_rows, CUBLAS_STATUS_INVALID_VALUE},
    {"several of one operand", batch_of_one_operand, CUBLAS_STATUS_INVALID_VALUE},
    {"several results in one place", batch_without_stride, CUBLAS_STATUS_INVALID_VALUE},
    {"several results in each other", batch_too_close, CUBLAS_STATUS_INVALID_VALUE},
    {"a stride for one matrix", stride_without_batch, CUBLAS_STATUS_INVALID_VALUE},
    {"operands of two types", types, CUBLAS_STATUS_NOT_SUPPORTED},
    {"a result of a shorter type", result_type, CUBLAS_STATUS_NOT_SUPPORTED},
    {"a type that is not known", unknown_type, CUBLAS_STATUS_NOT_SUPPORTED},
    {"factors in float16", scale_type, CUBLAS_STATUS_NOT_SUPPORTED},
    {"sums in float16", half_sums, CUBLAS_STATUS_NOT_SUPPORTED},
    {"tf32 of bf16", tf32_of_bf16, CUBLAS_STATUS_NOT_SUPPORTED},
    {"an epilogue that nobody wants", epilogue, CUBLAS_STATUS_NOT_SUPPORTED},
    {"no bias", no_bias, CUBLAS_STATUS_INVALID_VALUE},
    {"a bias that is not aligned", odd_bias, CUBLAS_STATUS_INVALID_VALUE},
    {"a bias of the host", host_bias, CUBLAS_STATUS_INVALID_VALUE},
    {"a that is not aligned as promised", odd_a, CUBLAS_STATUS_INVALID_VALUE},
    {"d that is not aligned as promised", odd_d, CUBLAS_STATUS_INVALID_VALUE},
    {"an alignment that was not told", untold_alignment, CUBLAS_STATUS_INVALID_VALUE},
    {"no b", no_b, CUBLAS_STATUS_INVALID_VALUE},
    {"b past its block", outside_b, CUBLAS_STATUS_INVALID_VALUE},
    {"d past its block", outside_d, CUBLAS_STATUS_INVALID_VALUE},
    {"columns so far apart that they leave the block", wide_ld, CUBLAS_STATUS_INVALID_VALUE},
    {"the result in an operand", result_in_operand, CUBLAS_STATUS_INVALID_VALUE},
    {"the addend shifted in the result", addend_in_result, CUBLAS_STATUS_INVALID_VALUE},
    {"the addend otherwise in the result", addend_otherwise, CUBLAS_STATUS_INVALID_VALUE},
    {"less workspace than promised", small_workspace, CUBLAS_STATUS_INVALID_VALUE},
    {"no workspace", no_workspace, CUBLAS_STATUS_INVALID_VALUE},
    {"workspace that is not aligned", odd_workspace, CUBLAS_STATUS_INVALID_VALUE},
    {"workspace past its block", workspace_outside, CUBLAS_STATUS_INVALID_VALUE},
    {"workspace in an operand", workspace_in_operand, CUBLAS_STATUS_INVALID_VALUE},
    {"no stream", no_stream, CUBLAS_STATUS_INVALID_VALUE},
    {"an algorithm of another product", algorithm_of_another, CUBLAS_STATUS_NOT_SUPPORTED},
    {"no algorithm", without_algorithm, CUBLAS_STATUS_INVALID_VALUE},
    {"no descriptor", without_descriptor, CUBLAS_STATUS_INVALID_VALUE},
};

static void all_products(void)
{
    product p = right_product();
    int faults = emulated_n_faults();
    cublasStatus_t status = try_product(&p);
    TAP_OK(status == CUBLAS_STATUS_SUCCESS && emulated_n_faults() == faults, "a product that is right is made (%d)", (int)status);
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        p = right_product();
        products[i].change(&p);
        faults = emulated_n_faults();
        status = try_product(&p);
        TAP_OK(status == products[i].expected && emulated_n_faults() == faults + 1, "a product with %s: %d, %s", products[i].name, (int)status, emulated_fault_text());
    }
}

/* ---- a convolution, forward: x [2, 9, 7, 8] to y [2, 9, 7, 16] by 3x3 ---- */

typedef struct convolution {
    int64_t dimension[3][4], stride[3][4], id[3], alignment[3], n_dimensions;
    cudnnDataType_t type[3], compute;
    cudnnConvolutionMode_t mode;
    int64_t n_spatial, before[2], after[2], dilation[2], filter_stride[2], n_padding;
    float alpha, beta;
    cudnnBackendAttributeType_t type_of_ids;
    int64_t engine, n_ids, pack_id[3];
    unsigned char *at[3], *workspace;
    bool no_alignment, early, wrong_child, set_late, no_stream, other_handle, plan_as_pack;
} convolution;

static convolution right_convolution(void)
{
    return (convolution){{{2, 8, 9, 7}, {16, 8, 3, 3}, {2, 16, 9, 7}}, {{504, 1, 56, 8}, {72, 1, 24, 8}, {1008, 1, 112, 16}}, {1, 2, 3}, {16, 16, 16}, 4,
                         {CUDNN_DATA_FLOAT, CUDNN_DATA_FLOAT, CUDNN_DATA_FLOAT}, CUDNN_DATA_FLOAT, CUDNN_CROSS_CORRELATION, 2, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 2, 1, 0,
                         CUDNN_TYPE_INT64, 4, 3, {1, 2, 3}, {memory, memory + 65536, memory + 131072}, memory + 262144, false, false, false, false, false, false, false};
}

typedef cudnnBackendDescriptor_t desc;
static cudnnStatus_t first_status; /* that is not success */

static bool good(cudnnStatus_t status)
{
    if (first_status == CUDNN_STATUS_SUCCESS)
        first_status = status;
    return first_status == CUDNN_STATUS_SUCCESS;
}

static bool put(desc d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n, const void *values)
{
    return good(cudnnBackendSetAttribute(d, name, type, n, values));
}

static bool make_tensor(const convolution *c, int i, desc *out)
{
    return good(cudnnBackendCreateDescriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR, out)) && put(*out, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &c->type[i]) &&
           put(*out, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, c->n_dimensions, c->dimension[i]) && put(*out, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, c->stride[i]) &&
           put(*out, CUDNN_ATTR_TENSOR_UNIQUE_ID, c->type_of_ids, 1, &c->id[i]) &&
           (c->no_alignment || put(*out, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &c->alignment[i])) && (c->early || good(cudnnBackendFinalize(*out))) &&
           (!c->set_late || put(*out, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &c->id[i]));
}

static bool make_convolution(const convolution *c, desc *out)
{
    return good(cudnnBackendCreateDescriptor(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, out)) && put(*out, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &c->compute) &&
           put(*out, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &c->mode) && put(*out, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &c->n_spatial) &&
           put(*out, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, c->n_padding, c->before) && put(*out, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, c->after) &&
           put(*out, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, c->dilation) && put(*out, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, c->filter_stride) &&
           good(cudnnBackendFinalize(*out));
}

typedef struct parts {
    cudnnHandle_t handle, other;
    desc tensor[3], convolution, operation, graph, engine, config, plan, pack;
} parts;

static bool make_graph(const convolution *c, parts *p)
{
    static const cudnnBackendAttributeName_t names[] = {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                                                        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y};
    bool fine = good(cudnnCreate(&p->handle)) && good(cudnnCreate(&p->other)) && (c->no_stream || good(cudnnSetStream(p->handle, stream)));
    for (int i = 0; fine && i < 3; i++)
        fine = make_tensor(c, i, &p->tensor[i]);
    fine = fine && make_convolution(c, &p->convolution) && good(cudnnBackendCreateDescriptor(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, &p->operation)) &&
           put(p->operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, c->wrong_child ? &p->tensor[0] : &p->convolution);
    for (int i = 0; fine && i < 3; i++)
        fine = put(p->operation, names[i], CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &p->tensor[i]);
    return fine && put(p->operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &c->alpha) &&
           put(p->operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &c->beta) && good(cudnnBackendFinalize(p->operation)) &&
           good(cudnnBackendCreateDescriptor(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &p->graph)) &&
           put(p->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &p->handle) && put(p->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &p->operation) &&
           good(cudnnBackendFinalize(p->graph));
}

static bool make_plan(const convolution *c, parts *p)
{
    return good(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &p->engine)) &&
           put(p->engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &p->graph) &&
           put(p->engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &c->engine) && good(cudnnBackendFinalize(p->engine)) &&
           good(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &p->config)) &&
           put(p->config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &p->engine) && good(cudnnBackendFinalize(p->config)) &&
           good(cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &p->plan)) &&
           put(p->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, c->other_handle ? &p->other : &p->handle) &&
           put(p->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &p->config) && good(cudnnBackendFinalize(p->plan));
}

static cudnnStatus_t try_convolution(const convolution *c)
{
    parts p;
    memset(&p, 0, sizeof p);
    first_status = CUDNN_STATUS_SUCCESS;
    if (make_graph(c, &p) && make_plan(c, &p) && good(cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &p.pack)) &&
        put(p.pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, c->n_ids, c->pack_id) &&
        put(p.pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, c->n_ids, c->at) &&
        put(p.pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &c->workspace) && good(cudnnBackendFinalize(p.pack)))
        good(cudnnBackendExecute(p.handle, p.plan, c->plan_as_pack ? p.plan : p.pack));
    desc all[] = {p.tensor[0], p.tensor[1], p.tensor[2], p.convolution, p.operation, p.graph, p.engine, p.config, p.plan, p.pack};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i])
            cudnnBackendDestroyDescriptor(all[i]);
    cudnnDestroy(p.handle);
    cudnnDestroy(p.other);
    return first_status;
}

#define CONVOLUTION(name, change) \
    static void name(convolution *c) { change; }
CONVOLUTION(channels_first, c->stride[0][0] = 504; c->stride[0][1] = 63; c->stride[0][2] = 7; c->stride[0][3] = 1)
CONVOLUTION(sides_swapped, c->stride[0][2] = 8; c->stride[0][3] = 72)
CONVOLUTION(weights_otherwise, c->stride[1][1] = 9; c->stride[1][2] = 3; c->stride[1][3] = 1)
CONVOLUTION(gap, c->stride[2][0] = 1024)
CONVOLUTION(side_of_y, c->dimension[2][2] = 8; c->stride[2][0] = 896)
CONVOLUTION(dimensions_swapped, c->dimension[0][2] = 7; c->dimension[0][3] = 9; c->stride[0][2] = 72)
CONVOLUTION(channels_of_y, c->dimension[2][1] = 15; c->stride[2][0] = 945; c->stride[2][2] = 105; c->stride[2][3] = 15)
CONVOLUTION(images, c->dimension[2][0] = 1)
CONVOLUTION(three_strides, c->n_dimensions = 3)
CONVOLUTION(same_ids, c->id[1] = 1)
CONVOLUTION(type_of_weights, c->type[1] = CUDNN_DATA_HALF)
CONVOLUTION(double_tensor, c->type[0] = CUDNN_DATA_DOUBLE)
CONVOLUTION(half_sums_, c->compute = CUDNN_DATA_HALF)
CONVOLUTION(turned_weights, c->mode = CUDNN_CONVOLUTION)
CONVOLUTION(dimensions_in_space, c->n_spatial = 3)
CONVOLUTION(one_padding, c->n_padding = 1)
CONVOLUTION(no_padding, c->before[0] = 0)
CONVOLUTION(dilated, c->dilation[1] = 2)
CONVOLUTION(stride_of_two, c->filter_stride[0] = 2)
CONVOLUTION(added, c->beta = 1)
CONVOLUTION(id_as_float, c->type_of_ids = CUDNN_TYPE_FLOAT)
CONVOLUTION(alignment_missing, c->no_alignment = true)
CONVOLUTION(not_finalized, c->early = true)
CONVOLUTION(tensor_as_convolution, c->wrong_child = true)
CONVOLUTION(changed_later, c->set_late = true)
CONVOLUTION(handle_without_stream, c->no_stream = true)
CONVOLUTION(plan_of_another, c->other_handle = true)
CONVOLUTION(odd_x, c->at[0] = memory + 8)
CONVOLUTION(odd_promise, c->alignment[2] = 24)
CONVOLUTION(larger_promise, c->alignment[1] = 128; c->at[1] = memory + 65536 + 64)
CONVOLUTION(two_addresses, c->n_ids = 2)
CONVOLUTION(unknown_id, c->pack_id[2] = 4)
CONVOLUTION(id_twice, c->pack_id[2] = 1)
CONVOLUTION(no_y, c->at[2] = NULL)
CONVOLUTION(x_outside, c->at[0] = memory + MEMORY_BYTES - 2048)
CONVOLUTION(host_weights, static _Alignas(64) unsigned char host[8192]; c->at[1] = host)
CONVOLUTION(y_in_x, c->at[2] = memory + 1024)
CONVOLUTION(without_workspace, c->workspace = NULL)
CONVOLUTION(workspace_past, c->workspace = memory + MEMORY_BYTES - 1024)
CONVOLUTION(workspace_in_x, c->workspace = memory)
CONVOLUTION(plan_for_pack, c->plan_as_pack = true)

static const struct {
    const char *name;
    void (*change)(convolution *c);
    cudnnStatus_t expected;
} convolutions[] = {
    {"channels first", channels_first, CUDNN_STATUS_NOT_SUPPORTED_LAYOUT},
    {"strides of rows and columns swapped", sides_swapped, CUDNN_STATUS_NOT_SUPPORTED_LAYOUT},
    {"weights as PyTorch stores them", weights_otherwise, CUDNN_STATUS_NOT_SUPPORTED_LAYOUT},
    {"a gap between images", gap, CUDNN_STATUS_NOT_SUPPORTED_LAYOUT},
    {"a result of another height", side_of_y, CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH},
    {"height and width swapped", dimensions_swapped, CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH},
    {"a result of other channels", channels_of_y, CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH},
    {"a result of fewer images", images, CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH},
    {"more strides than dimensions", three_strides, CUDNN_STATUS_BAD_PARAM},
    {"two tensors of one id", same_ids, CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES},
    {"weights of another type", type_of_weights, CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE},
    {"a tensor in double", double_tensor, CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE},
    {"sums in float16", half_sums_, CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE},
    {"turned weights", turned_weights, CUDNN_STATUS_NOT_SUPPORTED},
    {"three dimensions in space", dimensions_in_space, CUDNN_STATUS_BAD_PARAM},
    {"padding for one dimension", one_padding, CUDNN_STATUS_BAD_PARAM},
    {"no padding above", no_padding, CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH},
    {"a dilation", dilated, CUDNN_STATUS_NOT_SUPPORTED},
    {"a stride that the result does not have", stride_of_two, CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH},
    {"what is there added", added, CUDNN_STATUS_NOT_SUPPORTED},
    {"an attribute of another type", id_as_float, CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE},
    {"an attribute missing", alignment_missing, CUDNN_STATUS_BAD_PARAM},
    {"a tensor that is not finalized", not_finalized, CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED},
    {"a tensor for its convolution", tensor_as_convolution, CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE},
    {"a tensor changed afterwards", changed_later, CUDNN_STATUS_NOT_INITIALIZED},
    {"no stream", handle_without_stream, CUDNN_STATUS_BAD_PARAM},
    {"a plan of another handle", plan_of_another, CUDNN_STATUS_BAD_PARAM},
    {"x that is not aligned as promised", odd_x, CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER},
    {"an alignment that is none", odd_promise, CUDNN_STATUS_BAD_PARAM},
    {"a promise that is not kept", larger_promise, CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER},
    {"an address missing", two_addresses, CUDNN_STATUS_BAD_PARAM_NULL_POINTER},
    {"an address for no tensor", unknown_id, CUDNN_STATUS_BAD_PARAM},
    {"two addresses for a tensor", id_twice, CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES},
    {"y nowhere", no_y, CUDNN_STATUS_BAD_PARAM_NULL_POINTER},
    {"x past its block", x_outside, CUDNN_STATUS_EXECUTION_FAILED},
    {"weights of the host", host_weights, CUDNN_STATUS_EXECUTION_FAILED},
    {"the result in an operand", y_in_x, CUDNN_STATUS_BAD_PARAM},
    {"no workspace", without_workspace, CUDNN_STATUS_BAD_PARAM_NULL_POINTER},
    {"workspace past its block", workspace_past, CUDNN_STATUS_EXECUTION_FAILED},
    {"workspace in an operand", workspace_in_x, CUDNN_STATUS_BAD_PARAM},
    {"a plan for the addresses", plan_for_pack, CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE},
};

static void all_convolutions(void)
{
    convolution c = right_convolution();
    int faults = emulated_n_faults();
    cudnnStatus_t status = try_convolution(&c);
    TAP_OK(status == CUDNN_STATUS_SUCCESS && emulated_n_faults() == faults, "a convolution that is right is made (%d)", (int)status);
    c.engine = 99;
    status = try_convolution(&c);
    TAP_OK(status == CUDNN_STATUS_NOT_SUPPORTED && emulated_n_faults() == faults, "an engine that is not there is lacking, no fault (%d)", (int)status);
    for (size_t i = 0; i < sizeof convolutions / sizeof *convolutions; i++) {
        c = right_convolution();
        convolutions[i].change(&c);
        faults = emulated_n_faults();
        status = try_convolution(&c);
        TAP_OK(status == convolutions[i].expected && emulated_n_faults() > faults, "a convolution with %s: %d, %s", convolutions[i].name, (int)status, emulated_fault_text());
    }
}

int main(void)
{
    if (!TAP_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess && cudaMalloc((void **)&memory, MEMORY_BYTES) == cudaSuccess &&
                    cudaMemsetAsync(memory, 0, MEMORY_BYTES, stream) == cudaSuccess,
                "memory"))
        return tap_done();
    emulated_expect_faults(true);
    all_products();
    all_convolutions();
    TAP_OK(cudaStreamSynchronize(stream) == cudaSuccess && cudaFree(memory) == cudaSuccess && cudaStreamDestroy(stream) == cudaSuccess, "what was right ran to its end");
    return tap_done();
}
