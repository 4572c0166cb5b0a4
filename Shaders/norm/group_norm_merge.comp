#version 460
#extension GL_GOOGLE_include_directive : require
// variants: FP32
// Merges the parts that group_norm_moments found: mean and 1/√(variance + epsilon) of each group, a thread for each.
#include "types.glsl"
#include "moments.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 64;

layout(push_constant) uniform Push {
    Floats source;  // [groups, parts, 3]
    Floats result;  // [groups, 2]
    uint groups;
    uint parts;
    float epsilon;
} push;

void main() {
    uint group = workgroupIndex() * THREADS + gl_LocalInvocationIndex;
    if (group >= push.groups) return;
    Moments moments = noMoments();
    for (uint part = 0; part < push.parts; part++) {
        uint at = (group * push.parts + part) * 3;
        moments = merged(moments, Moments(push.source.at[at], push.source.at[at + 1], push.source.at[at + 2]));
    }
    push.result.at[group * 2] = moments.mean;
    push.result.at[group * 2 + 1] = inversesqrt(moments.squares / moments.count + push.epsilon);
}
