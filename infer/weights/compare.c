/* anyclass-weights compare: two files, tensor by tensor, whatever their kinds. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "infer/weights/weights.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct difference {
    double absolute, relative; /* the largest of each */
    int64_t n_different;       /* elements beyond the tolerance */
} difference;

typedef struct comparison {
    ac_weights *a, *b;
    double tolerance;
    weights_text text;
    size_t n_compared, n_different, n_left_out;
} comparison;

static difference compare_values(const float *a, const float *b, int64_t n, double tolerance)
{
    difference d = {0};
    for (int64_t i = 0; i < n; i++) {
        const double x = a[i], y = b[i], larger = fmax(fabs(x), fabs(y));
        if (x == y || (x != x && y != y))
            continue;
        const double absolute = isfinite(x) && isfinite(y) ? fabs(x - y) : INFINITY, relative = isfinite(absolute) ? absolute / larger : INFINITY;
        d.absolute = fmax(d.absolute, absolute);
        d.relative = fmax(d.relative, relative);
        d.n_different += !(absolute <= tolerance || relative <= tolerance);
    }
    return d;
}

static bool same_shape(const ac_weights_tensor *a, const ac_weights_tensor *b)
{
    return a->n_dims == b->n_dims && memcmp(a->dim, b->dim, (size_t)a->n_dims * sizeof *a->dim) == 0;
}

static ac_status compare_tensor(comparison *c, size_t k, size_t l)
{
    ac_status status = AC_OK;
    const ac_weights_tensor *a = &c->a->tensor[k], *b = &c->b->tensor[l];
    float *x = NULL, *y = NULL;
    if (!same_shape(a, b)) {
        c->n_different++;
        AC_TRY(weights_add_text(&c->text, "%s: shapes differ: ", a->name));
        AC_TRY(weights_add_shape(&c->text, a));
        AC_TRY(weights_add_text(&c->text, " and "));
        AC_TRY(weights_add_shape(&c->text, b));
        return weights_add_text(&c->text, "\n");
    }
    AC_TRY(ac_malloc((size_t)a->n_elements, sizeof *x, &x));
    AC_TRY(ac_malloc((size_t)b->n_elements, sizeof *y, &y));
    AC_TRY(ac_weights_read(c->a, k, x));
    AC_TRY(ac_weights_read(c->b, l, y));
    const difference d = compare_values(x, y, a->n_elements, c->tolerance);
    c->n_compared++;
    c->n_different += d.n_different > 0;
    if (d.absolute > 0)
        AC_TRY(weights_add_text(&c->text, "%s: absolute %.3g, relative %.3g%s", a->name, d.absolute, d.relative,
                                d.n_different ? "" : ", within the tolerance\n"));
    if (d.n_different)
        AC_TRY(weights_add_text(&c->text, ": %" PRId64 " of %" PRId64 " elements differ\n", d.n_different, a->n_elements));
out:
    ac_free(x);
    ac_free(y);
    return status;
}

/* A tensor that only one file has: a difference, unless only PyTorch has a use for it, or it is beside the model. */
static ac_status note_missing(comparison *c, const ac_weights_tensor *t, const char *which)
{
    if (t->outside || ac_weights_is_torch_only(t->name)) {
        c->n_left_out++;
        return AC_OK;
    }
    c->n_different++;
    return weights_add_text(&c->text, "%s: only in the %s\n", t->name, which);
}

static ac_status compare_all(comparison *c)
{
    ac_status status = AC_OK;
    for (size_t k = 0; k < c->a->n_tensors; k++) {
        const int64_t l = ac_weights_find(c->b, c->a->tensor[k].name);
        if (l < 0)
            AC_TRY(note_missing(c, &c->a->tensor[k], "first"));
        else
            AC_TRY(compare_tensor(c, k, (size_t)l));
    }
    for (size_t l = 0; l < c->b->n_tensors; l++)
        if (ac_weights_find(c->a, c->b->tensor[l].name) < 0)
            AC_TRY(note_missing(c, &c->b->tensor[l], "second"));
out:
    return status;
}

ac_status weights_compare(const char *a, const char *b, double tolerance)
{
    ac_status status = AC_OK;
    comparison c = {.tolerance = tolerance};
    AC_TRY(ac_weights_open(a, &c.a));
    AC_TRY(ac_weights_open(b, &c.b));
    AC_TRY(compare_all(&c));
    AC_TRY(weights_add_text(&c.text, "%zu tensors compared, %zu differ, %zu that one side has no use for left out\n", c.n_compared, c.n_different,
                            c.n_left_out));
    AC_TRY(ac_log_answer(c.text.at));
    if (c.n_different)
        status = ac_error(AC_ERR_DATA, "%s and %s differ in %zu tensors by more than %g", a, b, c.n_different, tolerance);
out:
    ac_weights_close(c.a);
    ac_weights_close(c.b);
    ac_free(c.text.at);
    return status;
}
