#version 460
#extension GL_GOOGLE_include_directive : require
// variants: FP32
// The same values as another element type. SOURCE and TARGET number the types as `DType.kernelCode` has them on the host.
#include "elementwise.glsl"

#define TYPE_FLOAT32 0
#define TYPE_FLOAT16 1
#define TYPE_INT32 2
layout(constant_id = 2) const uint SOURCE = TYPE_FLOAT32;
layout(constant_id = 3) const uint TARGET = TYPE_FLOAT32;

layout(push_constant) uniform Push {
    Floats source;
    Floats result;
    uint count;
} push;

void main() {
    FOR_EACH_PIECE(at, push.count) {
        float value;
        if (SOURCE == TYPE_FLOAT16) {
            value = float(Halves(push.source).at[at]);
        } else if (SOURCE == TYPE_INT32) {
            value = float(Ints(push.source).at[at]);
        } else {
            value = push.source.at[at];
        }
        if (TARGET == TYPE_FLOAT16) {
            Halves(push.result).at[at] = float16_t(value);
        } else if (TARGET == TYPE_INT32) {
            Ints(push.result).at[at] = int(value);
        } else {
            push.result.at[at] = value;
        }
    }
}
