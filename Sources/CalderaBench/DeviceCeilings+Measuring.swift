import CalderaGPU
import CalderaGraph
import Foundation

extension DeviceCeilings {
    /// Measures a backend. Throws `CalderaError` when the device has no clock or no memory for it.
    init(_ backend: any Backend, _ precision: Precision) throws {
        if let vulkan = backend as? VulkanBackend {
            self.init(
                fp32OperationsPerSecond: try vulkan.measureArithmetic(.float32),
                halfOperationsPerSecond: precision == .fp16 ? try vulkan.measureArithmetic(.float16) : nil,
                cooperativeOperationsPerSecond: precision == .fp16 ? try vulkan.measureCooperativeMatrices() : nil,
                copyBytesPerSecond: try vulkan.measureCopies())
            return
        }
        self.init(
            fp32OperationsPerSecond: try DeviceCeilings.product(on: backend, .fp32),
            halfOperationsPerSecond: precision == .fp32 ? nil : try DeviceCeilings.product(on: backend, precision),
            copyBytesPerSecond: DeviceCeilings.hostCopies())
    }

    /// The best rate of a large square product.
    private static func product(on backend: any Backend, _ precision: Precision) throws -> Double {
        let shape = try KernelShape(.gemm, extents: [1536, 1536, 1536], precision)
        let run = try KernelRun(shape, on: backend, copies: 2)
        return run.work.operations / (try run.seconds(atLeast: 0.5).min() ?? .infinity)
    }

    /// The best rate at which all threads together copy memory, reads and writes counted.
    static func hostCopies() -> Double {
        let threads = ProcessInfo.processInfo.activeProcessorCount
        let piece = (256 << 20) / threads & ~4095
        let source = UnsafeMutableRawBufferPointer.allocate(byteCount: piece * threads, alignment: 4096)
        let target = UnsafeMutableRawBufferPointer.allocate(byteCount: piece * threads, alignment: 4096)
        defer {
            source.deallocate()
            target.deallocate()
        }
        source.initializeMemory(as: UInt8.self, repeating: 1)
        nonisolated(unsafe) let (from, to) = (source, target)
        let seconds = (0..<5).map { _ in
            timed {
                DispatchQueue.concurrentPerform(iterations: threads) { index in
                    let range = index * piece..<(index + 1) * piece
                    UnsafeMutableRawBufferPointer(rebasing: to[range]).copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: from[range]))
                }
            }.seconds
        }
        // The first one has the target's pages made.
        return 2 * Double(piece * threads) / (seconds.dropFirst().min() ?? .infinity)
    }
}
