/* Augmentation of training images: which kind, how strong. The arithmetic is in augment_formula.h, the operator that does
 * it is image_input (ops.h). */
#ifndef ANYCLASS_AUGMENT_H
#define ANYCLASS_AUGMENT_H

typedef enum ac_augment_kind {
    AC_AUGMENT_NONE,
    AC_AUGMENT_COLOUR,  /* brightness, contrast, saturation and hue, in random order */
    AC_AUGMENT_ROTATION /* about the centre, nearest neighbour, black where no pixel is */
} ac_augment_kind;
#define AC_AUGMENT_CHOICES "none|colour|rotation" /* in the order of the enum */

enum { AC_MAX_JITTER = 100 };

typedef struct ac_augment {
    int kind;                               /* ac_augment_kind */
    float brightness, contrast, saturation; /* factors are uniform in [max(0, 1 - x), 1 + x], x <= AC_MAX_JITTER; 0: left alone */
    float hue;                              /* the shift is uniform in [-x, x] of the hue circle, x <= 0.5; 0: left alone */
    float rotation_degrees;                 /* the angle is uniform in [-x, x], x <= 180 */
} ac_augment;

#endif
