import CalderaGPU
import CalderaGraph
import Foundation

/// One operation on one backend, compiled over several sets of operands which it goes through in turn.
struct KernelRun {
    let work: NodeWork
    /// What runs it.
    let kernel: String
    private let executable: any Executable

    /// - Parameter copies: sets of operands.
    init(_ shape: KernelShape, on backend: any Backend, copies: Int, dtype: DType? = nil) throws {
        let plan = try shape.plan(copies: copies, limits: backend.limits, dtype: dtype)
        guard let node = plan.promptNodes.first else {
            throw CalderaError("There is nothing to measure in \(shape.name).")
        }
        work = NodeWork(node)
        kernel = backend.describe(node, in: plan)
        executable = try backend.compile(plan, weights: KernelOperands(plan))
        try KernelOperands.write(plan, position: shape.position, to: executable)
    }

    /// Seconds of each run, by the device's clock where it has one; runs go on for at least that long together, and for
    /// at least one round over all sets behind a first one that is not counted.
    func seconds(atLeast total: Double) throws -> [Double] {
        try executable.run(.prompt)
        var seconds: [Double] = []
        let start = ContinuousClock.now
        repeat {
            seconds += try executable.profile(.prompt).map(\.seconds)
        } while (ContinuousClock.now - start) / .seconds(1) < total && seconds.count < 1000
        return seconds
    }

    /// Runs once, and gives the result of the first set of operands.
    func firstResult() throws -> HostTensor {
        try executable.run(.prompt)
        return try result()
    }

    /// The result of the first set of operands.
    func result() throws -> HostTensor { try executable.read("y0") }

    /// Sets of operands that together are more than the caches hold, as far as 64 sets and 1 GiB allow; two at least.
    /// On a software driver, which takes seconds for what a GPU does in milliseconds, no more than 0.5 GFLOP of them.
    static func copies(_ shape: KernelShape, on backend: any Backend) throws -> Int {
        let plan = try shape.plan(copies: 1, limits: backend.limits)
        guard let work = plan.promptNodes.first.map(NodeWork.init) else { return 2 }
        let vulkan = backend as? VulkanBackend
        let bytes = max(1, work.bytes)
        let wanted = Int((Double(vulkan?.cacheSize ?? HostCache.size) / bytes).rounded(.up)) + 1
        let affordable = Int(Double(1 << 30) / bytes)
        let isSlow = vulkan != nil && vulkan?.cacheSize == nil
        let quick = isSlow ? Int(0.5e9 / max(1, work.operations)) : .max
        return max(2, min(wanted, 64, affordable, quick))
    }
}

/// The processor's last cache.
enum HostCache {
    /// Bytes, from Linux; 64 MiB where it does not say.
    static var size: Int {
        let path = "/sys/devices/system/cpu/cpu0/cache/index3/size"
        guard let text = try? String(contentsOfFile: path, encoding: .utf8),
            let kibibytes = Int(text.prefix { $0.isNumber })
        else { return 64 << 20 }
        return kibibytes << 10
    }
}
