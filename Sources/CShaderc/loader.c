#include "CShaderc.h"

#include <dlfcn.h>

const char *cshaderc_load(const char *library, CShaderc *table) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle) return dlerror();
#define LOAD(name)                                                          \
    table->name = (__typeof__(table->name))dlsym(handle, "shaderc_" #name); \
    if (!table->name) return "it lacks shaderc_" #name;
    LOAD(compiler_initialize)
    LOAD(compiler_release)
    LOAD(compile_options_initialize)
    LOAD(compile_options_release)
    LOAD(compile_options_add_macro_definition)
    LOAD(compile_options_set_target_env)
    LOAD(compile_options_set_include_callbacks)
    LOAD(compile_into_spv)
    LOAD(result_release)
    LOAD(result_get_length)
    LOAD(result_get_compilation_status)
    LOAD(result_get_bytes)
    LOAD(result_get_error_message)
    return NULL;
}
