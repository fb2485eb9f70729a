/* Numbers drawn from names, the same in C and in the scripts that make reference values (splitmix64 over an FNV-1a hash
 * of the name), and a network's weights made of them. */
#ifndef ANYCLASS_TESTS_MODEL_DRAWN_H
#define ANYCLASS_TESTS_MODEL_DRAWN_H

#include "anyclass/alloc.h"
#include "anyclass/params.h"
#include <math.h>
#include <string.h>

static inline uint64_t drawn_hash(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

/* Uniform in [0, 1): element i of the tensor whose name has this hash. */
static inline double drawn_of(uint64_t hash, uint64_t i)
{
    uint64_t z = hash + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static inline double drawn(const char *name, uint64_t i)
{
    return drawn_of(drawn_hash(name), i);
}

static inline bool drawn_ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

/* Elements of one output's weights; tables that are added to something have 50. */
static inline size_t drawn_fan_in(const ac_param_info *info)
{
    static const char *const tables[] = {"class_token", "pos_embedding", "relative_position_bias_table"};
    for (size_t k = 0; k < sizeof tables / sizeof *tables; k++)
        if (strcmp(info->name, tables[k]) == 0 || drawn_ends_with(info->name, tables[k]))
            return 50;
    return (size_t)(ac_shape_elements(&info->shape) / info->shape.dim[0]);
}

/* Every parameter and running statistic. */
static inline ac_status drawn_fill(ac_params *params)
{
    ac_status status = AC_OK;
    float *host = NULL;
    for (size_t p = 0; p < params->n_params; p++) {
        const ac_param_info *info = &params->info[p];
        size_t n = (size_t)ac_shape_elements(&info->shape), fan_in = drawn_fan_in(info);
        bool vector = info->shape.n_dims == 1, variance = drawn_ends_with(info->name, "running_var");
        bool scale = vector && drawn_ends_with(info->name, "weight");
        uint64_t hash = drawn_hash(info->name);
        double bound = sqrt(3.0 / (double)fan_in);
        AC_TRY(ac_realloc(&host, n, sizeof *host));
        for (size_t i = 0; i < n; i++) {
            double u = drawn_of(hash, i);
            if (variance)
                host[i] = (float)(.5 + u);
            else if (scale)
                host[i] = (float)(.75 + .5 * u);
            else
                host[i] = (float)(vector ? .2 * (u - .5) : (2 * u - 1) * bound);
        }
        AC_TRY(ac_params_set(params, (int)p, NULL, host));
    }
out:
    ac_free(host);
    return status;
}

#endif
