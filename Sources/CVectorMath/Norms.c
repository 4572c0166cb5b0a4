#include "Lanes.h"

// Products and sums here are not fused, so that every processor gives the same bits.
#define UNFUSED _Pragma("clang fp contract(off)")

#define BLOCK 4

// Adds up columns of rows, each in the order of its rows. BLOCK vectors of columns are in registers at one time; the
// statements turn the loaded `x` of the columns from `c` on into what is added.
#define ADD_COLUMNS(BLOCKS, load, width, ...) \
    { \
        lanes added[BLOCKS]; \
        for (int j = 0; j < BLOCKS; j++) added[j] = (lanes)0.0f; \
        for (size_t row = 0; row < rows; row++) { \
            for (int j = 0; j < BLOCKS; j++) { \
                const size_t c = first + j * WIDTH; \
                lanes x; \
                load(source + row * channels + c, width, &x); \
                __VA_ARGS__ \
                added[j] += x; \
            } \
        } \
        for (int j = 0; j < BLOCKS; j++) store_f32(&added[j], sums + first + j * WIDTH, width); \
    }

#define FOR_COLUMNS(load, FIRST, REST) \
    size_t first = 0; \
    for (; first + BLOCK * WIDTH <= channels; first += BLOCK * WIDTH) ADD_COLUMNS(BLOCK, load, WIDTH, FIRST) \
    for (; first + WIDTH <= channels; first += WIDTH) ADD_COLUMNS(1, load, WIDTH, FIRST) \
    if (first < channels) { \
        const size_t rest = channels - first; \
        ADD_COLUMNS(1, load, rest, REST) \
    }

#define SQUARED_DEVIATION(width) \
    lanes mean; \
    load_f32(means + c, width, &mean); \
    x -= mean; \
    x *= x;

#define DEFINE_COLUMN_SUMS(sums_name, deviations_name, element, load) \
    DISPATCHED void sums_name(const element *source, float *sums, size_t rows, size_t channels) { \
        FOR_COLUMNS(load, , ) \
    } \
    DISPATCHED void deviations_name( \
        const element *source, const float *means, float *sums, size_t rows, size_t channels) { \
        UNFUSED \
        FOR_COLUMNS(load, SQUARED_DEVIATION(WIDTH), SQUARED_DEVIATION(rest)) \
    }

DEFINE_COLUMN_SUMS(cvm_column_sums_f32, cvm_column_deviations_f32, float, load_f32)
DEFINE_COLUMN_SUMS(cvm_column_sums_bf16, cvm_column_deviations_bf16, uint16_t, load_bf16)

// Adds up a row into `result`; the statements turn the loaded `x` into what is added. Four sums take turns, so that one
// addition need not wait for the other. Lanes behind the row add nothing.
#define ADD_ROW(result, load, ...) \
    { \
        lanes added[BLOCK]; \
        for (int j = 0; j < BLOCK; j++) added[j] = (lanes)0.0f; \
        size_t i = 0; \
        for (; i + BLOCK * WIDTH <= count; i += BLOCK * WIDTH) { \
            for (int j = 0; j < BLOCK; j++) { \
                lanes x; \
                load(source + i + j * WIDTH, WIDTH, &x); \
                __VA_ARGS__ \
                added[j] += x; \
            } \
        } \
        for (; i < count; i += WIDTH) { \
            const size_t width = count - i < WIDTH ? count - i : WIDTH; \
            lanes x; \
            load(source + i, width, &x); \
            __VA_ARGS__ \
            for (size_t lane = width; lane < WIDTH; lane++) x[lane] = 0; \
            added[0] += x; \
        } \
        const lanes sum = (added[0] + added[1]) + (added[2] + added[3]); \
        result = total(&sum); \
    }

// The mean first, then the variance round it, so that no large squares cancel.
#define DEFINE_LAYER_NORM(name, element, load, store) \
    DISPATCHED void name( \
        const element *source, const float *weight, const float *bias, element *destination, size_t count, \
        float epsilon) { \
        UNFUSED \
        float mean, variance; \
        ADD_ROW(mean, load, ) \
        mean /= (float)count; \
        ADD_ROW(variance, load, x -= mean; x *= x;) \
        const float scale = 1 / __builtin_sqrtf(variance / (float)count + epsilon); \
        FOR_LANES(count, { \
            lanes x, weights, shifts; \
            load(source + i, width, &x); \
            load_f32(weight + i, width, &weights); \
            load_f32(bias + i, width, &shifts); \
            x = (x - mean) * scale * weights + shifts; \
            store(&x, destination + i, width); \
        }) \
    }

DEFINE_LAYER_NORM(cvm_layer_norm_f32, float, load_f32, store_f32)
DEFINE_LAYER_NORM(cvm_layer_norm_bf16, uint16_t, load_bf16, store_bf16)

#define DEFINE_RMS_NORM(name, element, load, store) \
    DISPATCHED void name( \
        const element *source, const float *weight, element *destination, size_t count, float epsilon) { \
        UNFUSED \
        float squares; \
        ADD_ROW(squares, load, x *= x;) \
        const float scale = 1 / __builtin_sqrtf(squares / (float)count + epsilon); \
        FOR_LANES(count, { \
            lanes x, weights; \
            load(source + i, width, &x); \
            load_f32(weight + i, width, &weights); \
            x = x * scale * weights; \
            store(&x, destination + i, width); \
        }) \
    }

DEFINE_RMS_NORM(cvm_rms_norm_f32, float, load_f32, store_f32)
DEFINE_RMS_NORM(cvm_rms_norm_bf16, uint16_t, load_bf16, store_bf16)
