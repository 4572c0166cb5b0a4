#version 460
#extension GL_GOOGLE_include_directive : require
// Token t of sequence b of source [batch, tokens, channels] becomes entry positions[b] + t of that sequence in the cache
// [batch, entries, channels]. Tokens behind the last entry are left out.
#include "elementwise.glsl"

layout(push_constant) uniform Push {
    Values source;
    Ints positions;
    Values cache;
    uint count;
    uint channels;
    uint tokens;
    uint entries;
} push;

void main() {
    FOR_EACH_PIECE(at, push.count) {
        uint row = at / push.channels;
        uint batch = row / push.tokens;
        int entry = push.positions.at[batch] + int(row - batch * push.tokens);
        if (entry < 0 || entry >= int(push.entries)) continue;
        uint target = (batch * push.entries + uint(entry)) * push.channels + (at - row * push.channels);
        storePiece(push.cache, target, loadPiece(push.source, at));
    }
}
