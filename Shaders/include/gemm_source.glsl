// The source of a matrix product: row r starts at r · inner.
#define SOURCE_PUSH
#include "matrix.glsl"

struct SourceRow {
    uint start;
};

uint taps() { return 1; }

SourceRow sourceRow(uint row) { return SourceRow(row < push.rows ? row * push.inner : NOWHERE); }

uint rowStart(SourceRow row, uint tap) { return row.start; }
