#version 460
#extension GL_GOOGLE_include_directive : require
// (x - mean) · rstd · weight + bias of source [batch, pixels, channels], then the activation.
// A thread takes WIDTH channels of a run of pixels, so that it reads weights and statistics once.
#include "types.glsl"
#include "activation.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 256;
layout(constant_id = 1) const uint WIDTH = 4;  // 4 where channels and addresses allow it, else 1
layout(constant_id = 2) const uint ACTIVATION = ACTIVATION_NONE;

layout(push_constant) uniform Push {
    Values source;
    Values weight;
    Values bias;
    Floats moments;  // [batch, groups, 2]: mean and 1/√(variance + epsilon)
    Values result;
    uint batch;
    uint pixels;
    uint channels;
    uint groups;
    uint run;  // pixels for each thread
} push;

void main() {
    uint index = workgroupIndex() * THREADS + gl_LocalInvocationIndex;
    uint across = push.channels / WIDTH;
    uint runs = (push.pixels + push.run - 1) / push.run;
    uint channel = index % across * WIDTH;
    uint first = index / across % runs * push.run;
    uint batch = index / across / runs;
    if (batch >= push.batch) return;

    float means[WIDTH];
    float factors[WIDTH];
    float offsets[WIDTH];
    [[unroll]] for (uint i = 0; i < WIDTH; i++) {
        uint group = (channel + i) / (push.channels / push.groups);
        means[i] = push.moments.at[(batch * push.groups + group) * 2];
        factors[i] = push.moments.at[(batch * push.groups + group) * 2 + 1] * float(push.weight.at[channel + i]);
        offsets[i] = float(push.bias.at[channel + i]);
    }
    uint last = min(first + push.run, push.pixels);
    for (uint pixel = first; pixel < last; pixel++) {
        uint at = (batch * push.pixels + pixel) * push.channels + channel;
        if (WIDTH == 4) {
            vec4 four = load4(push.source, at);
            [[unroll]] for (uint i = 0; i < WIDTH; i++) {
                four[i] = activate(ACTIVATION, (four[i] - means[i]) * factors[i] + offsets[i]);
            }
            store4(push.result, at, four);
        } else {
            float value = (float(push.source.at[at]) - means[0]) * factors[0] + offsets[0];
            push.result.at[at] = STORE(activate(ACTIVATION, value));
        }
    }
}
