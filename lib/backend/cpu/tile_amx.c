/* The bf16 piece by AMX: 2 x 2 tiles of 16 x 16 sums, two tiles of a and two of b. a is to stay in the first cache, b comes from
 * the second by loads that do not displace it. */
#include "backend/cpu/tile_bf16.h"

#if CPU_HAS_AVX512_CODE && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AMX __attribute__((target("amx-tile,amx-bf16")))
/* The intrinsics do not tell the compiler what memory tiles are loaded from. */
#define MEMORY_IS_WRITTEN() __asm__ volatile("" ::: "memory")

bool cpu_amx_permitted(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, OSXSAVE = 1 << 27, TILE_STATE = 3 << 17 };
    unsigned eax, ebx, ecx, edx, enabled;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & OSXSAVE) || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(edx & AMX_BF16) ||
        !(edx & AMX_TILE))
        return false;
    __asm__ volatile("xgetbv" : "=a"(enabled), "=d"(edx) : "c"(0));
    return (enabled & TILE_STATE) == TILE_STATE && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

AMX void cpu_amx_begin(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    MEMORY_IS_WRITTEN();
    _tile_loadconfig(&config);
}

AMX void cpu_amx_end(void)
{
    _tile_release();
}

/* Tiles: 0 1 / 2 3 the sums, 4 and 5 of a, 6 and 7 of b. */
AMX static inline __attribute__((always_inline)) void run_halves(const cpu_bf16_tile *t, const bool two_rows, const bool two_columns)
{
    enum { ROW_BYTES = BF16_SIDE * sizeof(float), DOWN = BF16_LANES * BF16_SIDE };
    const uint16_t *b = t->b, *b1 = t->b + t->b_panel;
    long a_row = (long)(t->a_row * (int64_t)sizeof *t->a);
    float *c = t->c;
    MEMORY_IS_WRITTEN();
    if (t->add) {
        _tile_loadd(0, c, ROW_BYTES);
        if (two_columns)
            _tile_loadd(1, c + BF16_LANES, ROW_BYTES);
        if (two_rows)
            _tile_loadd(2, c + DOWN, ROW_BYTES);
        if (two_rows && two_columns)
            _tile_loadd(3, c + DOWN + BF16_LANES, ROW_BYTES);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t run = 0; run < t->n_runs; run++) {
        const uint16_t *a = t->a + (t->run ? t->run[run] : 0);
        for (int64_t k = 0; k < t->n_steps; k++, a += t->a_step, b += BF16_UNIT, b1 += BF16_UNIT) {
            _tile_loadd(4, a, a_row);
            _tile_stream_loadd(6, b, 64);
            _tile_dpbf16ps(0, 4, 6);
            if (two_columns) {
                _tile_stream_loadd(7, b1, 64);
                _tile_dpbf16ps(1, 4, 7);
            }
            if (two_rows) {
                _tile_loadd(5, a + t->a_half, a_row);
                _tile_dpbf16ps(2, 5, 6);
            }
            if (two_rows && two_columns)
                _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, c, ROW_BYTES);
    if (two_columns)
        _tile_stored(1, c + BF16_LANES, ROW_BYTES);
    if (two_rows)
        _tile_stored(2, c + DOWN, ROW_BYTES);
    if (two_rows && two_columns)
        _tile_stored(3, c + DOWN + BF16_LANES, ROW_BYTES);
    MEMORY_IS_WRITTEN();
}

AMX void cpu_amx_run(const cpu_bf16_tile *t)
{
    bool two_rows = t->n_rows > BF16_LANES, two_columns = t->n_columns > BF16_LANES;
    if (two_rows && two_columns)
        run_halves(t, true, true);
    else if (two_rows)
        run_halves(t, true, false);
    else if (two_columns)
        run_halves(t, false, true);
    else
        run_halves(t, false, false);
}
#else
bool cpu_amx_permitted(void)
{
    return false;
}

void cpu_amx_begin(void)
{
}

void cpu_amx_end(void)
{
}

void cpu_amx_run(const cpu_bf16_tile *tile)
{
    (void)tile;
}
#endif
