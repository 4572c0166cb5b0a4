// The core for software drivers, which run a workgroup as one vector of LANES and have no memory nearer than the cache:
// a workgroup is one subgroup, each lane owns COLUMNS neighbouring columns of the tile, and the source's elements are
// read by one lane and broadcast. On Mesa 22.3's lavapipe it is some ten times as fast as the tiles through shared memory.
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_ballot : require
#include "wide_load.glsl"

layout(constant_id = 0) const uint LANES = 8;
layout(constant_id = 1) const uint TILE_ROWS = 16;  // a multiple of LANES
layout(constant_id = 2) const uint TILE_COLUMNS = 32;  // a multiple of LANES

const uint ROW_LOADS = TILE_ROWS / LANES;
const uint COLUMNS = TILE_COLUMNS / LANES;

vec4 loadLane(Values values, uint start, uint k) {
    if (VECTOR_K) return start == NOWHERE ? vec4(0) : loadWide(values, start + k);
    return loadFour(values, start, k);
}

void main() {
    uint lane = gl_SubgroupInvocationID;
    uint tilesAcross = (push.columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
    uint tile = workgroupTile(tilesAcross * ((push.rows + TILE_ROWS - 1) / TILE_ROWS));
    uint firstRow = tile / tilesAcross * TILE_ROWS;
    uint firstColumn = tile % tilesAcross * TILE_COLUMNS;
    if (firstRow >= push.rows) return;

    SourceRow sourceRows[ROW_LOADS];
    [[unroll]] for (uint i = 0; i < ROW_LOADS; i++) sourceRows[i] = sourceRow(firstRow + i * LANES + lane);
    float sums[TILE_ROWS * COLUMNS];
    [[unroll]] for (uint i = 0; i < TILE_ROWS * COLUMNS; i++) sums[i] = 0.0;

    uint tapCount = taps();
    uint slices = (push.inner + 3) / 4;
    uvec2 mine = partOf(tapCount * slices);
    for (uint tap = mine.x / slices; tap * slices < mine.y; tap++) {
        uint sourceStarts[ROW_LOADS];
        [[unroll]] for (uint i = 0; i < ROW_LOADS; i++) sourceStarts[i] = rowStart(sourceRows[i], tap);
        uint weightStarts[COLUMNS];
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) {
            // Lanes behind the last column repeat it; what they sum is not stored.
            uint column = min(firstColumn + lane * COLUMNS + j, push.columns - 1);
            weightStarts[j] = (column * tapCount + tap) * push.inner;
        }
        uint first = max(mine.x, tap * slices) - tap * slices;
        uint last = min(mine.y - tap * slices, slices);
        for (uint k = first * 4; k < last * 4; k += 4) {
            vec4 left[ROW_LOADS];
            vec4 right[COLUMNS];
            [[unroll]] for (uint i = 0; i < ROW_LOADS; i++) {
                SourcePlace place = sourcePlace(sourceStarts[i], k);
                left[i] = loadLane(place.values, place.start, k);
            }
            [[unroll]] for (uint j = 0; j < COLUMNS; j++) right[j] = loadLane(push.weight, weightStarts[j], k);
            [[unroll]] for (uint i = 0; i < TILE_ROWS; i++) {
                vec4 four = subgroupBroadcast(left[i / LANES], i % LANES);
                [[unroll]] for (uint j = 0; j < COLUMNS; j++) {
                    sums[i * COLUMNS + j] += dot(four, right[j]);
                }
            }
        }
    }

    [[unroll]] for (uint i = 0; i < TILE_ROWS; i++) {
        uint row = firstRow + i;
        uint column = firstColumn + lane * COLUMNS;
        if (COLUMNS % 4 == 0) {
            [[unroll]] for (uint j = 0; j < COLUMNS; j += 4) {
                uint at = i * COLUMNS + j;
                finishFour(row, column + j, vec4(sums[at], sums[at + 1], sums[at + 2], sums[at + 3]));
            }
        } else {
            [[unroll]] for (uint j = 0; j < COLUMNS; j++) {
                if (row < push.rows && column + j < push.columns) finish(row, column + j, sums[i * COLUMNS + j]);
            }
        }
    }
}
