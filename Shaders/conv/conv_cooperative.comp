#version 460
#extension GL_GOOGLE_include_directive : require
// variants: FP16
// optional: GL_KHR_cooperative_matrix
// A two-dimensional convolution over [batch, height, width, channels], through cooperative matrices.
#include "conv_source.glsl"
#include "matrix_cooperative.glsl"
