import CalderaCPU
import CalderaGraph

/// Some rows of a weight while it is merged: [rows.count, width] in fp32.
struct WeightRows {
    let rows: Range<Int>
    let width: Int
    let base: UnsafeMutablePointer<Float>

    var count: Int { rows.count * width }

    /// The row with this number in the whole weight.
    func row(_ index: Int) -> UnsafeMutablePointer<Float> { base + (index - rows.lowerBound) * width }
}

/// A matrix of an adapter in fp32: the factors, whose product is made for some rows at a time.
enum PreparedMatrix {
    case dense(FloatBuffer, width: Int)
    case product(up: FloatBuffer, down: FloatBuffer, rank: Int)

    /// Reads a matrix and multiplies it with `factor`. Throws where a value is not finite.
    init(_ matrix: StoredMatrix, times factor: Float, _ arithmetic: MatrixArithmetic) throws {
        switch matrix {
        case .dense(let tensor):
            self = .dense(try tensor.floats(times: factor), width: MatrixShape(tensor.shape).width)
        case .product(let up, let down):
            let rank = MatrixShape(down.shape).rows
            self = .product(up: try up.floats(times: factor), down: try down.floats(), rank: rank)
        case .tucker(let core, let up, let down):
            let right = try Self.contract(core, down, arithmetic)
            let stored = try up.tensor.floats(times: factor)
            let left = up.isTransposed ? stored.swapped(matrices: 1, rows: up.rank, columns: up.rows) : stored
            self = .product(up: left, down: right, rank: up.rank)
        }
    }

    /// core [m, n, k] with down [n, j]: [m, j, k], the down factor of a plain product.
    private static func contract(
        _ core: AdapterTensor, _ down: AdapterTensor, _ arithmetic: MatrixArithmetic
    ) throws -> FloatBuffer {
        let (middle, right) = (MatrixShape(core.shape), MatrixShape(down.shape))
        let kernel = middle.kernelCount
        let left = try core.floats().swapped(matrices: middle.rows, rows: middle.columns, columns: kernel)
        let factor = try down.floats()
        let product = FloatBuffer(middle.rows * kernel * right.columns)
        try withExtendedLifetime((left, factor)) {
            try arithmetic.multiply(
                left.base, factor.base, into: product.base,
                .init(rows: middle.rows * kernel, depth: middle.columns, columns: right.columns), accumulating: false,
                label: core.name)
        }
        return product.swapped(matrices: middle.rows, rows: kernel, columns: right.columns)
    }

    /// Adds these rows of the matrix to the weight's, or writes them over what is there.
    func write(_ target: WeightRows, adding: Bool, _ arithmetic: MatrixArithmetic, label: String) throws {
        switch self {
        case .dense(let values, let width):
            let source = UnsafePointer(values.base + target.rows.lowerBound * width)
            for index in 0..<target.count {
                target.base[index] = adding ? target.base[index] + source[index] : source[index]
            }
        case .product(let up, let down, let rank):
            try arithmetic.multiply(
                up.base + target.rows.lowerBound * rank, down.base, into: target.base,
                .init(rows: target.rows.count, depth: rank, columns: target.width), accumulating: adding, label: label)
        }
    }
}

/// What a change adds to a weight, made for some rows at a time.
enum PreparedDelta {
    case matrix(PreparedMatrix)
    case hadamard(PreparedMatrix, PreparedMatrix)
    /// Both whole: first [a, b], second [c, d].
    case kronecker(FloatBuffer, FloatBuffer, columns: Int, secondRows: Int)

    /// Reads what a delta is made of. Throws where a value is not finite.
    init(_ delta: AdapterDelta, times factor: Float, _ arithmetic: MatrixArithmetic) throws {
        switch delta {
        case .matrix(let matrix):
            self = .matrix(try PreparedMatrix(matrix, times: factor, arithmetic))
        case .hadamard(let first, let second):
            self = .hadamard(
                try PreparedMatrix(first, times: factor, arithmetic), try PreparedMatrix(second, times: 1, arithmetic))
        case .kronecker(let first, let second):
            self = .kronecker(
                try Self.whole(first, factor, arithmetic), try Self.whole(second, 1, arithmetic),
                columns: first.shape.columns, secondRows: second.shape.rows)
        }
    }

    private static func whole(
        _ matrix: StoredMatrix, _ factor: Float, _ arithmetic: MatrixArithmetic
    ) throws -> FloatBuffer {
        let shape = matrix.shape
        let buffer = FloatBuffer(shape.rows * shape.width)
        let target = WeightRows(rows: 0..<shape.rows, width: shape.width, base: buffer.base)
        let prepared = try PreparedMatrix(matrix, times: factor, arithmetic)
        try prepared.write(target, adding: false, arithmetic, label: "LoKr")
        return buffer
    }

    /// Adds these rows of the delta to the weight's.
    func add(to target: WeightRows, _ arithmetic: MatrixArithmetic, label: String) throws {
        switch self {
        case .matrix(let matrix):
            try matrix.write(target, adding: true, arithmetic, label: label)
        case .hadamard(let first, let second):
            let (one, other) = (FloatBuffer(target.count), FloatBuffer(target.count))
            let rows = { WeightRows(rows: target.rows, width: target.width, base: $0) }
            try first.write(rows(one.base), adding: false, arithmetic, label: label)
            try second.write(rows(other.base), adding: false, arithmetic, label: label)
            for index in 0..<target.count { target.base[index] += one[index] * other[index] }
        case .kronecker(let first, let second, let columns, let secondRows):
            addKronecker(target, first.base, second.base, columns: columns, secondRows: secondRows)
        }
    }

    private func addKronecker(
        _ target: WeightRows, _ first: UnsafePointer<Float>, _ second: UnsafePointer<Float>, columns: Int,
        secondRows: Int
    ) {
        let secondWidth = target.width / columns
        for row in target.rows {
            let factors = first + row / secondRows * columns
            let source = second + row % secondRows * secondWidth
            for column in 0..<columns {
                let place = target.row(row) + column * secondWidth
                for offset in 0..<secondWidth { place[offset] += factors[column] * source[offset] }
            }
        }
    }
}

extension FloatBuffer {
    /// Matrices [rows, columns] one after the other, each transposed.
    fileprivate func swapped(matrices: Int, rows: Int, columns: Int) -> FloatBuffer {
        let result = FloatBuffer(count)
        for matrix in 0..<matrices {
            let start = matrix * rows * columns
            for row in 0..<rows {
                for column in 0..<columns {
                    result.base[start + column * rows + row] = base[start + row * columns + column]
                }
            }
        }
        return result
    }
}
