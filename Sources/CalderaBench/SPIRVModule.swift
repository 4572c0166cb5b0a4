/// What Caldera needs to know of a SPIR-V module: its global declarations, unevaluated.
/// Reference: Khronos, "SPIR-V Specification", chapter 3.52; the numbers are its opcodes and enumerants.
struct SPIRVModule {
    struct TypeInfo {
        var isBool = false
        var isFloat = false
        /// Of 32 bits, signed or not.
        var isWholeNumber = false
        /// Of 64 bits.
        var isLongNumber = false
        /// Of a structure.
        var members: [UInt32]?
        /// Of a pointer.
        var pointee: UInt32?
    }

    struct MemberID: Hashable {
        let structure: UInt32
        let index: UInt32
    }

    private(set) var capabilities: [UInt32] = []
    private(set) var types: [UInt32: TypeInfo] = [:]
    private(set) var variables: [(type: UInt32, storage: UInt32)] = []
    /// Of constants, by id.
    private(set) var resultTypes: [UInt32: UInt32] = [:]
    private(set) var values: [UInt32: UInt32] = [:]
    /// Specialization numbers by id.
    private(set) var specializations: [UInt32: UInt32] = [:]
    private(set) var offsets: [MemberID: UInt32] = [:]
    /// Threads in x, y and z as numbers, and as the ids of constants where they are.
    private(set) var workgroup: [UInt32]?
    private(set) var workgroupIDs: [UInt32]?
    private var composites: [UInt32: [UInt32]] = [:]
    private var workgroupComposite: UInt32?

    init() {}

    /// An instruction that says less than it should is passed over.
    init(_ words: [UInt32]) {
        var at = 5
        while at < words.count {
            let count = Int(words[at] >> 16)
            guard count > 0, at + count <= words.count else { break }
            read(opcode: words[at] & 0xffff, Array(words[at + 1..<at + count]))
            at += count
        }
        if let id = workgroupComposite, let parts = composites[id] { workgroupIDs = parts }
    }

    private mutating func read(opcode: UInt32, _ words: [UInt32]) {
        switch (opcode, words.count) {
        case (17, 1...): capabilities.append(words[0])
        case (16, 5...) where words[1] == 17: workgroup = Array(words[2...4])
        case (331, 5...) where words[1] == 38: workgroupIDs = Array(words[2...4])
        case (59, 3...): variables.append((words[0], words[2]))
        case (48...50, 2...): readConstant(opcode, words)
        case (43, 3...): (resultTypes[words[1]], values[words[1]]) = (words[0], words[2])
        case (44, 5...), (51, 5...): composites[words[1]] = Array(words[2...4])
        case (71, 3...) where words[1] == 1: specializations[words[0]] = words[2]
        // The built-in WorkgroupSize.
        case (71, 3...) where words[1] == 11 && words[2] == 25: workgroupComposite = words[0]
        // An offset.
        case (72, 4...) where words[2] == 35: offsets[MemberID(structure: words[0], index: words[1])] = words[3]
        default: readType(opcode, words)
        }
    }

    /// OpSpecConstantTrue, OpSpecConstantFalse, OpSpecConstant.
    private mutating func readConstant(_ opcode: UInt32, _ words: [UInt32]) {
        resultTypes[words[1]] = words[0]
        values[words[1]] = opcode == 50 ? words.dropFirst(2).first : (opcode == 48 ? 1 : 0)
    }

    private mutating func readType(_ opcode: UInt32, _ words: [UInt32]) {
        var type = TypeInfo()
        switch (opcode, words.count) {
        case (20, 1...): type.isBool = true
        case (21, 2...):
            type.isWholeNumber = words[1] == 32
            type.isLongNumber = words[1] == 64
        case (22, 2...): type.isFloat = words[1] == 32
        case (30, 1...): type.members = Array(words.dropFirst())
        case (32, 3...): type.pointee = words[2]
        default: return
        }
        types[words[0]] = type
    }
}
