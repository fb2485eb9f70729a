/* Surfaces as numbers. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "simulate/steps.h"

static void add_number(ac_markup *out, double value, const char *behind)
{
    char text[AC_NUMBER_BYTES];
    (void)ac_format_double(value, text);
    ac_markup_add(out, text);
    ac_markup_add(out, behind);
}

ac_status simulate_write_csv(ac_markup *out, const simulate_plan *plan)
{
    ac_status status = AC_OK;
    double *value[SIMULATE_N_SURFACES] = {NULL};
    int n = (int)plan->config->grid;
    for (size_t k = 0; k < plan->n_surfaces; k++)
        AC_TRY(simulate_values(plan, plan->surface[k], &value[k]));
    ac_markup_add(out, "p1,p2");
    for (size_t k = 0; k < plan->n_surfaces; k++)
        ac_markup_format(out, ",%s", simulate_names[plan->surface[k]].name);
    ac_markup_add(out, "\n");
    for (int j = 0; j < n; j++)
        for (int i = 0; i < n; i++) {
            add_number(out, simulate_axis(n, i), ",");
            add_number(out, simulate_axis(n, j), ",");
            for (size_t k = 0; k < plan->n_surfaces; k++)
                add_number(out, value[k][j * n + i], k + 1 < plan->n_surfaces ? "," : "\n");
        }
out:
    for (size_t k = 0; k < plan->n_surfaces; k++)
        ac_free(value[k]);
    return status;
}
