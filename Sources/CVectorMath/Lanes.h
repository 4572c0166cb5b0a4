// What all files of this module are made of: vectors of 16 lanes, their loads and stores, loops over rows.
#pragma once

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

// The sum of all lanes, by halves.
HELPER float total(const lanes *x) {
    const eights eight = x->lo + x->hi;
    const fours four = eight.lo + eight.hi;
    return (four.x + four.z) + (four.y + four.w);
}
