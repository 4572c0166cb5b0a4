#version 460
#extension GL_GOOGLE_include_directive : require
// Layer norm over the channels of source [rows, channels]: a workgroup for each row, which it reads three times, twice
// from the cache: for the mean, for the variance round it, for the result.
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 128;  // a power of two

layout(push_constant) uniform Push {
    Values source;
    Values weight;
    Values bias;
    Values result;
    uint rows;
    uint channels;
    float epsilon;
} push;

shared float partial[THREADS];

float summed(float value) {
    uint thread = gl_LocalInvocationIndex;
    barrier();
    partial[thread] = value;
    for (uint step = THREADS / 2; step > 0; step /= 2) {
        barrier();
        if (thread < step) partial[thread] += partial[thread + step];
    }
    barrier();
    return partial[0];
}

void main() {
    uint row = workgroupIndex();
    if (row >= push.rows) return;
    uint thread = gl_LocalInvocationIndex;
    uint start = row * push.channels;
    float sum = 0.0;
    for (uint i = thread; i < push.channels; i += THREADS) sum += float(push.source.at[start + i]);
    float mean = summed(sum) / float(push.channels);
    float squares = 0.0;
    for (uint i = thread; i < push.channels; i += THREADS) {
        float difference = float(push.source.at[start + i]) - mean;
        squares += difference * difference;
    }
    float factor = inversesqrt(summed(squares) / float(push.channels) + push.epsilon);
    for (uint i = thread; i < push.channels; i += THREADS) {
        float value = (float(push.source.at[start + i]) - mean) * factor;
        push.result.at[start + i] = STORE(value * float(push.weight.at[i]) + float(push.bias.at[i]));
    }
}
