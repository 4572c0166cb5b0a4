/// The extents of a tensor, outermost first. Pictures and feature maps are [batch, height, width, channels],
/// token sequences [batch, tokens, channels]: the same memory, so that neither is ever transposed.
public struct Shape: Sendable, Hashable, ExpressibleByArrayLiteral, CustomStringConvertible {
    public let extents: [Int]

    public init(_ extents: [Int]) {
        precondition(extents.allSatisfy { $0 >= 0 }, "a shape has no negative extent")
        self.extents = extents
    }

    public init(arrayLiteral elements: Int...) { self.init(elements) }

    /// The product of the extents; 1 for a scalar, `Int.max` where it does not fit an `Int` (the planner refuses those).
    public var count: Int { Shape.checkedCount(extents) ?? .max }
    public var rank: Int { extents.count }
    /// The innermost extent: channels.
    public var channels: Int { extents.last ?? 1 }
    /// The product of every extent but the innermost: the rows of the matrix [rows, channels] that this shape also is.
    public var rows: Int { Shape.checkedCount(extents.dropLast()) ?? .max }

    /// Extent `axis`; a negative axis counts from the end.
    public subscript(axis: Int) -> Int { extents[axis < 0 ? extents.count + axis : axis] }

    /// The product of extents that may come from a file, or nil when it does not fit an `Int`.
    public static func checkedCount(_ extents: [Int]) -> Int? {
        var product = 1
        for extent in extents {
            guard extent >= 0 else { return nil }
            let (next, overflow) = product.multipliedReportingOverflow(by: extent)
            if overflow { return nil }
            product = next
        }
        return product
    }

    public var description: String { "[" + extents.map(String.init).joined(separator: ", ") + "]" }
}
