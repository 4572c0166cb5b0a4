#version 460
#extension GL_GOOGLE_include_directive : require
// source [batch, sourceHeight, sourceWidth, channels] -> [batch, height, width, channels]: row i is source row
// ⌊i · sourceHeight / height⌋, columns likewise.
#include "elementwise.glsl"

layout(push_constant) uniform Push {
    Values source;
    Values result;
    uint count;
    uint channels;
    uint sourceHeight;
    uint sourceWidth;
    uint height;
    uint width;
} push;

void main() {
    FOR_EACH_PIECE(at, push.count) {
        uint pixel = at / push.channels;
        uint line = pixel / push.width;
        uint batch = line / push.height;
        uint y = (line - batch * push.height) * push.sourceHeight / push.height;
        uint x = (pixel - line * push.width) * push.sourceWidth / push.width;
        uint start = ((batch * push.sourceHeight + y) * push.sourceWidth + x) * push.channels;
        storePiece(push.result, at, loadPiece(push.source, start + (at - pixel * push.channels)));
    }
}
