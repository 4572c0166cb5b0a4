#version 460
#extension GL_GOOGLE_include_directive : require
// An element-wise function of a tensor of any shape.
#include "elementwise.glsl"
#include "activation.glsl"

layout(constant_id = 2) const uint ACTIVATION = ACTIVATION_NONE;

layout(push_constant) uniform Push {
    Values source;
    Values result;
    uint count;
} push;

void main() {
    FOR_EACH_PIECE(at, push.count) {
        vec4 piece = loadPiece(push.source, at);
        [[unroll]] for (uint i = 0; i < WIDTH; i++) piece[i] = activate(ACTIVATION, piece[i]);
        storePiece(push.result, at, piece);
    }
}
