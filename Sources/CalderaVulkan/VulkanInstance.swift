import CVulkan
import CalderaGraph
import Synchronization

/// A connection to the Vulkan loader. Children (devices) keep it alive.
package final class VulkanInstance: @unchecked Sendable {
    let handle: VkInstance
    let functions: CVulkanInstance
    private let messenger: VkDebugUtilsMessengerEXT?
    private let log: ValidationLog

    private static let validationLayer = "VK_LAYER_KHRONOS_validation"

    /// - Parameter validation: run everything under the Khronos validation layer, synchronisation checks included, and
    ///   collect its messages.
    /// - Parameter loader: the file name of the loader, searched where the system keeps its libraries.
    /// Throws `CalderaError` when there is no loader, no driver of Vulkan 1.3, or no validation layer though asked for.
    package init(validation: Bool = false, loader: String = "libvulkan.so.1") throws {
        guard let entry = cvulkan_open(loader) else {
            throw CalderaError(
                "No Vulkan loader (\(loader)) was found: install libvulkan1 and a driver, or use --device cpu.")
        }
        var globals = CVulkanGlobals()
        guard cvulkan_load_globals(entry, &globals) else {
            throw CalderaError("The Vulkan loader is older than Vulkan 1.1: update libvulkan1, or use --device cpu.")
        }
        if validation { try VulkanInstance.requireValidationLayer(globals) }
        log = ValidationLog()
        let handle = try VulkanInstance.create(globals, validation: validation)
        var functions = CVulkanInstance()
        guard cvulkan_load_instance(entry, handle, &functions) else {
            throw CalderaError("The Vulkan loader lacks functions of Vulkan 1.3: update libvulkan1.")
        }
        self.handle = handle
        self.functions = functions
        messenger = validation ? try VulkanInstance.listen(handle, functions, log) : nil
    }

    deinit {
        if let messenger { functions.vkDestroyDebugUtilsMessengerEXT(handle, messenger, nil) }
        functions.vkDestroyInstance(handle, nil)
    }

    /// What the validation layer has said so far: warnings and errors.
    package var messages: [String] { log.messages }

    /// Every device that the drivers show, in their order.
    package func physicalDevices() throws -> [VulkanPhysicalDevice] {
        var count: UInt32 = 0
        try check(functions.vkEnumeratePhysicalDevices(handle, &count, nil), "counting the Vulkan devices")
        var handles = [VkPhysicalDevice?](repeating: nil, count: Int(count))
        try check(functions.vkEnumeratePhysicalDevices(handle, &count, &handles), "listing the Vulkan devices")
        return handles.prefix(Int(count)).compactMap { $0 }.enumerated().map { index, device in
            VulkanPhysicalDevice(instance: self, handle: device, index: index)
        }
    }

    // MARK: Creation

    private static func create(_ globals: CVulkanGlobals, validation: Bool) throws -> VkInstance {
        let arena = PointerArena()
        var application = VkApplicationInfo()
        application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO
        application.pApplicationName = arena.string("Caldera")
        application.apiVersion = CALDERA_API_VERSION_1_3
        let checks = [VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT]
        var features = VkValidationFeaturesEXT()
        features.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT
        features.enabledValidationFeatureCount = UInt32(checks.count)
        features.pEnabledValidationFeatures = arena.array(checks)
        var info = VkInstanceCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO
        info.pApplicationInfo = arena.value(application)
        if validation {
            info.pNext = UnsafeRawPointer(arena.value(features))
            info.enabledLayerCount = 1
            info.ppEnabledLayerNames = arena.strings([validationLayer])
            let extensions = [VK_EXT_DEBUG_UTILS_EXTENSION_NAME, VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME]
            info.enabledExtensionCount = UInt32(extensions.count)
            info.ppEnabledExtensionNames = arena.strings(extensions)
        }
        var handle: VkInstance?
        let result = globals.vkCreateInstance(&info, nil, &handle)
        if result == VK_ERROR_INCOMPATIBLE_DRIVER {
            throw CalderaError("No Vulkan driver is installed: install one (mesa-vulkan-drivers), or use --device cpu.")
        }
        try check(result, "connecting to the Vulkan loader")
        guard let handle else { throw CalderaError("The Vulkan loader gave no instance.") }
        return handle
    }

    private static func requireValidationLayer(_ globals: CVulkanGlobals) throws {
        var count: UInt32 = 0
        try check(globals.vkEnumerateInstanceLayerProperties(&count, nil), "counting the Vulkan layers")
        var layers = [VkLayerProperties](repeating: VkLayerProperties(), count: Int(count))
        try check(globals.vkEnumerateInstanceLayerProperties(&count, &layers), "listing the Vulkan layers")
        let names = layers.map { stringFromTuple($0.layerName) }
        guard names.contains(validationLayer) else {
            throw CalderaError("The Vulkan validation layer is not installed: install vulkan-validationlayers.")
        }
    }

    private static func listen(
        _ handle: VkInstance, _ functions: CVulkanInstance, _ log: ValidationLog
    ) throws -> VkDebugUtilsMessengerEXT? {
        var info = VkDebugUtilsMessengerCreateInfoEXT()
        info.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT
        info.messageSeverity =
            VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT.rawValue
            | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT.rawValue
        info.messageType =
            VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT.rawValue
            | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT.rawValue
        info.pUserData = Unmanaged.passUnretained(log).toOpaque()
        info.pfnUserCallback = { _, _, data, user in
            guard let data, let user, let text = data.pointee.pMessage else { return VkBool32(VK_FALSE) }
            Unmanaged<ValidationLog>.fromOpaque(user).takeUnretainedValue().add(String(cString: text))
            return VkBool32(VK_FALSE)
        }
        var messenger: VkDebugUtilsMessengerEXT?
        try check(
            functions.vkCreateDebugUtilsMessengerEXT(handle, &info, nil, &messenger),
            "listening to the validation layer")
        return messenger
    }
}

/// The validation layer's messages, which may come from any thread.
private final class ValidationLog: Sendable {
    private let collected = Mutex<[String]>([])

    var messages: [String] { collected.withLock { $0 } }

    func add(_ message: String) { collected.withLock { $0.append(message) } }
}
