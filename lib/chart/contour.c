/* Contours of a grid of values by marching squares, each followed from cell to cell to its end. No allocation and no C
 * library: it runs in pages' WebAssembly too. */
#include "anyclass/chart.h"

typedef struct tracer {
    const ac_contour_grid *grid;
    double level;
    int ring; /* 1: a ring of nodes below every level lies around the grid, at the same places as its border */
    unsigned char *seen;
    double *xy;
    size_t n_points, capacity;
} tracer;

enum { BOTTOM, RIGHT, TOP, LEFT }; /* sides of a cell; side k leads from corner k to corner k + 1, counter-clockwise */
static const int corner_x[4] = {0, 1, 1, 0}, corner_y[4] = {0, 0, 1, 1};

static bool real_node(const tracer *t, int x, int y)
{
    return x >= 0 && y >= 0 && x < t->grid->n_columns && y < t->grid->n_rows;
}

static double value_at(const tracer *t, int x, int y)
{
    return t->grid->value[(size_t)y * (size_t)t->grid->n_columns + (size_t)x];
}

static bool inside(const tracer *t, int x, int y)
{
    return real_node(t, x, y) && value_at(t, x, y) >= t->level;
}

static bool corner_inside(const tracer *t, int x, int y, int corner)
{
    return inside(t, x + corner_x[corner & 3], y + corner_y[corner & 3]);
}

static double clamped(int at, int n)
{
    return at < 0 ? 0 : at >= n ? n - 1 : at;
}

/* Where the contour crosses a side, in units of nodes; the same for both cells that share it, to the last bit. */
static void add_crossing(tracer *t, int x, int y, int side)
{
    int from = side == TOP || side == LEFT ? (side + 1) & 3 : side, to = side ^ from ^ ((side + 1) & 3);
    int x0 = x + corner_x[from], y0 = y + corner_y[from], x1 = x + corner_x[to], y1 = y + corner_y[to];
    double part = 0, ax = clamped(x0, t->grid->n_columns), ay = clamped(y0, t->grid->n_rows);
    if (t->n_points >= t->capacity)
        return;
    if (real_node(t, x0, y0) && real_node(t, x1, y1)) {
        double a = value_at(t, x0, y0), b = value_at(t, x1, y1);
        part = (t->level - a) / (b - a);
        part = part >= 0 && part <= 1 ? part : 0.5; /* beside NaN */
    }
    t->xy[2 * t->n_points] = ax + part * (clamped(x1, t->grid->n_columns) - ax);
    t->xy[2 * t->n_points + 1] = ay + part * (clamped(y1, t->grid->n_rows) - ay);
    t->n_points++;
}

static void add_gap(tracer *t)
{
    if (t->n_points >= t->capacity)
        return;
    t->xy[2 * t->n_points] = t->xy[2 * t->n_points + 1] = __builtin_nan("");
    t->n_points++;
}

/* Two bits a node: of the side that leads right from it, and of the one that leads up. */
static unsigned char *mark_of(const tracer *t, int x, int y, int side, unsigned char *bit)
{
    int node_x = x + (side == RIGHT), node_y = y + (side == TOP);
    *bit = side == BOTTOM || side == TOP ? 1 : 2;
    return &t->seen[(size_t)(node_y + 1) * (size_t)(t->grid->n_columns + 2) + (size_t)(node_x + 1)];
}

/* A contour has what is inside at its left: it enters a cell by side k where corner k is inside and corner k + 1 is
 * not. */
static bool enters(const tracer *t, int x, int y, int side)
{
    return corner_inside(t, x, y, side) && !corner_inside(t, x, y, side + 1);
}

static int side_out(const tracer *t, int x, int y, int in)
{
    if (!enters(t, x, y, (in + 2) & 3)) {
        for (int k = 1; k < 4; k++)
            if (!corner_inside(t, x, y, in + k) && corner_inside(t, x, y, in + k + 1))
                return (in + k) & 3;
    }
    double middle = 0; /* a saddle: its middle says which corners belong together */
    for (int k = 0; k < 4; k++)
        middle += real_node(t, x + corner_x[k], y + corner_y[k]) ? value_at(t, x + corner_x[k], y + corner_y[k]) / 4
                                                                 : t->level;
    return (in + (middle >= t->level ? 1 : 3)) & 3;
}

static bool is_cell(const tracer *t, int x, int y)
{
    return x >= -t->ring && y >= -t->ring && x < t->grid->n_columns - 1 + t->ring && y < t->grid->n_rows - 1 + t->ring;
}

static void follow(tracer *t, int x, int y, int in)
{
    static const int step_x[4] = {0, 1, 0, -1}, step_y[4] = {-1, 0, 1, 0};
    unsigned char bit;
    add_crossing(t, x, y, in);
    while (is_cell(t, x, y)) {
        unsigned char *seen = mark_of(t, x, y, in, &bit);
        if (*seen & bit) /* round once */
            break;
        *seen |= bit;
        int out = side_out(t, x, y, in);
        add_crossing(t, x, y, out);
        x += step_x[out];
        y += step_y[out];
        in = (out + 2) & 3;
    }
    add_gap(t);
}

size_t ac_contour_trace(const ac_contour_grid *grid, double level, bool closed, unsigned char *seen, double *xy)
{
    int columns = grid->n_columns, rows = grid->n_rows;
    tracer t = {grid, level, closed, seen, xy, 0, AC_CONTOUR_POINTS(columns, rows)};
    unsigned char bit;
    for (size_t i = 0; i < AC_CONTOUR_SEEN_BYTES(columns, rows); i++)
        seen[i] = 0;
    for (int x = 0; !closed && x < columns - 1; x++) { /* those that come in over the border */
        if (enters(&t, x, 0, BOTTOM))
            follow(&t, x, 0, BOTTOM);
        if (enters(&t, x, rows - 2, TOP))
            follow(&t, x, rows - 2, TOP);
    }
    for (int y = 0; !closed && y < rows - 1; y++) {
        if (enters(&t, 0, y, LEFT))
            follow(&t, 0, y, LEFT);
        if (enters(&t, columns - 2, y, RIGHT))
            follow(&t, columns - 2, y, RIGHT);
    }
    for (int y = -t.ring; y < rows - 1 + t.ring; y++) { /* what is left goes round, so it comes up into some cell */
        bool left = inside(&t, -t.ring, y);
        for (int x = -t.ring; x < columns - 1 + t.ring; x++) {
            bool right = inside(&t, x + 1, y);
            if (left && !right && !(*mark_of(&t, x, y, BOTTOM, &bit) & bit))
                follow(&t, x, y, BOTTOM);
            left = right;
        }
    }
    return t.n_points;
}
