#version 460
#extension GL_GOOGLE_include_directive : require
// The core for a few rows: LANES threads share a column, whose weight they read side by side, sixteen bytes at a time,
// once for all ROWS rows; a workgroup takes COLUMNS columns. What bounds it is the reading of the weight.
#include "gemm_source.glsl"

layout(constant_id = 0) const uint THREADS = 128;  // LANES · COLUMNS
layout(constant_id = 1) const uint LANES = 32;     // a power of two
layout(constant_id = 2) const uint COLUMNS = 4;
layout(constant_id = 3) const uint ROWS = 1;

#if defined(FP16)
#define WIDE 8
#else
#define WIDE 4
#endif
layout(buffer_reference, std430, buffer_reference_align = 16) buffer Quads { uvec4 at[]; };

shared float partial[ROWS * THREADS];

// WIDE elements from `index` on, a multiple of WIDE, as two vectors; the second is zero in fp32.
void loadWide(Values values, uint index, out vec4 low, out vec4 high) {
    uvec4 bits = Quads(values).at[index / WIDE];
#if defined(FP16)
    low = vec4(unpackHalf2x16(bits.x), unpackHalf2x16(bits.y));
    high = vec4(unpackHalf2x16(bits.z), unpackHalf2x16(bits.w));
#else
    low = uintBitsToFloat(bits);
    high = vec4(0);
#endif
}

void main() {
    uint thread = gl_LocalInvocationIndex;
    uint lane = thread % LANES;
    uint column = workgroupIndex() * COLUMNS + thread / LANES;
    uint start = column * push.inner;
    float sums[ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) sums[r] = 0.0;
    if (column < push.columns) {
        // Here VECTOR_K says that WIDE elements can be loaded at one time.
        if (VECTOR_K) {
            for (uint k = lane * WIDE; k < push.inner; k += LANES * WIDE) {
                vec4 low, high;
                loadWide(push.weight, start + k, low, high);
                [[unroll]] for (uint r = 0; r < ROWS; r++) {
                    vec4 sourceLow, sourceHigh;
                    loadWide(push.source, r * push.inner + k, sourceLow, sourceHigh);
                    sums[r] += dot(low, sourceLow);
                    if (WIDE == 8) sums[r] += dot(high, sourceHigh);
                }
            }
        } else {
            for (uint k = lane; k < push.inner; k += LANES) {
                float weight = float(push.weight.at[start + k]);
                [[unroll]] for (uint r = 0; r < ROWS; r++) {
                    sums[r] += weight * float(push.source.at[r * push.inner + k]);
                }
            }
        }
    }
    [[unroll]] for (uint r = 0; r < ROWS; r++) partial[r * THREADS + thread] = sums[r];
    for (uint step = LANES / 2; step > 0; step /= 2) {
        barrier();
        if (lane < step) {
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                partial[r * THREADS + thread] += partial[r * THREADS + thread + step];
            }
        }
    }
    barrier();
    // The lanes of a column share its rows.
    for (uint r = lane; r < ROWS; r += LANES) {
        if (column < push.columns) finish(r, column, partial[r * THREADS + thread - lane]);
    }
}
