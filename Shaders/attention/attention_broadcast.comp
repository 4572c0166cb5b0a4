#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_ballot : require
// softmax(scale · query·keyᵀ)·value for each head as attention.comp has it, for software drivers, which run a workgroup as
// one vector of LANES and every memory access one lane after another (see matrix_broadcast.glsl).
//
// A workgroup is one subgroup and takes ROWS queries of one head. For the scores each lane owns every LANES-th of a tile's
// keys, for the result every LANES-th four of the head's channels; queries and probabilities are broadcast.
#include "types.glsl"
#include "wide_load.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8;
layout(constant_id = 1) const uint ROWS = 16;  // a multiple of LANES
layout(constant_id = 2) const uint KEYS = 64;  // of a tile; a multiple of LANES
layout(constant_id = 3) const uint HEAD_SIZE = 64;  // a multiple of 4
layout(constant_id = 7) const bool CAUSAL = false;
layout(constant_id = 8) const bool VECTOR = false;  // four elements can be loaded and stored at one time

layout(push_constant) uniform Push {
    Values query;   // [batch, tokens, heads · HEAD_SIZE]
    Values key;     // [batch, keys, heads · HEAD_SIZE]
    Values value;   // like key
    Values result;  // like query
    uint batch;
    uint heads;
    uint tokens;
    uint keys;
    float scale;
} push;

const uint ROW_LOADS = ROWS / LANES;
const uint KEY_LOADS = KEYS / LANES;
const uint FOURS = HEAD_SIZE / 4;
// Fours of channels of each lane; the last lanes repeat the last one, which only its own lane stores.
const uint OUTPUTS = (FOURS + LANES - 1) / LANES;
// Finite, so that no difference of two is a NaN.
const float LOWEST = -3.0e38;
const float LOG2_E = 1.4426950408889634;

vec4 loadFour(Values values, uint index) {
    if (VECTOR) return loadWide(values, index);
    return vec4(values.at[index], values.at[index + 1], values.at[index + 2], values.at[index + 3]);
}

float largestOfLanes(float value) {
    float found = subgroupBroadcast(value, 0);
    [[unroll]] for (uint lane = 1; lane < LANES; lane++) found = max(found, subgroupBroadcast(value, lane));
    return found;
}

float sumOfLanes(float value) {
    float found = subgroupBroadcast(value, 0);
    [[unroll]] for (uint lane = 1; lane < LANES; lane++) found += subgroupBroadcast(value, lane);
    return found;
}

void main() {
    uint lane = gl_SubgroupInvocationID;
    uint rowTiles = (push.tokens + ROWS - 1) / ROWS;
    uint group = workgroupIndex();
    uint firstRow = group % rowTiles * ROWS;
    uint head = group / rowTiles % push.heads;
    uint batch = group / rowTiles / push.heads;
    if (batch >= push.batch) return;
    uint channels = push.heads * HEAD_SIZE;
    uint queryStart = batch * push.tokens * channels + head * HEAD_SIZE;
    uint keyStart = batch * push.keys * channels + head * HEAD_SIZE;
    // Powers of two need no multiplication.
    float scale = push.scale * LOG2_E;

    uint rowStarts[ROW_LOADS];
    [[unroll]] for (uint i = 0; i < ROW_LOADS; i++) {
        rowStarts[i] = queryStart + min(firstRow + i * LANES + lane, push.tokens - 1) * channels;
    }
    uint outputs[OUTPUTS];
    [[unroll]] for (uint j = 0; j < OUTPUTS; j++) outputs[j] = min(j * LANES + lane, FOURS - 1) * 4;
    vec4 sums[ROWS * OUTPUTS];
    float largest[ROWS];
    float weights[ROWS];  // of each lane's keys alone
    [[unroll]] for (uint i = 0; i < ROWS * OUTPUTS; i++) sums[i] = vec4(0);
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        largest[i] = LOWEST;
        weights[i] = 0.0;
    }

    uint keyLimit = CAUSAL ? min(push.keys, firstRow + ROWS) : push.keys;
    for (uint firstKey = 0; firstKey < keyLimit; firstKey += KEYS) {
        uint keyStarts[KEY_LOADS];
        [[unroll]] for (uint j = 0; j < KEY_LOADS; j++) {
            keyStarts[j] = keyStart + min(firstKey + j * LANES + lane, push.keys - 1) * channels;
        }
        float scores[ROWS * KEY_LOADS];
        [[unroll]] for (uint i = 0; i < ROWS * KEY_LOADS; i++) scores[i] = 0.0;
        for (uint channel = 0; channel < HEAD_SIZE; channel += 4) {
            vec4 left[ROW_LOADS];
            vec4 right[KEY_LOADS];
            [[unroll]] for (uint i = 0; i < ROW_LOADS; i++) left[i] = loadFour(push.query, rowStarts[i] + channel);
            [[unroll]] for (uint j = 0; j < KEY_LOADS; j++) right[j] = loadFour(push.key, keyStarts[j] + channel);
            [[unroll]] for (uint i = 0; i < ROWS; i++) {
                vec4 four = subgroupBroadcast(left[i / LANES], i % LANES);
                [[unroll]] for (uint j = 0; j < KEY_LOADS; j++) scores[i * KEY_LOADS + j] += dot(four, right[j]);
            }
        }

        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            float next = LOWEST;
            [[unroll]] for (uint j = 0; j < KEY_LOADS; j++) {
                uint key = firstKey + j * LANES + lane;
                bool visible = key < push.keys && (!CAUSAL || key <= firstRow + i);
                float score = visible ? scores[i * KEY_LOADS + j] * scale : LOWEST;
                scores[i * KEY_LOADS + j] = score;
                next = max(next, score);
            }
            next = max(largest[i], largestOfLanes(next));
            float factor = exp2(largest[i] - next);
            largest[i] = next;
            weights[i] *= factor;
            [[unroll]] for (uint j = 0; j < OUTPUTS; j++) sums[i * OUTPUTS + j] *= factor;
            [[unroll]] for (uint j = 0; j < KEY_LOADS; j++) {
                float probability = exp2(scores[i * KEY_LOADS + j] - next);
                weights[i] += probability;
                scores[i * KEY_LOADS + j] = probability;
            }
        }

        // A loop that is not unrolled, so that the code stays small: LANES keys a round, whose probabilities are moved to
        // the front, as only constants may index them.
        for (uint round = 0; round < KEY_LOADS; round++) {
            vec4 right[LANES * OUTPUTS];
            [[unroll]] for (uint k = 0; k < LANES; k++) {
                uint start = keyStart + min(firstKey + round * LANES + k, push.keys - 1) * channels;
                [[unroll]] for (uint j = 0; j < OUTPUTS; j++) {
                    right[k * OUTPUTS + j] = loadFour(push.value, start + outputs[j]);
                }
            }
            [[unroll]] for (uint i = 0; i < ROWS; i++) {
                float left[LANES];
                [[unroll]] for (uint k = 0; k < LANES; k++) left[k] = subgroupBroadcast(scores[i * KEY_LOADS], k);
                [[unroll]] for (uint j = 0; j < OUTPUTS; j++) {
                    vec4 sum = sums[i * OUTPUTS + j];
                    [[unroll]] for (uint k = 0; k < LANES; k++) sum += left[k] * right[k * OUTPUTS + j];
                    sums[i * OUTPUTS + j] = sum;
                }
                [[unroll]] for (uint j = 1; j < KEY_LOADS; j++) {
                    scores[i * KEY_LOADS + j - 1] = scores[i * KEY_LOADS + j];
                }
            }
        }
    }

    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        float weight = sumOfLanes(weights[i]);
        uint start = queryStart + (firstRow + i) * channels;
        [[unroll]] for (uint j = 0; j < OUTPUTS; j++) {
            if (firstRow + i < push.tokens && j * LANES + lane < FOURS) {
                vec4 four = sums[i * OUTPUTS + j] / weight;
                if (VECTOR) {
                    store4(push.result, start + outputs[j], four);
                } else {
                    [[unroll]] for (uint c = 0; c < 4; c++) push.result.at[start + outputs[j] + c] = STORE(four[c]);
                }
            }
        }
    }
}
