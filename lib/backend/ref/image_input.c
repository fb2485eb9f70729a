/* image_input by its definition: each step of the augmentation over the whole image of bytes, one after the other; hue
 * through Pillow's hue, saturation and value in its mix of float and double. */
#include "backend/ref/ref.h"
#include <string.h>

static int byte_of(double value)
{
    int whole = (int)value;
    return whole < 0 ? 0 : whole > 255 ? 255 : whole;
}

void ref_hsv_from_rgb(const uint8_t rgb[3], uint8_t hsv[3])
{
    int r = rgb[0], g = rgb[1], b = rgb[2];
    int most = r > g ? (r > b ? r : b) : (g > b ? g : b), least = r < g ? (r < b ? r : b) : (g < b ? g : b);
    float span = (float)(most - least), hue = 0, saturation = 0;
    if (span > 0) {
        float below_r = (float)(most - r) / span, below_g = (float)(most - g) / span, below_b = (float)(most - b) / span;
        if (most == r)
            hue = below_b - below_g;
        else if (most == g)
            hue = (float)(2.0 + (double)below_r - (double)below_b);
        else
            hue = (float)(4.0 + (double)below_g - (double)below_r);
        hue = (float)fmod((double)hue / 6.0 + 1.0, 1.0);
        saturation = span / (float)most;
    }
    hsv[0] = (uint8_t)byte_of((double)hue * 255.0);
    hsv[1] = (uint8_t)byte_of((double)saturation * 255.0);
    hsv[2] = (uint8_t)most;
}

void ref_rgb_from_hsv(const uint8_t hsv[3], uint8_t rgb[3])
{
    double sixths = hsv[0] * 6.0 / 255.0, value = hsv[2];
    int sector = (int)floor(sixths);
    float place = (float)(sixths - sector), saturation = (float)(hsv[1] / 255.0);
    uint8_t v = hsv[2], p = (uint8_t)byte_of(round(value * (1.0 - (double)saturation)));
    uint8_t q = (uint8_t)byte_of(round(value * (1.0 - (double)(saturation * place))));
    uint8_t t = (uint8_t)byte_of(round(value * (1.0 - (double)saturation * (1.0 - (double)place))));
    const uint8_t wheel[6][3] = {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}};
    memcpy(rgb, wheel[sector % 6], 3);
}

static void blend_pixel(uint8_t *pixel, int from, float factor)
{
    for (int c = 0; c < 3; c++)
        pixel[c] = (uint8_t)ac_blend(from, pixel[c], factor);
}

void ref_change_colours(const ac_colour_draw *draw, uint8_t *pixel, int64_t n)
{
    uint8_t hsv[3];
    for (int i = 0; i < AC_N_COLOUR_STEPS; i++) {
        int step = draw->order[i];
        uint64_t sum = 0;
        for (int64_t p = 0; p < n; p++)
            sum += (uint64_t)ac_luminance(pixel[3 * p], pixel[3 * p + 1], pixel[3 * p + 2]);
        int mean = ac_mean_luminance(sum, (uint64_t)n);
        for (int64_t p = 0; p < n; p++) {
            uint8_t *rgb = pixel + 3 * p;
            if (step != AC_HUE) {
                int luminance = ac_luminance(rgb[0], rgb[1], rgb[2]);
                blend_pixel(rgb, step == AC_BRIGHTNESS ? 0 : step == AC_CONTRAST ? mean : luminance, draw->factor[step]);
            } else if (draw->with_hue) {
                ref_hsv_from_rgb(rgb, hsv);
                hsv[0] = (uint8_t)(hsv[0] + draw->hue_shift);
                ref_rgb_from_hsv(hsv, rgb);
            }
        }
    }
}

void ref_rotate(const ac_rotation *rotation, const uint8_t *from, uint8_t *to, int height, int width)
{
    int from_x, from_y;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            bool inside = ac_rotation_source(rotation, x, y, width, height, &from_x, &from_y);
            for (int c = 0; c < 3; c++)
                to[(y * width + x) * 3 + c] = inside ? from[(from_y * width + from_x) * 3 + c] : 0;
        }
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants_dinput, ac_kernel_plan *out)
{
    (void)device, (void)training, (void)wants_dinput;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]);
    out->workspace_bytes = (size_t)(x->dim[1] * x->dim[2] * 3);
    return AC_OK;
}

static ac_status forward(const ac_call *call)
{
    const ac_image_input_attribute *a = (const void *)call->node->attribute;
    const ac_shape *x = ref_in(call, 0);
    int64_t height = x->dim[1], width = x->dim[2], n_bytes = height * width * 3, i = 0;
    for (int64_t n = 0; n < x->dim[0]; n++) {
        uint64_t key = (uint64_t)((const int64_t *)call->input[1])[n];
        const uint8_t *from = (const uint8_t *)call->input[0] + n * n_bytes;
        uint8_t *pixel = call->workspace;
        memcpy(pixel, from, (size_t)n_bytes);
        if (a->augment.kind == AC_AUGMENT_COLOUR) {
            ac_colour_draw draw = ac_draw_colour(&a->augment, a->seed, key);
            ref_change_colours(&draw, pixel, height * width);
        } else if (a->augment.kind == AC_AUGMENT_ROTATION) {
            ac_rotation rotation = ac_rotation_make((double)ac_draw_angle(&a->augment, a->seed, key), (int)width, (int)height);
            ref_rotate(&rotation, from, pixel, (int)height, (int)width);
        }
        bool mirror = a->flip && ac_draw_mirror(a->seed, key);
        for (int64_t row = 0; row < height; row++)
            for (int64_t p = 0; p < width; p++)
                for (int c = 0; c < 3; c++, i++)
                    ref_set_output(call, i, (double)(((float)pixel[(row * width + (mirror ? width - 1 - p : p)) * 3 + c] / 255.0f - a->mean[c]) / a->std[c]));
    }
    return AC_OK;
}

const ac_kernel ac_ref_image_input = {.op = &ac_op_image_input, .plan = plan, .forward = forward};
