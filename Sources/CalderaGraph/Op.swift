/// Element-wise functions of one value.
public enum Activation: String, Sendable, Hashable, CaseIterable {
    /// x·σ(x).
    case silu
    /// The exact form, x·Φ(x) = x/2·(1 + erf(x/√2)).
    case gelu
    /// x·σ(1.702·x), as the original CLIP has it.
    case quickGELU
    case relu
    case tanh
}

/// What a matrix product or a convolution does to its accumulator before it stores it, in this order:
/// add `bias` [N], add `rowBias` [batch or 1, N], apply `activation`, add `residual` (the shape of the output).
/// Each of these flags adds one input to the node, in the same order, behind the source and the weight.
///
/// With `gated`, of matrix products alone and beside no other part than the bias, N columns are stored of a product that
/// has 2N: the weight is [2N, K] and the bias [2N], rows 0..<N of both for the values and rows N..<2N for the gates. The
/// bias is added to both halves, then value · gelu(gate) is stored.
public struct Epilogue: Sendable, Hashable {
    public var bias = false
    public var rowBias = false
    public var activation: Activation?
    public var residual = false
    public var gated = false

    public init(bias: Bool = false) { self.bias = bias }

    /// The input index of each extra operand, or nil where the epilogue has none.
    public var biasIndex: Int? { bias ? 2 : nil }
    public var rowBiasIndex: Int? { rowBias ? 2 + (bias ? 1 : 0) : nil }
    public var residualIndex: Int? { residual ? 2 + (bias ? 1 : 0) + (rowBias ? 1 : 0) : nil }
    /// How many inputs the node has, source and weight included.
    public var inputCount: Int { 2 + (bias ? 1 : 0) + (rowBias ? 1 : 0) + (residual ? 1 : 0) }

    /// What it does, in order, for people.
    package var parts: [String] {
        [
            bias ? "bias" : nil, rowBias ? "row_bias" : nil, activation?.rawValue, residual ? "residual" : nil,
            gated ? "gated" : nil,
        ].compactMap { $0 }
    }

    /// Columns of the product for each one of the result.
    package var columnsPerResult: Int { gated ? 2 : 1 }
}

/// The rows and columns of zeros round a picture before a convolution.
public struct Padding: Sendable, Hashable {
    public let top: Int
    public let left: Int
    public let bottom: Int
    public let right: Int

    public init(top: Int, left: Int, bottom: Int, right: Int) {
        self.top = top
        self.left = left
        self.bottom = bottom
        self.right = right
    }

    public init(_ all: Int) { self.init(top: all, left: all, bottom: all, right: all) }
}

/// A two-dimensional convolution over [batch, height, width, channels].
public struct Convolution: Sendable, Hashable {
    public var kernelHeight: Int
    public var kernelWidth: Int
    public var stride: Int
    public var padding: Padding
    /// The size to which the source is first enlarged by nearest neighbour (source row = row·height / enlarged height),
    /// inside the addressing: no enlarged picture is ever stored. Nil when the source is taken as it is.
    public var enlarged: Size?

    public init(kernelHeight: Int, kernelWidth: Int, stride: Int, padding: Padding, enlarged: Size? = nil) {
        self.kernelHeight = kernelHeight
        self.kernelWidth = kernelWidth
        self.stride = stride
        self.padding = padding
        self.enlarged = enlarged
    }

    public struct Size: Sendable, Hashable {
        public let height: Int
        public let width: Int
        public init(height: Int, width: Int) {
            self.height = height
            self.width = width
        }
    }
}

/// Scaled dot-product attention over [batch, tokens, heads·headSize]; heads lie side by side in the channels.
public struct Attention: Sendable, Hashable {
    public let heads: Int
    public let headSize: Int
    /// Token i sees tokens 0...i only (CLIP's text towers).
    public let causal: Bool
    /// The factor on the logits: headSize^-1/2.
    public let scale: Float
}

/// Attention of new tokens to all that a cache holds of their sequence, themselves included. Heads lie side by side in
/// the channels; where there are fewer key heads than query heads, neighbours share one (grouped-query attention).
public struct CachedAttention: Sendable, Hashable {
    public let heads: Int
    /// Divides `heads`.
    public let keyHeads: Int
    public let headSize: Int
    /// The factor on the logits: headSize^-1/2.
    public let scale: Float
}

/// One operation. The inputs of a node are listed at each case in their order; layouts are channels-last throughout.
public enum Op: Sendable, Hashable {
    /// source [..., K] · weight [N, K] (or [N, K, 1, 1])ᵀ, then the epilogue's operands -> [..., N]; [..., N/2] where it
    /// is gated. May have a joined source: see `Node.joinedSource`.
    case matmul(Epilogue)
    /// source [B, H, W, C], weight [N, C, kh, kw], then the epilogue's operands -> [B, H', W', N].
    case convolution(Convolution, Epilogue)
    /// source [B, ..., C], weight [C], bias [C]: statistics in fp32 over each group of C/groups channels.
    /// May have a joined source: see `Node.joinedSource`.
    case groupNorm(groups: Int, epsilon: Float, activation: Activation?)
    /// source [..., C], weight [C], bias [C].
    case layerNorm(epsilon: Float)
    /// source [..., C], weight [C]: source / √(mean of its squares + epsilon) · weight.
    case rmsNorm(epsilon: Float)
    /// query [B, T, h·d], key [B, S, h·d], value [B, S, h·d] -> [B, T, h·d].
    case attention(Attention)
    /// query [B, T, h·d], keys and values [B, P, g·d], positions int32 [B] -> [B, T, h·d]. Token t of sequence b is the
    /// one at position positions[b] + t; it sees the entries 0...positions[b] + t of its sequence, and no other is read.
    case cachedAttention(CachedAttention)
    /// source [B, T, C], positions int32 [B], cache [B, P, C] -> the cache, in place: its entry positions[b] + t becomes
    /// token t of sequence b. Tokens behind its last entry are left out.
    case writeCache
    /// source [B, T, h·d], table fp32 [P, d], positions int32 [B] -> [B, T, h·d]: each pair (i, i + d/2) of a head turned
    /// by the angle whose cosine and sine are elements i and i + d/2 of the table's row positions[b] + t.
    case rotary(headSize: Int)
    /// ids int32 [B, T], token table [V, C] and, where the model has one, position table [P, C] -> [B, T, C].
    case embedding
    /// x fp32 [rows] -> [rows, channels]: cosines first when `flipSinToCos`, frequency
    /// exp(-ln 10000 · i / (channels/2 - shift)) (diffusers `get_timestep_embedding`).
    case sinusoid(channels: Int, flipSinToCos: Bool, shift: Float)
    /// Any shape.
    case activation(Activation)
    /// scale · source + shift. Any shape.
    case scaleShift(scale: Float, shift: Float)
    /// Two tensors of one shape; or the second [B or 1, C] added to every pixel of the first [B, ..., C].
    case add
    /// Every row of [S, C] plus every row of [B, C] -> [S, B, C].
    case outerSum
    /// source [..., 2C] -> [..., C]: first half times gelu(second half).
    case geglu
    /// gate and value of one shape: silu(gate) · value.
    case swiglu
    /// Two tensors that agree in every extent but `axis`.
    case concat(axis: Int)
    /// source [B, H, W, C] -> [B, height, width, C].
    case upsampleNearest(height: Int, width: Int)
    /// table [S, ...], index int32 [1] -> [...]: row `index` of the table.
    case select
    /// source [B, T, C], index int32 [B] -> [B, C]: token `index[b]` of each sequence.
    case gatherToken
    /// Σᵢ coefficients[step, columns[i]] · sourceᵢ, summed in fp32.
    /// Inputs: coefficients fp32 [S, columns], step int32 [1], then the sources, of one shape.
    case weightedSum(columns: [Int])
    /// first [B, H, W, C], second of that shape, mask [1 or B, H, W, 1], all fp32: (1 - mask) · first + mask · second.
    case blend
    /// guided · (φ · std(prompted) / std(guided) + 1 - φ) with φ = coefficients[step, column]; standard deviations over
    /// all but the batch. Inputs: coefficients fp32 [S, columns], step int32 [1], guided and prompted fp32 [B, ..., C].
    case rescale(column: Int)
    /// The same values in another element type.
    case cast
    /// step int32 [1] -> step + 1.
    case increment
    /// source -> the state it is assigned to: a copy.
    case assign

    /// A short lower-case name for plans and profiles.
    public var name: String {
        switch self {
        case .matmul: "matmul"
        case .convolution: "convolution"
        case .groupNorm: "group_norm"
        case .layerNorm: "layer_norm"
        case .rmsNorm: "rms_norm"
        case .attention: "attention"
        case .cachedAttention: "cached_attention"
        case .writeCache: "write_cache"
        case .rotary: "rotary"
        case .embedding: "embedding"
        case .sinusoid: "sinusoid"
        case .activation(let function): function.rawValue
        case .scaleShift: "scale_shift"
        case .add: "add"
        case .outerSum: "outer_sum"
        case .geglu: "geglu"
        case .swiglu: "swiglu"
        case .concat: "concat"
        case .upsampleNearest: "upsample_nearest"
        case .select: "select"
        case .gatherToken: "gather_token"
        case .weightedSum: "weighted_sum"
        case .blend: "blend"
        case .rescale: "rescale"
        case .cast: "cast"
        case .increment: "increment"
        case .assign: "assign"
        }
    }
}
