import COneDNN
import CalderaGraph

/// Products and conversions of matrices in host memory, for those who prepare weights before a plan packs them.
/// Not for use by two threads at one time; each call uses all cores itself.
package final class MatrixArithmetic {
    private let engine: OneDNNEngine
    private let counter = MemoryCounter()
    private var scratchpad: HostMemory?

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
    /// - Parameter accumulating: adds the product to what the destination holds.
    package func multiply(
        _ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, into destination: UnsafeMutablePointer<Float>,
        _ extents: Extents, accumulating: Bool, label: String
    ) throws {
        let key = MatmulKey(
            rows: extents.rows, columns: extents.columns, depth: extents.depth, sourceStride: extents.depth,
            destinationStride: extents.columns, weightsStrides: .init(depth: extents.columns, column: 1),
            dtype: .float32, destinationType: .float32,
            epilogue: FusedEpilogue(residual: accumulating ? .destination : nil))
        let primitive = try engine.matmul(key, label: label)
        let operands = cdnn_operands(
            source: left, weights: right, bias: nil, residual: nil, destination: destination,
            scratchpad: try scratch(primitive.scratchpadSize))
        try Execution(primitive, operands, label: label).run()
    }

    /// Copies `count` elements and changes their type, rounding to nearest even.
    package static func convert(
        _ source: UnsafeRawPointer, _ from: DType, to destination: UnsafeMutableRawPointer, _ dtype: DType, count: Int
    ) {
        CalderaCPU.convert(source, from, to: destination, dtype, count: count)
    }

    /// Calls `body` on consecutive ranges that cover 0..<count, of `grain` each but for the last, on several threads.
    package static func ranges(_ count: Int, grain: Int, _ body: (Range<Int>) -> Void) {
        Parallel.ranges(count, grain: grain, body)
    }

    private func scratch(_ size: Int) throws -> UnsafeMutableRawPointer? {
        if size == 0 { return nil }
        if let scratchpad, scratchpad.size >= size { return scratchpad.base }
        scratchpad = nil
        let memory = try HostMemory(size, for: "a product of matrices", counter: counter)
        scratchpad = memory
        return memory.base
    }
}
