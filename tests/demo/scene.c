/* The pictures. Kept simple enough that a small network learns them in a minute, varied enough that it has to. */
#include "scene.h"
#include "anyclass/random.h"
#include <math.h>
#include <stdlib.h>

const char *const scene_kind_name[SCENE_N_KINDS] = {"ring", "cross", "stripes", "block", "crack", "triangle"};

typedef struct dice { /* draws in order from one picture's stream */
    uint64_t seed, index;
    uint32_t n_drawn;
} dice;

static double draw(dice *d, double low, double high)
{
    ac_philox block = ac_random_block(d->seed, AC_STREAM_TEST, d->index, d->n_drawn++);
    return low + (high - low) * ac_uniform_double(block.word[0], block.word[1]);
}

static int draw_int(dice *d, int low, int high)
{
    return low + (int)draw(d, 0, high - low + 1);
}

static void blend(scene *p, int x, int y, const double colour[3], double share)
{
    if (x < 0 || y < 0 || x >= p->size_px || y >= p->size_px)
        return;
    uint8_t *pixel = p->rgb + 3 * ((size_t)y * (size_t)p->size_px + (size_t)x);
    for (int c = 0; c < 3; c++)
        pixel[c] = (uint8_t)(pixel[c] * (1 - share) + colour[c] * share + 0.5);
}

/* A slope of brightness, broad ellipses, fine noise. */
static void draw_background(scene *p, dice *d)
{
    double base[3], slope_x = draw(d, -40, 40) / p->size_px, slope_y = draw(d, -40, 40) / p->size_px;
    double brightness = draw(d, 60, 130);
    for (int c = 0; c < 3; c++)
        base[c] = brightness + (p->grey ? 0 : draw(d, -25, 25));
    for (int y = 0; y < p->size_px; y++)
        for (int x = 0; x < p->size_px; x++) {
            uint8_t *pixel = p->rgb + 3 * ((size_t)y * (size_t)p->size_px + (size_t)x);
            ac_philox noise = ac_random_block(d->seed, AC_STREAM_TEST + 100, d->index, (uint32_t)(y * p->size_px + x));
            for (int c = 0; c < 3; c++) {
                double grain = (ac_uniform_float(noise.word[p->grey ? 0 : c]) - 0.5) * 24;
                double v = base[c] + slope_x * x + slope_y * y + grain;
                pixel[c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
        }
    for (int k = draw_int(d, 2, 5); k > 0; k--) {
        double cx = draw(d, 0, p->size_px), cy = draw(d, 0, p->size_px), rx = draw(d, .1, .35) * p->size_px, ry = draw(d, .1, .35) * p->size_px;
        double tone = draw(d, 60, 190), colour[3] = {tone, tone, tone};
        for (int y = (int)(cy - ry); y <= cy + ry; y++)
            for (int x = (int)(cx - rx); x <= cx + rx; x++) {
                double r = (x - cx) * (x - cx) / (rx * rx) + (y - cy) * (y - cy) / (ry * ry);
                if (r < 1)
                    blend(p, x, y, colour, 0.35 * (1 - r));
            }
    }
}

static bool inside_mark(int kind, double u, double v, double turn)
{
    double r = sqrt(u * u + v * v), a = u * cos(turn) - v * sin(turn), b = u * sin(turn) + v * cos(turn);
    switch (kind) {
    case 0:
        return r < 1 && r > 0.68;
    case 1:
        return (fabs(a) < 0.22 && fabs(b) < 1) || (fabs(b) < 0.22 && fabs(a) < 1);
    case 2:
        return fabs(a) < 0.85 && fabs(b) < 0.85 && fmod(a + 2, 0.5) < 0.25;
    case 3:
        return fabs(u) < 0.75 && fabs(v) < 0.75;
    case 4:
        return fabs(a) < 1 && fabs(b - 0.3 * sin(7 * a)) < 0.12;
    default:
        return b > -0.7 && b < 0.9 && fabs(a) < (0.9 - b) * 0.6;
    }
}

/* Each kind has a colour of its own besides its shape, as rust, roots or water have in a sewer. */
static const double kind_colour[SCENE_N_KINDS][3] = {{210, 60, 50}, {60, 90, 215}, {225, 185, 40}, {60, 175, 80}, {25, 20, 20}, {240, 240, 240}};

static void draw_mark(scene *p, dice *d, int kind)
{
    double radius = draw(d, .18, .28) * p->size_px, cx = draw(d, radius, p->size_px - radius), cy = draw(d, radius, p->size_px - radius);
    double turn = draw(d, -0.25, 0.25), tone = draw(d, 225, 255), colour[3];
    for (int c = 0; c < 3; c++) /* grey pictures tell the kinds by shape alone */
        colour[c] = p->grey ? tone : fmin(255, fmax(0, kind_colour[kind][c] + draw(d, -25, 25)));
    scene_box *box = &p->box[p->n_boxes++];
    box->kind = kind;
    box->x = (int)(cx - radius);
    box->y = (int)(cy - radius);
    box->width = box->height = (int)(2 * radius);
    for (int y = (int)(cy - radius) - 1; y <= cy + radius + 1; y++)
        for (int x = (int)(cx - radius) - 1; x <= cx + radius + 1; x++)
            if (inside_mark(kind, (x - cx) / radius, (y - cy) / radius, turn))
                blend(p, x, y, colour, 0.85);
}

/* Small specks and thin scratches that mean nothing. */
static void draw_clutter(scene *p, dice *d)
{
    for (int k = draw_int(d, 3, 9); k > 0; k--) {
        double x = draw(d, 0, p->size_px), y = draw(d, 0, p->size_px), tone = draw(d, 20, 235), colour[3] = {tone, tone, tone};
        double dx = draw(d, -1, 1), dy = draw(d, -1, 1);
        for (int i = draw_int(d, 2, p->size_px / 12); i > 0; i--) {
            blend(p, (int)x, (int)y, colour, 0.7);
            x += dx;
            y += dy;
        }
    }
}

void scene_draw(scene *p, uint64_t seed, uint64_t index)
{
    dice d = {seed, index, 0};
    bool used[SCENE_N_KINDS] = {false};
    p->n_boxes = 0;
    draw_background(p, &d);
    draw_clutter(p, &d);
    if (draw(&d, 0, 1) < 0.7)
        return;
    double many = draw(&d, 0, 1);
    for (int k = many < 0.55 ? 1 : many < 0.85 ? 2 : 3; k > 0;) {
        int kind = draw_int(&d, 0, SCENE_N_KINDS - 1);
        if (used[kind])
            continue;
        used[kind] = true;
        draw_mark(p, &d, kind);
        k--;
    }
}
