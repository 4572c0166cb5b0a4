#version 460
#extension GL_GOOGLE_include_directive : require
// (x - mean) · rstd · weight + bias of source [batch, pixels, channels], then the activation.
// A thread takes WIDTH channels of a run of pixels, so that it reads weights and statistics once. Where the source is
// joined, channels from `split` on lie in a tensor of their own.
#include "types.glsl"
#include "activation.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 256;
layout(constant_id = 1) const uint WIDTH = 4;  // 4 where channels and addresses allow it, else 1
layout(constant_id = 2) const uint ACTIVATION = ACTIVATION_NONE;

layout(push_constant) uniform Push {
    Values source;
    Values joined;
    Values weight;
    Values bias;
    Floats moments;  // [batch, groups, 2]: mean and 1/√(variance + epsilon)
    Values result;
    uint batch;
    uint pixels;
    uint channels;
    uint groups;
    uint run;  // pixels for each thread
    uint split;
} push;

// The tensor that holds the thread's channels, and where they lie in it.
struct Channels {
    Values values;
    uint count;
    uint first;
};

Channels channelsAt(uint channel) {
    if (channel < push.split) return Channels(push.source, push.split, channel);
    return Channels(push.joined, push.channels - push.split, channel - push.split);
}

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
    Channels mine = channelsAt(channel);
    uint last = min(first + push.run, push.pixels);
    for (uint pixel = first; pixel < last; pixel++) {
        uint from = (batch * push.pixels + pixel) * mine.count + mine.first;
        uint at = (batch * push.pixels + pixel) * push.channels + channel;
        if (WIDTH == 4) {
            vec4 four = load4(mine.values, from);
            [[unroll]] for (uint i = 0; i < WIDTH; i++) {
                four[i] = activate(ACTIVATION, (four[i] - means[i]) * factors[i] + offsets[i]);
            }
            store4(push.result, at, four);
        } else {
            float value = (float(mine.values.at[from]) - means[0]) * factors[0] + offsets[0];
            push.result.at[at] = STORE(activate(ACTIVATION, value));
        }
    }
}
