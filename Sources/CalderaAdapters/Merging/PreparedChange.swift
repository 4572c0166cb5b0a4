import CalderaCPU
import CalderaGraph

/// A change of a weight whose tensors have been read.
final class PreparedChange {
    private let delta: PreparedDelta
    private let magnitude: Magnitude?
    private let strength: Float

    private struct Magnitude {
        let values: FloatBuffer
        let axis: AdapterMagnitude.Axis
        /// Numbers of a row that share an input: the kernel's.
        let kernelCount: Int
    }

    /// Throws where a value is not finite.
    init(_ change: WeightChange, _ arithmetic: MatrixArithmetic) throws {
        // With magnitudes the strength blends the results instead.
        let factor = change.magnitude == nil ? change.scale * change.strength : change.scale
        delta = try PreparedDelta(change.delta, times: Float(factor), arithmetic)
        strength = Float(change.strength)
        magnitude = try change.magnitude.map { magnitude in
            Magnitude(
                values: try magnitude.tensor.floats(), axis: magnitude.axis,
                kernelCount: change.delta.shape.kernelCount)
        }
    }

    /// Whether rows cannot be changed without the others.
    var needsWholeWeight: Bool { magnitude?.axis == .columns }

    /// W + strength · delta, or with magnitudes W + strength · (V · m / ‖V‖ - W), where V = W + delta. At a strength of
    /// 1 that is DoRA as everyone has it; for others the libraries differ, and this is the web UI's way.
    func apply(to target: WeightRows, _ arithmetic: MatrixArithmetic, label: String) throws {
        guard let magnitude else { return try delta.add(to: target, arithmetic, label: label) }
        let changed = FloatBuffer(target.count)
        changed.base.update(from: target.base, count: target.count)
        let rows = WeightRows(rows: target.rows, width: target.width, base: changed.base)
        try delta.add(to: rows, arithmetic, label: label)
        switch magnitude.axis {
        case .rows: scaleRows(rows, magnitude)
        case .columns: scaleColumns(rows, magnitude)
        }
        for index in 0..<target.count {
            target.base[index] += strength * (changed[index] - target.base[index])
        }
    }

    private func scaleRows(_ target: WeightRows, _ magnitude: Magnitude) {
        for row in target.rows {
            let numbers = target.row(row)
            var squares = 0.0
            for index in 0..<target.width { squares += Double(numbers[index]) * Double(numbers[index]) }
            let factor = Self.factor(magnitude.values[row], squares)
            for index in 0..<target.width { numbers[index] *= factor }
        }
    }

    private func scaleColumns(_ target: WeightRows, _ magnitude: Magnitude) {
        let columns = target.width / magnitude.kernelCount
        var squares = [Double](repeating: 0, count: columns)
        for row in target.rows {
            let numbers = target.row(row)
            for index in 0..<target.width {
                squares[index / magnitude.kernelCount] += Double(numbers[index]) * Double(numbers[index])
            }
        }
        let factors = squares.enumerated().map { Self.factor(magnitude.values[$0], $1) }
        for row in target.rows {
            let numbers = target.row(row)
            for index in 0..<target.width { numbers[index] *= factors[index / magnitude.kernelCount] }
        }
    }

    /// A row or column of zeros has no direction and stays zero.
    private static func factor(_ magnitude: Float, _ squares: Double) -> Float {
        squares == 0 ? 0 : Float(Double(magnitude) / squares.squareRoot())
    }
}
