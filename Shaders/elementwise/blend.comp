#version 460
#extension GL_GOOGLE_include_directive : require
// variants: FP32
// (1 - mask) · first + mask · second, with one value of the mask for the channels of each pixel and, where the mask has
// fewer pixels, the same mask for each picture.
#include "elementwise.glsl"

layout(push_constant) uniform Push {
    Values first;
    Values second;
    Values mask;
    Values result;
    uint count;
    uint channels;
    uint maskPixels;
} push;

void main() {
    FOR_EACH_PIECE(at, push.count) {
        float share = push.mask.at[at / push.channels % push.maskPixels];
        storePiece(push.result, at, (1.0 - share) * loadPiece(push.first, at) + share * loadPiece(push.second, at));
    }
}
