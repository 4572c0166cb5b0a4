#version 460
#extension GL_GOOGLE_include_directive : require
// The moments of a part of a group of source [batch, pixels, channels]: a workgroup for each part, group and picture.
// Where it is joined, channels from `split` on lie in a tensor of their own.
// With one part for a group the result is what group_norm_apply reads.
#include "types.glsl"
#include "moments.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 256;  // a power of two
layout(constant_id = 1) const bool JOINED = false;

layout(push_constant) uniform Push {
    Values source;
    Values joined;
    Floats result;  // [batch · groups · parts, 3] or, with one part, [batch · groups, 2]
    uint pixels;
    uint channels;
    uint groups;
    uint parts;
    uint batch;
    float epsilon;
    uint split;
} push;

float element(uint pixel, uint channel) {
    if (!JOINED) return float(push.source.at[pixel * push.channels + channel]);
    if (channel < push.split) return float(push.source.at[pixel * push.split + channel]);
    return float(push.joined.at[pixel * (push.channels - push.split) + channel - push.split]);
}

shared Moments found[THREADS];

void main() {
    uint index = workgroupIndex();
    if (index >= push.batch * push.groups * push.parts) return;
    uint part = index % push.parts;
    uint group = index / push.parts % push.groups;
    uint batch = index / push.parts / push.groups;
    uint size = push.channels / push.groups;
    uint perPart = (push.pixels + push.parts - 1) / push.parts;
    uint first = min(part * perPart, push.pixels);
    uint count = (min(first + perPart, push.pixels) - first) * size;

    uint thread = gl_LocalInvocationIndex;
    Moments moments = noMoments();
    for (uint i = thread; i < count; i += THREADS) {
        include(moments, element(batch * push.pixels + first + i / size, group * size + i % size));
    }
    found[thread] = moments;
    for (uint step = THREADS / 2; step > 0; step /= 2) {
        barrier();
        if (thread < step) found[thread] = merged(found[thread], found[thread + step]);
    }
    if (thread > 0) return;
    moments = found[0];
    if (push.parts == 1) {
        push.result.at[index * 2] = moments.mean;
        push.result.at[index * 2 + 1] = inversesqrt(moments.squares / moments.count + push.epsilon);
    } else {
        push.result.at[index * 3] = moments.count;
        push.result.at[index * 3 + 1] = moments.mean;
        push.result.at[index * 3 + 2] = moments.squares;
    }
}
