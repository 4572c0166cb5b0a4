#version 460
#extension GL_GOOGLE_include_directive : require
// softmax(scale · q·kᵀ)·v of query [batch, tokens, heads · HEAD] over the entries 0...positions[b] + t of keys and values
// [batch, entries, keyHeads · HEAD]. A workgroup takes one token and head, THREADS entries at a time: each thread makes
// the score of one, then the threads share the channels of the result. The softmax is the one-pass form of Milakov and
// Gimelshein, "Online normalizer calculation for softmax" (2018).
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 64;  // a power of two
layout(constant_id = 1) const uint HEAD = 64;
layout(constant_id = 2) const bool VECTOR = false;  // whether four channels can be loaded at one time

layout(push_constant) uniform Push {
    Values query;
    Values keys;
    Values values;
    Ints positions;
    Values result;
    uint rows;
    uint heads;
    uint keyHeads;
    uint tokens;
    uint entries;
    float scale;
} push;

// Minus infinity.
#define NOTHING uintBitsToFloat(0xff800000u)
const uint CHANNELS = (HEAD + THREADS - 1) / THREADS;

shared float queryHead[HEAD];
shared float powers[THREADS];
shared float partial[THREADS];

float largest(float value) {
    uint thread = gl_LocalInvocationIndex;
    partial[thread] = value;
    for (uint step = THREADS / 2; step > 0; step /= 2) {
        barrier();
        if (thread < step) partial[thread] = max(partial[thread], partial[thread + step]);
    }
    barrier();
    return partial[0];
}

float product(uint start) {
    float sum = 0.0;
    if (VECTOR) {
        for (uint d = 0; d < HEAD; d += 4) {
            vec4 four = vec4(queryHead[d], queryHead[d + 1], queryHead[d + 2], queryHead[d + 3]);
            sum += dot(four, load4(push.keys, start + d));
        }
    } else {
        for (uint d = 0; d < HEAD; d++) sum += queryHead[d] * float(push.keys.at[start + d]);
    }
    return sum * push.scale;
}

void main() {
    uint index = workgroupIndex();
    uint row = index / push.heads;
    if (row >= push.rows) return;
    uint thread = gl_LocalInvocationIndex;
    uint head = index - row * push.heads;
    uint batch = row / push.tokens;
    uint visible = uint(clamp(push.positions.at[batch] + int(row % push.tokens) + 1, 0, int(push.entries)));
    uint pitch = push.keyHeads * HEAD;
    uint first = batch * push.entries * pitch + head / (push.heads / push.keyHeads) * HEAD;
    uint start = index * HEAD;
    for (uint d = thread; d < HEAD; d += THREADS) queryHead[d] = float(push.query.at[start + d]);
    barrier();

    float sums[CHANNELS];
    [[unroll]] for (uint i = 0; i < CHANNELS; i++) sums[i] = 0.0;
    float peak = NOTHING;
    float total = 0.0;
    for (uint block = 0; block < visible; block += THREADS) {
        uint count = min(THREADS, visible - block);
        float score = thread < count ? product(first + (block + thread) * pitch) : NOTHING;
        float newPeak = max(peak, largest(score));
        float shrink = block == 0 ? 0.0 : exp(peak - newPeak);
        powers[thread] = thread < count ? exp(score - newPeak) : 0.0;
        peak = newPeak;
        barrier();
        [[unroll]] for (uint i = 0; i < CHANNELS; i++) sums[i] *= shrink;
        total *= shrink;
        for (uint entry = 0; entry < count; entry++) {
            float power = powers[entry];
            total += power;
            uint from = first + (block + entry) * pitch;
            [[unroll]] for (uint i = 0; i < CHANNELS; i++) {
                uint d = i * THREADS + thread;
                if (d < HEAD) sums[i] += power * float(push.values.at[from + d]);
            }
        }
        barrier();
    }
    [[unroll]] for (uint i = 0; i < CHANNELS; i++) {
        uint d = i * THREADS + thread;
        if (d < HEAD) push.result.at[start + d] = STORE(sums[i] / total);
    }
}
