import CalderaGraph

/// How a kernel wants a weight's elements ordered.
enum WeightLayout: Hashable {
    /// As the file has them.
    case plain
    /// A convolution's [N, C, kh, kw] as [N, kh, kw, C], so that the elements under one kernel position lie together.
    case convolution
}

/// Converts weights to a plan's element type and a kernel's order on their way to the device.
struct WeightPacking {
    let layout: WeightLayout
    let shape: Shape
    let dtype: DType

    var size: Int { shape.count * dtype.size }

    /// Writes the packed weight to `target`. Throws `CalderaError` for a stored type that is no floating type.
    func pack(_ bytes: UnsafeRawBufferPointer, stored: DType, to target: UnsafeMutableRawPointer, name: String) throws {
        guard bytes.count == shape.count * stored.size else {
            throw CalderaError("The weight \(name) has \(bytes.count) bytes, which do not fill \(shape).")
        }
        guard stored != .int32, dtype != .int32 else {
            throw CalderaError("The weight \(name) is stored as integers, where fp16, bf16 or fp32 is needed.")
        }
        if stored == dtype, layout == .plain {
            if let base = bytes.baseAddress { target.copyMemory(from: base, byteCount: bytes.count) }
            return
        }
        let order = layout == .convolution ? ConvolutionOrder(shape) : nil
        switch dtype {
        case .float16: write(target.assumingMemoryBound(to: UInt16.self), order, reader(bytes, stored)) { $0.halfBits }
        default: write(target.assumingMemoryBound(to: Float.self), order, reader(bytes, stored)) { $0 }
        }
    }

    private func write<Element>(
        _ target: UnsafeMutablePointer<Element>, _ order: ConvolutionOrder?, _ read: (Int) -> Float,
        _ encode: (Float) -> Element
    ) {
        guard let order else {
            for index in 0..<shape.count { target[index] = encode(read(index)) }
            return
        }
        order.forEach { packed, stored in target[packed] = encode(read(stored)) }
    }

    private func reader(_ bytes: UnsafeRawBufferPointer, _ stored: DType) -> (Int) -> Float {
        switch stored {
        case .float16: { Float(halfBits: bytes.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self)) }
        case .bfloat16:
            { Float(bitPattern: UInt32(bytes.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self)) << 16) }
        case .float32, .int32: { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
        }
    }
}

/// The walk from [N, C, kh, kw] to [N, kh, kw, C].
private struct ConvolutionOrder {
    let outputs: Int
    let channels: Int
    let taps: Int

    init(_ shape: Shape) {
        outputs = shape[0]
        channels = shape[1]
        taps = shape[2] * shape[3]
    }

    func forEach(_ body: (_ packed: Int, _ stored: Int) -> Void) {
        for output in 0..<outputs {
            let base = output * channels * taps
            for tap in 0..<taps {
                for channel in 0..<channels { body(base + tap * channels + channel, base + channel * taps + tap) }
            }
        }
    }
}

extension Float {
    /// IEEE 754 binary16, rounded to nearest even.
    var halfBits: UInt16 { Float16(self).bitPattern }

    init(halfBits: UInt16) { self = Float(Float16(bitPattern: halfBits)) }
}
