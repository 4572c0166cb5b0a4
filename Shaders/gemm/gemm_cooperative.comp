#version 460
#extension GL_GOOGLE_include_directive : require
// variants: FP16
// optional: GL_KHR_cooperative_matrix
// source [rows, inner] times weight [columns, inner] transposed, through cooperative matrices.
#include "gemm_source.glsl"
#include "matrix_cooperative.glsl"
