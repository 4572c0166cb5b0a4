#version 460
#extension GL_GOOGLE_include_directive : require
// source [rows, inner] times weight [columns, inner] transposed, through shared memory.
#include "gemm_source.glsl"
#include "matrix_tile.glsl"
