/* image_input: uint8 pixels to augmented, normalised activations. Colours need the mean luminance of the image as it is when
 * contrast's turn comes: one pass sums it (integers, so in any order), one does everything. Compiled without fused products
 * (augment_formula.h). */
#include "backend/cuda/kernel.cuh"

struct image_call {
    ac_image_input_attribute a;
    const uint8_t *images;
    const int64_t *keys;
    unsigned long long *luminance; /* [n]: sums */
    int height, width;
};

/* Steps first .. last - 1 of the order on one pixel. */
__device__ static inline void change_pixel(const ac_colour_draw &draw, int first, int last, int mean, int *r, int *g, int *b)
{
    for (int i = first; i < last; i++) {
        int step = draw.order[i];
        if (step == AC_HUE) {
            int h, s, v;
            if (!draw.with_hue)
                continue;
            ac_hsv_from_rgb(*r, *g, *b, &h, &s, &v);
            ac_rgb_from_hsv((h + draw.hue_shift) & 255, s, v, r, g, b);
        } else {
            int from = step == AC_BRIGHTNESS ? 0 : step == AC_CONTRAST ? mean : ac_luminance(*r, *g, *b);
            *r = ac_blend(from, *r, draw.factor[step]);
            *g = ac_blend(from, *g, draw.factor[step]);
            *b = ac_blend(from, *b, draw.factor[step]);
        }
    }
}

__device__ static inline int place_of_contrast(const ac_colour_draw &draw)
{
    int place = 0;
    while (draw.order[place] != AC_CONTRAST)
        place++;
    return place;
}

/* blockIdx.y: image. One thread draws for its block. */
__global__ void __launch_bounds__(CUDA_BLOCK) luminance_kernel(image_call c)
{
    __shared__ ac_colour_draw draw;
    __shared__ int sum[CUDA_BLOCK];
    int64_t image = blockIdx.y;
    int n_pixels = c.height * c.width, mine = 0;
    if (threadIdx.x == 0)
        draw = ac_draw_colour(&c.a.augment, c.a.seed, (uint64_t)c.keys[image]);
    __syncthreads();
    int place = place_of_contrast(draw);
    const uint8_t *from = c.images + image * n_pixels * 3;
    for (int p = (int)thread_index(); p < n_pixels; p += (int)(gridDim.x * blockDim.x)) {
        int r = from[3 * p], g = from[3 * p + 1], b = from[3 * p + 2];
        change_pixel(draw, 0, place, 0, &r, &g, &b);
        mine += ac_luminance(r, g, b);
    }
    sum[threadIdx.x] = mine;
    for (int half = CUDA_BLOCK / 2; half > 0; half /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < half)
            sum[threadIdx.x] += sum[threadIdx.x + half];
    }
    if (threadIdx.x == 0)
        atomicAdd(&c.luminance[image], (unsigned long long)sum[0]);
}

template <typename T> __global__ void __launch_bounds__(CUDA_BLOCK) image_kernel(image_call c, T *out)
{
    __shared__ ac_colour_draw draw;
    __shared__ ac_rotation rotation;
    __shared__ bool mirror;
    __shared__ int mean;
    int64_t image = blockIdx.y;
    int n_pixels = c.height * c.width;
    if (threadIdx.x == 0) {
        uint64_t key = (uint64_t)c.keys[image];
        mirror = c.a.flip && ac_draw_mirror(c.a.seed, key);
        if (c.a.augment.kind == AC_AUGMENT_COLOUR) {
            draw = ac_draw_colour(&c.a.augment, c.a.seed, key);
            mean = ac_mean_luminance(c.luminance[image], (uint64_t)n_pixels);
        } else if (c.a.augment.kind == AC_AUGMENT_ROTATION) {
            rotation = ac_rotation_make((double)ac_draw_angle(&c.a.augment, c.a.seed, key), c.width, c.height);
        }
    }
    __syncthreads();
    const uint8_t *from = c.images + image * n_pixels * 3;
    T *to = out + image * n_pixels * 3;
    for (int p = (int)thread_index(); p < n_pixels; p += (int)(gridDim.x * blockDim.x)) {
        int row = p / c.width, column = p % c.width, x = mirror ? c.width - 1 - column : column, y = row;
        bool inside = true;
        if (c.a.augment.kind == AC_AUGMENT_ROTATION)
            inside = ac_rotation_source(&rotation, x, row, c.width, c.height, &x, &y);
        int at = 3 * (y * c.width + x), colour[3] = {0, 0, 0};
        if (inside) {
            colour[0] = from[at];
            colour[1] = from[at + 1];
            colour[2] = from[at + 2];
        }
        if (c.a.augment.kind == AC_AUGMENT_COLOUR)
            change_pixel(draw, 0, AC_N_COLOUR_STEPS, mean, &colour[0], &colour[1], &colour[2]);
#pragma unroll
        for (int k = 0; k < 3; k++)
            to[3 * p + k] = from_float<T>(((float)colour[k] / 255.0f - c.a.mean[k]) / c.a.std[k]);
    }
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)training, (void)wants;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]);
    if (x->dim[1] * x->dim[2] > INT32_MAX / 3 || x->dim[0] > 65535)
        return ac_error(AC_ERR_UNSUPPORTED, "images of %lld x %lld pixels, batch %lld", (long long)x->dim[1], (long long)x->dim[2], (long long)x->dim[0]);
    out->workspace_bytes = sizeof(unsigned long long) * (size_t)x->dim[0];
    return cuda_check_precision(device, ac_graph_shape(graph, node->output[0])->dtype);
}

static ac_status forward(const ac_call *call)
{
    const ac_shape *x = cuda_in(call, 0);
    cuda_device *device = cuda_of(call->device);
    image_call c = {*(const ac_image_input_attribute *)call->node->attribute, (const uint8_t *)call->input[0], (const int64_t *)call->input[1],
                    (unsigned long long *)call->workspace, (int)x->dim[1], (int)x->dim[2]};
    int64_t per_image = (c.height * (int64_t)c.width + 4 * CUDA_BLOCK - 1) / (4 * CUDA_BLOCK); /* blocks: 4 pixels a thread */
    dim3 grid((unsigned)(per_image > 64 ? 64 : per_image), (unsigned)x->dim[0], 1);
    if (c.a.augment.kind == AC_AUGMENT_COLOUR) {
        CUDA_TRY(cuda_check(cudaMemsetAsync(c.luminance, 0, sizeof *c.luminance * (size_t)x->dim[0], device->stream), "luminance"));
        CUDA_TRY(AC_LAUNCH(luminance_kernel, grid, dim3(CUDA_BLOCK), 0, device->stream, c));
    }
    CUDA_FOR_TYPE(cuda_out(call)->dtype, { CUDA_TRY(AC_LAUNCH((image_kernel<T>), grid, dim3(CUDA_BLOCK), 0, device->stream, c, (T *)call->output[0])); });
    return AC_OK;
}

extern "C" const ac_kernel ac_cuda_image_input = {&ac_op_image_input, 0, plan, NULL, forward, NULL, NULL};
