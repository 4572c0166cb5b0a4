// Loops over rows of numbers, each compiled for several generations of x86-64 processors; the one that fits is chosen
// when the program starts. Swift has no such dispatch, and its baseline leaves three quarters of a modern core idle.
//
// bf16 numbers are the upper halves of fp32 ones, rounded to nearest even. Arithmetic is fp32. A NaN comes out where
// one went in. Sources and destinations may be the same memory where their types are.
#ifndef CALDERA_CVECTORMATH_H
#define CALDERA_CVECTORMATH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { CVM_IDENTITY, CVM_SILU, CVM_GELU, CVM_QUICK_GELU, CVM_RELU, CVM_TANH } cvm_function;

// What is known of a row whose softmax is computed block by block: the largest score so far, at first minus infinity, and
// the sum of the powers so far, at first 0.
typedef struct {
    float peak, sum;
} cvm_softmax;

// Writes e^(scale * (x - peak)) for the next `count` scores of a row, where `peak` is the largest score up to the end of
// them, and adds what was computed, before rounding, to the sum. Returns the factor by which this peak changes what was
// computed with the one before; the sum has been multiplied by it. The relative error of a power is below 2e-7.
// (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018, algorithm 3.)
float cvm_exponentiate_f32(const float *scores, float *powers, size_t count, float scale, cvm_softmax *row);
float cvm_exponentiate_bf16(const float *scores, uint16_t *powers, size_t count, float scale, cvm_softmax *row);

// The greatest magnitude among `count` numbers, as its bits, whose order is that of magnitudes: infinities come after
// every number and NaNs after them.
uint32_t cvm_peak_f32(const float *source, size_t count);

// function(x). GELU is x * (1 + erf(x / sqrt 2)) / 2 with an absolute error below 2e-7 * max(1, |x|).
void cvm_apply_f32(cvm_function function, const float *source, float *destination, size_t count);
void cvm_apply_bf16(cvm_function function, const uint16_t *source, uint16_t *destination, size_t count);

// function((x - mean) * scale + shift), with a mean, a scale and a shift for each element of the row.
void cvm_affine_f32(
    cvm_function function, const float *source, const float *mean, const float *scale, const float *shift,
    float *destination, size_t count);
void cvm_affine_bf16(
    cvm_function function, const uint16_t *source, const float *mean, const float *scale, const float *shift,
    uint16_t *destination, size_t count);

// source * gelu(gate).
void cvm_gate_f32(const float *source, const float *gate, float *destination, size_t count);
void cvm_gate_bf16(const uint16_t *source, const uint16_t *gate, uint16_t *destination, size_t count);

// silu(gate) * source.
void cvm_swiglu_f32(const float *gate, const float *source, float *destination, size_t count);
void cvm_swiglu_bf16(const uint16_t *gate, const uint16_t *source, uint16_t *destination, size_t count);

// sums[c] = the sum over rows of source[row, c], and of (source[row, c] - means[c])^2; rows are dense. Each column is added
// up in the order of its rows, so that its bits depend on nothing else.
void cvm_column_sums_f32(const float *source, float *sums, size_t rows, size_t channels);
void cvm_column_sums_bf16(const uint16_t *source, float *sums, size_t rows, size_t channels);
void cvm_column_deviations_f32(const float *source, const float *means, float *sums, size_t rows, size_t channels);
void cvm_column_deviations_bf16(
    const uint16_t *source, const float *means, float *sums, size_t rows, size_t channels);

// (x - mean) / sqrt(variance + epsilon) * weight + bias, with the mean and the variance of the row.
void cvm_layer_norm_f32(
    const float *source, const float *weight, const float *bias, float *destination, size_t count, float epsilon);
void cvm_layer_norm_bf16(
    const uint16_t *source, const float *weight, const float *bias, uint16_t *destination, size_t count,
    float epsilon);

// x / sqrt(mean of squares + epsilon) * weight.
void cvm_rms_norm_f32(const float *source, const float *weight, float *destination, size_t count, float epsilon);
void cvm_rms_norm_bf16(
    const uint16_t *source, const float *weight, uint16_t *destination, size_t count, float epsilon);

// A matrix and the few vectors that it is multiplied with. Strides count elements from one row to the next.
typedef struct {
    // Rows of the matrix, elements of each row, and how many vectors there are.
    size_t count, depth, vectors;
    size_t matrix_stride, vector_stride, result_stride;
} cvm_row_extents;

// results[v, i] = the product of row i and vector v, each row being read once for up to eight vectors. A product's bits
// depend on its row and its vector alone, not on how many others are computed with it.
void cvm_row_products_f32(const float *matrix, const float *vectors, float *results, const cvm_row_extents *extents);
void cvm_row_products_bf16(const uint16_t *matrix, const float *vectors, float *results, const cvm_row_extents *extents);

// result[d] = the sum over rows i < count of factors[i] * rows[i, d], for d < depth.
void cvm_weighted_rows_f32(
    const float *rows, const float *factors, float *result, size_t count, size_t depth, size_t stride);
void cvm_weighted_rows_bf16(
    const uint16_t *rows, const float *factors, float *result, size_t count, size_t depth, size_t stride);

// Changes of type, rounding to the nearest, ties to even. fp16 subnormals, infinities and NaNs keep their values.
void cvm_bf16_from_f32(const float *source, uint16_t *destination, size_t count);
void cvm_f16_from_f32(const float *source, uint16_t *destination, size_t count);
void cvm_f32_from_bf16(const uint16_t *source, float *destination, size_t count);
void cvm_f32_from_f16(const uint16_t *source, float *destination, size_t count);
void cvm_bf16_from_f16(const uint16_t *source, uint16_t *destination, size_t count);

#ifdef __cplusplus
}
#endif

#endif
