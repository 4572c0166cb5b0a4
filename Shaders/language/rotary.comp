#version 460
#extension GL_GOOGLE_include_directive : require
// Rotary positions: source [batch, tokens, heads · headSize], table [entries, headSize] of cosines, then sines, for half a
// head each. The pair (i, i + headSize / 2) of token t of sequence b turns by the angles of entry positions[b] + t.
#include "elementwise.glsl"

layout(push_constant) uniform Push {
    Values source;
    Floats table;
    Ints positions;
    Values result;
    uint count;
    uint channels;
    uint headSize;
    uint tokens;
    uint entries;
} push;

void main() {
    uint pairs = push.headSize / 2;
    FOR_EACH_PIECE(at, push.count) {
        uint row = at / push.channels;
        uint place = (at - row * push.channels) % push.headSize;
        int entry = push.positions.at[row / push.tokens] + int(row % push.tokens);
        uint angles = uint(clamp(entry, 0, int(push.entries) - 1)) * push.headSize;
        bool first = place < pairs;
        uint pair = first ? place : place - pairs;
        float cosine = push.table.at[angles + pair];
        float sine = push.table.at[angles + pairs + pair];
        float other = float(push.source.at[first ? at + pairs : at - pairs]);
        float value = float(push.source.at[at]) * cosine;
        push.result.at[at] = STORE(first ? value - other * sine : value + other * sine);
    }
}
