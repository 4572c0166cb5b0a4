#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
// The core for a few rows: LANES threads share HELD columns, whose weights they read side by side, sixteen bytes at a
// time, once for all ROWS rows; a workgroup takes COLUMNS times as many. What bounds it is the reading of the weight.
//
// The sixteen bytes are two words of eight, since a software driver runs every access one lane after another and is no
// slower with eight bytes than with four. There a lane has several columns, to read the source once for all, and takes
// PIECE times sixteen bytes that follow each other: the lanes' first accesses miss the cache together, not in turn.
#include "gemm_source.glsl"

layout(constant_id = 0) const uint THREADS = 128;  // LANES · COLUMNS
layout(constant_id = 1) const uint LANES = 32;     // a power of two
layout(constant_id = 2) const uint COLUMNS = 4;
layout(constant_id = 3) const uint ROWS = 1;
layout(constant_id = 4) const uint HELD = 1;
layout(constant_id = 5) const uint PIECE = 1;

#if defined(FP16)
#define WIDE 8
#else
#define WIDE 4
#endif
layout(buffer_reference, std430, buffer_reference_align = 16) buffer Pairs { u64vec2 at[]; };

shared float partial[ROWS * HELD * THREADS];

struct Wide {
    vec4 low;
    vec4 high;  // zero in fp32
};

// WIDE elements from `index` on, a multiple of WIDE.
Wide loadWide(Values values, uint index) {
    u64vec2 pair = Pairs(values).at[index / WIDE];
    uvec4 bits = uvec4(unpack32(pair.x), unpack32(pair.y));
#if defined(FP16)
    return Wide(vec4(unpackHalf2x16(bits.x), unpackHalf2x16(bits.y)),
        vec4(unpackHalf2x16(bits.z), unpackHalf2x16(bits.w)));
#else
    return Wide(uintBitsToFloat(bits), vec4(0));
#endif
}

float product(Wide a, Wide b) { return WIDE == 8 ? dot(a.low, b.low) + dot(a.high, b.high) : dot(a.low, b.low); }

void main() {
    uint thread = gl_LocalInvocationIndex;
    uint lane = thread % LANES;
    uint column = (workgroupIndex() * COLUMNS + thread / LANES) * HELD;
    uint starts[HELD];
    // Lanes behind the last column repeat it; what they sum is not stored.
    [[unroll]] for (uint c = 0; c < HELD; c++) starts[c] = min(column + c, push.columns - 1) * push.inner;
    float sums[ROWS * HELD];
    [[unroll]] for (uint i = 0; i < ROWS * HELD; i++) sums[i] = 0.0;
    // Here VECTOR_K says that WIDE elements can be loaded at one time.
    if (VECTOR_K) {
        for (uint first = lane * PIECE * WIDE; first < push.inner; first += LANES * PIECE * WIDE) {
            [[unroll]] for (uint i = 0; i < PIECE; i++) {
                uint k = first + i * WIDE;
                if (PIECE > 1 && k >= push.inner) break;
                Wide weights[HELD];
                [[unroll]] for (uint c = 0; c < HELD; c++) weights[c] = loadWide(push.weight, starts[c] + k);
                [[unroll]] for (uint r = 0; r < ROWS; r++) {
                    Wide source = loadWide(push.source, r * push.inner + k);
                    [[unroll]] for (uint c = 0; c < HELD; c++) sums[r * HELD + c] += product(weights[c], source);
                }
            }
        }
    } else {
        for (uint k = lane; k < push.inner; k += LANES) {
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                float source = float(push.source.at[r * push.inner + k]);
                [[unroll]] for (uint c = 0; c < HELD; c++) {
                    sums[r * HELD + c] += source * float(push.weight.at[starts[c] + k]);
                }
            }
        }
    }
    [[unroll]] for (uint i = 0; i < ROWS * HELD; i++) partial[i * THREADS + thread] = sums[i];
    for (uint step = LANES / 2; step > 0; step /= 2) {
        barrier();
        if (lane < step) {
            [[unroll]] for (uint i = 0; i < ROWS * HELD; i++) {
                partial[i * THREADS + thread] += partial[i * THREADS + thread + step];
            }
        }
    }
    barrier();
    // The lanes of a column share its results.
    for (uint i = lane; i < ROWS * HELD; i += LANES) {
        uint mine = column + i % HELD;
        if (mine < push.columns) finish(i / HELD, mine, partial[i * THREADS + thread - lane]);
    }
}
