// The source of a convolution (implicit GEMM): row r is the result's pixel r, tap t is a position in the kernel.
#define SOURCE_PUSH     \
    uint sourceHeight;   \
    uint sourceWidth;    \
    /* The size to which the source is enlarged by nearest neighbour as it is read; its own size where it is not. */ \
    uint enlargedHeight; \
    uint enlargedWidth;  \
    uint resultHeight;   \
    uint resultWidth;    \
    uint kernelHeight;   \
    uint kernelWidth;    \
    uint stride;         \
    int paddingTop;      \
    int paddingLeft;
#include "matrix.glsl"

struct SourceRow {
    uint picture;  // the index of the picture's first pixel, NOWHERE behind the last row
    int y;         // the enlarged source's pixel under the kernel's first tap
    int x;
};

uint taps() { return push.kernelHeight * push.kernelWidth; }

SourceRow sourceRow(uint row) {
    if (row >= push.rows) return SourceRow(NOWHERE, 0, 0);
    uint line = row / push.resultWidth;
    uint batch = line / push.resultHeight;
    int x = int((row - line * push.resultWidth) * push.stride) - push.paddingLeft;
    int y = int((line - batch * push.resultHeight) * push.stride) - push.paddingTop;
    return SourceRow(batch * push.sourceHeight * push.sourceWidth, y, x);
}

SourcePlace sourcePlace(uint start, uint k) { return SourcePlace(push.source, start); }

uint rowStart(SourceRow row, uint tap) {
    uint tapLine = tap / push.kernelWidth;
    uint y = uint(row.y + int(tapLine));
    uint x = uint(row.x + int(tap - tapLine * push.kernelWidth));
    // Pixels left of or above the picture are huge as unsigned numbers.
    if (row.picture == NOWHERE || y >= push.enlargedHeight || x >= push.enlargedWidth) return NOWHERE;
    if (push.enlargedHeight != push.sourceHeight) y = y * push.sourceHeight / push.enlargedHeight;
    if (push.enlargedWidth != push.sourceWidth) x = x * push.sourceWidth / push.enlargedWidth;
    return (row.picture + y * push.sourceWidth + x) * push.inner;
}
