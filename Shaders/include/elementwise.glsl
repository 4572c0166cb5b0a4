// A kernel over many elements: each thread takes every `stride`-th piece of WIDTH elements, so that no count is too large
// for the grid.
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 256;
layout(constant_id = 1) const uint WIDTH = 1;  // 4 where extents and addresses allow it

uint firstPiece() { return workgroupIndex() * THREADS + gl_LocalInvocationIndex; }
uint pieceStride() { return gl_NumWorkGroups.x * gl_NumWorkGroups.y * THREADS; }

// In the kernel: the loop over pieces, `at` being the first element of one.
#define FOR_EACH_PIECE(at, count) \
    for (uint at = firstPiece() * WIDTH; at < count; at += pieceStride() * WIDTH)

// WIDTH elements; only x counts where that is 1.
vec4 loadPiece(Values values, uint index) {
    return WIDTH == 4 ? load4(values, index) : vec4(float(values.at[index]), 0, 0, 0);
}

void storePiece(Values values, uint index, vec4 piece) {
    if (WIDTH == 4) {
        store4(values, index, piece);
    } else {
        values.at[index] = STORE(piece.x);
    }
}
