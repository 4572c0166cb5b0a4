#version 460
#extension GL_GOOGLE_include_directive : require
// The sum of two tensors, each of which may repeat: an element of the result at (entry, channel), entry counting
// `inner` elements, takes left and right at  entry · perEntry + place, where place is that in the entry or its channel.
#include "elementwise.glsl"

// What `place` is: the element within its entry, or, where rows repeat along an entry, its channel.
layout(constant_id = 2) const bool ROWS_LEFT = false;
layout(constant_id = 3) const bool ROWS_RIGHT = false;

layout(push_constant) uniform Push {
    Values left;
    Values right;
    Values result;
    uint count;
    uint inner;
    uint channels;
    uint leftPerEntry;
    uint rightPerEntry;
} push;

void main() {
    FOR_EACH_PIECE(at, push.count) {
        uint entry = at / push.inner;
        uint place = at - entry * push.inner;
        uint channel = place % push.channels;
        vec4 left = loadPiece(push.left, entry * push.leftPerEntry + (ROWS_LEFT ? channel : place));
        vec4 right = loadPiece(push.right, entry * push.rightPerEntry + (ROWS_RIGHT ? channel : place));
        storePiece(push.result, at, left + right);
    }
}
