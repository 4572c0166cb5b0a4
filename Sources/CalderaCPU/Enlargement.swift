import CalderaGraph

/// Nearest-neighbour enlargement of one picture: row y comes from row y·height / enlarged height, columns likewise
/// (PyTorch's `nearest`, in whole numbers).
struct Enlargement {
    let source: UnsafeRawPointer
    let height: Int
    let width: Int
    /// Bytes of one pixel, all channels.
    let pixelSize: Int
    let size: Convolution.Size

    /// Writes the enlarged picture's `rows` densely to `destination`.
    func write(rows: Range<Int>, to destination: UnsafeMutableRawPointer) {
        let rowSize = size.width * pixelSize
        Parallel.rows(rows.count, channels: rowSize / 4) { range in
            for index in range {
                let row = source + (rows.lowerBound + index) * height / size.height * width * pixelSize
                writeRow(row, to: destination + index * rowSize)
            }
        }
    }

    private func writeRow(_ row: UnsafeRawPointer, to destination: UnsafeMutableRawPointer) {
        for column in 0..<size.width {
            let pixel = row + column * width / size.width * pixelSize
            (destination + column * pixelSize).copyMemory(from: pixel, byteCount: pixelSize)
        }
    }
}

extension StepBuilder {
    /// source [B, H, W, C] -> [B, height, width, C].
    func upsample(_ node: Node, height: Int, width: Int) throws -> Step {
        let source = node.inputs[0]
        let from = try address(source, label: node.label)
        let to = try destination(node.output, label: node.label)
        let pixelSize = source.shape.channels * source.dtype.size
        let (sourceSize, outputSize) = (source.shape[1] * source.shape[2] * pixelSize, height * width * pixelSize)
        let pictures = source.shape[0]
        return {
            for picture in 0..<pictures {
                Enlargement(
                    source: from + picture * sourceSize, height: source.shape[1], width: source.shape[2],
                    pixelSize: pixelSize, size: Convolution.Size(height: height, width: width)
                ).write(rows: 0..<height, to: to + picture * outputSize)
            }
        }
    }
}
