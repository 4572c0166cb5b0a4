import CalderaGraph

/// A stored number that eight fp32 lanes can be loaded from and rounded to.
protocol Element: BitwiseCopyable {
    init(rounding value: Float)
    var float: Float { get }
    static func load(_ pointer: UnsafePointer<Self>) -> Lanes
    static func store(_ lanes: Lanes, _ pointer: UnsafeMutablePointer<Self>)
}

extension Float: Element {
    @inline(__always)
    init(rounding value: Float) { self = value }
    @inline(__always)
    var float: Float { self }
    @inline(__always)
    static func load(_ pointer: UnsafePointer<Float>) -> Lanes {
        UnsafeRawPointer(pointer).loadUnaligned(as: Lanes.self)
    }
    @inline(__always)
    static func store(_ lanes: Lanes, _ pointer: UnsafeMutablePointer<Float>) {
        UnsafeMutableRawPointer(pointer).storeBytes(of: lanes, as: Lanes.self)
    }
}

/// The upper half of an fp32 number; rounds to nearest, ties to even.
struct BFloat16: Element {
    let bits: UInt16

    @inline(__always)
    init(rounding value: Float) {
        let bits = value.bitPattern
        let rounded = value.isNaN ? bits | 0x40_0000 : bits &+ 0x7fff &+ ((bits >> 16) & 1)
        self.bits = UInt16(truncatingIfNeeded: rounded >> 16)
    }
    @inline(__always)
    var float: Float { Float(bitPattern: UInt32(bits) << 16) }
    @inline(__always)
    static func load(_ pointer: UnsafePointer<BFloat16>) -> Lanes {
        let bits = UnsafeRawPointer(pointer).loadUnaligned(as: SIMD8<UInt16>.self)
        return Lanes(bits: SIMD8<UInt32>(truncatingIfNeeded: bits) &<< 16)
    }
    @inline(__always)
    static func store(_ lanes: Lanes, _ pointer: UnsafeMutablePointer<BFloat16>) {
        let bits = SIMD8<UInt32>(bits: lanes)
        var rounded = bits &+ 0x7fff &+ ((bits &>> 16) & 1)
        rounded.replace(with: bits | 0x40_0000, where: lanes .!= lanes)
        // Two neighbours make one word: their upper halves side by side.
        let pairs = (rounded.evenHalf &>> 16) | (rounded.oddHalf & 0xffff_0000)
        UnsafeMutableRawPointer(pointer).storeBytes(of: pairs, as: SIMD4<UInt32>.self)
    }
}

/// IEEE 754 binary16: how most files store weights, and a type that plans may cast to and from.
struct Half: Element {
    let bits: UInt16

    @inline(__always)
    init(rounding value: Float) { bits = Float16(value).bitPattern }
    @inline(__always)
    var float: Float { Float(Float16(bitPattern: bits)) }

    /// Shifts exponent and fraction into fp32's place and scales by 2¹¹², the ratio of the two exponent biases, which
    /// also normalises subnormal numbers. Infinities and NaNs then get fp32's largest exponent.
    @inline(__always)
    static func load(_ pointer: UnsafePointer<Half>) -> Lanes {
        let bits = SIMD8<UInt32>(
            truncatingIfNeeded: UnsafeRawPointer(pointer).loadUnaligned(as: SIMD8<UInt16>.self))
        let magnitude = (bits & 0x7fff) &<< 13
        var result = SIMD8<UInt32>(bits: Lanes(bits: magnitude) * Float(sign: .plus, exponent: 112, significand: 1))
        result.replace(with: result | 0x7f80_0000, where: magnitude .>= 0x0f80_0000)
        return Lanes(bits: result | ((bits & 0x8000) &<< 16))
    }
    @inline(__always)
    static func store(_ lanes: Lanes, _ pointer: UnsafeMutablePointer<Half>) {
        for lane in 0..<8 { pointer[lane] = Half(rounding: lanes[lane]) }
    }
}

extension Int32: Element {
    /// Rounds to nearest; what no int32 can hold becomes the nearest one, NaN zero.
    @inline(__always)
    init(rounding value: Float) {
        let rounded = value.rounded(.toNearestOrEven)
        self = Int32(exactly: rounded) ?? (rounded > 0 ? .max : rounded < 0 ? .min : 0)
    }
    @inline(__always)
    var float: Float { Float(self) }
    @inline(__always)
    static func load(_ pointer: UnsafePointer<Int32>) -> Lanes {
        Lanes(UnsafeRawPointer(pointer).loadUnaligned(as: SIMD8<Int32>.self))
    }
    @inline(__always)
    static func store(_ lanes: Lanes, _ pointer: UnsafeMutablePointer<Int32>) {
        for lane in 0..<8 { pointer[lane] = Int32(rounding: lanes[lane]) }
    }
}

/// Loads `count` < 8 elements; the other lanes are zero.
@inline(__always)
func loadSome<T: Element>(_ pointer: UnsafePointer<T>, _ count: Int) -> Lanes {
    var lanes = Lanes()
    for lane in 0..<count { lanes[lane] = UnsafeRawPointer(pointer + lane).loadUnaligned(as: T.self).float }
    return lanes
}

/// Stores the first `count` < 8 lanes.
@inline(__always)
func storeSome<T: Element>(_ lanes: Lanes, _ pointer: UnsafeMutablePointer<T>, _ count: Int) {
    for lane in 0..<count { pointer[lane] = T(rounding: lanes[lane]) }
}

/// destination[i] = body(i, source[i]) for each i below `count`, eight at a time; `body` gets the index of the first of
/// them and how many count.
@inline(__always)
func mapLanes<S: Element, D: Element>(
    _ source: UnsafePointer<S>, _ destination: UnsafeMutablePointer<D>, _ count: Int,
    _ body: (_ index: Int, _ width: Int, Lanes) -> Lanes
) {
    var index = 0
    while index + 8 <= count {
        D.store(body(index, 8, S.load(source + index)), destination + index)
        index += 8
    }
    if index == count { return }
    let width = count - index
    storeSome(body(index, width, loadSome(source + index, width)), destination + index, width)
}

/// Eight elements, or the `width` that are left.
@inline(__always)
func loadLanes<T: Element>(_ pointer: UnsafePointer<T>, _ width: Int) -> Lanes {
    width == 8 ? T.load(pointer) : loadSome(pointer, width)
}
