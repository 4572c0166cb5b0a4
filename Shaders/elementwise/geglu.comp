#version 460
#extension GL_GOOGLE_include_directive : require
// source [rows, 2 · channels] -> [rows, channels]: first half times gelu(second half).
#include "elementwise.glsl"
#include "activation.glsl"

layout(push_constant) uniform Push {
    Values source;
    Values result;
    uint count;
    uint channels;
} push;

void main() {
    FOR_EACH_PIECE(at, push.count) {
        // Row r of the source starts at twice the elements before row r of the result.
        uint start = at + at / push.channels * push.channels;
        vec4 gate = loadPiece(push.source, start + push.channels);
        [[unroll]] for (uint i = 0; i < WIDTH; i++) gate[i] = gelu(gate[i]);
        storePiece(push.result, at, loadPiece(push.source, start) * gate);
    }
}
