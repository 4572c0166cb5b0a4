// The core for GPUs: a workgroup makes TILE_ROWS x TILE_COLUMNS of the result, each thread a register tile of ROWS x
// COLUMNS (multiples of 4) as blocks of 4 x 4. Slices of TILE_K go through shared memory as fp32, k outermost, so that
// neighbouring threads read neighbouring columns.
layout(constant_id = 0) const uint THREADS = 256;
layout(constant_id = 1) const uint TILE_ROWS = 64;
layout(constant_id = 2) const uint TILE_COLUMNS = 64;
layout(constant_id = 3) const uint TILE_K = 16;
layout(constant_id = 4) const uint ROWS = 4;
layout(constant_id = 5) const uint COLUMNS = 4;

const uint COLUMN_THREADS = TILE_COLUMNS / COLUMNS;
const uint ROW_THREADS = TILE_ROWS / ROWS;
const uint FOURS = TILE_K / 4;
const uint SOURCE_LOADS = (TILE_ROWS * FOURS + THREADS - 1) / THREADS;
const uint WEIGHT_LOADS = (TILE_COLUMNS * FOURS + THREADS - 1) / THREADS;
// Four more than the tile, so that the transposing writes of a subgroup spread over the memory's banks.
const uint SOURCE_PITCH = TILE_ROWS + 4;
const uint WEIGHT_PITCH = TILE_COLUMNS + 4;

shared float sourceTile[TILE_K * SOURCE_PITCH];
shared float weightTile[TILE_K * WEIGHT_PITCH];

void main() {
    uint thread = gl_LocalInvocationIndex;
    uint tilesAcross = (push.columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
    uint tile = workgroupTile(tilesAcross * ((push.rows + TILE_ROWS - 1) / TILE_ROWS));
    uint firstRow = tile / tilesAcross * TILE_ROWS;
    uint firstColumn = tile % tilesAcross * TILE_COLUMNS;
    // The same for the whole workgroup, so no barrier is missed.
    if (firstRow >= push.rows) return;

    SourceRow sourceRows[SOURCE_LOADS];
    [[unroll]] for (uint i = 0; i < SOURCE_LOADS; i++) sourceRows[i] = sourceRow(firstRow + (i * THREADS + thread) / FOURS);

    float sums[ROWS * COLUMNS];
    [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; i++) sums[i] = 0.0;
    uint rowOffset = thread / COLUMN_THREADS * 4;
    uint columnOffset = thread % COLUMN_THREADS * 4;

    uint tapCount = taps();
    uint slices = (push.inner + TILE_K - 1) / TILE_K;
    uvec2 mine = partOf(tapCount * slices);
    for (uint tap = mine.x / slices; tap * slices < mine.y; tap++) {
        uint starts[SOURCE_LOADS];
        [[unroll]] for (uint i = 0; i < SOURCE_LOADS; i++) starts[i] = rowStart(sourceRows[i], tap);
        uint first = max(mine.x, tap * slices) - tap * slices;
        uint last = min(mine.y - tap * slices, slices);
        for (uint k = first * TILE_K; k < last * TILE_K; k += TILE_K) {
            [[unroll]] for (uint i = 0; i < SOURCE_LOADS; i++) {
                uint slot = i * THREADS + thread;
                if (slot >= TILE_ROWS * FOURS) break;
                uint offset = slot % FOURS * 4;
                SourcePlace place = sourcePlace(starts[i], k + offset);
                vec4 four = loadFour(place.values, place.start, k + offset);
                [[unroll]] for (uint j = 0; j < 4; j++) sourceTile[(offset + j) * SOURCE_PITCH + slot / FOURS] = four[j];
            }
            [[unroll]] for (uint i = 0; i < WEIGHT_LOADS; i++) {
                uint slot = i * THREADS + thread;
                if (slot >= TILE_COLUMNS * FOURS) break;
                uint offset = slot % FOURS * 4;
                uint column = firstColumn + slot / FOURS;
                uint start = column < push.columns ? (column * tapCount + tap) * push.inner : NOWHERE;
                vec4 four = loadFour(push.weight, start, k + offset);
                [[unroll]] for (uint j = 0; j < 4; j++) weightTile[(offset + j) * WEIGHT_PITCH + slot / FOURS] = four[j];
            }
            barrier();
            [[unroll]] for (uint step = 0; step < TILE_K; step++) {
                float left[ROWS];
                float right[COLUMNS];
                [[unroll]] for (uint i = 0; i < ROWS; i++) {
                    left[i] = sourceTile[step * SOURCE_PITCH + i / 4 * (4 * ROW_THREADS) + rowOffset + i % 4];
                }
                [[unroll]] for (uint j = 0; j < COLUMNS; j++) {
                    right[j] = weightTile[step * WEIGHT_PITCH + j / 4 * (4 * COLUMN_THREADS) + columnOffset + j % 4];
                }
                [[unroll]] for (uint i = 0; i < ROWS; i++) {
                    [[unroll]] for (uint j = 0; j < COLUMNS; j++) sums[i * COLUMNS + j] += left[i] * right[j];
                }
            }
            barrier();
        }
    }

    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        uint row = firstRow + i / 4 * (4 * ROW_THREADS) + rowOffset + i % 4;
        [[unroll]] for (uint block = 0; block < COLUMNS / 4; block++) {
            uint column = firstColumn + block * (4 * COLUMN_THREADS) + columnOffset;
            uint at = i * COLUMNS + block * 4;
            finishFour(row, column, vec4(sums[at], sums[at + 1], sums[at + 2], sums[at + 3]));
        }
    }
}
