// The source of a matrix product: row r starts at r · inner. Where it is joined, the first `split` elements of a row come
// from `source` and the others from `joined`; both counts are multiples of eight, so that no load takes from both.
#define SOURCE_PUSH \
    Values joined;   \
    uint split;
#include "matrix.glsl"

layout(constant_id = 16) const bool JOINED = false;

struct SourceRow {
    uint index;  // NOWHERE behind the last row
};

uint taps() { return 1; }

SourceRow sourceRow(uint row) { return SourceRow(row < push.rows ? row : NOWHERE); }

uint rowStart(SourceRow row, uint tap) { return row.index == NOWHERE || JOINED ? row.index : row.index * push.inner; }

SourcePlace sourcePlace(uint start, uint k) {
    if (!JOINED || start == NOWHERE) return SourcePlace(push.source, start);
    if (k < push.split) return SourcePlace(push.source, start * push.split);
    return SourcePlace(push.joined, start * (push.inner - push.split) - push.split);
}
