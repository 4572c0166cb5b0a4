import CalderaGraph

/// A tensor of a pickle: a view of a storage, as PyTorch describes it.
package struct PickledTensor: Sendable {
    /// Far more axes than weights have (PyTorch's own limit is 64): a few bytes of pickle repeat a tensor's description.
    static let highestRank = 16
    /// Elements of a tensor that repeats those of its storage (`torch.expand`): a few bytes of file could ask for any
    /// amount of memory otherwise.
    static let mostRepeatedElements = 1 << 24

    package let type: TorchType
    package let shape: Shape
    /// Steps along each axis, counted in elements; never negative.
    let strides: [Int]
    /// The first element, counted from the storage's beginning.
    let offset: Int
    let storage: PickledStorage

    /// The element type, or nil when it is one that graphs do not know.
    package var dtype: DType? { SafetensorsTensor.dtypes[type.storedType] }

    /// nil when the shape is impossible or the view leaves its storage.
    init?(type: TorchType, extents: [Int], strides: [Int], offset: Int, storage: PickledStorage) {
        guard extents.count == strides.count, extents.count <= Self.highestRank, offset >= 0,
            extents.allSatisfy({ $0 >= 0 }), strides.allSatisfy({ $0 >= 0 }),
            let count = Shape.checkedCount(extents), !count.multipliedReportingOverflow(by: type.size).overflow,
            let end = Self.end(extents, strides, offset, isEmpty: count == 0)
        else { return nil }
        let capacity = storage.byteCount / type.size
        guard end <= capacity, count <= max(capacity, Self.mostRepeatedElements) else { return nil }
        self.type = type
        self.shape = Shape(extents)
        self.strides = strides
        self.offset = offset
        self.storage = storage
    }

    /// One past the last element that the view touches, or nil when it does not fit an `Int`.
    private static func end(_ extents: [Int], _ strides: [Int], _ offset: Int, isEmpty: Bool) -> Int? {
        if isEmpty { return 0 }
        var last = offset
        for (extent, stride) in zip(extents, strides) {
            let (step, tooLong) = (extent - 1).multipliedReportingOverflow(by: stride)
            let (next, tooFar) = last.addingReportingOverflow(step)
            if tooLong || tooFar { return nil }
            last = next
        }
        return last == .max ? nil : last + 1
    }

    /// Whether the elements lie in row-major order without gaps, as graphs want them.
    var isContiguous: Bool {
        var expected = 1
        for (extent, stride) in zip(shape.extents, strides).reversed() where extent != 1 {
            if stride != expected { return shape.count == 0 }
            expected *= extent
        }
        return true
    }

    /// Where the bytes of a contiguous tensor are in its storage.
    var range: Range<Int> {
        let start = shape.count == 0 ? 0 : offset * type.size
        return start..<(start + shape.count * type.size)
    }

    /// The elements in row-major order and little-endian, gathered from the bytes of the storage, which are at least
    /// `PickledStorage.byteCount`.
    func gathered(_ storage: UnsafeRawBufferPointer, as dtype: DType, isBigEndian: Bool) -> [UInt8] {
        switch dtype {
        case .float16, .bfloat16: gathered(storage, as: UInt16.self, isBigEndian)
        case .float32, .int32: gathered(storage, as: UInt32.self, isBigEndian)
        }
    }

    private func gathered<Element: FixedWidthInteger>(
        _ storage: UnsafeRawBufferPointer, as: Element.Type, _ isBigEndian: Bool
    ) -> [UInt8] {
        let width = MemoryLayout<Element>.size
        return [UInt8](unsafeUninitializedCapacity: shape.count * width) { target, count in
            forEachRow { row, start in
                for column in 0..<shape.channels {
                    let source = (start + column * (strides.last ?? 0)) * width
                    let element = storage.loadUnaligned(fromByteOffset: source, as: Element.self)
                    UnsafeMutableRawBufferPointer(target).storeBytes(
                        of: isBigEndian ? element.byteSwapped : element,
                        toByteOffset: (row * shape.channels + column) * width, as: Element.self)
                }
            }
            count = shape.count * width
        }
    }

    /// Calls `body` with the number of each innermost row and its first element in the storage.
    private func forEachRow(_ body: (_ row: Int, _ start: Int) -> Void) {
        guard shape.count > 0 else { return }
        let outer = shape.extents.dropLast()
        var index = [Int](repeating: 0, count: outer.count)
        for row in 0..<shape.rows {
            body(row, zip(index, strides).reduce(offset) { $0 + $1.0 * $1.1 })
            for axis in outer.indices.reversed() {
                index[axis] += 1
                if index[axis] < outer[axis] { break }
                index[axis] = 0
            }
        }
    }
}
