#include "COneDNN.h"

#include <pthread.h>
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "Layout.h"
#include "Team.h"

struct cdnn_engine {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
};

struct cdnn_primitive {
    dnnl_primitive_desc_t description;
    dnnl_primitive_t code;
    // The places of the factor and the residual among the post-operations, or -1.
    int factor_index, residual_index;
    bool bias;
    // The output's layout is the factor's and the residual's; dense weights as a file holds them.
    layout destination, plain_weights;
    int weights_rank;
    dnnl_dims_t weights_extents, weights_strides;
};

#define MAX_ARGUMENTS 7

struct cdnn_execution {
    dnnl_stream_t stream;
    dnnl_primitive_t code;
    int count;
    dnnl_exec_arg_t arguments[MAX_ARGUMENTS];
    // Which operand each argument is, as a byte offset into cdnn_operands.
    size_t fields[MAX_ARGUMENTS];
};

// Returns from the enclosing function, which must have a `status` and an `end` label that cleans up.
#define TRY(call) \
    do { \
        status = (call); \
        if (status != dnnl_success) goto end; \
    } while (0)

// oneDNN 2.6 makes wrong code now and then where two threads make primitives at once and its cache is full: each of
// 40,000 layers made by four threads was right with a cache of 1024, and up to four were wrong with one of 64. So one
// thread at a time makes them, in all engines, for the cache belongs to the process.
static pthread_mutex_t creation = PTHREAD_MUTEX_INITIALIZER;

// MARK: Engine

const char *cdnn_status_name(int status) { return dnnl_status2str((dnnl_status_t)status); }

void cdnn_version(int *major, int *minor, int *patch) {
    const dnnl_version_t *version = dnnl_version();
    *major = version->major;
    *minor = version->minor;
    *patch = version->patch;
}

int cdnn_engine_create(cdnn_engine **result) {
    dnnl_status_t status = dnnl_out_of_memory;
    cdnn_engine *engine = calloc(1, sizeof *engine);
    if (!engine) return status;
    TRY(dnnl_engine_create(&engine->engine, dnnl_cpu, 0));
    TRY(dnnl_stream_create(&engine->stream, engine->engine, dnnl_stream_default_flags));
    *result = engine;
    return dnnl_success;
end:
    cdnn_engine_destroy(engine);
    return status;
}

void cdnn_engine_destroy(cdnn_engine *engine) {
    if (!engine) return;
    if (engine->stream) dnnl_stream_destroy(engine->stream);
    if (engine->engine) dnnl_engine_destroy(engine->engine);
    free(engine);
}

bool cdnn_has_native_bfloat16(cdnn_engine *engine) {
#if defined(__x86_64__)
    (void)engine;
    // Each set of instructions is a bit mask that contains those of its predecessors.
    const int wanted = dnnl_cpu_isa_avx512_core_bf16;
    return ((int)dnnl_get_effective_cpu_isa() & wanted) == wanted;
#else
    const cdnn_convolution shape = {1, 8, 8, 32, 32, 3, 3, 1, 1, 1, 1, 1, CDNN_BFLOAT16};
    const cdnn_epilogue epilogue = {.activation = CDNN_NO_ACTIVATION};
    cdnn_primitive *probe = NULL;
    if (cdnn_convolution_create(engine, &shape, &epilogue, &probe) != 0) return false;
    const bool native = strstr(cdnn_implementation(probe), "ref") == NULL;
    cdnn_primitive_destroy(probe);
    return native;
#endif
}

void cdnn_return_freed_memory(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

// MARK: Primitives

static dnnl_data_type_t data_type(cdnn_type type) { return type == CDNN_BFLOAT16 ? dnnl_bf16 : dnnl_f32; }

static dnnl_status_t append_eltwise(dnnl_post_ops_t chain, dnnl_alg_kind_t function, float alpha) {
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_post_ops_append_eltwise(chain, function, alpha, 0);
#else
    return dnnl_post_ops_append_eltwise(chain, 1, function, alpha, 0);
#endif
}

static dnnl_status_t append_destination(dnnl_post_ops_t chain) {
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_post_ops_append_sum(chain, 1, 0, dnnl_data_type_undef);
#else
    return dnnl_post_ops_append_sum(chain, 1);
#endif
}

static dnnl_status_t append_activation(dnnl_post_ops_t chain, cdnn_activation activation) {
    switch (activation) {
    case CDNN_NO_ACTIVATION: return dnnl_success;
    case CDNN_SILU: return append_eltwise(chain, dnnl_eltwise_swish, 1);
    case CDNN_GELU: return append_eltwise(chain, dnnl_eltwise_gelu_erf, 0);
    case CDNN_QUICK_GELU: return append_eltwise(chain, dnnl_eltwise_swish, 1.702f);
    case CDNN_RELU: return append_eltwise(chain, dnnl_eltwise_relu, 0);
    case CDNN_TANH: return append_eltwise(chain, dnnl_eltwise_tanh, 0);
    }
    return dnnl_invalid_arguments;
}

// Appends an operation with a tensor that lies as the output does, and notes its place.
static dnnl_status_t append_operand(
    dnnl_post_ops_t chain, dnnl_alg_kind_t operation, const cdnn_primitive *primitive, int *place) {
    *place = dnnl_post_ops_len(chain);
    return dnnl_post_ops_append_binary(chain, operation, layout_view(&primitive->destination));
}

// The attributes of every primitive here: scratch memory comes from the caller, the epilogue is a post-operation chain.
static dnnl_status_t make_attributes(
    const cdnn_epilogue *epilogue, cdnn_primitive *primitive, dnnl_primitive_attr_t *result) {
    dnnl_status_t status;
    dnnl_post_ops_t chain = NULL;
    TRY(dnnl_primitive_attr_create(result));
    TRY(dnnl_primitive_attr_set_scratchpad_mode(*result, dnnl_scratchpad_mode_user));
    TRY(dnnl_post_ops_create(&chain));
    TRY(append_activation(chain, epilogue->activation));
    primitive->factor_index = primitive->residual_index = -1;
    if (epilogue->factor) TRY(append_operand(chain, dnnl_binary_mul, primitive, &primitive->factor_index));
    if (epilogue->residual) TRY(append_operand(chain, dnnl_binary_add, primitive, &primitive->residual_index));
    if (epilogue->accumulate) TRY(append_destination(chain));
    TRY(dnnl_primitive_attr_set_post_ops(*result, chain));
end:
    if (chain) dnnl_post_ops_destroy(chain);
    return status;
}

// Notes how dense weights lie in a file: `extents` in the order that oneDNN names them.
static void set_weights(cdnn_primitive *primitive, int rank, const dnnl_dim_t *extents, const dnnl_dim_t *strides) {
    primitive->weights_rank = rank;
    for (int i = 0; i < rank; i++) {
        primitive->weights_extents[i] = extents[i];
        primitive->weights_strides[i] = strides[i];
    }
}

int cdnn_convolution_create(
    cdnn_engine *engine, const cdnn_convolution *shape, const cdnn_epilogue *epilogue, cdnn_primitive **result) {
    dnnl_status_t status = dnnl_out_of_memory;
    cdnn_primitive *primitive = calloc(1, sizeof *primitive);
    if (!primitive) return status;
    layout source = {0}, weights = {0}, bias = {0};
    dnnl_primitive_attr_t attributes = NULL;
    const dnnl_data_type_t type = data_type(shape->type);
    const int64_t n = shape->out_channels, c = shape->in_channels;
    const int64_t kh = shape->kernel_height, kw = shape->kernel_width, stride = shape->stride;
    const dnnl_dims_t source_extents = {shape->batch, c, shape->height, shape->width};
    const dnnl_dims_t weights_extents = {n, c, kh, kw};
    const dnnl_dims_t weights_strides = {c * kh * kw, kh * kw, kw, 1};
    const dnnl_dims_t bias_extents = {n};
    const dnnl_dims_t destination_extents = {
        shape->batch, n, (shape->height + shape->pad_top + shape->pad_bottom - kh) / stride + 1,
        (shape->width + shape->pad_left + shape->pad_right - kw) / stride + 1};
    const dnnl_dims_t strides = {stride, stride};
    const dnnl_dims_t before = {shape->pad_top, shape->pad_left};
    const dnnl_dims_t behind = {shape->pad_bottom, shape->pad_right};
    pthread_mutex_lock(&creation);
    primitive->bias = epilogue->bias;
    set_weights(primitive, 4, weights_extents, weights_strides);
    TRY(layout_tagged(&source, 4, source_extents, type, dnnl_nhwc));
    TRY(layout_tagged(&weights, 4, weights_extents, type, dnnl_format_tag_any));
    TRY(layout_tagged(&bias, 1, bias_extents, dnnl_f32, dnnl_a));
    TRY(layout_tagged(&primitive->destination, 4, destination_extents, type, dnnl_nhwc));
    TRY(make_attributes(epilogue, primitive, &attributes));
    const layout_ref bias_view = epilogue->bias ? layout_view(&bias) : NULL;
#if DNNL_VERSION_MAJOR >= 3
    const dnnl_dims_t dilation = {0, 0};
    TRY(dnnl_convolution_forward_primitive_desc_create(
        &primitive->description, engine->engine, dnnl_forward_inference, dnnl_convolution_direct,
        layout_view(&source), layout_view(&weights), bias_view, layout_view(&primitive->destination), strides,
        dilation, before, behind, attributes));
#else
    dnnl_convolution_desc_t operation;
    TRY(dnnl_convolution_forward_desc_init(
        &operation, dnnl_forward_inference, dnnl_convolution_direct, layout_view(&source), layout_view(&weights),
        bias_view, layout_view(&primitive->destination), strides, before, behind));
    TRY(dnnl_primitive_desc_create(&primitive->description, &operation, attributes, engine->engine, NULL));
#endif
    TRY(dnnl_primitive_create(&primitive->code, primitive->description));
end:
    pthread_mutex_unlock(&creation);
    layout_release(&source);
    layout_release(&weights);
    layout_release(&bias);
    if (attributes) dnnl_primitive_attr_destroy(attributes);
    if (status == dnnl_success) *result = primitive;
    else cdnn_primitive_destroy(primitive);
    return status;
}

int cdnn_matmul_create(
    cdnn_engine *engine, const cdnn_matmul *shape, const cdnn_epilogue *epilogue, cdnn_primitive **result) {
    dnnl_status_t status = dnnl_out_of_memory;
    cdnn_primitive *primitive = calloc(1, sizeof *primitive);
    if (!primitive) return status;
    layout source = {0}, weights = {0}, bias = {0};
    dnnl_primitive_attr_t attributes = NULL;
    const dnnl_data_type_t type = data_type(shape->type);
    const dnnl_dims_t source_extents = {shape->rows, shape->depth};
    const dnnl_dims_t source_strides = {shape->source_stride, 1};
    const dnnl_dims_t weights_extents = {shape->depth, shape->columns};
    const dnnl_dims_t file_strides = {1, shape->depth};
    const dnnl_dims_t bias_extents = {1, shape->columns};
    const dnnl_dims_t destination_extents = {shape->rows, shape->columns};
    const dnnl_dims_t destination_strides = {shape->destination_stride, 1};
    const int threads = shape->single_threaded ? team_limit(1) : 0;
    pthread_mutex_lock(&creation);
    primitive->bias = epilogue->bias;
    set_weights(primitive, 2, weights_extents, file_strides);
    TRY(layout_strided(&source, 2, source_extents, type, source_strides));
    if (shape->weights_depth_stride == 0) {
        TRY(layout_tagged(&weights, 2, weights_extents, type, dnnl_format_tag_any));
    } else {
        const dnnl_dims_t strides = {shape->weights_depth_stride, shape->weights_column_stride};
        TRY(layout_strided(&weights, 2, weights_extents, type, strides));
    }
    TRY(layout_tagged(&bias, 2, bias_extents, dnnl_f32, dnnl_ab));
    TRY(layout_strided(
        &primitive->destination, 2, destination_extents, data_type(shape->destination_type), destination_strides));
    TRY(make_attributes(epilogue, primitive, &attributes));
    const layout_ref bias_view = epilogue->bias ? layout_view(&bias) : NULL;
#if DNNL_VERSION_MAJOR >= 3
    TRY(dnnl_matmul_primitive_desc_create(
        &primitive->description, engine->engine, layout_view(&source), layout_view(&weights), bias_view,
        layout_view(&primitive->destination), attributes));
#else
    dnnl_matmul_desc_t operation;
    TRY(dnnl_matmul_desc_init(
        &operation, layout_view(&source), layout_view(&weights), bias_view, layout_view(&primitive->destination)));
    TRY(dnnl_primitive_desc_create(&primitive->description, &operation, attributes, engine->engine, NULL));
#endif
    TRY(dnnl_primitive_create(&primitive->code, primitive->description));
end:
    pthread_mutex_unlock(&creation);
    if (threads > 0) team_limit(threads);
    layout_release(&source);
    layout_release(&weights);
    layout_release(&bias);
    if (attributes) dnnl_primitive_attr_destroy(attributes);
    if (status == dnnl_success) *result = primitive;
    else cdnn_primitive_destroy(primitive);
    return status;
}

void cdnn_primitive_destroy(cdnn_primitive *primitive) {
    if (!primitive) return;
    if (primitive->code) dnnl_primitive_destroy(primitive->code);
    if (primitive->description) dnnl_primitive_desc_destroy(primitive->description);
    layout_release(&primitive->destination);
    free(primitive);
}

static layout_ref queried(const cdnn_primitive *primitive, dnnl_query_t what) {
    return dnnl_primitive_desc_query_md(primitive->description, what, 0);
}

const char *cdnn_implementation(const cdnn_primitive *primitive) {
    const char *name = NULL;
    dnnl_primitive_desc_query(primitive->description, dnnl_query_impl_info_str, 0, (void *)&name);
    return name ? name : "unknown";
}

size_t cdnn_scratchpad_size(const cdnn_primitive *primitive) {
    const layout_ref scratchpad = queried(primitive, dnnl_query_scratchpad_md);
    return scratchpad ? dnnl_memory_desc_get_size(scratchpad) : 0;
}

// MARK: Weights

size_t cdnn_weights_size(const cdnn_primitive *primitive) {
    return dnnl_memory_desc_get_size(queried(primitive, dnnl_query_weights_md));
}

bool cdnn_same_weights_layout(const cdnn_primitive *left, const cdnn_primitive *right) {
    return dnnl_memory_desc_equal(queried(left, dnnl_query_weights_md), queried(right, dnnl_query_weights_md)) == 1;
}

static dnnl_status_t reorder_create(
    cdnn_engine *engine, layout_ref from, layout_ref to, dnnl_primitive_t *result) {
    dnnl_status_t status;
    dnnl_primitive_desc_t description = NULL;
    pthread_mutex_lock(&creation);
    TRY(dnnl_reorder_primitive_desc_create(&description, from, engine->engine, to, engine->engine, NULL));
    TRY(dnnl_primitive_create(result, description));
end:
    if (description) dnnl_primitive_desc_destroy(description);
    pthread_mutex_unlock(&creation);
    return status;
}

int cdnn_pack_weights(
    cdnn_engine *engine, const cdnn_primitive *primitive, const void *source, cdnn_type type, void *packed) {
    dnnl_status_t status;
    layout plain = {0};
    dnnl_memory_t from = NULL, to = NULL;
    dnnl_primitive_t reorder = NULL;
    const layout_ref wanted = queried(primitive, dnnl_query_weights_md);
    TRY(layout_strided(
        &plain, primitive->weights_rank, primitive->weights_extents, data_type(type), primitive->weights_strides));
    TRY(reorder_create(engine, layout_view(&plain), wanted, &reorder));
    TRY(dnnl_memory_create(&from, layout_view(&plain), engine->engine, (void *)source));
    TRY(dnnl_memory_create(&to, wanted, engine->engine, packed));
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    TRY(dnnl_primitive_execute(reorder, engine->stream, 2, arguments));
    TRY(dnnl_stream_wait(engine->stream));
end:
    if (from) dnnl_memory_destroy(from);
    if (to) dnnl_memory_destroy(to);
    if (reorder) dnnl_primitive_destroy(reorder);
    layout_release(&plain);
    return status;
}

// MARK: Executions

static dnnl_status_t add_argument(
    cdnn_engine *engine, cdnn_execution *execution, int argument, layout_ref view, size_t field) {
    dnnl_memory_t memory = NULL;
    const dnnl_status_t status = dnnl_memory_create(&memory, view, engine->engine, DNNL_MEMORY_NONE);
    if (status != dnnl_success) return status;
    execution->arguments[execution->count].arg = argument;
    execution->arguments[execution->count].memory = memory;
    execution->fields[execution->count] = field;
    execution->count++;
    return dnnl_success;
}

int cdnn_execution_create(
    cdnn_engine *engine, const cdnn_primitive *primitive, const cdnn_operands *operands, cdnn_execution **result) {
    dnnl_status_t status = dnnl_out_of_memory;
    cdnn_execution *execution = calloc(1, sizeof *execution);
    if (!execution) return status;
    execution->stream = engine->stream;
    execution->code = primitive->code;
#define ARGUMENT(argument, view, field) \
    TRY(add_argument(engine, execution, argument, view, offsetof(cdnn_operands, field)))
    ARGUMENT(DNNL_ARG_SRC, queried(primitive, dnnl_query_src_md), source);
    ARGUMENT(DNNL_ARG_WEIGHTS, queried(primitive, dnnl_query_weights_md), weights);
    ARGUMENT(DNNL_ARG_DST, layout_view(&primitive->destination), destination);
    if (primitive->bias)
        ARGUMENT(DNNL_ARG_BIAS, dnnl_primitive_desc_query_md(primitive->description, dnnl_query_weights_md, 1), bias);
#define OPERAND(place, field) \
    if ((place) >= 0) \
    ARGUMENT(DNNL_ARG_ATTR_MULTIPLE_POST_OP(place) | DNNL_ARG_SRC_1, layout_view(&primitive->destination), field)
    OPERAND(primitive->factor_index, factor);
    OPERAND(primitive->residual_index, residual);
#undef OPERAND
    if (cdnn_scratchpad_size(primitive) > 0)
        ARGUMENT(DNNL_ARG_SCRATCHPAD, queried(primitive, dnnl_query_scratchpad_md), scratchpad);
#undef ARGUMENT
    TRY(cdnn_execution_bind(execution, operands));
    *result = execution;
    return dnnl_success;
end:
    cdnn_execution_destroy(execution);
    return status;
}

int cdnn_execution_bind(cdnn_execution *execution, const cdnn_operands *operands) {
    for (int i = 0; i < execution->count; i++) {
        void *handle;
        memcpy(&handle, (const char *)operands + execution->fields[i], sizeof handle);
        const dnnl_status_t status = dnnl_memory_set_data_handle(execution->arguments[i].memory, handle);
        if (status != dnnl_success) return status;
    }
    return dnnl_success;
}

int cdnn_execution_run(cdnn_execution *execution) {
    const dnnl_status_t status =
        dnnl_primitive_execute(execution->code, execution->stream, execution->count, execution->arguments);
    return status == dnnl_success ? dnnl_stream_wait(execution->stream) : status;
}

void cdnn_execution_destroy(cdnn_execution *execution) {
    if (!execution) return;
    for (int i = 0; i < execution->count; i++) dnnl_memory_destroy(execution->arguments[i].memory);
    free(execution);
}
