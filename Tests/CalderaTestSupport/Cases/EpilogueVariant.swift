import CalderaGraph

/// What follows a product in a case: a combination of the epilogue's parts.
struct EpilogueVariant: Sendable {
    enum Rows: String, Sendable, CaseIterable {
        case none = ""
        case one = "+row"
        case perEntry = "+rows"
    }

    var bias = false
    var rows = Rows.none
    var activation: Activation?
    var residual = false

    static let plain = EpilogueVariant()
    static let withBias = EpilogueVariant(bias: true)
    static let everything = EpilogueVariant(bias: true, rows: .perEntry, activation: .silu, residual: true)

    /// Every combination.
    static let all: [EpilogueVariant] = [false, true].flatMap { bias in
        Rows.allCases.flatMap { rows in
            ([nil] + Activation.allCases.map { $0 }).flatMap { activation in
                [false, true].map {
                    EpilogueVariant(bias: bias, rows: rows, activation: activation, residual: $0)
                }
            }
        }
    }

    /// Each part alone, and all together.
    static let few: [EpilogueVariant] = [
        plain, withBias, EpilogueVariant(rows: .perEntry), EpilogueVariant(activation: .gelu),
        EpilogueVariant(residual: true), everything,
    ]

    var name: String {
        (bias ? "+bias" : "") + rows.rawValue + (activation.map { "+\($0.rawValue)" } ?? "")
            + (residual ? "+residual" : "")
    }
}

extension CaseBuilder {
    /// The output of `product` (given the bias) with the variant's parts behind it, each a node that fusion absorbs.
    /// `result` is the product's shape; its operands are declared first, so that the guards lie next to the output.
    func finish(
        _ variant: EpilogueVariant, _ result: Shape, _ product: (_ bias: Tensor?) throws -> Tensor
    ) throws {
        let features = result.channels
        let bias = variant.bias ? try weight("bias", [features]) : nil
        let rows: Tensor? =
            switch variant.rows {
            case .none: nil
            case .one: input("rows", [1, features])
            case .perEntry: input("rows", [result[0], features])
            }
        let residual = variant.residual ? input("residual", result) : nil
        try output {
            var value = try product(bias)
            if let rows { value = try graph.add(value, rows, label: "rows") }
            if let function = variant.activation { value = graph.activation(value, function, label: "activation") }
            if let residual { value = try graph.add(value, residual, label: "residual") }
            return value
        }
    }
}
