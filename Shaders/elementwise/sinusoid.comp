#version 460
#extension GL_GOOGLE_include_directive : require
// Sines and cosines of numbers [rows] times frequencies [half] -> [rows, 2 · half].
#include "elementwise.glsl"

layout(constant_id = 2) const bool COSINES_FIRST = true;

layout(push_constant) uniform Push {
    Floats numbers;
    // The host's, since a device may compute exponentials to some twenty units in the last place.
    Floats frequencies;
    Values result;
    uint count;
    uint halfSize;
} push;

// The sine of an angle of up to some 10^5, more exact than the 2^-11 that Vulkan promises: the angle less a multiple of
// π/2 (Cody and Waite's reduction, π/2 in three parts that multiples of up to 2^16 keep exact), then Taylor's series.
float sineOf(float angle, int quarter) {
    float turns = roundEven(angle * 0.6366197723675814);
    precise float rest = angle - turns * 1.5703125;
    rest = rest - turns * 4.837512969970703e-4;
    rest = rest - turns * 7.549789948768648e-8;
    float square = rest * rest;
    int place = int(turns) + quarter & 3;
    float sine = rest
        * (1.0 + square * (-1.0 / 6.0 + square * (1.0 / 120.0 + square * (-1.0 / 5040.0 + square / 362880.0))));
    float cosine = 1.0
        + square * (-0.5 + square * (1.0 / 24.0 + square * (-1.0 / 720.0 + square * (1.0 / 40320.0 - square / 3628800.0))));
    float value = (place & 1) == 0 ? sine : cosine;
    return place < 2 ? value : -value;
}

void main() {
    FOR_EACH_PIECE(at, push.count) {
        uint row = at / (2 * push.halfSize);
        uint column = at - row * 2 * push.halfSize;
        bool first = column < push.halfSize;
        precise float angle = push.numbers.at[row] * push.frequencies.at[first ? column : column - push.halfSize];
        push.result.at[at] = STORE(sineOf(angle, first == COSINES_FIRST ? 1 : 0));
    }
}
