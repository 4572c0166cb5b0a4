// Vulkan's headers, and the function pointers that Caldera calls, found at run time: a machine without a Vulkan loader
// must still run on its processor, so nothing here links to libvulkan.
#pragma once

#define VK_NO_PROTOTYPES
#include <stdbool.h>
#include <vulkan/vulkan.h>

// VK_KHR_cooperative_matrix came with header 1.3.255; Debian 12 has 1.3.239. The declarations follow the registry.
#ifndef VK_KHR_cooperative_matrix
#define VK_KHR_cooperative_matrix 1
#define VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME "VK_KHR_cooperative_matrix"
typedef enum VkComponentTypeKHR {
    VK_COMPONENT_TYPE_FLOAT16_KHR = 0,
    VK_COMPONENT_TYPE_FLOAT32_KHR = 1,
    VK_COMPONENT_TYPE_MAX_ENUM_KHR = 0x7FFFFFFF
} VkComponentTypeKHR;
typedef enum VkScopeKHR { VK_SCOPE_SUBGROUP_KHR = 3, VK_SCOPE_MAX_ENUM_KHR = 0x7FFFFFFF } VkScopeKHR;
typedef struct VkCooperativeMatrixPropertiesKHR {
    VkStructureType sType;
    void *pNext;
    uint32_t MSize;
    uint32_t NSize;
    uint32_t KSize;
    VkComponentTypeKHR AType;
    VkComponentTypeKHR BType;
    VkComponentTypeKHR CType;
    VkComponentTypeKHR ResultType;
    VkBool32 saturatingAccumulation;
    VkScopeKHR scope;
} VkCooperativeMatrixPropertiesKHR;
typedef struct VkPhysicalDeviceCooperativeMatrixFeaturesKHR {
    VkStructureType sType;
    void *pNext;
    VkBool32 cooperativeMatrix;
    VkBool32 cooperativeMatrixRobustBufferAccess;
} VkPhysicalDeviceCooperativeMatrixFeaturesKHR;
typedef VkResult(VKAPI_PTR *PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)(
    VkPhysicalDevice physicalDevice, uint32_t *pPropertyCount, VkCooperativeMatrixPropertiesKHR *pProperties);
#endif

// VK_NV_cooperative_matrix2 came with header 1.3.300. The declarations follow the registry.
#ifndef VK_NV_cooperative_matrix2
#define VK_NV_cooperative_matrix2 1
#define VK_NV_COOPERATIVE_MATRIX_2_EXTENSION_NAME "VK_NV_cooperative_matrix2"
typedef struct VkCooperativeMatrixFlexibleDimensionsPropertiesNV {
    VkStructureType sType;
    void *pNext;
    uint32_t MGranularity;
    uint32_t NGranularity;
    uint32_t KGranularity;
    VkComponentTypeKHR AType;
    VkComponentTypeKHR BType;
    VkComponentTypeKHR CType;
    VkComponentTypeKHR ResultType;
    VkBool32 saturatingAccumulation;
    VkScopeKHR scope;
    uint32_t workgroupInvocations;
} VkCooperativeMatrixFlexibleDimensionsPropertiesNV;
typedef struct VkPhysicalDeviceCooperativeMatrix2FeaturesNV {
    VkStructureType sType;
    void *pNext;
    VkBool32 cooperativeMatrixWorkgroupScope;
    VkBool32 cooperativeMatrixFlexibleDimensions;
    VkBool32 cooperativeMatrixReductions;
    VkBool32 cooperativeMatrixConversions;
    VkBool32 cooperativeMatrixPerElementOperations;
    VkBool32 cooperativeMatrixTensorAddressing;
    VkBool32 cooperativeMatrixBlockLoads;
} VkPhysicalDeviceCooperativeMatrix2FeaturesNV;
typedef struct VkPhysicalDeviceCooperativeMatrix2PropertiesNV {
    VkStructureType sType;
    void *pNext;
    uint32_t cooperativeMatrixWorkgroupScopeMaxWorkgroupSize;
    uint32_t cooperativeMatrixFlexibleDimensionsMaxDimension;
    uint32_t cooperativeMatrixWorkgroupScopeReservedSharedMemory;
} VkPhysicalDeviceCooperativeMatrix2PropertiesNV;
typedef VkResult(VKAPI_PTR *PFN_vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV)(
    VkPhysicalDevice physicalDevice, uint32_t *pPropertyCount,
    VkCooperativeMatrixFlexibleDimensionsPropertiesNV *pProperties);
#endif

// Structure types of VK_KHR_cooperative_matrix, under names of our own: older headers have no enumerators for them.
static const VkStructureType CALDERA_STRUCTURE_TYPE_COOPERATIVE_MATRIX_FEATURES = (VkStructureType)1000506000;
static const VkStructureType CALDERA_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES = (VkStructureType)1000506001;
static const VkStructureType CALDERA_STRUCTURE_TYPE_COOPERATIVE_MATRIX_2_FEATURES = (VkStructureType)1000593000;
static const VkStructureType CALDERA_STRUCTURE_TYPE_FLEXIBLE_DIMENSIONS_PROPERTIES = (VkStructureType)1000593001;
static const VkStructureType CALDERA_STRUCTURE_TYPE_COOPERATIVE_MATRIX_2_PROPERTIES = (VkStructureType)1000593002;
// VK_SCOPE_WORKGROUP_KHR, which our own declaration of VkScopeKHR has not.
static const uint32_t CALDERA_SCOPE_WORKGROUP = 2;

#define CALDERA_GLOBAL_FUNCTIONS(X) \
    X(vkCreateInstance)             \
    X(vkEnumerateInstanceVersion)   \
    X(vkEnumerateInstanceLayerProperties)

#define CALDERA_INSTANCE_FUNCTIONS(X)                 \
    X(vkDestroyInstance)                              \
    X(vkEnumeratePhysicalDevices)                     \
    X(vkGetPhysicalDeviceProperties2)                 \
    X(vkGetPhysicalDeviceFeatures2)                   \
    X(vkGetPhysicalDeviceMemoryProperties)            \
    X(vkGetPhysicalDeviceQueueFamilyProperties)       \
    X(vkEnumerateDeviceExtensionProperties)           \
    X(vkCreateDevice)                                 \
    X(vkGetDeviceProcAddr)                            \
    X(vkCreateDebugUtilsMessengerEXT)                 \
    X(vkDestroyDebugUtilsMessengerEXT)                \
    X(vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR) \
    X(vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV)

#define CALDERA_DEVICE_FUNCTIONS(X)  \
    X(vkDestroyDevice)               \
    X(vkGetDeviceQueue)              \
    X(vkDeviceWaitIdle)              \
    X(vkCreateBuffer)                \
    X(vkDestroyBuffer)               \
    X(vkGetBufferMemoryRequirements) \
    X(vkAllocateMemory)              \
    X(vkFreeMemory)                  \
    X(vkBindBufferMemory)            \
    X(vkMapMemory)                   \
    X(vkUnmapMemory)                 \
    X(vkGetBufferDeviceAddress)      \
    X(vkCreateShaderModule)          \
    X(vkDestroyShaderModule)         \
    X(vkCreatePipelineLayout)        \
    X(vkDestroyPipelineLayout)       \
    X(vkCreatePipelineCache)         \
    X(vkDestroyPipelineCache)        \
    X(vkGetPipelineCacheData)        \
    X(vkCreateComputePipelines)      \
    X(vkDestroyPipeline)             \
    X(vkCreateCommandPool)           \
    X(vkDestroyCommandPool)          \
    X(vkAllocateCommandBuffers)      \
    X(vkFreeCommandBuffers)          \
    X(vkBeginCommandBuffer)          \
    X(vkEndCommandBuffer)            \
    X(vkCmdBindPipeline)             \
    X(vkCmdPushConstants)            \
    X(vkCmdDispatch)                 \
    X(vkCmdPipelineBarrier2)         \
    X(vkCmdCopyBuffer)               \
    X(vkCmdFillBuffer)               \
    X(vkCreateQueryPool)             \
    X(vkDestroyQueryPool)            \
    X(vkGetQueryPoolResults)         \
    X(vkCmdResetQueryPool)           \
    X(vkCmdWriteTimestamp2)          \
    X(vkCreateSemaphore)             \
    X(vkDestroySemaphore)            \
    X(vkWaitSemaphores)              \
    X(vkQueueSubmit2)

#define CALDERA_MEMBER(name) PFN_##name name;
typedef struct CVulkanGlobals {
    CALDERA_GLOBAL_FUNCTIONS(CALDERA_MEMBER)
} CVulkanGlobals;
typedef struct CVulkanInstance {
    CALDERA_INSTANCE_FUNCTIONS(CALDERA_MEMBER)
} CVulkanInstance;
typedef struct CVulkanDevice {
    CALDERA_DEVICE_FUNCTIONS(CALDERA_MEMBER)
} CVulkanDevice;
#undef CALDERA_MEMBER

/// Opens the loader by its file name; null where there is none. It stays open for the life of the process.
PFN_vkGetInstanceProcAddr cvulkan_open(const char *library);

/// Fill a table; false when the loader lacks one of its functions. Functions of extensions may be null.
bool cvulkan_load_globals(PFN_vkGetInstanceProcAddr entry, CVulkanGlobals *table);
bool cvulkan_load_instance(PFN_vkGetInstanceProcAddr entry, VkInstance instance, CVulkanInstance *table);
bool cvulkan_load_device(const CVulkanInstance *instance, VkDevice device, CVulkanDevice *table);

// Macros that Swift does not import.
static const uint32_t CALDERA_API_VERSION_1_3 = VK_API_VERSION_1_3;
static inline uint32_t cvulkan_version_major(uint32_t version) { return VK_API_VERSION_MAJOR(version); }
static inline uint32_t cvulkan_version_minor(uint32_t version) { return VK_API_VERSION_MINOR(version); }
static inline uint32_t cvulkan_version_patch(uint32_t version) { return VK_API_VERSION_PATCH(version); }
