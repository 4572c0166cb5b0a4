import CalderaGraph

/// A matrix that an adapter file holds as such, or as factors.
enum StoredMatrix: Sendable {
    case dense(AdapterTensor)
    /// up [rows, rank] · down [rank, columns...]
    case product(up: AdapterTensor, down: AdapterTensor)
    /// Tucker's form of a convolution: the sum over m, n of core [m, n, k] · up [i, m] · down [n, j].
    case tucker(core: AdapterTensor, up: Factor, down: AdapterTensor)

    /// A factor of a Tucker form. LoRA's is [rows, rank]; LyCORIS' LoHa and LoKr store it as [rank, rows].
    struct Factor: Sendable {
        let tensor: AdapterTensor
        let isTransposed: Bool

        var rows: Int { isTransposed ? matrix.columns : matrix.rows }
        var rank: Int { isTransposed ? matrix.rows : matrix.columns }
        private var matrix: MatrixShape { MatrixShape(tensor.shape) }
    }

    /// The shape of the whole.
    var shape: MatrixShape {
        switch self {
        case .dense(let tensor):
            return MatrixShape(tensor.shape)
        case .product(let up, let down):
            let right = MatrixShape(down.shape)
            return MatrixShape(rows: MatrixShape(up.shape).rows, columns: right.columns, kernel: right.kernel)
        case .tucker(let core, let up, let down):
            let kernel = MatrixShape(core.shape).kernel
            return MatrixShape(rows: up.rows, columns: MatrixShape(down.shape).columns, kernel: kernel)
        }
    }

    /// The rank of the factors, or nil for a matrix that is stored as such.
    var rank: Int? {
        switch self {
        case .dense: nil
        case .product(_, let down), .tucker(_, _, let down): MatrixShape(down.shape).rows
        }
    }

    private var tensors: [AdapterTensor] {
        switch self {
        case .dense(let tensor): [tensor]
        case .product(let up, let down): [up, down]
        case .tucker(let core, let up, let down): [core, up.tensor, down]
        }
    }

    /// Throws where factors do not fit each other or one is empty.
    func check() throws {
        for tensor in tensors where MatrixShape(tensor.shape).isEmpty || tensor.shape.rank > 4 {
            throw CalderaError("\(tensor.path): \(tensor.name) has the impossible shape \(tensor.shape).")
        }
        switch self {
        case .dense:
            return
        case .product(let up, let down):
            let left = MatrixShape(up.shape)
            guard left.kernel.isEmpty, left.columns == MatrixShape(down.shape).rows else { throw mismatch(up, down) }
        case .tucker(let core, let up, let down):
            let (middle, right) = (MatrixShape(core.shape), MatrixShape(down.shape))
            guard MatrixShape(up.tensor.shape).kernel.isEmpty, up.rank == middle.rows else {
                throw mismatch(up.tensor, core)
            }
            guard right.kernel.isEmpty, right.rows == middle.columns else { throw mismatch(core, down) }
        }
    }

    private func mismatch(_ left: AdapterTensor, _ right: AdapterTensor) -> CalderaError {
        CalderaError(
            "\(left.path): the ranks of \(left.name) \(left.shape) and \(right.name) \(right.shape) do not fit each "
                + "other: download or train it again.")
    }
}

/// What a module adds to a weight, before any scale.
enum AdapterDelta: Sendable {
    case matrix(StoredMatrix)
    /// LoHa: the products of two matrices' entries (Hyeon-Woo et al. 2021, FedPara).
    case hadamard(StoredMatrix, StoredMatrix)
    /// LoKr: every entry of the first matrix times the whole second one (Edalati et al. 2022, KronA).
    case kronecker(StoredMatrix, StoredMatrix)

    /// The matrices that it is made of.
    var matrices: [StoredMatrix] {
        switch self {
        case .matrix(let matrix): [matrix]
        case .hadamard(let first, let second), .kronecker(let first, let second): [first, second]
        }
    }

    /// Whether the matrices, each of which is sound, make a weight together.
    var isPossible: Bool {
        switch self {
        case .matrix:
            return true
        case .hadamard(let first, let second):
            return first.shape == second.shape
        case .kronecker(let first, let second):
            let sizes = [first.shape.rows, first.shape.width, second.shape.rows, second.shape.width]
            return first.shape.kernel.isEmpty && Shape.checkedCount(sizes) != nil
        }
    }

    /// For a delta that is possible.
    var shape: MatrixShape {
        switch self {
        case .matrix(let matrix), .hadamard(let matrix, _):
            return matrix.shape
        case .kronecker(let first, let second):
            let (left, right) = (first.shape, second.shape)
            return MatrixShape(
                rows: left.rows * right.rows, columns: left.columns * right.columns, kernel: right.kernel)
        }
    }
}
