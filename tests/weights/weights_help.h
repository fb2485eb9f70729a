/* What the tests of weights share: the values that make_fixtures.py writes, and zip files with a pickle of any bytes. */
#ifndef ANYCLASS_TESTS_WEIGHTS_HELP_H
#define ANYCLASS_TESTS_WEIGHTS_HELP_H

#include "anyclass/weights.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Element i of the tensor of that name. */
static inline float fixture_value(const char *name, int64_t i)
{
    const float v = (float)((7 * i + (int64_t)strlen(name)) % 13 - 6) / 8;
    return strstr(name, "running_var") ? (v < 0 ? -v : v) : v;
}

typedef struct bytes { /* growing */
    uint8_t *at;
    size_t n, capacity;
} bytes;

static inline void add_bytes(bytes *b, const void *from, size_t n)
{
    if (b->n + n > b->capacity) {
        b->capacity = 2 * (b->n + n) + 64;
        b->at = realloc(b->at, b->capacity);
    }
    if (n)
        memcpy(b->at + b->n, from, n);
    b->n += n;
}

static inline void add_number(bytes *b, uint64_t value, int n)
{
    for (int i = 0; i < n; i++) {
        const uint8_t byte = i < 8 ? (uint8_t)(value >> 8 * i) : 0;
        add_bytes(b, &byte, 1);
    }
}

typedef struct zip_part { /* an entry */
    const char *name;
    const void *bytes;
    size_t n;
} zip_part;

/* Entries stored without a checksum, as torch writes them on request. Release out->at with free(). */
static inline void make_zip(const zip_part *part, size_t n_parts, bytes *out)
{
    bytes directory = {0};
    *out = (bytes){0};
    for (size_t k = 0; k < n_parts; k++) {
        const size_t at = out->n, n_name = strlen(part[k].name);
        add_number(out, 0x04034b50, 4);
        add_number(out, 0, 14);
        add_number(out, part[k].n, 4);
        add_number(out, part[k].n, 4);
        add_number(out, n_name, 2);
        add_number(out, 0, 2);
        add_bytes(out, part[k].name, n_name);
        add_bytes(out, part[k].bytes, part[k].n);
        add_number(&directory, 0x02014b50, 4);
        add_number(&directory, 0, 16 - 4);
        add_number(&directory, 0, 4);
        add_number(&directory, part[k].n, 4);
        add_number(&directory, part[k].n, 4);
        add_number(&directory, n_name, 2);
        add_number(&directory, 0, 12);
        add_number(&directory, at, 4);
        add_bytes(&directory, part[k].name, n_name);
    }
    const size_t at = out->n;
    add_bytes(out, directory.at, directory.n);
    add_number(out, 0x06054b50, 4);
    add_number(out, 0, 4);
    add_number(out, n_parts, 2);
    add_number(out, n_parts, 2);
    add_number(out, directory.n, 4);
    add_number(out, at, 4);
    add_number(out, 0, 2);
    free(directory.at);
}

static inline void write_all(const char *path, const void *from, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(from, 1, n, f) != n || fclose(f) != 0)
        abort();
}

#endif
