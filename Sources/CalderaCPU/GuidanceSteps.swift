import CalderaGraph

/// The arithmetic round the model: fp32, over latents.
extension StepBuilder {
    /// first and second [B, H, W, C], mask [1 or B, H, W, 1] -> (1 - mask) · first + mask · second.
    func blend(_ node: Node) throws -> Step {
        let operands = try node.inputs.map { try address($0, label: node.label).assumingMemoryBound(to: Float.self) }
        let (first, second, mask) = (operands[0], operands[1], operands[2])
        let to = try destination(node.output, label: node.label).assumingMemoryBound(to: Float.self)
        let (pixels, channels) = (node.output.shape.rows, node.output.shape.channels)
        let masked = node.inputs[2].shape.count
        return {
            Parallel.rows(pixels, channels: channels) { range in
                for pixel in range {
                    let share = mask[pixel % masked]
                    for index in pixel * channels..<(pixel + 1) * channels {
                        to[index] = (1 - share) * first[index] + share * second[index]
                    }
                }
            }
        }
    }

    /// guided · (φ · std(prompted) / std(guided) + 1 - φ) for each entry of the batch, φ from the step's row.
    func rescale(_ node: Node, column: Int) throws -> Step {
        let table = try address(node.inputs[0], label: node.label).assumingMemoryBound(to: Float.self)
        let counter = try address(node.inputs[1], label: node.label).assumingMemoryBound(to: Int32.self)
        let guided = try address(node.inputs[2], label: node.label).assumingMemoryBound(to: Float.self)
        let prompted = try address(node.inputs[3], label: node.label).assumingMemoryBound(to: Float.self)
        let to = try destination(node.output, label: node.label).assumingMemoryBound(to: Float.self)
        let (shape, batch, label) = (node.inputs[0].shape, node.output.shape[0], node.label)
        let size = node.output.shape.count / batch
        return {
            let step = try checkedIndex(counter[0], below: shape[0], label)
            let strength = table[step * shape[1] + column]
            Parallel.ranges(batch, grain: 1) { range in
                for start in range.map({ $0 * size }) {
                    // Both have as many values, so that the ratio does not tell biased from unbiased deviations.
                    let ratio = Float(
                        (deviation(prompted + start, size) / deviation(guided + start, size)).squareRoot())
                    let factor = strength * ratio + 1 - strength
                    mapLanes(guided + start, to + start, size) { $2 * factor }
                }
            }
        }
    }
}

/// The summed squared deviation from the mean; fp32 sums of short runs are added up in double precision.
private func deviation(_ source: UnsafePointer<Float>, _ count: Int) -> Double {
    let mean = Float(total(source, count) { $0 } / Double(count))
    return total(source, count) { lanes in
        let difference = lanes - mean
        return difference * difference
    }
}

private func total(_ source: UnsafePointer<Float>, _ count: Int, _ body: (Lanes) -> Lanes) -> Double {
    let run = 4096
    return stride(from: 0, to: count, by: run).reduce(0) { $0 + Double(sum(source + $1, min(run, count - $1), body)) }
}

/// Σ body(source), in eight partial sums.
@inline(__always)
private func sum<T: Element>(_ source: UnsafePointer<T>, _ count: Int, _ body: (Lanes) -> Lanes) -> Float {
    var lanes = Lanes()
    var index = 0
    while index + 8 <= count {
        lanes += body(T.load(source + index))
        index += 8
    }
    var total = lanes.sum()
    if index < count {
        let rest = body(loadSome(source + index, count - index))
        for lane in 0..<(count - index) { total += rest[lane] }
    }
    return total
}
