import CalderaGraph

/// Weights under other names than another source's, and in other pieces.
///
/// Nothing is copied where the bytes are the same: renamed, reshaped and sliced tensors are lent from where they are.
/// A transposed or stacked one is made anew at each call.
package final class MappedWeights: WeightSource {
    /// How a tensor comes from those of the other source.
    package enum Origin: Sendable, Hashable {
        /// The tensor of that name as it is.
        case tensor(String)
        /// The same elements under another shape.
        case reshaped(String, Shape)
        /// Rows of the first axis.
        case rows(String, Range<Int>)
        /// A matrix [rows, columns] as [columns, rows].
        case transposed(String)
        /// Tensors of one type that are equal but in their first axis, one behind the other along it.
        case stacked([String])

        /// The tensors of the other source.
        package var names: [String] {
            switch self {
            case .tensor(let name), .reshaped(let name, _), .rows(let name, _), .transposed(let name): [name]
            case .stacked(let names): names
            }
        }
    }

    package let origins: [String: Origin]
    private let base: any WeightSource

    /// - Parameter origins: the tensors of this source by name. One that cannot be made, since the other source lacks
    ///   its parts or they have other shapes, has no `info`, and asking for its bytes is an error.
    package init(_ base: any WeightSource, _ origins: [String: Origin]) {
        self.base = base
        self.origins = origins
    }

    package var names: [String] { origins.keys.sorted() }

    package func info(_ name: String) -> WeightInfo? {
        guard let origin = origins[name], let first = origin.names.first, let stored = base.info(first) else {
            return nil
        }
        switch origin {
        case .tensor: return stored
        case .reshaped(_, let shape):
            return shape.count == stored.shape.count ? WeightInfo(dtype: stored.dtype, shape: shape) : nil
        case .rows(_, let rows):
            guard let count = stored.shape.extents.first, rows.upperBound <= count else { return nil }
            return stored.replacingRows(rows.count)
        case .transposed:
            guard stored.shape.rank == 2 else { return nil }
            return WeightInfo(dtype: stored.dtype, shape: [stored.shape[1], stored.shape[0]])
        case .stacked(let names):
            return stacked(names.compactMap(base.info), count: names.count)
        }
    }

    private func stacked(_ infos: [WeightInfo], count: Int) -> WeightInfo? {
        guard infos.count == count, let first = infos.first, first.shape.rank > 0 else { return nil }
        let inner = first.replacingRows(0)
        guard infos.allSatisfy({ $0.shape.rank > 0 && $0.replacingRows(0) == inner }) else { return nil }
        return first.replacingRows(infos.reduce(0) { $0 + $1.shape[0] })
    }

    package func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard let origin = origins[name] else { throw CalderaError("There is no tensor \(name) in this model.") }
        guard let info = info(name) else { throw failure(name, origin) }
        switch origin {
        case .tensor(let stored), .reshaped(let stored, _):
            return try base.withBytes(stored, body)
        case .rows(let stored, let rows):
            return try base.withBytes(stored) { bytes in
                let row = info.shape.extents.dropFirst().reduce(info.dtype.size, *)
                let range = rows.lowerBound * row..<rows.upperBound * row
                return try body(UnsafeRawBufferPointer(rebasing: bytes[range]))
            }
        case .transposed(let stored):
            let bytes = try base.withBytes(stored) { Self.transposed($0, rows: info.shape[1], size: info.dtype.size) }
            return try bytes.withUnsafeBytes(body)
        case .stacked(let parts):
            var bytes: [UInt8] = []
            bytes.reserveCapacity(info.shape.count * info.dtype.size)
            for part in parts { try base.withBytes(part) { bytes.append(contentsOf: $0) } }
            return try bytes.withUnsafeBytes(body)
        }
    }

    package func willRead(_ name: String) { origins[name]?.names.forEach(base.willRead) }

    package func release(_ name: String) { origins[name]?.names.forEach(base.release) }

    /// Why a tensor cannot be made: the other source's own error where it has one.
    private func failure(_ name: String, _ origin: Origin) -> CalderaError {
        for part in origin.names where base.info(part) == nil {
            do {
                try base.withBytes(part) { _ in }
            } catch let error as CalderaError {
                return error
            } catch {
                return CalderaError("Tensor \(part) cannot be read.")
            }
        }
        let shapes = origin.names.map { "\($0) \(base.info($0)?.shape.description ?? "")" }.joined(separator: ", ")
        return CalderaError("Tensor \(name) cannot be made of \(shapes): the model is damaged; download it again.")
    }

    private static func transposed(_ bytes: UnsafeRawBufferPointer, rows: Int, size: Int) -> [UInt8] {
        let columns = rows == 0 ? 0 : bytes.count / size / rows
        return [UInt8](unsafeUninitializedCapacity: bytes.count) { target, count in
            for row in 0..<rows {
                for column in 0..<columns {
                    let (from, to) = ((row * columns + column) * size, (column * rows + row) * size)
                    for byte in 0..<size { target[to + byte] = bytes[from + byte] }
                }
            }
            count = bytes.count
        }
    }
}

extension WeightInfo {
    /// The same with another first extent.
    fileprivate func replacingRows(_ rows: Int) -> WeightInfo {
        WeightInfo(dtype: dtype, shape: Shape([rows] + shape.extents.dropFirst()))
    }
}
