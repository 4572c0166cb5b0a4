import CalderaGraph
import Synchronization

/// Numbers for a kernel's operands that every element type holds exactly, so that an error is the kernel's own:
/// multiples of a power of two below 128 of them. Tensors of one shape hold the same numbers, in memory of their own.
final class KernelOperands: WeightSource {
    let names: [String]
    private let shapes: [String: Shape]
    private let made = Mutex<[Shape: HostTensor]>([:])

    /// The weights that a plan names.
    init(_ plan: Plan) {
        names = plan.weights.map(\.name)
        shapes = Dictionary(plan.weights.map { ($0.name, $0.tensor.shape) }) { first, _ in first }
    }

    func info(_ name: String) -> WeightInfo? { shapes[name].map { WeightInfo(dtype: .float32, shape: $0) } }

    func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard let shape = shapes[name] else { throw CalderaError("There is no operand named \(name).") }
        return try values(shape).floats.withUnsafeBytes(body)
    }

    /// Weights of variance 1 / inputs of a result, at most; vectors near 1.
    private func values(_ shape: Shape) -> HostTensor {
        if let known = made.withLock({ $0[shape] }) { return known }
        let inputs = shape.extents.dropFirst().reduce(1, *)
        let values = shape.rank <= 1 ? KernelOperands.gains(shape) : KernelOperands.numbers(shape, inputs: inputs)
        made.withLock { $0[shape] = values }
        return values
    }

    /// From 0.5 to 1.5, in steps of 1/64.
    private static func gains(_ shape: Shape) -> HostTensor {
        let numbers = RandomNumbers.uniform(shape.count, bound: 32, seed: 7)
        return HostTensor(shape, numbers.map { 1 + $0.rounded() / 64 })
    }

    /// Numbers of a variance near 1 / inputs.
    static func numbers(_ shape: Shape, inputs: Int = 1) -> HostTensor {
        var step: Float = 1 / 64
        var remaining = inputs
        while remaining > 1 {
            step /= 2
            remaining /= 4
        }
        let numbers = RandomNumbers.uniform(shape.count, bound: 110, seed: UInt64(shape.count))
        return HostTensor(shape, numbers.map { $0.rounded() * step })
    }

    /// Writes every input of a plan.
    /// - Parameter position: what inputs of integers hold.
    static func write(_ plan: Plan, position: Int32, to executable: any Executable) throws {
        var made: [Shape: HostTensor] = [:]
        for port in plan.inputs {
            let shape = port.tensor.shape
            if port.tensor.dtype == .int32 {
                try executable.write(
                    port.name, HostTensor(shape, [Int32](repeating: position, count: shape.count)))
                continue
            }
            let values = made[shape] ?? numbers(shape)
            made[shape] = values
            try executable.write(port.name, values)
        }
    }
}
