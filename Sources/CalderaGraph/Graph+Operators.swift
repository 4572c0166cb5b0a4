/// The operators, each with its shape rule. `label` is the layer's name in the model's files; it stands in every error.
extension Graph {
    /// source [..., K] times weight [N, K]ᵀ plus bias [N].
    public func linear(_ source: Tensor, weight: Tensor, bias: Tensor?, label: String) throws -> Tensor {
        let features = weight.shape.extents.first ?? 0
        try check(
            weight.shape.rank >= 2 && weight.shape.count == Shape([features, source.shape.channels]).count
                && source.dtype == dtype, label,
            "a product of \(source.dtype) \(source.shape) with \(weight.shape)")
        try checkVector(bias, features, label)
        let shape = Shape(source.shape.extents.dropLast() + [features])
        return addNode(.matmul(Epilogue(bias: bias != nil)), operands(source, weight, bias), shape, dtype, label: label)
    }

    /// source [B, H, W, C] with weight [N, C, kh, kw] and bias [N].
    public func convolution(
        _ source: Tensor, weight: Tensor, bias: Tensor?, stride: Int = 1, padding: Padding, label: String
    ) throws -> Tensor {
        let kernel = weight.shape
        try check(
            source.shape.rank == 4 && kernel.rank == 4 && kernel[1] == source.shape.channels && source.dtype == dtype
                && kernel[2] > 0 && kernel[3] > 0 && stride > 0,
            label, "a convolution of \(source.dtype) \(source.shape) with \(kernel) and stride \(stride)")
        try checkVector(bias, kernel[0], label)
        let convolution = Convolution(
            kernelHeight: kernel[2], kernelWidth: kernel[3], stride: stride, padding: padding, enlarged: nil)
        let shape = Graph.convolved(source.shape, convolution, channels: kernel[0])
        try check(shape[1] > 0 && shape[2] > 0, label, "a convolution of \(source.shape), smaller than its kernel")
        return addNode(
            .convolution(convolution, Epilogue(bias: bias != nil)), operands(source, weight, bias), shape, dtype,
            label: label)
    }

    /// Group norm over [B, ..., C]; Wu and He, "Group Normalization" (2018), equation 1, biased variance.
    public func groupNorm(
        _ source: Tensor, weight: Tensor, bias: Tensor, groups: Int, epsilon: Float, label: String
    ) throws -> Tensor {
        let channels = source.shape.channels
        try check(
            groups > 0 && channels % groups == 0, label, "a group norm of \(channels) channels in \(groups) groups")
        try checkVector(weight, channels, label)
        try checkVector(bias, channels, label)
        let op = Op.groupNorm(groups: groups, epsilon: epsilon, activation: nil)
        return addNode(op, [source, weight, bias], source.shape, source.dtype, label: label)
    }

    /// Layer norm over the channels of [..., C]; Ba, Kiros and Hinton, "Layer Normalization" (2016).
    public func layerNorm(_ source: Tensor, weight: Tensor, bias: Tensor, epsilon: Float, label: String) throws
        -> Tensor
    {
        try checkVector(weight, source.shape.channels, label)
        try checkVector(bias, source.shape.channels, label)
        return addNode(.layerNorm(epsilon: epsilon), [source, weight, bias], source.shape, source.dtype, label: label)
    }

    /// source / √(mean of its squares + epsilon) · weight over the channels of [..., C]; Zhang and Sennrich, "Root Mean
    /// Square Layer Normalization" (2019).
    public func rmsNorm(_ source: Tensor, weight: Tensor, epsilon: Float, label: String) throws -> Tensor {
        try checkVector(weight, source.shape.channels, label)
        return addNode(.rmsNorm(epsilon: epsilon), [source, weight], source.shape, source.dtype, label: label)
    }

    /// softmax(q·kᵀ/√d)·v for each head; Vaswani et al., "Attention Is All You Need" (2017), equation 1.
    public func attention(
        query: Tensor, key: Tensor, value: Tensor, heads: Int, causal: Bool = false, label: String
    ) throws -> Tensor {
        let channels = query.shape.channels
        try check(
            query.shape.rank == 3 && key.shape == value.shape && key.shape.rank == 3 && key.shape[0] == query.shape[0]
                && key.shape.channels == channels && heads > 0 && channels % heads == 0,
            label, "an attention of \(heads) heads over \(query.shape), \(key.shape) and \(value.shape)")
        let headSize = channels / heads
        let op = Attention(
            heads: heads, headSize: headSize, causal: causal, scale: 1 / Float(headSize).squareRoot())
        return addNode(.attention(op), [query, key, value], query.shape, query.dtype, label: label)
    }

    /// Attention of query [B, T, h·d] to keys and values [B, P, g·d], caches that `write` returned; see
    /// `Op.cachedAttention`. Ainslie et al., "GQA" (2023), for fewer key heads than heads.
    public func cachedAttention(
        query: Tensor, keys: Tensor, values: Tensor, positions: Tensor, heads: Int, keyHeads: Int, label: String
    ) throws -> Tensor {
        let (batch, channels) = (query.shape.extents.first ?? 0, query.shape.channels)
        try check(
            query.shape.rank == 3 && keys.shape == values.shape && keys.shape.rank == 3 && keys.shape[0] == batch
                && heads > 0 && keyHeads > 0 && channels % heads == 0 && heads % keyHeads == 0
                && keys.shape.channels == channels / heads * keyHeads && keys.dtype == query.dtype
                && values.dtype == query.dtype && positions.dtype == .int32 && positions.shape == Shape([batch]),
            label,
            "an attention of \(heads) heads to \(keyHeads) over \(query.shape), \(keys.shape) and \(values.shape)")
        let headSize = channels / heads
        let op = CachedAttention(
            heads: heads, keyHeads: keyHeads, headSize: headSize, scale: 1 / Float(headSize).squareRoot())
        return addNode(
            .cachedAttention(op), [query, keys, values, positions], query.shape, query.dtype, label: label)
    }

    /// Rotary positions over the heads of [B, T, h·d], halves apart as transformers has them (`rotate_half`); `table` is
    /// fp32 [P, d], each position's d/2 cosines, then its sines. Su et al., "RoFormer" (2021).
    public func rotary(
        _ source: Tensor, table: Tensor, positions: Tensor, headSize: Int, label: String
    ) throws -> Tensor {
        try check(
            source.shape.rank == 3 && headSize > 0 && headSize % 2 == 0 && source.shape.channels % headSize == 0
                && table.dtype == .float32 && table.shape.rank == 2 && table.shape[1] == headSize
                && positions.dtype == .int32 && positions.shape == Shape([source.shape[0]]),
            label, "rotary positions over \(source.shape) in heads of \(headSize) by a table \(table.shape)")
        return addNode(
            .rotary(headSize: headSize), [source, table, positions], source.shape, source.dtype, label: label)
    }

    /// Token plus position embedding: ids int32 [B, T] -> [B, T, C]; of the tokens alone without `positions`.
    public func embedding(ids: Tensor, tokens: Tensor, positions: Tensor? = nil, label: String) throws -> Tensor {
        let length = positions?.shape.extents.first ?? .max
        try check(
            ids.dtype == .int32 && ids.shape.rank == 2 && tokens.shape.rank == 2
                && (positions.map { $0.shape.rank == 2 && $0.shape.channels == tokens.shape.channels } ?? true)
                && ids.shape[1] <= length,
            label,
            "an embedding of ids \(ids.shape) with tables \(tokens.shape) and \(positions?.shape.description ?? "none")"
        )
        let shape = Shape([ids.shape[0], ids.shape[1], tokens.shape.channels])
        return addNode(.embedding, [ids, tokens] + (positions.map { [$0] } ?? []), shape, dtype, label: label)
    }

    /// Sinusoidal features of fp32 numbers [rows] -> [rows, channels].
    public func sinusoid(
        _ numbers: Tensor, channels: Int, flipSinToCos: Bool, shift: Float, label: String
    ) throws -> Tensor {
        try check(
            numbers.dtype == .float32 && numbers.shape.rank == 1 && channels > 0 && channels % 2 == 0, label,
            "\(channels) sinusoidal features of \(numbers.dtype) \(numbers.shape)")
        let op = Op.sinusoid(channels: channels, flipSinToCos: flipSinToCos, shift: shift)
        return addNode(op, [numbers], Shape([numbers.shape[0], channels]), dtype, label: label)
    }

    public func activation(_ source: Tensor, _ function: Activation, label: String) -> Tensor {
        addNode(.activation(function), [source], source.shape, source.dtype, label: label)
    }

    /// scale · source + shift.
    public func scaleShift(_ source: Tensor, scale: Float, shift: Float, label: String) -> Tensor {
        addNode(.scaleShift(scale: scale, shift: shift), [source], source.shape, source.dtype, label: label)
    }

    /// The sum of two tensors of one shape, or of [B, ..., C] and a row for each entry of the batch, [B or 1, C].
    public func add(_ left: Tensor, _ right: Tensor, label: String) throws -> Tensor {
        let rowwise =
            right.shape.rank == 2 && left.shape.rank > 2 && right.shape.channels == left.shape.channels
            && (right.shape[0] == left.shape[0] || right.shape[0] == 1)
        try check(
            (left.shape == right.shape || rowwise) && left.dtype == right.dtype, label,
            "a sum of \(left.dtype) \(left.shape) and \(right.dtype) \(right.shape)")
        return addNode(.add, [left, right], left.shape, left.dtype, label: label)
    }

    /// Every row of [S, C] plus every row of [B, C] -> [S, B, C].
    public func outerSum(_ left: Tensor, _ right: Tensor, label: String) throws -> Tensor {
        try check(
            left.shape.rank == 2 && right.shape.rank == 2 && left.shape.channels == right.shape.channels
                && left.dtype == right.dtype,
            label, "an outer sum of \(left.shape) and \(right.shape)")
        let shape = Shape([left.shape[0], right.shape[0], left.shape.channels])
        return addNode(.outerSum, [left, right], shape, left.dtype, label: label)
    }

    /// Shazeer, "GLU Variants Improve Transformer" (2020), GEGLU, value half first as diffusers stores it.
    public func geglu(_ source: Tensor, label: String) throws -> Tensor {
        try check(source.shape.channels % 2 == 0, label, "a GEGLU of \(source.shape), an odd number of channels")
        let shape = Shape(source.shape.extents.dropLast() + [source.shape.channels / 2])
        return addNode(.geglu, [source], shape, source.dtype, label: label)
    }

    /// silu(gate) · value; Shazeer, "GLU Variants Improve Transformer" (2020), SwiGLU.
    public func swiglu(gate: Tensor, value: Tensor, label: String) throws -> Tensor {
        try check(
            gate.shape == value.shape && gate.dtype == value.dtype, label,
            "a SwiGLU of \(gate.dtype) \(gate.shape) and \(value.dtype) \(value.shape)")
        return addNode(.swiglu, [gate, value], gate.shape, gate.dtype, label: label)
    }

    public func concat(_ left: Tensor, _ right: Tensor, axis: Int, label: String) throws -> Tensor {
        let axis = axis < 0 ? left.shape.rank + axis : axis
        let agree =
            left.shape.rank == right.shape.rank && left.dtype == right.dtype
            && left.shape.extents.indices.contains(axis)
            && left.shape.extents.indices.allSatisfy { $0 == axis || left.shape[$0] == right.shape[$0] }
        try check(agree, label, "a concatenation of \(left.shape) and \(right.shape) on axis \(axis)")
        var extents = left.shape.extents
        extents[axis] += right.shape[axis]
        return addNode(.concat(axis: axis), [left, right], Shape(extents), left.dtype, label: label)
    }

    public func upsampleNearest(_ source: Tensor, height: Int, width: Int, label: String) throws -> Tensor {
        try check(source.shape.rank == 4 && height > 0 && width > 0, label, "an enlargement of \(source.shape)")
        let shape = Shape([source.shape[0], height, width, source.shape.channels])
        return addNode(.upsampleNearest(height: height, width: width), [source], shape, source.dtype, label: label)
    }

    /// Row `index` of a table [S, ...].
    public func select(_ table: Tensor, _ index: Tensor, label: String) throws -> Tensor {
        try check(
            table.shape.rank >= 2 && index.dtype == .int32 && index.shape.count == 1, label,
            "a selection from \(table.shape) by \(index.dtype) \(index.shape)")
        return addNode(
            .select, [table, index], Shape(Array(table.shape.extents.dropFirst())), table.dtype, label: label)
    }

    /// Token `index[b]` of each sequence of [B, T, C].
    public func gatherToken(_ source: Tensor, _ index: Tensor, label: String) throws -> Tensor {
        try check(
            source.shape.rank == 3 && index.dtype == .int32 && index.shape == Shape([source.shape[0]]), label,
            "a token of \(source.shape) by \(index.dtype) \(index.shape)")
        return addNode(
            .gatherToken, [source, index], Shape([source.shape[0], source.shape.channels]), source.dtype, label: label)
    }

    /// Σ coefficients[step, column] · source over at most `largestWeightedSum` terms; `dtype` is that of the result.
    public func weightedSum(
        _ terms: [(column: Int, source: Tensor)], coefficients: Tensor, step: Tensor, dtype: DType, label: String
    ) throws -> Tensor {
        guard let first = terms.first?.source else { throw CalderaError("\(label): a weighted sum of nothing.") }
        guard terms.count <= Graph.largestWeightedSum else {
            throw CalderaError(
                "\(label): a weighted sum of \(terms.count) terms; \(Graph.largestWeightedSum) are the most that it may have."
            )
        }
        try check(
            coefficients.shape.rank == 2 && coefficients.dtype == .float32 && step.dtype == .int32
                && terms.allSatisfy {
                    $0.source.shape == first.shape && (0..<coefficients.shape[1]).contains($0.column)
                },
            label, "a weighted sum of \(terms.map(\.source.shape)) with coefficients \(coefficients.shape)")
        let op = Op.weightedSum(columns: terms.map(\.column))
        return addNode(op, [coefficients, step] + terms.map(\.source), first.shape, dtype, label: label)
    }

    /// The terms that a weighted sum may have.
    public static let largestWeightedSum = 7

    /// (1 - mask) · first + mask · second: `first` where the mask is 0, `second` where it is 1, exactly.
    /// Both are fp32 [B, H, W, C]; the mask is fp32 [1 or B, H, W, 1].
    public func blend(_ first: Tensor, _ second: Tensor, mask: Tensor, label: String) throws -> Tensor {
        let shape = first.shape
        try check(
            shape.rank == 4 && second.shape == shape && mask.shape.rank == 4
                && (mask.shape[0] == 1 || mask.shape[0] == shape[0]) && mask.shape[1] == shape[1]
                && mask.shape[2] == shape[2] && mask.shape[3] == 1
                && [first, second, mask].allSatisfy { $0.dtype == .float32 },
            label, "a blend of \(first.dtype) \(shape) and \(second.dtype) \(second.shape) by \(mask.shape)")
        return addNode(.blend, [first, second, mask], shape, .float32, label: label)
    }

    /// Guidance rescale: guided · (φ · std(prompted) / std(guided) + 1 - φ), φ = coefficients[step, column], with standard
    /// deviations over each entry of the batch, of two or more values that are not all the same. Both are fp32 [B, ..., C].
    /// Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2023), equations 15 and 16.
    public func rescale(
        guided: Tensor, prompted: Tensor, coefficients: Tensor, column: Int, step: Tensor, label: String
    ) throws -> Tensor {
        try check(
            guided.shape == prompted.shape && guided.shape.rank >= 2 && guided.dtype == .float32
                && prompted.dtype == .float32 && coefficients.shape.rank == 2 && coefficients.dtype == .float32
                && step.dtype == .int32 && step.shape.count == 1 && (0..<coefficients.shape[1]).contains(column),
            label,
            "a rescaling of \(guided.dtype) \(guided.shape) by \(prompted.dtype) \(prompted.shape) with column "
                + "\(column) of \(coefficients.shape)")
        return addNode(
            .rescale(column: column), [coefficients, step, guided, prompted], guided.shape, .float32, label: label)
    }

    /// The same values as `dtype`; the tensor itself when it already is.
    public func cast(_ source: Tensor, to dtype: DType, label: String) -> Tensor {
        source.dtype == dtype ? source : addNode(.cast, [source], source.shape, dtype, label: label)
    }

    /// An int32 counter plus one.
    public func increment(_ counter: Tensor, label: String) -> Tensor {
        addNode(.increment, [counter], counter.shape, counter.dtype, label: label)
    }

    // MARK: Shape rules

    /// The shape that a convolution makes of `source`.
    public static func convolved(_ source: Shape, _ convolution: Convolution, channels: Int) -> Shape {
        let height = (convolution.enlarged?.height ?? source[1]) + convolution.padding.top + convolution.padding.bottom
        let width = (convolution.enlarged?.width ?? source[2]) + convolution.padding.left + convolution.padding.right
        guard height >= convolution.kernelHeight, width >= convolution.kernelWidth else {
            return Shape([source[0], 0, 0, channels])
        }
        return Shape([
            source[0], (height - convolution.kernelHeight) / convolution.stride + 1,
            (width - convolution.kernelWidth) / convolution.stride + 1, channels,
        ])
    }

    private func operands(_ source: Tensor, _ weight: Tensor, _ bias: Tensor?) -> [Tensor] {
        [source, weight] + (bias.map { [$0] } ?? [])
    }

    private func check(_ holds: Bool, _ label: String, _ what: @autoclosure () -> String) throws {
        if !holds {
            throw CalderaError("\(label): the model's config asks for \(what()), which does not fit together.")
        }
    }

    private func checkVector(_ vector: Tensor?, _ count: Int, _ label: String) throws {
        guard let vector else { return }
        try check(vector.shape == Shape([count]), label, "a vector \(vector.shape) for \(count) channels")
    }
}
