#version 460
#extension GL_GOOGLE_include_directive : require
// Rows of a table, bit for bit: row r of the result is row index[r] of the r-th table of `tableRows` rows; plainly a copy
// where INDEXED is false. Indices beyond the table are brought to its ends.
#include "elementwise.glsl"

layout(constant_id = 2) const bool INDEXED = false;

#if defined(FP16)
#define WORD uint16_t
#define WORD4 u16vec4
#else
#define WORD uint
#define WORD4 uvec4
#endif
layout(buffer_reference, std430, buffer_reference_align = STORE_SIZE) buffer Words { WORD at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4 * STORE_SIZE) buffer Words4 { WORD4 at[]; };

layout(push_constant) uniform Push {
    Words source;
    Ints index;
    Words result;
    uint count;
    uint rowSize;
    // From one row's table to the next one's, in rows; 0 where all take from one table.
    uint tableStride;
    uint tableRows;
} push;

void main() {
    FOR_EACH_PIECE(at, push.count) {
        uint from = at;
        if (INDEXED) {
            uint row = at / push.rowSize;
            uint chosen = uint(clamp(push.index.at[row], 0, int(push.tableRows) - 1));
            from = (row * push.tableStride + chosen) * push.rowSize + (at - row * push.rowSize);
        }
        if (WIDTH == 4) {
            Words4(push.result).at[at / 4] = Words4(push.source).at[from / 4];
        } else {
            push.result.at[at] = push.source.at[from];
        }
    }
}
