#version 460
#extension GL_GOOGLE_include_directive : require
// The sum over i < TERMS of coefficients[step, columns[i]] · source i, in fp32. Bit i of HALVES: source i is fp16, else
// fp32. The build decides the type of the result. Steps beyond the table are brought to its ends.
#include "elementwise.glsl"

layout(constant_id = 2) const uint TERMS = 1;
layout(constant_id = 3) const uint HALVES = 0;
const uint MOST_TERMS = 7;  // as many as the 128 bytes of push constants that every device has can tell of

layout(push_constant) uniform Push {
    Floats coefficients;  // [steps, columnCount]
    Ints step;
    Values result;
    Floats sources[MOST_TERMS];
    uint columns[MOST_TERMS];
    uint columnCount;
    uint steps;
    uint count;
} push;

void main() {
    uint row = uint(clamp(push.step.at[0], 0, int(push.steps) - 1)) * push.columnCount;
    float factors[TERMS];
    [[unroll]] for (uint i = 0; i < TERMS; i++) factors[i] = push.coefficients.at[row + push.columns[i]];
    FOR_EACH_PIECE(at, push.count) {
        float sum = 0.0;
        [[unroll]] for (uint i = 0; i < TERMS; i++) {
            bool isHalf = (HALVES >> i & 1) != 0;
            sum += factors[i] * (isHalf ? float(Halves(push.sources[i]).at[at]) : push.sources[i].at[at]);
        }
        push.result.at[at] = STORE(sum);
    }
}
