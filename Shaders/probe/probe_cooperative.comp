#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_cooperative_matrix : require
// variants: FP16
// optional: GL_KHR_cooperative_matrix
// Nothing but cooperative matrices' multiply-adds in registers, fp16 times fp16 summed in fp32: what they can do at most.
// Each subgroup keeps four chains, enough to hide the latency of one; 8 · M · N · K operations a round.
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 128;
layout(constant_id = 1) const uint M = 16;
layout(constant_id = 2) const uint N = 16;
layout(constant_id = 3) const uint K = 16;

layout(push_constant) uniform Push {
    Floats result;
    uint rounds;
    float factor;
} push;

void main() {
    coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA> left =
        coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA>(float16_t(push.factor));
    coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB> right =
        coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB>(float16_t(push.factor));
    coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator> chains[4];
    [[unroll]] for (uint i = 0; i < 4; i++) {
        chains[i] = coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>(float(i));
    }
    for (uint round = 0; round < push.rounds; round++) {
        [[unroll]] for (uint i = 0; i < 4; i++) chains[i] = coopMatMulAdd(left, right, chains[i]);
    }
    float sum = 0.0;
    [[unroll]] for (uint i = 0; i < 4; i++) {
        for (uint j = 0; j < chains[i].length(); j++) sum += chains[i][j];
    }
    // Kept, or the compiler would leave the work out: sums of positive numbers are never that.
    if (sum < 0.0) push.result.at[gl_GlobalInvocationID.x & 63u] = sum;
}
