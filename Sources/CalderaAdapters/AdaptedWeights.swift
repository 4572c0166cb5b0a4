import CalderaGraph
import Synchronization

/// A component's weights with adapters in them. A weight that one of them changes is merged each time it is lent;
/// every other comes straight from the base.
package final class AdaptedWeights: WeightSource {
    /// The weights that differ from the base's.
    package let changedNames: Set<String>
    private let base: any WeightSource
    private let changes: [String: [WeightChange]]
    private let workshop = Mutex(Workshop())

    /// What one merge at a time uses.
    private struct Workshop: ~Copyable {
        var merger: WeightMerger?
        /// The memory of the weight that was lent last.
        var spare: LentMemory?
    }

    /// Throws `CalderaError` where the base lacks a weight that is to be changed or has it in another shape.
    init(_ base: any WeightSource, changes: [String: [WeightChange]]) throws {
        for (name, list) in changes {
            guard let info = base.info(name) else { throw CalderaError("The model has no weight \(name) to adapt.") }
            for change in list where change.delta.shape != MatrixShape(info.shape) {
                throw CalderaError(
                    "The weight \(name) is \(info.shape) and cannot be changed by \(change.delta.shape).")
            }
        }
        self.base = base
        self.changes = changes
        changedNames = Set(changes.keys)
    }

    package var names: [String] { base.names }

    package func info(_ name: String) -> WeightInfo? { base.info(name) }

    /// Lends a weight in the base's type. Throws what the base throws, and `CalderaError` where an adapter holds a
    /// number that is not finite.
    package func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard let list = changes[name], let info = base.info(name) else {
            return try base.withBytes(name, body)
        }
        let memory = try workshop.withLock { try Self.merge(name, info, list, base, &$0) }
        defer { workshop.withLock { $0.spare = memory } }
        return try body(UnsafeRawBufferPointer(start: memory.base, count: info.shape.count * info.dtype.size))
    }

    private static func merge(
        _ name: String, _ info: WeightInfo, _ changes: [WeightChange], _ base: any WeightSource,
        _ workshop: inout Workshop
    ) throws -> LentMemory {
        let size = info.shape.count * info.dtype.size
        let merger = try workshop.merger ?? WeightMerger()
        workshop.merger = merger
        let spare = workshop.spare.take()
        let memory = spare.flatMap { $0.size >= size ? $0 : nil } ?? LentMemory(size)
        try base.withBytes(name) { bytes in
            guard let start = bytes.baseAddress, bytes.count == size else {
                throw CalderaError("The weight \(name) has \(bytes.count) bytes, which \(info.shape) does not fill.")
            }
            try merger.merge(start, info, changes, into: memory.base, name: name)
        }
        return memory
    }
}

/// Memory for a merged weight. Only who took it from the workshop touches it.
private final class LentMemory: @unchecked Sendable {
    let base: UnsafeMutableRawPointer
    let size: Int

    init(_ size: Int) {
        base = UnsafeMutableRawPointer.allocate(byteCount: max(size, 1), alignment: 64)
        self.size = size
    }

    deinit { base.deallocate() }
}
