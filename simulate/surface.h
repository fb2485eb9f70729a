/* The surfaces over two classes' probabilities, by the trainer's loss formulas (anyclass/loss_formula.h). Compiled for
 * the program and, without a C library, for the page's WebAssembly. Knows nothing of files, options or drawing. */
#ifndef ANYCLASS_SIMULATE_SURFACE_H
#define ANYCLASS_SIMULATE_SURFACE_H

enum { SIMULATE_MOST_CLASSES = 128, SIMULATE_PAGE_GRID = 200 };

typedef enum simulate_surface {
    SIMULATE_PRODUCT, /* of all classes' probabilities */
    SIMULATE_GEOMETRIC_MEAN,
    SIMULATE_BCE_LIKELIHOOD, /* each likelihood is exp(-loss) */
    SIMULATE_ANY_LIKELIHOOD,
    SIMULATE_PRODUCT_LIKELIHOOD,
    SIMULATE_BCE_ANY_LIKELIHOOD,
    SIMULATE_BCE_PRODUCT_LIKELIHOOD,
    SIMULATE_BCE_LOSS,         /* the base loss, summed over classes */
    SIMULATE_ANY_LOSS,         /* of the any-class presence, zbar = sum_j w_j z_j / sum_j w_j */
    SIMULATE_PRODUCT_LOSS,     /* the same of the plain product: sum_j w_j z_j */
    SIMULATE_BCE_ANY_LOSS,     /* base + alpha any: what is trained */
    SIMULATE_BCE_PRODUCT_LOSS, /* base + alpha product */
    SIMULATE_N_SURFACES
} simulate_surface;

typedef struct simulate_scene {      /* one image */
    int n_classes;                   /* 2 .. SIMULATE_MOST_CLASSES */
    double p[SIMULATE_MOST_CLASSES]; /* in (0, 1); of the first two classes: not used, they span the surface */
    unsigned char y[SIMULATE_MOST_CLASSES];
    double lambda, alpha;
    double gamma;  /* focal exponent; 0: BCE */
    double weight; /* W of the image, on every loss */
} simulate_scene;

/** Place i of n on either axis: 0.01 .. 0.99. */
double simulate_axis(int n, int i);

/** One value, by the very function that trains (ac_image_loss_double).
 * @param gradient [2] of the loss by the two logits, or NULL; zeros for the two surfaces that are no loss's. */
double simulate_at(const simulate_scene *scene, simulate_surface surface, double p1, double p2, double *gradient);

/** sigmoid(zbar): the any-class presence at (p1, p2). */
double simulate_presence(const simulate_scene *scene, double p1, double p2);

/** A whole grid for a page that redraws it while a slider moves: class losses once for each place on an axis, what is
 * of the classes that stand still once. Equal to simulate_at() but for the rounding of sums.
 * @param n 2 .. SIMULATE_PAGE_GRID; @param[out] value [n, n]: p2 down the rows, p1 along them, both upwards */
void simulate_grid(const simulate_scene *scene, simulate_surface surface, int n, double *value);

#endif
