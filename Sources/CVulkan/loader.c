#include "CVulkan.h"

#include <dlfcn.h>
#include <string.h>

PFN_vkGetInstanceProcAddr cvulkan_open(const char *library) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle) return NULL;
    return (PFN_vkGetInstanceProcAddr)dlsym(handle, "vkGetInstanceProcAddr");
}

// Extension functions: absent unless the extension is there and enabled.
static bool is_optional(const char *name) {
    return strstr(name, "DebugUtils") || strstr(name, "CooperativeMatrix");
}

#define LOAD(lookup, owner, name)                              \
    table->name = (PFN_##name)lookup(owner, #name);            \
    if (!table->name && !is_optional(#name)) complete = false;

bool cvulkan_load_globals(PFN_vkGetInstanceProcAddr entry, CVulkanGlobals *table) {
    bool complete = true;
#define LOAD_GLOBAL(name) LOAD(entry, VK_NULL_HANDLE, name)
    CALDERA_GLOBAL_FUNCTIONS(LOAD_GLOBAL)
    return complete;
}

bool cvulkan_load_instance(PFN_vkGetInstanceProcAddr entry, VkInstance instance, CVulkanInstance *table) {
    bool complete = true;
#define LOAD_INSTANCE(name) LOAD(entry, instance, name)
    CALDERA_INSTANCE_FUNCTIONS(LOAD_INSTANCE)
    return complete;
}

bool cvulkan_load_device(const CVulkanInstance *functions, VkDevice device, CVulkanDevice *table) {
    bool complete = true;
#define LOAD_DEVICE(name) LOAD(functions->vkGetDeviceProcAddr, device, name)
    CALDERA_DEVICE_FUNCTIONS(LOAD_DEVICE)
    return complete;
}
