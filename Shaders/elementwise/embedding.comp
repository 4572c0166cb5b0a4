#version 460
#extension GL_GOOGLE_include_directive : require
// Token plus position: ids [batch, tokens], tables [vocabulary, channels] and [positions, channels] ->
// [batch, tokens, channels]; the token alone where POSITIONED is false. Ids beyond the table are brought to its ends.
#include "elementwise.glsl"

layout(constant_id = 2) const bool POSITIONED = true;

layout(push_constant) uniform Push {
    Ints ids;
    Values tokens;
    Values positions;
    Values result;
    uint count;
    uint channels;
    uint sequence;
    uint vocabulary;
} push;

void main() {
    FOR_EACH_PIECE(at, push.count) {
        uint row = at / push.channels;
        uint channel = at - row * push.channels;
        uint id = uint(clamp(push.ids.at[row], 0, int(push.vocabulary) - 1));
        vec4 token = loadPiece(push.tokens, id * push.channels + channel);
        if (POSITIONED) token += loadPiece(push.positions, row % push.sequence * push.channels + channel);
        storePiece(push.result, at, token);
    }
}
