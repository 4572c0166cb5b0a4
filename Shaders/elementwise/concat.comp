#version 460
#extension GL_GOOGLE_include_directive : require
// Runs of left and right in turn: [outer, leftRun] and [outer, rightRun] -> [outer, leftRun + rightRun].
#include "elementwise.glsl"

layout(push_constant) uniform Push {
    Values left;
    Values right;
    Values result;
    uint count;
    uint leftRun;
    uint rightRun;
} push;

void main() {
    FOR_EACH_PIECE(at, push.count) {
        uint outer = at / (push.leftRun + push.rightRun);
        uint place = at - outer * (push.leftRun + push.rightRun);
        vec4 piece = place < push.leftRun
            ? loadPiece(push.left, outer * push.leftRun + place)
            : loadPiece(push.right, outer * push.rightRun + place - push.leftRun);
        storePiece(push.result, at, piece);
    }
}
