#version 460
#extension GL_GOOGLE_include_directive : require
// variants: FP32
// Integers plus one.
#include "elementwise.glsl"

layout(push_constant) uniform Push {
    Ints source;
    Ints result;
    uint count;
} push;

void main() {
    FOR_EACH_PIECE(at, push.count) push.result.at[at] = push.source.at[at] + 1;
}
