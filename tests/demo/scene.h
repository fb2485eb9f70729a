/* Draws the demo's pictures: a textured background with clutter, and any of six kinds of mark on it. */
#ifndef ANYCLASS_TESTS_DEMO_SCENE_H
#define ANYCLASS_TESTS_DEMO_SCENE_H

#include <stdbool.h>
#include <stdint.h>

enum { SCENE_N_KINDS = 6 };

typedef struct scene_box {
    int kind;             /* 0 .. SCENE_N_KINDS - 1 */
    int x, y, width, height; /* pixels */
} scene_box;

typedef struct scene {
    int size_px;
    bool grey;
    uint8_t *rgb;         /* [size, size, 3], caller's memory */
    scene_box box[SCENE_N_KINDS];
    int n_boxes;
} scene;

/** Names of the kinds, for COCO-like annotations. */
extern const char *const scene_kind_name[SCENE_N_KINDS];

/** Draw picture `index` of `seed`: each is a function of the two. About 70 % carry no mark; the others one to three
 * different kinds. */
void scene_draw(scene *picture, uint64_t seed, uint64_t index);

#endif
