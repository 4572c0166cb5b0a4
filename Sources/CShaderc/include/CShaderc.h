// The few functions of libshaderc that Caldera calls, found at run time: only those who bring a shader of their own need
// the library. The declarations follow shaderc/shaderc.h.
#pragma once

#include <stddef.h>
#include <stdint.h>

// What an `#include` stands for. An empty source name says that there is no such file; the content is then the reason.
typedef struct CShadercInclude {
    const char *source_name;
    size_t source_name_length;
    const char *content;
    size_t content_length;
    void *user_data;
} CShadercInclude;

typedef CShadercInclude *(*CShadercResolve)(
    void *user_data, const char *requested, int type, const char *requesting, size_t depth);
typedef void (*CShadercRelease)(void *user_data, CShadercInclude *include);

// Compilers, options and results are opaque.
typedef struct CShaderc {
    void *(*compiler_initialize)(void);
    void (*compiler_release)(void *compiler);
    void *(*compile_options_initialize)(void);
    void (*compile_options_release)(void *options);
    void (*compile_options_add_macro_definition)(
        void *options, const char *name, size_t name_length, const char *value, size_t value_length);
    void (*compile_options_set_target_env)(void *options, int target, uint32_t version);
    void (*compile_options_set_include_callbacks)(
        void *options, CShadercResolve resolve, CShadercRelease release, void *user_data);
    void *(*compile_into_spv)(
        const void *compiler, const char *source, size_t source_length, int kind, const char *file, const char *entry,
        const void *options);
    void (*result_release)(void *result);
    size_t (*result_get_length)(const void *result);
    int (*result_get_compilation_status)(const void *result);
    const char *(*result_get_bytes)(const void *result);
    const char *(*result_get_error_message)(const void *result);
} CShaderc;

enum {
    CSHADERC_COMPUTE_SHADER = 2,
    CSHADERC_TARGET_VULKAN = 0,
    CSHADERC_VULKAN_1_3 = (1 << 22) | (3 << 12),
    CSHADERC_SUCCESS = 0,
};

// Null where the library is loaded, for the life of the process; else why it is not, good until the next call.
const char *cshaderc_load(const char *library, CShaderc *table);
