#version 460
#extension GL_GOOGLE_include_directive : require
// A tensor of any shape times one number plus another.
#include "elementwise.glsl"

layout(push_constant) uniform Push {
    Values source;
    Values result;
    uint count;
    float scale;
    float shift;
} push;

void main() {
    FOR_EACH_PIECE(at, push.count) {
        storePiece(push.result, at, loadPiece(push.source, at) * push.scale + push.shift);
    }
}
