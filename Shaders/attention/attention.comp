#version 460
#extension GL_GOOGLE_include_directive : require
// softmax(scale · query·keyᵀ)·value for each head, without a score matrix in memory: Dao et al., "FlashAttention" (2022),
// algorithm 1, with the order of loops of its successor (Dao, 2023). Statistics and sums are fp32.
//
// A workgroup takes TILE_ROWS queries of one head and walks over the keys in tiles. Scores, then probabilities, pass
// through shared memory; each thread keeps ROWS x OUTPUTS sums of the result and the statistics of its rows.
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 256;
layout(constant_id = 1) const uint TILE_ROWS = 64;
layout(constant_id = 2) const uint TILE_KEYS = 64;  // no fewer than COLUMN_THREADS
layout(constant_id = 3) const uint HEAD_SIZE = 64;
layout(constant_id = 4) const uint COLUMN_THREADS = 16;
layout(constant_id = 5) const uint DEPTH = 16;       // of a slice of queries and keys; divides HEAD_SIZE
layout(constant_id = 6) const uint VALUE_KEYS = 32;  // of a slice of values; divides TILE_KEYS
layout(constant_id = 7) const bool CAUSAL = false;
layout(constant_id = 8) const bool VECTOR = false;   // four elements can be loaded at one time

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

const uint ROW_THREADS = THREADS / COLUMN_THREADS;
const uint ROWS = TILE_ROWS / ROW_THREADS;
const uint KEYS = TILE_KEYS / COLUMN_THREADS;
const uint OUTPUTS = (HEAD_SIZE + COLUMN_THREADS - 1) / COLUMN_THREADS;
const uint ROW_PITCH = TILE_ROWS + 4;
const uint KEY_PITCH = TILE_KEYS + 4;
const uint SCORE_SLICE = DEPTH * (ROW_PITCH + KEY_PITCH);
const uint VALUE_SLICE = VALUE_KEYS * HEAD_SIZE;
// Finite, so that no difference of two is a NaN.
const float LOWEST = -3.0e38;

// A slice of queries behind it one of keys, or a slice of values.
shared float slice[SCORE_SLICE > VALUE_SLICE ? SCORE_SLICE : VALUE_SLICE];
// Probabilities [key][row]; before them what the threads of a row have found.
shared float probabilities[TILE_KEYS * ROW_PITCH];

vec4 loadFour(Values values, uint index) {
    if (VECTOR) return load4(values, index);
    return vec4(values.at[index], values.at[index + 1], values.at[index + 2], values.at[index + 3]);
}

// Puts DEPTH channels of `count` tokens into the slice, channel outermost; zeros behind the last token.
void loadTransposed(Values values, uint start, uint first, uint limit, uint count, uint target, uint pitch) {
    uint channels = push.heads * HEAD_SIZE;
    for (uint slot = gl_LocalInvocationIndex; slot < count * (DEPTH / 4); slot += THREADS) {
        uint token = slot / (DEPTH / 4);
        uint depth = slot % (DEPTH / 4) * 4;
        vec4 four = first + token < limit ? loadFour(values, start + (first + token) * channels + depth) : vec4(0);
        [[unroll]] for (uint i = 0; i < 4; i++) slice[target + (depth + i) * pitch + token] = four[i];
    }
}

void loadValues(uint start, uint first) {
    uint channels = push.heads * HEAD_SIZE;
    for (uint slot = gl_LocalInvocationIndex; slot < VALUE_SLICE / 4; slot += THREADS) {
        uint key = first + slot / (HEAD_SIZE / 4);
        uint column = slot % (HEAD_SIZE / 4) * 4;
        vec4 four = key < push.keys ? loadFour(push.value, start + key * channels + column) : vec4(0);
        [[unroll]] for (uint i = 0; i < 4; i++) slice[slot * 4 + i] = four[i];
    }
}

// Combines a number of each thread of a row: the largest or the sum.
void combineRows(inout float numbers[ROWS], bool largest) {
    uint column = gl_LocalInvocationIndex % COLUMN_THREADS;
    uint firstRow = gl_LocalInvocationIndex / COLUMN_THREADS * ROWS;
    barrier();
    [[unroll]] for (uint i = 0; i < ROWS; i++) probabilities[column * ROW_PITCH + firstRow + i] = numbers[i];
    barrier();
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        float found = probabilities[firstRow + i];
        for (uint j = 1; j < COLUMN_THREADS; j++) {
            float other = probabilities[j * ROW_PITCH + firstRow + i];
            found = largest ? max(found, other) : found + other;
        }
        numbers[i] = found;
    }
    barrier();
}

void main() {
    uint rowTiles = (push.tokens + TILE_ROWS - 1) / TILE_ROWS;
    uint group = workgroupIndex();
    uint firstRow = group % rowTiles * TILE_ROWS;
    uint head = group / rowTiles % push.heads;
    uint batch = group / rowTiles / push.heads;
    if (batch >= push.batch) return;
    uint column = gl_LocalInvocationIndex % COLUMN_THREADS;
    uint rowOffset = gl_LocalInvocationIndex / COLUMN_THREADS * ROWS;
    uint channels = push.heads * HEAD_SIZE;
    uint queryStart = batch * push.tokens * channels + head * HEAD_SIZE;
    uint keyStart = batch * push.keys * channels + head * HEAD_SIZE;

    float sums[ROWS * OUTPUTS];
    float largest[ROWS];
    float weights[ROWS];
    [[unroll]] for (uint i = 0; i < ROWS * OUTPUTS; i++) sums[i] = 0.0;
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        largest[i] = LOWEST;
        weights[i] = 0.0;
    }

    uint keyLimit = CAUSAL ? min(push.keys, firstRow + TILE_ROWS) : push.keys;
    for (uint firstKey = 0; firstKey < keyLimit; firstKey += TILE_KEYS) {
        float scores[ROWS * KEYS];
        [[unroll]] for (uint i = 0; i < ROWS * KEYS; i++) scores[i] = 0.0;
        for (uint depth = 0; depth < HEAD_SIZE; depth += DEPTH) {
            barrier();
            loadTransposed(push.query, queryStart + depth, firstRow, push.tokens, TILE_ROWS, 0, ROW_PITCH);
            loadTransposed(
                push.key, keyStart + depth, firstKey, push.keys, TILE_KEYS, DEPTH * ROW_PITCH, KEY_PITCH);
            barrier();
            [[unroll]] for (uint step = 0; step < DEPTH; step++) {
                [[unroll]] for (uint j = 0; j < KEYS; j++) {
                    float right = slice[DEPTH * ROW_PITCH + step * KEY_PITCH + j * COLUMN_THREADS + column];
                    [[unroll]] for (uint i = 0; i < ROWS; i++) {
                        scores[i * KEYS + j] += slice[step * ROW_PITCH + rowOffset + i] * right;
                    }
                }
            }
        }

        float tileLargest[ROWS];
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            tileLargest[i] = LOWEST;
            [[unroll]] for (uint j = 0; j < KEYS; j++) {
                uint key = firstKey + j * COLUMN_THREADS + column;
                bool visible = key < push.keys && (!CAUSAL || key <= firstRow + rowOffset + i);
                float score = visible ? scores[i * KEYS + j] * push.scale : LOWEST;
                scores[i * KEYS + j] = score;
                tileLargest[i] = max(tileLargest[i], score);
            }
        }
        combineRows(tileLargest, true);
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            float next = max(largest[i], tileLargest[i]);
            float factor = exp(largest[i] - next);
            largest[i] = next;
            weights[i] *= factor;
            [[unroll]] for (uint j = 0; j < OUTPUTS; j++) sums[i * OUTPUTS + j] *= factor;
            [[unroll]] for (uint j = 0; j < KEYS; j++) {
                // Of its own keys alone: the threads of a row add up at the end.
                float probability = exp(scores[i * KEYS + j] - next);
                weights[i] += probability;
                probabilities[(j * COLUMN_THREADS + column) * ROW_PITCH + rowOffset + i] = probability;
            }
        }

        for (uint valueKey = 0; valueKey < TILE_KEYS; valueKey += VALUE_KEYS) {
            barrier();
            loadValues(keyStart, firstKey + valueKey);
            barrier();
            for (uint key = 0; key < VALUE_KEYS; key++) {
                float left[ROWS];
                [[unroll]] for (uint i = 0; i < ROWS; i++) {
                    left[i] = probabilities[(valueKey + key) * ROW_PITCH + rowOffset + i];
                }
                [[unroll]] for (uint j = 0; j < OUTPUTS; j++) {
                    // The last columns of a head size that COLUMN_THREADS does not divide are computed but not stored.
                    float right = slice[key * HEAD_SIZE + min(j * COLUMN_THREADS + column, HEAD_SIZE - 1)];
                    [[unroll]] for (uint i = 0; i < ROWS; i++) sums[i * OUTPUTS + j] += left[i] * right;
                }
            }
        }
    }

    combineRows(weights, false);
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        uint row = firstRow + rowOffset + i;
        [[unroll]] for (uint j = 0; j < OUTPUTS; j++) {
            uint channel = j * COLUMN_THREADS + column;
            if (row < push.tokens && channel < HEAD_SIZE) {
                push.result.at[queryStart + row * channels + channel] = STORE(sums[i * OUTPUTS + j] / weights[i]);
            }
        }
    }
}
