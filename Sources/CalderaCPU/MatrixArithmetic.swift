import COneDNN
import CVectorMath
import CalderaGraph
import Synchronization

/// Products and conversions of matrices in host memory, for those who prepare weights before a plan packs them.
///
/// Each product is computed by the thread that asks for it; `parallel` gives all of oneDNN's threads work at once, which
/// costs them one meeting for each weight instead of several for each product.
package final class MatrixArithmetic {
    private let engine: OneDNNEngine
    /// For the engine's tables of primitives. The primitives themselves never change.
    private let tables = Mutex(())
    private let counter = MemoryCounter()

    /// The extents of a product [rows, depth] · [depth, columns].
    package struct Extents {
        package let rows: Int
        package let depth: Int
        package let columns: Int

        package init(rows: Int, depth: Int, columns: Int) {
            self.rows = rows
            self.depth = depth
            self.columns = columns
        }
    }

    /// Throws `CalderaError` when oneDNN cannot be had.
    package init() throws { engine = try OneDNNEngine() }

    /// destination [rows, columns] = left [rows, depth] · right [depth, columns], all dense, row-major fp32.
    /// May be called by several threads at one time.
    /// - Parameter accumulating: adds the product to what the destination holds.
    package func multiply(
        _ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, into destination: UnsafeMutablePointer<Float>,
        _ extents: Extents, accumulating: Bool, label: String
    ) throws {
        let key = MatmulKey(
            rows: extents.rows, columns: extents.columns, depth: extents.depth, sourceStride: extents.depth,
            destinationStride: extents.columns, weightsStrides: .init(depth: extents.columns, column: 1),
            dtype: .float32, destinationType: .float32,
            epilogue: FusedEpilogue(residual: accumulating ? .destination : nil), isSingleThreaded: true)
        let primitive = try primitive(key, label)
        let size = primitive.scratchpadSize
        let scratchpad = size == 0 ? nil : try HostMemory(size, for: "a product of matrices", counter: counter)
        let operands = cdnn_operands(
            source: left, weights: right, bias: nil, residual: nil, destination: destination,
            scratchpad: scratchpad?.base)
        try withExtendedLifetime(scratchpad) { try Execution(primitive, operands, label: label).run() }
    }

    private func primitive(_ key: MatmulKey, _ label: String) throws -> Primitive {
        var found: Result<Primitive, any Error>?
        tables.withLock { _ in found = Result { try engine.matmul(key, label: label) } }
        guard let found else { throw CalderaError("oneDNN made no code for \(label).") }
        return try found.get()
    }

    /// Threads that `parallel` uses.
    package static var threads: Int { Parallel.threads }

    /// Calls `body` for each index below `count` on several threads; no two calls with the same `thread`, which is below
    /// `threads`, overlap. Loops inside are not spread again. Throws what one of the calls threw.
    package static func parallel(_ count: Int, _ body: (_ thread: Int, _ index: Int) throws -> Void) throws {
        let failure = Mutex<(any Error)?>(nil)
        Parallel.run(count) { thread, index in
            do {
                try body(thread, index)
                return 0
            } catch {
                failure.withLock { $0 = error }
                return 1
            }
        }
        if let error = failure.withLock({ $0 }) { throw error }
    }

    /// Copies `count` elements and changes their type, rounding to nearest even.
    package static func convert(
        _ source: UnsafeRawPointer, _ from: DType, to destination: UnsafeMutableRawPointer, _ dtype: DType, count: Int
    ) {
        CalderaCPU.convert(source, from, to: destination, dtype, count: count)
    }

    /// The greatest magnitude among `count` numbers, as its bits, whose order is that of magnitudes: infinities come
    /// after every number and NaNs after them.
    package static func peak(_ numbers: UnsafePointer<Float>, count: Int) -> UInt32 { cvm_peak_f32(numbers, count) }
}
