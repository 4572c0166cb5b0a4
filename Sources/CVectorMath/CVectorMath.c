#include "CVectorMath.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GLIBC__)
#define DISPATCHED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define DISPATCHED
#endif
// Helpers take vectors by address: as parameters their passing would depend on the processor.
#define HELPER static inline __attribute__((always_inline))

#define WIDTH 16
typedef float lanes __attribute__((ext_vector_type(WIDTH), aligned(4)));
typedef float eights __attribute__((ext_vector_type(8)));
typedef float fours __attribute__((ext_vector_type(4)));
typedef uint32_t words __attribute__((ext_vector_type(WIDTH), aligned(4)));
typedef uint16_t halves __attribute__((ext_vector_type(WIDTH), aligned(2)));

// MARK: Loads and stores

// Each takes the number of elements that count, 16 or what is left of a row. Other lanes are loaded as zero.

HELPER void load_f32(const float *source, size_t width, lanes *x) {
    if (width < WIDTH) *x = 0;
    memcpy(x, source, width == WIDTH ? sizeof *x : width * sizeof *source);
}

HELPER void store_f32(const lanes *x, float *destination, size_t width) {
    memcpy(destination, x, width == WIDTH ? sizeof *x : width * sizeof *destination);
}

HELPER void load_words(const uint16_t *source, size_t width, words *x) {
    halves bits = 0;
    memcpy(&bits, source, width == WIDTH ? sizeof bits : width * sizeof *source);
    *x = __builtin_convertvector(bits, words);
}

HELPER void load_bf16(const uint16_t *source, size_t width, lanes *x) {
    words bits;
    load_words(source, width, &bits);
    bits <<= 16;
    memcpy(x, &bits, sizeof *x);
}

HELPER void store_bf16(const lanes *x, uint16_t *destination, size_t width) {
    words bits;
    memcpy(&bits, x, sizeof bits);
    const words rounded = bits + 0x7fff + ((bits >> 16) & 1);
    // Rounding could carry a NaN into infinity: its quiet bit is set instead.
    const words kept = (bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : rounded;
    const halves result = __builtin_convertvector(kept >> 16, halves);
    memcpy(destination, &result, width == WIDTH ? sizeof result : width * sizeof *destination);
}

// Shifts exponent and fraction into fp32's place and scales by 2^112, the ratio of the two exponent biases, which also
// normalises subnormal numbers. Infinities and NaNs then get fp32's largest exponent.
HELPER void load_f16(const uint16_t *source, size_t width, lanes *x) {
    words bits;
    load_words(source, width, &bits);
    const words magnitude = (bits & 0x7fff) << 13;
    lanes scaled;
    memcpy(&scaled, &magnitude, sizeof scaled);
    scaled *= 0x1p112f;
    words result;
    memcpy(&result, &scaled, sizeof result);
    result = magnitude >= 0x0f800000 ? result | 0x7f800000 : result;
    result |= (bits & 0x8000) << 16;
    memcpy(x, &result, sizeof *x);
}

// Rounds to the nearest, ties to even, in either of two ways: in an integer, where the fraction's last 13 bits fall
// away, or, for results below fp16's smallest normal number, by adding the power of two whose last bit is fp16's last.
HELPER void store_f16(const lanes *x, uint16_t *destination, size_t width) {
    words bits;
    memcpy(&bits, x, sizeof bits);
    const words magnitude = bits & 0x7fffffff;
    const words normal = (magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    lanes shifted;
    memcpy(&shifted, &magnitude, sizeof shifted);
    shifted += 0.5f;
    words small;
    memcpy(&small, &shifted, sizeof small);
    small -= 0x3f000000;
    words result = magnitude < 0x38800000 ? small : normal;
    // 65520 and more are infinite; a NaN keeps its upper bits and becomes quiet.
    result = magnitude >= 0x477ff000 ? (words)0x7c00 : result;
    result = magnitude > 0x7f800000 ? (words)0x7e00 | ((magnitude >> 13) & 0x3ff) : result;
    result |= (bits >> 16) & 0x8000;
    const halves stored = __builtin_convertvector(result, halves);
    memcpy(destination, &stored, width == WIDTH ? sizeof stored : width * sizeof *destination);
}

// MARK: Functions

// x = n ln 2 + r with ln 2 in two parts (Cody and Waite, "Software Manual for the Elementary Functions", 1980, chapter
// 6), |r| <= ln 2 / 2, then Taylor's polynomial of degree 7, whose first omitted term is r^8/8! < 6e-9. Results below
// the smallest normal number become about 1e-38, those above 2^126 are held there.
HELPER void exponential(lanes *value) {
    lanes x = *value;
    x = x > 87.3f ? (lanes)87.3f : x;
    x = x < -87.3f ? (lanes)-87.3f : x;
    // Adding 1.5 * 2^23 leaves n, rounded to nearest, in the low bits.
    const lanes shifted = x * 1.44269504f + 12582912.0f;
    const lanes n = shifted - 12582912.0f;
    const lanes r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    lanes p = r * (1.0f / 5040) + (1.0f / 720);
    p = p * r + (1.0f / 120);
    p = p * r + (1.0f / 24);
    p = p * r + (1.0f / 6);
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    words power;
    memcpy(&power, &shifted, sizeof power);
    power = (power << 23) + 0x3f800000;
    lanes scale;
    memcpy(&scale, &power, sizeof scale);
    *value = p * scale;
}

// x / (1 + e^(-factor x)): SiLU with factor 1, the GELU of the original CLIP with 1.702.
HELPER void swish(lanes *x, float factor) {
    lanes power = *x * -factor;
    exponential(&power);
    *x = *x / (power + 1.0f);
}

// x times the normal distribution function, whose tail is erfc(|x| / sqrt 2) / 2 by Hastings' approximation
// (Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, formula 7.1.26).
HELPER void gelu(lanes *x) {
    const lanes z = (*x < 0.0f ? -*x : *x) * 0.707106781f;
    const lanes t = 1.0f / (z * 0.3275911f + 1.0f);
    lanes p = t * 1.061405429f - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    lanes power = -(z * z);
    exponential(&power);
    const lanes tail = p * t * power * 0.5f;
    *x *= *x > 0.0f ? 1.0f - tail : tail;
}

// (1 - e^(-2|x|)) / (1 + e^(-2|x|)) with the sign of x; below 1/4, where that cancels, Taylor's polynomial of degree 7,
// whose first omitted term is 62/2835 x^9 < 4e-7 |x|.
HELPER void hyperbolic_tangent(lanes *x) {
    const lanes size = *x < 0.0f ? -*x : *x;
    lanes power = size * -2.0f;
    exponential(&power);
    const lanes far = (1.0f - power) / (power + 1.0f);
    const lanes square = *x * *x;
    lanes p = square * (-17.0f / 315) + (2.0f / 15);
    p = p * square - (1.0f / 3);
    p = p * square + 1.0f;
    *x = size < 0.25f ? *x * p : *x < 0.0f ? -far : far;
}

HELPER void apply(cvm_function function, lanes *x) {
    switch (function) {
    case CVM_IDENTITY: return;
    case CVM_SILU: swish(x, 1); return;
    case CVM_GELU: gelu(x); return;
    case CVM_QUICK_GELU: swish(x, 1.702f); return;
    case CVM_RELU: *x = *x < 0.0f ? (lanes)0.0f : *x; return;
    case CVM_TANH: hyperbolic_tangent(x); return;
    }
}

// MARK: Rows

// Runs the statements once for each 16 elements of a row, from element `i` on, of which `width` count. The full ones
// have a loop of their own, in which `width` is a constant, so that their lanes stay in registers.
#define FOR_LANES(count, ...) \
    { \
        size_t i = 0; \
        for (; i + WIDTH <= (count); i += WIDTH) { \
            const size_t width = WIDTH; \
            __VA_ARGS__ \
        } \
        if (i < (count)) { \
            const size_t width = (count) - i; \
            __VA_ARGS__ \
        } \
    }

// The largest of `count` numbers; NaNs are passed over.
HELPER float largest(const float *source, size_t count) {
    lanes peaks = (lanes)-__builtin_inff();
    FOR_LANES(count, {
        lanes x;
        load_f32(source + i, width, &x);
        for (size_t lane = width; lane < WIDTH; lane++) x[lane] = -__builtin_inff();
        peaks = x > peaks ? x : peaks;
    })
    float peak = peaks[0];
    for (int lane = 1; lane < WIDTH; lane++) peak = peaks[lane] > peak ? peaks[lane] : peak;
    return peak;
}

DISPATCHED uint32_t cvm_peak_f32(const float *source, size_t count) {
    words peaks = 0;
    FOR_LANES(count, {
        lanes x;
        words bits;
        load_f32(source + i, width, &x);
        memcpy(&bits, &x, sizeof bits);
        bits &= 0x7fffffff;
        peaks = bits > peaks ? bits : peaks;
    })
    uint32_t peak = 0;
    for (int lane = 0; lane < WIDTH; lane++) peak = peaks[lane] > peak ? peaks[lane] : peak;
    return peak;
}

HELPER float power(float x) {
    lanes powers = x;
    exponential(&powers);
    return powers[0];
}

#define DEFINE_EXPONENTIATE(name, element, store) \
    DISPATCHED float name(const float *scores, element *powers, size_t count, float scale, cvm_softmax *row) { \
        const float found = largest(scores, count); \
        const float before = row->peak; \
        const float peak = found > before ? found : before; \
        lanes sums = 0; \
        FOR_LANES(count, { \
            lanes x; \
            load_f32(scores + i, width, &x); \
            x = (x - peak) * scale; \
            exponential(&x); \
            for (size_t lane = width; lane < WIDTH; lane++) x[lane] = 0; \
            sums += x; \
            store(&x, powers + i, width); \
        }) \
        float sum = 0; \
        for (int lane = 0; lane < WIDTH; lane++) sum += sums[lane]; \
        const float factor = peak > before ? power((before - peak) * scale) : 1; \
        row->peak = peak; \
        row->sum = row->sum * factor + sum; \
        return factor; \
    }

DEFINE_EXPONENTIATE(cvm_exponentiate_f32, float, store_f32)
DEFINE_EXPONENTIATE(cvm_exponentiate_bf16, uint16_t, store_bf16)

#define DEFINE_APPLY(name, element, load, store) \
    DISPATCHED void name(cvm_function function, const element *source, element *destination, size_t count) { \
        FOR_LANES(count, { \
            lanes x; \
            load(source + i, width, &x); \
            apply(function, &x); \
            store(&x, destination + i, width); \
        }) \
    }

DEFINE_APPLY(cvm_apply_f32, float, load_f32, store_f32)
DEFINE_APPLY(cvm_apply_bf16, uint16_t, load_bf16, store_bf16)

#define DEFINE_AFFINE(name, element, load, store) \
    DISPATCHED void name( \
        cvm_function function, const element *source, const float *mean, const float *scale, const float *shift, \
        element *destination, size_t count) { \
        FOR_LANES(count, { \
            lanes x, means, scales, shifts; \
            load(source + i, width, &x); \
            load_f32(mean + i, width, &means); \
            load_f32(scale + i, width, &scales); \
            load_f32(shift + i, width, &shifts); \
            x = (x - means) * scales + shifts; \
            apply(function, &x); \
            store(&x, destination + i, width); \
        }) \
    }

DEFINE_AFFINE(cvm_affine_f32, float, load_f32, store_f32)
DEFINE_AFFINE(cvm_affine_bf16, uint16_t, load_bf16, store_bf16)

#define DEFINE_GATE(name, element, load, store) \
    DISPATCHED void name(const element *source, const element *gate, element *destination, size_t count) { \
        FOR_LANES(count, { \
            lanes x, y; \
            load(source + i, width, &x); \
            load(gate + i, width, &y); \
            gelu(&y); \
            x *= y; \
            store(&x, destination + i, width); \
        }) \
    }

DEFINE_GATE(cvm_gate_f32, float, load_f32, store_f32)
DEFINE_GATE(cvm_gate_bf16, uint16_t, load_bf16, store_bf16)

#define DEFINE_SWIGLU(name, element, load, store) \
    DISPATCHED void name(const element *gate, const element *source, element *destination, size_t count) { \
        FOR_LANES(count, { \
            lanes x, y; \
            load(gate + i, width, &x); \
            load(source + i, width, &y); \
            swish(&x, 1); \
            x *= y; \
            store(&x, destination + i, width); \
        }) \
    }

DEFINE_SWIGLU(cvm_swiglu_f32, float, load_f32, store_f32)
DEFINE_SWIGLU(cvm_swiglu_bf16, uint16_t, load_bf16, store_bf16)

// MARK: Norms

// Products and sums here are not fused, so that every processor gives the same bits.
#define UNFUSED _Pragma("clang fp contract(off)")

// The sum of all lanes, by halves.
HELPER float total(const lanes *x) {
    const eights eight = x->lo + x->hi;
    const fours four = eight.lo + eight.hi;
    return (four.x + four.z) + (four.y + four.w);
}

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

// MARK: Products of rows

// How far ahead of its use a matrix is asked of memory, in bytes: on a virtual EPYC 9004 it takes a core from 17 GB/s to
// 27 of the 35 that plain reads reach.
#define AHEAD 4096
#define LINE 64

// Products of one row with COUNT vectors. Each has two sums, of the even and of the odd pieces of 16 elements, so that
// one addition need not wait for the other. Rows are taken one after the other, so that memory is read in one stream.
#define ROW_BY_VECTORS(COUNT, load) \
    for (size_t row = 0; row < extents->count; row++) { \
        lanes even[COUNT], odd[COUNT]; \
        for (int v = 0; v < COUNT; v++) even[v] = odd[v] = (lanes)0.0f; \
        const size_t start = row * extents->matrix_stride; \
        size_t k = 0; \
        for (; k + 2 * WIDTH <= extents->depth; k += 2 * WIDTH) { \
            for (size_t line = 0; line < 2 * WIDTH * sizeof *matrix; line += LINE) { \
                __builtin_prefetch((const char *)(matrix + start + k) + AHEAD + line); \
            } \
            lanes x, y; \
            load(matrix + start + k, WIDTH, &x); \
            load(matrix + start + k + WIDTH, WIDTH, &y); \
            for (int v = 0; v < COUNT; v++) { \
                lanes first, second; \
                load_f32(vectors + (vector + v) * extents->vector_stride + k, WIDTH, &first); \
                load_f32(vectors + (vector + v) * extents->vector_stride + k + WIDTH, WIDTH, &second); \
                even[v] += x * first; \
                odd[v] += y * second; \
            } \
        } \
        for (; k < extents->depth; k += WIDTH) { \
            const size_t width = extents->depth - k < WIDTH ? extents->depth - k : WIDTH; \
            lanes x, y; \
            load(matrix + start + k, width, &x); \
            for (int v = 0; v < COUNT; v++) { \
                load_f32(vectors + (vector + v) * extents->vector_stride + k, width, &y); \
                even[v] += x * y; \
            } \
        } \
        for (int v = 0; v < COUNT; v++) { \
            const lanes sum = even[v] + odd[v]; \
            results[(vector + v) * extents->result_stride + row] = total(&sum); \
        } \
    }

#define DEFINE_ROW_PRODUCTS(name, element, load) \
    DISPATCHED void name( \
        const element *matrix, const float *vectors, float *results, const cvm_row_extents *extents) { \
        size_t vector = 0; \
        for (; vector + 8 <= extents->vectors; vector += 8) ROW_BY_VECTORS(8, load) \
        for (; vector + 4 <= extents->vectors; vector += 4) ROW_BY_VECTORS(4, load) \
        for (; vector + 2 <= extents->vectors; vector += 2) ROW_BY_VECTORS(2, load) \
        for (; vector < extents->vectors; vector++) ROW_BY_VECTORS(1, load) \
    }

DEFINE_ROW_PRODUCTS(cvm_row_products_f32, float, load_f32)
DEFINE_ROW_PRODUCTS(cvm_row_products_bf16, uint16_t, load_bf16)

#define WEIGHTED_BLOCK(LANES, load, width) \
    { \
        lanes sums[LANES]; \
        for (int j = 0; j < LANES; j++) sums[j] = (lanes)0.0f; \
        for (size_t i = 0; i < count; i++) { \
            for (int j = 0; j < LANES; j++) { \
                lanes x; \
                load(rows + i * stride + d + j * WIDTH, width, &x); \
                sums[j] += x * factors[i]; \
            } \
        } \
        for (int j = 0; j < LANES; j++) store_f32(&sums[j], result + d + j * WIDTH, width); \
    }

#define DEFINE_WEIGHTED_ROWS(name, element, load) \
    DISPATCHED void name( \
        const element *rows, const float *factors, float *result, size_t count, size_t depth, size_t stride) { \
        size_t d = 0; \
        for (; d + 4 * WIDTH <= depth; d += 4 * WIDTH) WEIGHTED_BLOCK(4, load, WIDTH) \
        for (; d + WIDTH <= depth; d += WIDTH) WEIGHTED_BLOCK(1, load, WIDTH) \
        if (d < depth) { \
            const size_t rest = depth - d; \
            WEIGHTED_BLOCK(1, load, rest) \
        } \
    }

DEFINE_WEIGHTED_ROWS(cvm_weighted_rows_f32, float, load_f32)
DEFINE_WEIGHTED_ROWS(cvm_weighted_rows_bf16, uint16_t, load_bf16)

#define DEFINE_CONVERSION(name, from, load, to, store) \
    DISPATCHED void name(const from *source, to *destination, size_t count) { \
        FOR_LANES(count, { \
            lanes x; \
            load(source + i, width, &x); \
            store(&x, destination + i, width); \
        }) \
    }

DEFINE_CONVERSION(cvm_bf16_from_f32, float, load_f32, uint16_t, store_bf16)
DEFINE_CONVERSION(cvm_f16_from_f32, float, load_f32, uint16_t, store_f16)
DEFINE_CONVERSION(cvm_f32_from_bf16, uint16_t, load_bf16, float, store_f32)
DEFINE_CONVERSION(cvm_f32_from_f16, uint16_t, load_f16, float, store_f32)
DEFINE_CONVERSION(cvm_bf16_from_f16, uint16_t, load_f16, uint16_t, store_bf16)
