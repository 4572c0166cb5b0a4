// Four values in as few memory accesses as can be: a software driver runs every access one lane after another, so that
// the count of accesses, not of bytes, decides.
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require

layout(buffer_reference, std430, buffer_reference_align = 8) buffer Words { uint64_t at[]; };

// The address of elements [index, index + 4) must be a multiple of 8.
vec4 loadWide(Values values, uint index) {
    Words words = Words(values);
#if defined(FP16)
    uvec2 four = unpack32(words.at[index / 4]);
    return vec4(unpackHalf2x16(four.x), unpackHalf2x16(four.y));
#else
    return uintBitsToFloat(uvec4(unpack32(words.at[index / 2]), unpack32(words.at[index / 2 + 1])));
#endif
}
