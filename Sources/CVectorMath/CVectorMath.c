#include "Lanes.h"

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

// MARK: Conversions

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
