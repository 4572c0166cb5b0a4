#version 460
#extension GL_GOOGLE_include_directive : require
// A two-dimensional convolution over [batch, height, width, channels], through shared memory.
#include "conv_source.glsl"
#include "matrix_tile.glsl"
