import CalderaGraph

/// The shape of a weight seen as a matrix: [rows, columns] with a kernel at each entry. Kernels of one pixel are no
/// kernels, so a 1x1 convolution has the shape of the linear layer that it is.
struct MatrixShape: Hashable, CustomStringConvertible {
    let rows: Int
    let columns: Int
    /// [height, width], or empty for a linear layer.
    let kernel: [Int]

    init(rows: Int, columns: Int, kernel: [Int]) {
        self.rows = rows
        self.columns = columns
        self.kernel = kernel.allSatisfy { $0 == 1 } ? [] : kernel
    }

    /// [out, in], [out, in, height, width], or the one axis of a norm or bias.
    init(_ shape: Shape) {
        let extents = shape.extents
        self.init(
            rows: extents.first ?? 1, columns: extents.dropFirst().first ?? 1, kernel: Array(extents.dropFirst(2)))
    }

    var kernelCount: Int { kernel.reduce(1, *) }
    /// Numbers in a row.
    var width: Int { columns * kernelCount }
    var isEmpty: Bool { rows == 0 || width == 0 }

    var description: String {
        "[" + ([rows, columns] + kernel).map(String.init).joined(separator: ", ") + "]"
    }
}
