import COneDNN
import CalderaGraph

/// Output rows of one picture that are computed together, and the source rows which they read.
private struct Band {
    let outputRows: Range<Int>
    let sourceRows: Range<Int>
    /// Rows of zeros above and below the source rows.
    let top: Int
    let bottom: Int
}

extension StepBuilder {
    /// Bytes of an enlarged picture that are made at a time.
    private static let bandSize = 32 << 20

    /// A convolution with its epilogue, whose residual is copied to the output first. What it reads enlarged is enlarged
    /// band by band into scratch memory.
    func convolution(_ node: Node, _ convolution: Convolution, _ epilogue: Epilogue) throws -> Step {
        let product = try ProductEpilogue(self, node, epilogue, residual: .destination)
        if let doubled = DoubledConvolution(node, convolution, epilogue) { return try doubling(node, doubled, product) }
        return try convolution.enlarged.map { try enlarging(node, convolution, product, $0) }
            ?? plain(node, convolution, product)
    }

    private func plain(_ node: Node, _ convolution: Convolution, _ product: ProductEpilogue) throws -> Step {
        let (source, output) = (node.inputs[0], node.output)
        var key = self.key(node, convolution, product)
        key.batch = source.shape[0] / product.parts
        let primitive = try engine.convolution(key, label: node.label)
        let weight = try weights.pack(node.inputs[1], .stored, for: primitive, node)
        let from = try address(source, label: node.label)
        let to = try destination(output, label: node.label)
        let executions = try (0..<product.parts).map { part in
            let outputOffset = part * (output.shape.count / product.parts) * output.dtype.size
            let operands = cdnn_operands(
                source: from + part * (source.shape.count / product.parts) * source.dtype.size, weights: nil,
                bias: product.vector(part), residual: nil, destination: to + outputOffset, scratchpad: nil)
            return try execution(primitive, operands, weight: weight, label: node.label)
        }
        let outputSize = output.shape.count * output.dtype.size
        return {
            product.prepare()
            if let residual = product.residual { copyBytes(residual, to: to, outputSize) }
            for execution in executions { try execution.run() }
        }
    }

    private func key(_ node: Node, _ convolution: Convolution, _ product: ProductEpilogue) -> ConvolutionKey {
        let shape = node.inputs[0].shape
        return ConvolutionKey(
            batch: shape[0], height: shape[1], width: convolution.enlarged?.width ?? shape[2],
            inChannels: shape.channels, outChannels: node.output.shape.channels,
            kernelHeight: convolution.kernelHeight, kernelWidth: convolution.kernelWidth, stride: convolution.stride,
            padding: convolution.padding, dtype: node.inputs[0].dtype, epilogue: product.fused)
    }

    /// Covers the output with bands whose enlarged source rows fit `bandSize`.
    private func bands(_ convolution: Convolution, _ size: Convolution.Size, outputHeight: Int, rowSize: Int) -> [Band]
    {
        let stride = convolution.stride
        let rows = max(1, (StepBuilder.bandSize / rowSize - convolution.kernelHeight) / stride + 1)
        return Swift.stride(from: 0, to: outputHeight, by: rows).map { start in
            let end = min(outputHeight, start + rows)
            let first = start * stride - convolution.padding.top
            let behind = (end - 1) * stride - convolution.padding.top + convolution.kernelHeight
            let source =
                min(max(0, first), size.height)..<max(min(behind, size.height), min(max(0, first), size.height))
            return Band(
                outputRows: start..<end, sourceRows: source, top: max(0, -first), bottom: max(0, behind - size.height))
        }
    }

    private func enlarging(
        _ node: Node, _ convolution: Convolution, _ product: ProductEpilogue, _ size: Convolution.Size
    ) throws -> Step {
        let (source, output) = (node.inputs[0], node.output)
        let channels = source.shape.channels
        let rowSize = size.width * channels * source.dtype.size
        let bands = bands(convolution, size, outputHeight: output.shape[1], rowSize: rowSize)
        let primitives = try bands.map { band in
            var key = self.key(node, convolution, product)
            key.batch = 1
            key.height = band.sourceRows.count
            key.padding = Padding(
                top: band.top, left: convolution.padding.left, bottom: band.bottom, right: convolution.padding.right)
            return try engine.convolution(key, label: node.label)
        }
        // The enlarged rows lie behind the largest scratchpad among the bands'.
        let enlargedOffset = (primitives.map(\.scratchpadSize).max() ?? 0).roundedUp(to: HostMemory.alignment)
        scratch.reserve(enlargedOffset + (bands.map(\.sourceRows.count).max() ?? 0) * rowSize)
        let from = try address(source, label: node.label)
        let to = try destination(output, label: node.label)
        let outputRowSize = output.shape[2] * output.shape[3] * output.dtype.size
        let pictureSize = source.shape.count / source.shape[0] * source.dtype.size
        var steps: [Step] = []
        for picture in 0..<source.shape[0] {
            let enlargement = Enlargement(
                source: from + picture * pictureSize, height: source.shape[1], width: source.shape[2],
                pixelSize: channels * source.dtype.size, size: size)
            for (band, primitive) in zip(bands, primitives) {
                let offset = (picture * output.shape[1] + band.outputRows.lowerBound) * outputRowSize
                let operands = cdnn_operands(
                    source: nil, weights: nil, bias: product.vector(product.parts == 1 ? 0 : picture),
                    residual: nil, destination: to + offset, scratchpad: nil)
                let execution = try execution(
                    primitive, operands, weight: weights.pack(node.inputs[1], .stored, for: primitive, node),
                    offsets: ScratchOffsets(source: enlargedOffset), label: node.label)
                steps.append { [scratch] in
                    guard let base = scratch.base else { return }
                    // Before the enlarged rows take the scratch memory that loading uses.
                    try execution.load()
                    enlargement.write(rows: band.sourceRows, to: base + enlargedOffset)
                    try execution.run()
                }
            }
        }
        let outputSize = output.shape.count * output.dtype.size
        return {
            product.prepare()
            if let residual = product.residual { copyBytes(residual, to: to, outputSize) }
            for step in steps { try step() }
        }
    }
}

extension Int {
    func roundedUp(to unit: Int) -> Int { (self + unit - 1) / unit * unit }
}
