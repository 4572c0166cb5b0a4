/// What a weight is called in the file, how it is stored there, and where its bytes are.
public struct WeightInfo: Sendable, Hashable {
    public let dtype: DType
    /// The shape as PyTorch stores it: linear [out, in], convolution [out, in, height, width], norms and biases [channels].
    public let shape: Shape

    public init(dtype: DType, shape: Shape) {
        self.dtype = dtype
        self.shape = shape
    }
}

/// Where a model's weights come from: a mapped file, several shards of one, or values made up for a test.
public protocol WeightSource: AnyObject, Sendable {
    /// Every tensor name that the source holds.
    var names: [String] { get }
    /// The stored type and shape of a tensor, or nil when the source has none of that name.
    func info(_ name: String) -> WeightInfo?
    /// Lends the bytes of a tensor (row-major, contiguous, little-endian) for the time of the call.
    /// Throws `CalderaError` when there is no such tensor or it cannot be read.
    func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result

    /// Says that the tensor's bytes will be asked for soon, so that reading them from a disk may begin.
    func willRead(_ name: String)
    /// Says that the tensor's bytes are not needed for some time: pages of a mapped file leave this process's memory.
    /// They may be asked for again at any time.
    func release(_ name: String)
}

extension WeightSource {
    public func willRead(_ name: String) {}
    public func release(_ name: String) {}
}

extension WeightSource {
    /// A tensor's elements as fp32, for the few small vectors that the host itself computes with.
    /// Throws as `withBytes` does.
    package func floats(_ name: String) throws -> [Float] {
        let dtype = info(name)?.dtype
        return try withBytes(name) { bytes in
            func elements<Bits: FixedWidthInteger>(_: Bits.Type) -> [Bits] {
                stride(from: 0, to: bytes.count, by: MemoryLayout<Bits>.size).map {
                    Bits(littleEndian: bytes.loadUnaligned(fromByteOffset: $0, as: Bits.self))
                }
            }
            switch dtype {
            case .float16: return elements(UInt16.self).map { Float(Float16(bitPattern: $0)) }
            case .bfloat16: return elements(UInt16.self).map { Float(bitPattern: UInt32($0) << 16) }
            case .int32: return elements(UInt32.self).map { Float(Int32(bitPattern: $0)) }
            case .float32, nil: return elements(UInt32.self).map(Float.init(bitPattern:))
            }
        }
    }
}
