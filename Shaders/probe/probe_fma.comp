#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
// Nothing but multiply-adds in registers: what the device's arithmetic can do at most. Each thread keeps eight chains of
// four, enough to hide the latency of one; 64 operations a round.
#include "types.glsl"

layout(local_size_x_id = 0) in;

layout(push_constant) uniform Push {
    Values result;
    uint rounds;
    float factor;
} push;

void main() {
    STORE4 factor = STORE4(push.factor);
    // Never 0: chains that fade away would end in denormal numbers, which some processors are slow with.
    STORE4 term = STORE4(float((gl_LocalInvocationID.x & 7u) + 1u) * 0.125);
    STORE4 chains[8];
    [[unroll]] for (uint i = 0; i < 8; i++) chains[i] = STORE4(float(i));
    for (uint round = 0; round < push.rounds; round++) {
        [[unroll]] for (uint i = 0; i < 8; i++) chains[i] = chains[i] * factor + term;
    }
    STORE4 sum = STORE4(0.0);
    [[unroll]] for (uint i = 0; i < 8; i++) sum += chains[i];
    // Kept, or the compiler would leave the work out: no factor below 1 makes the sum that large.
    if (float(sum.x + sum.y + sum.z + sum.w) == 60000.0) push.result.at[gl_GlobalInvocationID.x & 63u] = sum.x;
}
