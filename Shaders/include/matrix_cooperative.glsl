// The core for GPUs with cooperative matrices (fp16 times fp16, summed in fp32): a workgroup makes TILE_ROWS x
// TILE_COLUMNS of the result, divided among DOWN x ACROSS subgroups, each of which holds its part as matrices of M x N.
// Slices of TILE_K lie in shared memory as they do in the tensors, k innermost; there are two, so that one is filled
// while the other is multiplied. Which sizes there are, the device says; the host chooses.
//
// With FLEXIBLE defined it is the core for VK_NV_cooperative_matrix2: a subgroup's part, or with SCOPE that of the whole
// workgroup, is one matrix (M is TILE_ROWS / DOWN, N is TILE_COLUMNS / ACROSS), whose elements are finished where they
// lie: one by one, so that this core makes no GATED product but in parts.
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_cooperative_matrix : require
#if defined(FLEXIBLE)
#extension GL_NV_cooperative_matrix2 : require
#endif

layout(constant_id = 0) const uint THREADS = 128;
layout(constant_id = 1) const uint TILE_ROWS = 64;  // a multiple of DOWN x M
layout(constant_id = 2) const uint TILE_COLUMNS = 64;  // a multiple of ACROSS x N
layout(constant_id = 3) const uint TILE_K = 32;  // a multiple of K and of 8
layout(constant_id = 4) const uint M = 16;
layout(constant_id = 5) const uint N = 16;  // a multiple of 4
layout(constant_id = 6) const uint K = 16;  // a multiple of 8
layout(constant_id = 7) const uint SUBGROUPS = 34;  // 16 x DOWN + ACROSS

#if defined(FLEXIBLE)
layout(constant_id = 15) const uint SCOPE = gl_ScopeSubgroup;
#else
const uint SCOPE = gl_ScopeSubgroup;
#endif

// In workgroup scope 1 and 1.
const uint DOWN = SUBGROUPS / 16;
const uint ACROSS = SUBGROUPS % 16;
const uint LANES = THREADS / (DOWN * ACROSS);
const uint MATRIX_ROWS = TILE_ROWS / (DOWN * M);
const uint MATRIX_COLUMNS = TILE_COLUMNS / (ACROSS * N);
// Shared memory is read and written in runs of eight halves, 16 bytes.
const uint EIGHTS = TILE_K / 8;
// One more than the slice, so that the rows of a matrix spread over the memory's banks.
const uint PITCH = EIGHTS + 1;
const uint SOURCE_LOADS = (TILE_ROWS * EIGHTS + THREADS - 1) / THREADS;
const uint WEIGHT_LOADS = (TILE_COLUMNS * EIGHTS + THREADS - 1) / THREADS;
const uint SOURCE_SIZE = TILE_ROWS * PITCH;
const uint WEIGHT_SIZE = TILE_COLUMNS * PITCH;
const uint RESULT_PITCH = N / 4 + 1;

shared uvec4 sourceTiles[2 * SOURCE_SIZE];
shared uvec4 weightTiles[2 * WEIGHT_SIZE];
#if !defined(FLEXIBLE)
// Where a subgroup turns one matrix of sums, whose elements lie with lanes as the device likes, into rows and columns.
shared vec4 results[DOWN * ACROSS * M * RESULT_PITCH];
#endif

layout(buffer_reference, std430, buffer_reference_align = 16) buffer Eights { uvec4 at[]; };

// Eight k of a row that starts at element `start`; zeros outside. Here VECTOR_K speaks of eight.
uvec4 loadEight(Values values, uint start, uint k) {
    if (start == NOWHERE) return uvec4(0);
    if (VECTOR_K) return k < push.inner ? Eights(values).at[(start + k) / 8] : uvec4(0);
    uvec4 eight = uvec4(0);
    [[unroll]] for (uint i = 0; i < 8; i++) {
        if (k + i < push.inner) {
            uint bits = packFloat2x16(f16vec2(values.at[start + k + i], float16_t(0)));
            eight[i / 2] |= bits << (i % 2 * 16);
        }
    }
    return eight;
}

#if defined(FLEXIBLE)
// Stores an element of the matrix that starts at `firstRow` and `firstColumn` of the result.
float finishElement(
    const in uint row, const in uint column, const in float sum, const in uint firstRow, const in uint firstColumn
) {
    if (firstRow + row < push.rows && firstColumn + column < push.columns) {
        finish(firstRow + row, firstColumn + column, sum);
    }
    return sum;
}
#endif

void main() {
    uint thread = gl_LocalInvocationIndex;
    uint tilesAcross = (push.columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
    uint tile = workgroupTile(tilesAcross * ((push.rows + TILE_ROWS - 1) / TILE_ROWS));
    uint firstRow = tile / tilesAcross * TILE_ROWS;
    uint firstColumn = tile % tilesAcross * TILE_COLUMNS;
    // The same for the whole workgroup, so no barrier is missed.
    if (firstRow >= push.rows) return;

    SourceRow sourceRows[SOURCE_LOADS];
    [[unroll]] for (uint i = 0; i < SOURCE_LOADS; i++) {
        sourceRows[i] = sourceRow(firstRow + (i * THREADS + thread) / EIGHTS);
    }
    uint subgroup = SCOPE == gl_ScopeWorkgroup ? 0 : gl_SubgroupID;
    uint subgroupRow = subgroup / ACROSS * (MATRIX_ROWS * M);
    uint subgroupColumn = subgroup % ACROSS * (MATRIX_COLUMNS * N);
    coopmat<float, SCOPE, M, N, gl_MatrixUseAccumulator> sums[MATRIX_ROWS * MATRIX_COLUMNS];
    [[unroll]] for (uint i = 0; i < MATRIX_ROWS * MATRIX_COLUMNS; i++) {
        sums[i] = coopmat<float, SCOPE, M, N, gl_MatrixUseAccumulator>(0.0);
    }

    // Each round loads a slice into registers, multiplies the one before while the loads are under way, and stores.
    uint tapCount = taps();
    uint slicesOfTap = (push.inner + TILE_K - 1) / TILE_K;
    uvec2 mine = partOf(tapCount * slicesOfTap);
    uint tap = mine.x / slicesOfTap;
    uint k = mine.x % slicesOfTap * TILE_K;
    uint starts[SOURCE_LOADS];
    for (uint slice = mine.x; slice <= mine.y; slice++) {
        uvec4 sourceNext[SOURCE_LOADS];
        uvec4 weightNext[WEIGHT_LOADS];
        if (slice < mine.y) {
            if (k == 0 || slice == mine.x) {
                [[unroll]] for (uint i = 0; i < SOURCE_LOADS; i++) starts[i] = rowStart(sourceRows[i], tap);
            }
            [[unroll]] for (uint i = 0; i < SOURCE_LOADS; i++) {
                uint first = k + (i * THREADS + thread) % EIGHTS * 8;
                SourcePlace place = sourcePlace(starts[i], first);
                sourceNext[i] = loadEight(place.values, place.start, first);
            }
            [[unroll]] for (uint i = 0; i < WEIGHT_LOADS; i++) {
                uint slot = i * THREADS + thread;
                uint column = firstColumn + slot / EIGHTS;
                uint start = column < push.columns ? (column * tapCount + tap) * push.inner : NOWHERE;
                weightNext[i] = loadEight(push.weight, start, k + slot % EIGHTS * 8);
            }
            k += TILE_K;
            if (k >= push.inner) {
                k = 0;
                tap++;
            }
        }
        if (slice > mine.x) {
            uint source = (slice - 1) % 2 * SOURCE_SIZE + subgroupRow * PITCH;
            uint weight = (slice - 1) % 2 * WEIGHT_SIZE + subgroupColumn * PITCH;
            [[unroll]] for (uint step = 0; step < EIGHTS; step += K / 8) {
                coopmat<float16_t, SCOPE, M, K, gl_MatrixUseA> left[MATRIX_ROWS];
                [[unroll]] for (uint i = 0; i < MATRIX_ROWS; i++) {
                    coopMatLoad(
                        left[i], sourceTiles, source + i * M * PITCH + step, PITCH, gl_CooperativeMatrixLayoutRowMajor);
                }
                [[unroll]] for (uint j = 0; j < MATRIX_COLUMNS; j++) {
                    coopmat<float16_t, SCOPE, K, N, gl_MatrixUseB> right;
                    coopMatLoad(
                        right, weightTiles, weight + j * N * PITCH + step, PITCH,
                        gl_CooperativeMatrixLayoutColumnMajor);
                    [[unroll]] for (uint i = 0; i < MATRIX_ROWS; i++) {
                        uint at = i * MATRIX_COLUMNS + j;
                        sums[at] = coopMatMulAdd(left[i], right, sums[at]);
                    }
                }
            }
        }
        if (slice < mine.y) {
            [[unroll]] for (uint i = 0; i < SOURCE_LOADS; i++) {
                uint slot = i * THREADS + thread;
                if (slot < TILE_ROWS * EIGHTS) {
                    sourceTiles[slice % 2 * SOURCE_SIZE + slot / EIGHTS * PITCH + slot % EIGHTS] = sourceNext[i];
                }
            }
            [[unroll]] for (uint i = 0; i < WEIGHT_LOADS; i++) {
                uint slot = i * THREADS + thread;
                if (slot < TILE_COLUMNS * EIGHTS) {
                    weightTiles[slice % 2 * WEIGHT_SIZE + slot / EIGHTS * PITCH + slot % EIGHTS] = weightNext[i];
                }
            }
        }
        barrier();
    }

#if defined(FLEXIBLE)
    [[unroll]] for (uint i = 0; i < MATRIX_ROWS * MATRIX_COLUMNS; i++) {
        coopMatPerElementNV(
            sums[i], sums[i], finishElement, firstRow + subgroupRow + i / MATRIX_COLUMNS * M,
            firstColumn + subgroupColumn + i % MATRIX_COLUMNS * N);
    }
#else
    uint staging = gl_SubgroupID * M * RESULT_PITCH;
    [[unroll]] for (uint i = 0; i < MATRIX_ROWS; i++) {
        [[unroll]] for (uint j = 0; j < MATRIX_COLUMNS; j++) {
            coopMatStore(
                sums[i * MATRIX_COLUMNS + j], results, staging, RESULT_PITCH, gl_CooperativeMatrixLayoutRowMajor);
            subgroupBarrier();
            for (uint slot = gl_SubgroupInvocationID; slot < M * N / 4; slot += LANES) {
                uint row = firstRow + subgroupRow + i * M + slot / (N / 4);
                uint column = firstColumn + subgroupColumn + j * N + slot % (N / 4) * 4;
                finishFour(row, column, results[staging + slot / (N / 4) * RESULT_PITCH + slot % (N / 4)]);
            }
            // The next matrix takes the same place.
            subgroupBarrier();
        }
    }
#endif
}
