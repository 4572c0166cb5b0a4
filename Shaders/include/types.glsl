// The element type of a build, and pointers to tensors of it.
//
// Tensors are channels-last and contiguous; kernels get their addresses as push constants. No allocation is larger than
// 4 GiB and no tensor straddles two, so an element's index fits 31 bits at 2 bytes and 30 bits at 4.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_16bit_storage : require

#if defined(FP16)
#define STORE float16_t
#define STORE2 f16vec2
#define STORE4 f16vec4
#define STORE_SIZE 2
#else
#define STORE float
#define STORE2 vec2
#define STORE4 vec4
#define STORE_SIZE 4
#endif

layout(buffer_reference, std430, buffer_reference_align = STORE_SIZE) buffer Values { STORE at[]; };
layout(buffer_reference, std430, buffer_reference_align = 2 * STORE_SIZE) buffer Values2 { STORE2 at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4 * STORE_SIZE) buffer Values4 { STORE4 at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer Floats { float at[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer Floats4 { vec4 at[]; };
layout(buffer_reference, std430, buffer_reference_align = 2) buffer Halves { float16_t at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer Ints { int at[]; };

// The address of elements [index, index + 4) must be a multiple of four elements' size.
vec4 load4(Values values, uint index) { return vec4(Values4(values).at[index / 4]); }
void store4(Values values, uint index, vec4 four) { Values4(values).at[index / 4] = STORE4(four); }

// The same for two elements.
vec2 load2(Values values, uint index) { return vec2(Values2(values).at[index / 2]); }
void store2(Values values, uint index, vec2 two) { Values2(values).at[index / 2] = STORE2(two); }

// The workgroup's place in a grid of one dimension, which the host folds where it is longer than the device allows.
// The last row of the fold may overshoot: compare with the count.
uint workgroupIndex() { return gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x; }
