import COneDNN
import CalderaGraph

/// A 3x3 convolution of a picture that is enlarged twice by nearest neighbour, computed on the picture as it is.
///
/// Of the three kernel rows two fall on one source row: those that the even rows of the result read lie on the source rows
/// above and at theirs, those of the odd rows at theirs and below. The same holds for columns. So each of the four
/// results of a source pixel is a 2x2 convolution with sums of the kernel's entries: four ninths of the products.
///
/// Both columns of a result come from one convolution with two results for each channel, the odd one first: the one at
/// column q then holds the pixels 2q - 1 and 2q, and a row of it is a row of the result with a pixel too many at each
/// end.
struct DoubledConvolution {
    /// Rows of one parity of one or several pictures.
    struct Band {
        let pictures: Range<Int>
        let rows: Range<Int>
        let sourceRows: Range<Int>
        let top: Int
        let bottom: Int
    }

    private let pictures: Int
    private let height: Int
    let width: Int
    /// Bytes of one row of a convolution's result.
    let rowSize: Int

    /// Bytes of results that are computed at a time, before their rows go to their places.
    private static let bandSize = 8 << 20

    /// Nil where the convolution is another one.
    init?(_ node: Node, _ convolution: Convolution, _ epilogue: Epilogue) {
        let (source, output) = (node.inputs[0].shape, node.output.shape)
        guard let size = convolution.enlarged, size.height == 2 * source[1], size.width == 2 * source[2],
            convolution.kernelHeight == 3, convolution.kernelWidth == 3, convolution.stride == 1,
            convolution.padding == Padding(1), !epilogue.residual, !epilogue.rowBias
        else { return nil }
        (pictures, height, width) = (source[0], source[1], source[2])
        rowSize = 2 * (width + 1) * output.channels * node.output.dtype.size
    }

    /// Covers the source rows of all pictures, or of one picture after the other where they are large.
    func bands(_ parity: KernelArrangement.Parity) -> [Band] {
        let most = max(1, DoubledConvolution.bandSize / rowSize)
        if pictures * height <= most { return [band(0..<pictures, 0..<height, parity)] }
        return (0..<pictures).flatMap { picture in
            stride(from: 0, to: height, by: most).map { start in
                band(picture..<picture + 1, start..<min(height, start + most), parity)
            }
        }
    }

    private func band(_ pictures: Range<Int>, _ rows: Range<Int>, _ parity: KernelArrangement.Parity) -> Band {
        let first = parity == .even ? rows.lowerBound - 1 : rows.lowerBound
        let behind = parity == .even ? rows.upperBound : rows.upperBound + 1
        return Band(
            pictures: pictures, rows: rows, sourceRows: max(0, first)..<min(height, behind), top: max(0, -first),
            bottom: max(0, behind - height))
    }

    /// Copies a band's results, rows with a pixel too many at each end, to every other row of the output.
    func place(
        _ band: Band, _ parity: KernelArrangement.Parity, from results: UnsafeRawPointer,
        to output: UnsafeMutableRawPointer
    ) {
        let pixelSize = rowSize / (2 * (width + 1))
        let outputRowSize = 2 * width * pixelSize
        let first = parity == .even ? 0 : 1
        Parallel.ranges(band.pictures.count * band.rows.count, grain: max(1, 65_536 / outputRowSize)) { range in
            for index in range {
                let picture = band.pictures.lowerBound + index / band.rows.count
                let row = 2 * (band.rows.lowerBound + index % band.rows.count) + first
                (output + (picture * 2 * height + row) * outputRowSize)
                    .copyMemory(from: results + index * rowSize + pixelSize, byteCount: outputRowSize)
            }
        }
    }
}

extension StepBuilder {
    func doubling(_ node: Node, _ doubled: DoubledConvolution, _ product: ProductEpilogue) throws -> Step {
        let (source, output) = (node.inputs[0], node.output)
        let channels = output.shape.channels
        let from = try address(source, label: node.label)
        let to = try destination(output, label: node.label)
        let pixelSize = source.shape.channels * source.dtype.size
        let bias = try product.fused.bias ? RepeatedBias(product, channels, node, counter) : nil
        let work = try KernelArrangement.Parity.allCases.flatMap { parity in
            try doubled.bands(parity).map { band in
                let primitive = try engine.convolution(
                    key(node, doubled, band, product.fused), label: node.label)
                return (band: band, parity: parity, primitive: primitive)
            }
        }
        // The results lie behind the largest scratchpad among the bands'.
        let offset = (work.map(\.primitive.scratchpadSize).max() ?? 0).roundedUp(to: HostMemory.alignment)
        let largest = work.map { $0.band.pictures.count * $0.band.rows.count }.max() ?? 0
        scratch.reserve(offset + largest * doubled.rowSize)
        let steps = try work.map { band, parity, primitive -> Step in
            let first = (band.pictures.lowerBound * source.shape[1] + band.sourceRows.lowerBound) * source.shape[2]
            let operands = cdnn_operands(
                source: from + first * pixelSize, weights: nil, bias: bias.map { UnsafeRawPointer($0.memory.base) },
                residual: nil, destination: nil, scratchpad: nil)
            let execution = try execution(
                primitive, operands,
                weight: weights.pack(node.inputs[1], .doubled(parity), for: primitive, node),
                offsets: ScratchOffsets(destination: offset), label: node.label)
            return { [scratch] in
                guard let base = scratch.base else { return }
                try execution.run()
                doubled.place(band, parity, from: base + offset, to: to)
            }
        }
        return {
            bias?.write()
            for step in steps { try step() }
        }
    }

    private func key(
        _ node: Node, _ doubled: DoubledConvolution, _ band: DoubledConvolution.Band, _ epilogue: FusedEpilogue
    ) -> ConvolutionKey {
        ConvolutionKey(
            batch: band.pictures.count, height: band.sourceRows.count, width: doubled.width,
            inChannels: node.inputs[0].shape.channels, outChannels: 2 * node.output.shape.channels, kernelHeight: 2,
            kernelWidth: 2, stride: 1,
            padding: Padding(top: band.top, left: 1, bottom: band.bottom, right: 1), dtype: node.inputs[0].dtype,
            epilogue: epilogue)
    }
}

/// A bias twice, written at each use since weights can be replaced.
private struct RepeatedBias {
    let memory: HostMemory
    private let bias: UnsafeRawPointer
    private let size: Int

    init?(_ product: ProductEpilogue, _ channels: Int, _ node: Node, _ counter: MemoryCounter) throws {
        guard let bias = product.vector(0) else { return nil }
        self.bias = bias
        size = channels * MemoryLayout<Float>.size
        memory = try HostMemory(2 * size, for: "the bias of \(node.label)", counter: counter)
    }

    func write() {
        memory.base.copyMemory(from: bias, byteCount: size)
        (memory.base + size).copyMemory(from: bias, byteCount: size)
    }
}
