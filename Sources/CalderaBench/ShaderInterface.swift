import CalderaGPU
import CalderaVulkan

/// What a compute shader takes from its host, read from its SPIR-V.
/// Reference: Khronos, "SPIR-V Specification", chapters 2.3 (layout), 3 (numbers) and 3.52 (instructions).
struct ShaderInterface {
    /// A member of the push constants.
    enum Member: Equatable {
        case address
        case wholeNumber
        case float
        case other

        var title: String {
            switch self {
            case .address: "an address"
            case .wholeNumber: "a whole number"
            case .float: "a float"
            case .other: "of another type"
            }
        }
    }

    /// By offset in bytes.
    private(set) var pushConstants: [Int: Member] = [:]
    /// The specialization constants, by id, and whether each is a bool or a whole number of 32 bits.
    private(set) var constants: [Int: Bool] = [:]
    private(set) var hasDescriptors = false
    private(set) var capabilities: [UInt32] = []
    private var module = SPIRVModule()
    private var workgroup: [UInt32] = [1, 1, 1]
    private var workgroupIDs: [UInt32]?

    init(_ words: [UInt32]) {
        module = SPIRVModule(words)
        capabilities = module.capabilities
        hasDescriptors = module.variables.contains { [0, 2, 11, 12].contains($0.storage) }
        if let block = module.variables.first(where: { $0.storage == 9 }) { pushConstants = members(of: block.type) }
        for (id, specialization) in module.specializations {
            guard let type = module.types[module.resultTypes[id] ?? 0] else { continue }
            constants[Int(specialization)] = type.isBool || type.isWholeNumber
        }
        workgroup = module.workgroup ?? workgroup
        workgroupIDs = module.workgroupIDs
    }

    private func members(of pointer: UInt32) -> [Int: Member] {
        guard let structure = module.types[pointer]?.pointee, let types = module.types[structure]?.members else {
            return [:]
        }
        var members: [Int: Member] = [:]
        for (index, type) in types.enumerated() {
            let offset = module.offsets[SPIRVModule.MemberID(structure: structure, index: UInt32(index))]
            members[Int(offset ?? 0)] = member(type)
        }
        return members
    }

    private func member(_ id: UInt32) -> Member {
        guard let type = module.types[id] else { return .other }
        if type.pointee != nil || type.isLongNumber { return .address }
        if type.isWholeNumber { return .wholeNumber }
        return type.isFloat ? .float : .other
    }

    /// Threads in x, y and z when the specialization constants have these values.
    func workgroupSize(_ values: [UInt32]) -> [Int] {
        guard let workgroupIDs else { return workgroup.map { Int($0) } }
        return workgroupIDs.map { id in
            let given = module.specializations[id].flatMap { Int($0) < values.count ? values[Int($0)] : nil }
            return Int(given ?? module.values[id] ?? 1)
        }
    }
}

extension ShaderInterface {
    /// Why a shader cannot stand in a kernel's place, as the end of a sentence; nil where it can.
    func fault(inPlaceOf use: KernelUse, with kernel: ShaderInterface, on device: VulkanDeviceInfo) -> String? {
        if hasDescriptors {
            return "it uses a descriptor, and kernels get their tensors as addresses in the push constants"
        }
        return capabilityFault(device) ?? pushFault(use, kernel) ?? constantFault(use) ?? workgroupFault(use, device)
    }

    private func pushFault(_ use: KernelUse, _ kernel: ShaderInterface) -> String? {
        for (offset, member) in pushConstants.sorted(by: { $0.key < $1.key }) {
            guard let other = kernel.pushConstants[offset] else {
                return "its push constants have \(member.title) at byte \(offset), where it is given nothing "
                    + "(\(use.pushSize) bytes in all)"
            }
            if other != member {
                return "its push constants have \(member.title) at byte \(offset), where it is given \(other.title)"
            }
        }
        return nil
    }

    private func constantFault(_ use: KernelUse) -> String? {
        let wrong = constants.filter { !$0.value && $0.key < use.constants.count }.keys.min()
        return wrong.map { "its specialization constant \($0) must be a bool or a whole number of 32 bits" }
    }

    private func workgroupFault(_ use: KernelUse, _ device: VulkanDeviceInfo) -> String? {
        let size = workgroupSize(use.constants)
        let text = size.map(String.init).joined(separator: " x ")
        let limit = device.maxWorkgroupInvocations
        guard size.allSatisfy({ 1...limit ~= $0 }), size.reduce(1, *) <= limit else {
            return "its workgroups have \(text) threads, and \(device.name) allows from 1 to \(limit)"
        }
        if let subgroup = use.subgroupSize, !size[0].isMultiple(of: subgroup) {
            return "its workgroups of \(text) threads are no whole number of subgroups of \(subgroup)"
        }
        return nil
    }

    private func capabilityFault(_ device: VulkanDeviceInfo) -> String? {
        let matrices: Set<UInt32> = [5345, 6022]
        for capability in capabilities {
            if matrices.contains(capability) {
                if device.cooperativeMatrices.isEmpty {
                    return "it uses cooperative matrices or their memory model, which \(device.name) does not have"
                }
            } else if !Self.enabled.contains(capability) {
                let name = Self.names[capability] ?? "number \(capability)"
                return "it needs the SPIR-V capability \(name), which Caldera does not enable"
            }
        }
        return nil
    }

    /// Matrix, Shader, Float16, Int64, subgroup operations, 16-bit storage, addresses.
    private static let enabled: Set<UInt32> = Set([0, 1, 9, 11, 4433, 5347] + Array(61...68))

    private static let names: [UInt32: String] = [
        5: "Linkage", 10: "Float64", 22: "Int16", 39: "Int8", 4434: "UniformAndStorageBuffer16BitAccess",
        4448: "StorageBuffer8BitAccess", 5346: "VulkanMemoryModelDeviceScope", 6019: "DotProduct",
        6018: "DotProductInput4x8BitPacked",
    ]
}
