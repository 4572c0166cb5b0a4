#version 460
#extension GL_GOOGLE_include_directive : require
// Root-mean-square norm over the channels of source [rows, channels]: a workgroup for each row, which it reads twice,
// once from the cache.
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 128;  // a power of two

layout(push_constant) uniform Push {
    Values source;
    Values weight;
    Values result;
    uint rows;
    uint channels;
    float epsilon;
} push;

shared float partial[THREADS];

void main() {
    uint row = workgroupIndex();
    if (row >= push.rows) return;
    uint thread = gl_LocalInvocationIndex;
    uint start = row * push.channels;
    float squares = 0.0;
    for (uint i = thread; i < push.channels; i += THREADS) {
        float value = float(push.source.at[start + i]);
        squares += value * value;
    }
    partial[thread] = squares;
    for (uint step = THREADS / 2; step > 0; step /= 2) {
        barrier();
        if (thread < step) partial[thread] += partial[thread + step];
    }
    barrier();
    float factor = inversesqrt(partial[0] / float(push.channels) + push.epsilon);
    for (uint i = thread; i < push.channels; i += THREADS) {
        push.result.at[start + i] = STORE(float(push.source.at[start + i]) * factor * float(push.weight.at[i]));
    }
}
