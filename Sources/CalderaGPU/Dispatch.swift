import CalderaGraph

/// A piece of device memory that a kernel reads or writes.
struct Operand {
    let address: UInt64
    let bytes: Int

    var range: Range<UInt64> { address..<address + UInt64(bytes) }

    func isAligned(to alignment: Int) -> Bool { address.isMultiple(of: UInt64(alignment)) }

    static let none = Operand(address: 0, bytes: 0)
}

/// One run of a kernel: everything that a recording, a description and a profile need to know.
struct Dispatch {
    /// The kernel and its variant, as the shader compiler names it: `gemm.FP16`.
    let kernel: String
    /// Specialization constants by id.
    let constants: [UInt32]
    /// The size that the kernel's subgroups must have; nil where it does not matter.
    var subgroupSize: Int?
    let push: PushConstants
    /// How many workgroups, in one dimension: see `VulkanDeviceInfo.folded`.
    let groups: Int
    let reads: [Operand]
    let writes: [Operand]
    /// For people: tile sizes, epilogue.
    var detail = ""

    var summary: String { summary(title: kernel) }

    /// - Parameter title: what the kernel is called.
    func summary(title: String) -> String { detail.isEmpty ? title : "\(title) \(detail)" }
}

/// The bytes of a push-constant block under std430: addresses of 8 bytes, then numbers of 4.
struct PushConstants {
    private(set) var bytes: [UInt8] = []

    init(_ operands: [Operand], _ numbers: [any PushNumber]) {
        for operand in operands { append(operand.address) }
        for number in numbers { append(number.pushBits) }
    }

    /// The same with more behind it; so far there must be an even count of numbers.
    func followed(by operands: [Operand], _ numbers: [any PushNumber]) -> PushConstants {
        var longer = self
        longer.bytes += PushConstants(operands, numbers).bytes
        return longer
    }

    private mutating func append<Number: FixedWidthInteger>(_ number: Number) {
        withUnsafeBytes(of: number.littleEndian) { bytes += $0 }
    }
}

/// A number that a kernel takes as 32 bits.
protocol PushNumber {
    var pushBits: UInt32 { get }
}

extension Int: PushNumber {
    /// Counts fit, since no tensor is longer than 2^31 elements (`Lowering.check`); paddings may be negative.
    var pushBits: UInt32 { UInt32(truncatingIfNeeded: self) }
}

extension Float: PushNumber {
    var pushBits: UInt32 { bitPattern }
}
