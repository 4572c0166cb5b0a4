#version 460
#extension GL_GOOGLE_include_directive : require
// silu(gate) · value, element by element.
#include "elementwise.glsl"
#include "activation.glsl"

layout(push_constant) uniform Push {
    Values gate;
    Values value;
    Values result;
    uint count;
} push;

void main() {
    FOR_EACH_PIECE(at, push.count) {
        vec4 gate = loadPiece(push.gate, at);
        [[unroll]] for (uint i = 0; i < WIDTH; i++) gate[i] *= sigmoid(gate[i]);
        storePiece(push.result, at, gate * loadPiece(push.value, at));
    }
}
