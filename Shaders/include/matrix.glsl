// What every matrix kernel shares: result[row, column] = epilogue(sum over k of source[row, k] · weight[column, k]).
//
// k runs over `TAPS` pieces of `inner` elements: one piece for a matrix product, a piece for each kernel position of a
// convolution, whose weight is packed as [column][kernel row][kernel column][channel]. A kernel file is a source (where
// the elements of a row lie: gemm_source.glsl, conv_source.glsl; `rowStart` finds a row's piece, `sourcePlace` the tensor
// and the place in it from which element k of that piece is counted) and a core (how the sum is tiled: matrix_tile.glsl,
// matrix_broadcast.glsl, matrix_cooperative.glsl). Specialization constants 0 to 7 belong to the core.
//
// Where few tiles have long sums, PARTS workgroups share a tile: each sums its part of k in fp32, and
// gemm/merge_parts.comp adds the parts in their order, always the same, and finishes.
//
// Where GATED, the weight's rows are packed in pairs, so that columns 2i and 2i + 1 of the product are value i and gate i
// of the result [rows, columns / 2]; the bias is not packed: all values', then all gates'. A core must have both columns
// of a pair in one thread.
#include "types.glsl"
#include "activation.glsl"

layout(local_size_x_id = 0) in;

// Whether four k (eight in the cooperative core) can be loaded, and four columns stored, at one time: the extents are
// multiples of that, the addresses too.
layout(constant_id = 8) const bool VECTOR_K = false;
layout(constant_id = 9) const bool VECTOR_N = false;
layout(constant_id = 10) const bool BIAS = false;
layout(constant_id = 11) const bool ROW_BIAS = false;
layout(constant_id = 12) const uint ACTIVATION = ACTIVATION_NONE;
layout(constant_id = 13) const bool RESIDUAL = false;
// Above 1 `result` is fp32 [PARTS, rows, columns].
layout(constant_id = 14) const uint PARTS = 1;
// 15 belongs to the core and 16 to the source. There is no other epilogue but the bias where this holds, and PARTS is 1.
layout(constant_id = 17) const bool GATED = false;

layout(push_constant) uniform Push {
    Values source;
    Values weight;
    Values result;
    Values bias;      // [columns]
    Values rowBias;   // [batch or 1, columns]
    Values residual;  // [rows, columns]
    uint rows;
    uint columns;
    uint inner;
    // The rows that share one row of rowBias.
    uint rowsPerBias;
    SOURCE_PUSH
} push;

const uint NOWHERE = 0xffffffffu;

// Where element k of a row's piece is: `values.at[start + k]`, or nowhere.
struct SourcePlace {
    Values values;
    uint start;
};

// Which part of the sums the workgroup makes.
uint part = 0;

// The workgroup's tile; behind the last part one that lies behind all rows.
uint workgroupTile(uint tiles) {
    uint index = workgroupIndex();
    if (PARTS == 1) return index;
    part = index / tiles;
    return part < PARTS ? index % tiles : tiles;
}

// Of `count` slices of the sums, all taps' one behind the other, the first of the workgroup's part and the one behind
// its last.
uvec2 partOf(uint count) {
    return PARTS == 1 ? uvec2(0, count) : uvec2(count * part / PARTS, count * (part + 1) / PARTS);
}

// Four k of a row that starts at element `start`; zeros outside.
vec4 loadFour(Values values, uint start, uint k) {
    if (start == NOWHERE) return vec4(0);
    if (VECTOR_K) return k < push.inner ? load4(values, start + k) : vec4(0);
    vec4 four = vec4(0);
    [[unroll]] for (uint i = 0; i < 4; i++) {
        if (k + i < push.inner) four[i] = float(values.at[start + k + i]);
    }
    return four;
}

void finish(uint row, uint column, float sum) {
    uint index = row * push.columns + column;
    if (PARTS > 1) {
        Floats(push.result).at[part * push.rows * push.columns + index] = sum;
        return;
    }
    if (BIAS) sum += float(push.bias.at[column]);
    if (ROW_BIAS) sum += float(push.rowBias.at[row / push.rowsPerBias * push.columns + column]);
    sum = activate(ACTIVATION, sum);
    if (RESIDUAL) sum += float(push.residual.at[index]);
    push.result.at[index] = STORE(sum);
}

// A value and its gate, columns `column` and `column` + 1 of the product.
void finishPair(uint row, uint column, vec2 sum) {
    uint results = push.columns / 2;
    uint at = column / 2;
    if (BIAS) sum += vec2(float(push.bias.at[at]), float(push.bias.at[results + at]));
    push.result.at[row * results + at] = STORE(sum.x * gelu(sum.y));
}

// Two such pairs, where two results can be stored at one time.
void finishPairs(uint row, uint column, vec4 sum) {
    uint results = push.columns / 2;
    uint at = column / 2;
    vec2 values = sum.xz;
    vec2 gates = sum.yw;
    if (BIAS) {
        values += load2(push.bias, at);
        gates += load2(push.bias, results + at);
    }
    store2(push.result, row * results + at, values * vec2(gelu(gates.x), gelu(gates.y)));
}

void finish4(uint row, uint column, vec4 sum) {
    if (GATED) {
        finishPairs(row, column, sum);
        return;
    }
    uint index = row * push.columns + column;
    if (PARTS > 1) {
        Floats4(push.result).at[(part * push.rows * push.columns + index) / 4] = sum;
        return;
    }
    if (BIAS) sum += load4(push.bias, column);
    if (ROW_BIAS) sum += load4(push.rowBias, row / push.rowsPerBias * push.columns + column);
    [[unroll]] for (uint i = 0; i < 4; i++) sum[i] = activate(ACTIVATION, sum[i]);
    if (RESIDUAL) sum += load4(push.residual, index);
    store4(push.result, index, sum);
}

// Four columns, of which those behind the last are left out, as is a row behind the last.
void finishFour(uint row, uint column, vec4 sum) {
    if (row >= push.rows || column >= push.columns) return;
    if (VECTOR_N) {
        finish4(row, column, sum);
    } else if (GATED) {
        finishPair(row, column, sum.xy);
        if (column + 2 < push.columns) finishPair(row, column + 2, sum.zw);
    } else {
        [[unroll]] for (uint i = 0; i < 4; i++) {
            if (column + i < push.columns) finish(row, column + i, sum[i]);
        }
    }
}
