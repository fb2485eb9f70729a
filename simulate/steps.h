/* What the files of this folder promise each other, natively; surface.h is what they share with the page. */
#ifndef ANYCLASS_SIMULATE_STEPS_H
#define ANYCLASS_SIMULATE_STEPS_H

#include "anyclass/chart.h"
#include "anyclass/option.h"
#include "simulate/surface.h"

enum { SIMULATE_LEVELS = 16 };         /* contour lines without --levels */
#define SIMULATE_BALANCING_BETA 0.9999 /* without --class_balancing_beta */

typedef struct simulate_config {
    ac_common_config common;
    ac_string_list surface;
    int64_t y1, y2;
    double lambda, alpha, gamma;
    ac_double_list other_p, other_y;
    ac_double_list counts;
    int64_t negatives;
    double class_balancing_beta;
    const char *output;
    int64_t grid, levels;
    int colormap; /* ac_color_map */
    bool arrows;
} simulate_config;

typedef enum simulate_format { SIMULATE_CSV, SIMULATE_SVG, SIMULATE_PAGE } simulate_format;

typedef struct simulate_plan { /* the options, checked */
    const simulate_config *config;
    simulate_format format;
    simulate_scene scene;
    simulate_surface surface[SIMULATE_N_SURFACES]; /* each once, in the order of the enum */
    size_t n_surfaces;
    double class_weight[SIMULATE_MOST_CLASSES + 1]; /* all 1 without --counts */
} simulate_plan;

typedef struct simulate_name {
    const char *name;    /* of the option and of the CSV's column */
    const char *title;   /* above a picture */
    const char *formula; /* UTF-8 */
} simulate_name;
extern const simulate_name simulate_names[SIMULATE_N_SURFACES];

/** Check what the options say together; `given` tells which were given. AC_ERR_USAGE. */
AC_NODISCARD ac_status simulate_check(const simulate_config *config, const ac_options *given, simulate_plan *out);
/** Values [grid, grid] of one surface, simulate_at() at each place; the caller frees them. AC_ERR_MEMORY. */
AC_NODISCARD ac_status simulate_values(const simulate_plan *plan, simulate_surface surface, double **value);

/** p1, p2 and a column per surface, p1 fastest. */
AC_NODISCARD ac_status simulate_write_csv(ac_markup *out, const simulate_plan *plan);
/** The surfaces beside each other, each with its contours and legend. */
AC_NODISCARD ac_status simulate_write_svg(ac_markup *out, const simulate_plan *plan);
/** The page, which begins with the plan's state. AC_ERR_UNSUPPORTED in a build without clang and wasm-ld. */
AC_NODISCARD ac_status simulate_write_page(ac_markup *out, const simulate_plan *plan);
/** AC_ERR_UNSUPPORTED, saying what is missing, when the build has no page. */
AC_NODISCARD ac_status simulate_check_page(void);

/** Title of a surface; "Focal" takes BCE's place where gamma is more than 0. */
void simulate_title(const simulate_plan *plan, simulate_surface surface, char *out, size_t n_bytes);
/** "y = (1, 0, 0), p = (p₁, p₂, 0.2), λ = 0.5, ...": the state in words, of many classes the first eight. */
void simulate_describe(ac_markup *out, const simulate_plan *plan);

#endif
