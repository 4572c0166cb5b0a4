#version 460
#extension GL_GOOGLE_include_directive : require
// The second half of a product whose sums several workgroups share: adds the parts in their order, then the epilogue.
// `source` is fp32 [inner, rows, columns]: as many parts as `inner` says.
#include "gemm_source.glsl"

layout(constant_id = 0) const uint THREADS = 64;

void main() {
    uint index = workgroupIndex() * THREADS + gl_LocalInvocationIndex;
    uint count = push.rows * push.columns;
    if (VECTOR_N) {
        if (index * 4 >= count) return;
        vec4 sum = vec4(0);
        for (uint i = 0; i < push.inner; i++) sum += Floats4(push.source).at[(i * count) / 4 + index];
        finish4(index * 4 / push.columns, index * 4 % push.columns, sum);
    } else if (GATED) {
        if (index * 2 >= count) return;
        vec2 sum = vec2(0);
        for (uint i = 0; i < push.inner; i++) {
            uint at = i * count + index * 2;
            sum += vec2(Floats(push.source).at[at], Floats(push.source).at[at + 1]);
        }
        finishPair(index * 2 / push.columns, index * 2 % push.columns, sum);
    } else {
        if (index >= count) return;
        float sum = 0.0;
        for (uint i = 0; i < push.inner; i++) sum += Floats(push.source).at[i * count + index];
        finish(index / push.columns, index % push.columns, sum);
    }
}
