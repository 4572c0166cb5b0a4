#version 460
#extension GL_GOOGLE_include_directive : require
// variants: FP32
// Each entry of `guided` brought near the standard deviation of the same entry of `prompted`:
// guided · (s · std(prompted) / std(guided) + 1 - s) with s = coefficients[step, column].
// Steps beyond the table are brought to its ends.
#include "elementwise.glsl"

layout(push_constant) uniform Push {
    Floats coefficients;  // [steps, columnCount]
    Ints step;
    Values guided;
    // Mean and 1/std of each entry, as group_norm_moments finds them.
    Floats guidedMoments;
    Floats promptedMoments;
    Values result;
    uint column;
    uint columnCount;
    uint steps;
    uint count;
    uint perEntry;
} push;

void main() {
    uint row = uint(clamp(push.step.at[0], 0, int(push.steps) - 1));
    float strength = push.coefficients.at[row * push.columnCount + push.column];
    FOR_EACH_PIECE(at, push.count) {
        uint entry = at / push.perEntry;
        float ratio = push.guidedMoments.at[entry * 2 + 1] / push.promptedMoments.at[entry * 2 + 1];
        storePiece(push.result, at, loadPiece(push.guided, at) * (strength * ratio + 1.0 - strength));
    }
}
