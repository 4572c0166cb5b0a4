// A small flat interface to oneDNN: convolutions and matrix products with packed weights and fused epilogues.
//
// It hides the differences between oneDNN 2 and 3, whose own C interfaces are not compatible with each other.
// Functions that can fail return 0 for success or a oneDNN status, which `cdnn_status_name` names.
#ifndef CALDERA_CONEDNN_H
#define CALDERA_CONEDNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { CDNN_FLOAT32, CDNN_BFLOAT16 } cdnn_type;

typedef enum { CDNN_NO_ACTIVATION, CDNN_SILU, CDNN_GELU, CDNN_QUICK_GELU, CDNN_RELU, CDNN_TANH } cdnn_activation;

// What happens to the fp32 accumulator before it is stored, in this order: add a fp32 bias for each output channel,
// apply a function, multiply by a tensor of the output's shape, layout and type, add such a tensor, add what the
// destination held before.
//
// Convolutions should take a residual from their destination: their fastest code has no other way, and the code of
// oneDNN 2.6 for processors without AVX computes the other way wrongly.
typedef struct {
    bool bias;
    cdnn_activation activation;
    bool factor;
    bool residual;
    bool accumulate;
} cdnn_epilogue;

// A convolution of channels-last pictures; the size is that of the source, and the weights are
// [out_channels, in_channels, kernel_height, kernel_width].
typedef struct {
    int64_t batch, height, width, in_channels;
    int64_t out_channels, kernel_height, kernel_width, stride;
    int64_t pad_top, pad_left, pad_bottom, pad_right;
    cdnn_type type;
} cdnn_convolution;

// destination [rows, columns] = source [rows, depth] times weights [depth, columns]. Strides count elements.
typedef struct {
    int64_t rows, columns, depth;
    // From one row to the next.
    int64_t source_stride, destination_stride;
    // From one entry to the next along depth and along columns; both 0 lets oneDNN choose a packed layout.
    int64_t weights_depth_stride, weights_column_stride;
    // The type of the source and the weights, and that of the destination.
    cdnn_type type, destination_type;
    // For use inside `cdnn_parallel`, where one thread computes the whole product.
    bool single_threaded;
} cdnn_matmul;

// A processor engine and the stream on which everything runs.
typedef struct cdnn_engine cdnn_engine;
// Compiled code for one shape: immutable, usable by several threads and by several executions.
typedef struct cdnn_primitive cdnn_primitive;
// A primitive bound to memory.
typedef struct cdnn_execution cdnn_execution;

// The memory of one execution; what the primitive does not use may be null.
typedef struct {
    const void *source, *weights, *bias, *factor, *residual;
    void *destination, *scratchpad;
} cdnn_operands;

const char *cdnn_status_name(int status);

// The library's major, minor and patch numbers, of the shared object that is loaded.
void cdnn_version(int *major, int *minor, int *patch);

int cdnn_engine_create(cdnn_engine **engine);
void cdnn_engine_destroy(cdnn_engine *engine);

// Whether the processor itself multiplies bf16: AVX-512 BF16 or AMX on x86-64; elsewhere, whether oneDNN has anything
// better than its reference code.
bool cdnn_has_native_bfloat16(cdnn_engine *engine);

int cdnn_convolution_create(
    cdnn_engine *engine, const cdnn_convolution *shape, const cdnn_epilogue *epilogue, cdnn_primitive **primitive);
int cdnn_matmul_create(
    cdnn_engine *engine, const cdnn_matmul *shape, const cdnn_epilogue *epilogue, cdnn_primitive **primitive);
void cdnn_primitive_destroy(cdnn_primitive *primitive);

// oneDNN's name for the code that it chose, such as "brg:avx512_core".
const char *cdnn_implementation(const cdnn_primitive *primitive);
size_t cdnn_scratchpad_size(const cdnn_primitive *primitive);
// Bytes of the packed weights.
size_t cdnn_weights_size(const cdnn_primitive *primitive);
bool cdnn_same_weights_layout(const cdnn_primitive *left, const cdnn_primitive *right);
// Packs dense row-major weights, [out, in, height, width] or [columns, depth], of the given type into the layout that
// the primitive wants, converting them to its type.
int cdnn_pack_weights(
    cdnn_engine *engine, const cdnn_primitive *primitive, const void *source, cdnn_type type, void *packed);

int cdnn_execution_create(
    cdnn_engine *engine, const cdnn_primitive *primitive, const cdnn_operands *operands, cdnn_execution **execution);
// Points an execution at other memory. Not for use while it runs.
int cdnn_execution_bind(cdnn_execution *execution, const cdnn_operands *operands);
int cdnn_execution_run(cdnn_execution *execution);
void cdnn_execution_destroy(cdnn_execution *execution);

// Gives memory that was freed, by the caller or by oneDNN, back to the system where the C library would keep it.
void cdnn_return_freed_memory(void);

// Threads in the team that `cdnn_parallel` uses.
int cdnn_thread_count(void);
// Calls body(context, thread, index) for each index below `count` on the threads of oneDNN's own OpenMP team, so that
// oneDNN's loops and the caller's never compete for the cores. `thread` is below `cdnn_thread_count()` and no two calls
// with the same one overlap. Returns 0, or what one of the calls returned that was not 0.
// Where no OpenMP runtime is loaded, the calling thread makes all calls.
int cdnn_parallel(int64_t count, int (*body)(void *context, int thread, int64_t index), void *context);

#ifdef __cplusplus
}
#endif

#endif
