import CalderaGraph

/// A change of one tensor of a layer.
struct ModuleChange: Sendable {
    enum Target: String, Sendable {
        case weight, bias
    }

    let target: Target
    let delta: AdapterDelta
    /// What the delta is multiplied with at a weight of 1: alpha / rank.
    let scale: Double
    let magnitude: AdapterMagnitude?
}

/// DoRA: the lengths that rows or columns of the changed weight get (Liu et al. 2024).
struct AdapterMagnitude: Sendable {
    enum Axis: Sendable {
        /// A length for each output, over all inputs and the kernel.
        case rows
        /// A length for each input, over all outputs and the kernel.
        case columns
    }

    let tensor: AdapterTensor
    let axis: Axis

    /// PEFT's `lora_magnitude_vector`: always of the outputs, [out] or [1, out, 1, 1].
    init(ofOutputs tensor: AdapterTensor) {
        self.tensor = tensor
        axis = .rows
    }

    /// LyCORIS' `dora_scale`: [1, in, ...] of the inputs, [out, 1, ...] of the outputs (`wd_on_out`).
    init(byShapeOf tensor: AdapterTensor) {
        self.tensor = tensor
        axis = tensor.shape.rank > 1 && tensor.shape[0] == 1 ? .columns : .rows
    }

    func fits(_ weight: MatrixShape) -> Bool {
        tensor.shape.count == (axis == .rows ? weight.rows : weight.columns)
    }
}

/// All that an adapter file holds for one layer of a model.
struct AdapterModule: Sendable {
    let component: AdapterComponent
    /// The layer's path inside its component, dots as underscores.
    let path: String
    /// The names of its tensors in the file.
    let keys: [String]
    let changes: [ModuleChange]
}
