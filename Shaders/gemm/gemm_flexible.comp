#version 460
#extension GL_GOOGLE_include_directive : require
// variants: FP16
// optional: GL_KHR_cooperative_matrix GL_NV_cooperative_matrix2
// source [rows, inner] times weight [columns, inner] transposed, through matrices of flexible size.
#define FLEXIBLE 1
#include "gemm_source.glsl"
#include "matrix_cooperative.glsl"
