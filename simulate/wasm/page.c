/* What the page calls: one scene, a grid and its contours and pixels in fixed memory, class weights. WebAssembly only;
 * the arithmetic is the trainer's (lib/nn/loss.c, anyclass/loss_formula.h) and surface.c's. */
#include "anyclass/chart.h"
#include "anyclass/loss.h"
#include "anyclass/loss_formula.h"
#include "simulate/surface.h"

#define PAGE_CALL(name) __attribute__((export_name(#name), visibility("default")))

enum { N_COLORS = 256 };

static simulate_scene scene = {.n_classes = 2, .lambda = 1, .weight = 1};
static double value[SIMULATE_PAGE_GRID * SIMULATE_PAGE_GRID], least, most, point[4], counts[SIMULATE_MOST_CLASSES + 1],
    weights[SIMULATE_MOST_CLASSES + 1];
static double contour[2 * AC_CONTOUR_POINTS(SIMULATE_PAGE_GRID, SIMULATE_PAGE_GRID)];
static unsigned char seen[AC_CONTOUR_SEEN_BYTES(SIMULATE_PAGE_GRID, SIMULATE_PAGE_GRID)];
static uint32_t color[N_COLORS], pixel[SIMULATE_PAGE_GRID * SIMULATE_PAGE_GRID];

/* There is nobody to read the text: the status says enough. */
ac_status ac_error(ac_status status, const char *format, ...)
{
    (void)format;
    return status;
}

PAGE_CALL(probabilities) double *page_probabilities(void)
{
    return scene.p;
}

PAGE_CALL(labels) unsigned char *page_labels(void)
{
    return scene.y;
}

PAGE_CALL(counts) double *page_counts(void)
{
    return counts;
}

PAGE_CALL(colors) uint32_t *page_colors(void)
{
    return color;
}

PAGE_CALL(set) void page_set(int n_classes, double lambda, double alpha, double gamma, double weight)
{
    scene.n_classes = n_classes < 2 ? 2 : n_classes > SIMULATE_MOST_CLASSES ? SIMULATE_MOST_CLASSES : n_classes;
    scene.lambda = lambda;
    scene.alpha = alpha;
    scene.gamma = gamma;
    scene.weight = weight;
}

/* [n, n], n <= SIMULATE_PAGE_GRID; least() and most() are of the grid drawn last. */
PAGE_CALL(surface) double *page_surface(int which, int n)
{
    simulate_grid(&scene, (simulate_surface)which, n, value);
    least = most = value[0];
    for (int i = 1; i < n * n; i++) {
        least = value[i] < least ? value[i] : least;
        most = value[i] > most ? value[i] : most;
    }
    return value;
}

PAGE_CALL(least) double page_least(void)
{
    return least;
}

PAGE_CALL(most) double page_most(void)
{
    return most;
}

/* Value, its loss's slopes by the two logits, presence. */
PAGE_CALL(at) double *page_at(int which, double p1, double p2)
{
    point[0] = simulate_at(&scene, (simulate_surface)which, p1, p2, point + 1);
    point[3] = simulate_presence(&scene, p1, p2);
    return point;
}

/* Of the grid drawn last; its n must be given again. Points of the line, from contour_points() on. */
PAGE_CALL(contour) int page_contour(int n, double level)
{
    ac_contour_grid grid = {n, n, value};
    return (int)ac_contour_trace(&grid, level, false, seen, contour);
}

PAGE_CALL(contour_points) double *page_contour_points(void)
{
    return contour;
}

/* The grid drawn last in the colours of colors(), as a canvas has them: p2 downwards. */
PAGE_CALL(paint) uint32_t *page_paint(int n, double low, double high)
{
    double scale = high > low ? N_COLORS / (high - low) : 0, flat = high > low ? 0 : N_COLORS / 2;
    for (int row = 0; row < n; row++)
        for (int i = 0; i < n; i++) {
            double at = (value[(n - 1 - row) * n + i] - low) * scale + flat;
            pixel[row * n + i] = color[at > 0 ? at < N_COLORS - 1 ? (int)at : N_COLORS - 1 : 0];
        }
    return pixel;
}

/* Of counts()[n], the last but one class by class, the last of images that show none; 0 when all are 0. */
PAGE_CALL(weigh) double *page_weigh(int n_classes, double beta)
{
    int64_t of_class[SIMULATE_MOST_CLASSES];
    for (int i = 0; i < n_classes; i++)
        of_class[i] = (int64_t)counts[i];
    ac_status status =
        ac_loss_class_weights(of_class, (int64_t)counts[n_classes], (size_t)n_classes, beta, weights, NULL);
    return status == AC_OK ? weights : NULL;
}

/* W of the image, by the weights of the last weigh(). */
PAGE_CALL(image_weight) double page_image_weight(int n_classes)
{
    return ac_image_weight(weights, scene.y, n_classes);
}
