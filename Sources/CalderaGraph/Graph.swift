/// How often a value changes, which decides when the node that makes it runs.
public enum Stage: Int, Sendable, Hashable, Comparable, CaseIterable {
    /// Depends on weights alone: never changes.
    case load
    /// Depends on the prompt, the schedule or the seed: computed once for a picture.
    case prompt
    /// Depends on the current step: computed at every replay.
    case step

    public static func < (left: Stage, right: Stage) -> Bool { left.rawValue < right.rawValue }
}

/// A symbolic tensor: its type (element type, shape; the layout is always channels-last) and a name within its graph.
public struct Tensor: Sendable, Hashable {
    public let id: Int
    public let shape: Shape
    public let dtype: DType
}

/// Where a value's memory comes from.
public enum Origin: Sendable, Hashable {
    /// Written by the host before a run; changes with `Stage`.
    case input(name: String)
    /// Lives on from one replay to the next; written by `assign` nodes and by the host.
    case state(name: String)
    /// Lives on as a state does, but only `writeCache` nodes write it, in either stage: no host does, nothing saves it
    /// before a step, and its entries mean nothing before they are written.
    case cache(name: String)
    /// A tensor of the model's files, packed by the backend as its node needs it. The shape is PyTorch's.
    case weight(name: String)
    /// Made by node `index`.
    case node(index: Int)
    /// The bytes of another value from `offset` elements on, under another shape.
    case view(of: Int, offset: Int)
}

/// One value of a graph.
public struct Value: Sendable {
    public let tensor: Tensor
    public let origin: Origin
    public let stage: Stage
}

/// One operation on values; `label` is the name that the model's files give the layer.
public struct Node: Sendable {
    public var op: Op
    public var inputs: [Tensor]
    public var output: Tensor
    public var label: String
    public var stage: Stage
    /// For `assign` and `writeCache`: the state or the cache that the source is copied to.
    public var target: Tensor?
}

extension Node {
    /// The second half of a source that no node has put together: where a matrix product or a group norm has one input
    /// more than its operation names, its source is the first input and the last, side by side in the channels.
    /// `Fusion` makes these of concatenations.
    package var joinedSource: Tensor? {
        let count: Int
        switch op {
        case .matmul(let epilogue): count = epilogue.inputCount
        case .groupNorm: count = 3
        default: return nil
        }
        return inputs.count > count ? inputs.last : nil
    }

    /// The channels of the source, joined.
    package var sourceChannels: Int { inputs[0].shape.channels + (joinedSource?.shape.channels ?? 0) }
}

/// A pure description of a computation: values, and nodes in an order in which they can run.
///
/// A model is a function that builds one of these; it knows no device. Shapes and element types are checked while
/// the graph is built: a mismatch throws `CalderaError` with the layer's name and both shapes.
public final class Graph {
    public private(set) var values: [Value] = []
    public internal(set) var nodes: [Node] = []
    public private(set) var outputs: [(name: String, tensor: Tensor)] = []
    /// The element type of activations; weights are packed to it.
    public let dtype: DType
    private var weightIDs: [String: Tensor] = [:]

    public init(dtype: DType) { self.dtype = dtype }

    // MARK: Leaves

    /// A value that the host writes. `stage` says how often: `.prompt` for what is fixed before the loop starts.
    public func input(_ name: String, _ shape: Shape, _ dtype: DType, stage: Stage = .prompt) -> Tensor {
        append(shape, dtype, .input(name: name), stage)
    }

    /// A value that outlives a replay: the latents, the step counter.
    public func state(_ name: String, _ shape: Shape, _ dtype: DType) -> Tensor {
        append(shape, dtype, .state(name: name), .step)
    }

    /// Room for P entries of each of B sequences, [B, P, C], in the graph's element type.
    public func cache(_ name: String, _ shape: Shape) -> Tensor { append(shape, dtype, .cache(name: name), .load) }

    /// A tensor of the model's files under PyTorch's shape. The same name gives the same value.
    public func weight(_ name: String, _ shape: Shape) throws -> Tensor {
        if let known = weightIDs[name] {
            guard known.shape == shape else {
                throw CalderaError("The weight \(name) is used both as \(known.shape) and as \(shape).")
            }
            return known
        }
        let tensor = append(shape, dtype, .weight(name: name), .load)
        weightIDs[name] = tensor
        return tensor
    }

    /// Marks a value as one that the host reads back under `name`.
    public func output(_ name: String, _ tensor: Tensor) { outputs.append((name, tensor)) }

    // MARK: Nodes

    /// The value behind a tensor.
    public func value(_ tensor: Tensor) -> Value { values[tensor.id] }

    /// Every weight that the graph names, in the order of first use.
    public var weights: [(name: String, shape: Shape)] {
        values.compactMap { value in
            guard case .weight(let name) = value.origin else { return nil }
            return (name, value.tensor.shape)
        }
    }

    /// Appends an operation as it is, fused parts included; the caller answers for the shape.
    package func addNode(_ op: Op, _ inputs: [Tensor], _ shape: Shape, _ dtype: DType, label: String) -> Tensor {
        let stage = inputs.map { values[$0.id].stage }.max() ?? .load
        let output = append(shape, dtype, .node(index: nodes.count), stage)
        nodes.append(Node(op: op, inputs: inputs, output: output, label: label, stage: stage))
        return output
    }

    /// At the end of each replay's work so far, copies `source` into `target`, a state of the same type.
    public func assign(_ source: Tensor, to target: Tensor, label: String) throws {
        guard source.shape == target.shape, source.dtype == target.dtype else {
            throw CalderaError(
                "\(label): \(source.dtype) \(source.shape) cannot be assigned to \(target.dtype) \(target.shape).")
        }
        let output = append(source.shape, source.dtype, .view(of: target.id, offset: 0), .step)
        nodes.append(
            Node(op: .assign, inputs: [source], output: output, label: label, stage: .step, target: target))
    }

    /// Copies the tokens of `source` [B, T, C] into `cache` [B, P, C], from entry positions[b] of sequence b on.
    /// Returns the cache as it is then: what reads it has to read this.
    public func write(_ source: Tensor, to cache: Tensor, at positions: Tensor, label: String) throws -> Tensor {
        let base = values[storage(of: cache.id).id]
        guard case .cache = base.origin, source.shape.rank == 3, cache.shape.rank == 3,
            cache.shape == base.tensor.shape,
            source.shape[0] == cache.shape[0], source.shape[2] == cache.shape[2], source.dtype == cache.dtype,
            positions.dtype == .int32, positions.shape == Shape([source.shape[0]])
        else {
            throw CalderaError(
                "\(label): \(source.dtype) \(source.shape) cannot be written to the cache \(cache.dtype) \(cache.shape) "
                    + "at positions \(positions.dtype) \(positions.shape).")
        }
        let inputs = [source, positions, cache]
        let stage = inputs.map { values[$0.id].stage }.max() ?? .load
        let output = append(cache.shape, cache.dtype, .view(of: base.tensor.id, offset: 0), stage)
        nodes.append(
            Node(op: .writeCache, inputs: inputs, output: output, label: label, stage: stage, target: base.tensor))
        return output
    }

    /// The same memory under another shape of as many elements.
    public func reshape(_ tensor: Tensor, _ shape: Shape) throws -> Tensor {
        guard shape.count == tensor.shape.count else {
            throw CalderaError("\(tensor.shape) cannot be read as \(shape): the element counts differ.")
        }
        return append(shape, tensor.dtype, .view(of: tensor.id, offset: 0), values[tensor.id].stage)
    }

    /// Entries `range` of the outermost axis, without a copy.
    public func slice(_ tensor: Tensor, _ range: Range<Int>) throws -> Tensor {
        if case .weight(let name) = values[storage(of: tensor.id).id].origin {
            throw CalderaError("The weight \(name) cannot be sliced: backends pack weights whole.")
        }
        guard tensor.shape.rank > 0, range.lowerBound >= 0, range.upperBound <= tensor.shape[0], !range.isEmpty else {
            throw CalderaError("\(tensor.shape) has no entries \(range) on its first axis.")
        }
        let inner = tensor.shape.count / tensor.shape[0]
        let shape = Shape([range.count] + tensor.shape.extents.dropFirst())
        return append(
            shape, tensor.dtype, .view(of: tensor.id, offset: range.lowerBound * inner), values[tensor.id].stage)
    }

    /// The value that owns the memory of `id`, and the offset in elements of `id` inside it.
    public func storage(of id: Int) -> (id: Int, offset: Int) {
        var current = id
        var offset = 0
        while case .view(let base, let step) = values[current].origin {
            current = base
            offset += step
        }
        return (current, offset)
    }

    private func append(_ shape: Shape, _ dtype: DType, _ origin: Origin, _ stage: Stage) -> Tensor {
        let tensor = Tensor(id: values.count, shape: shape, dtype: dtype)
        values.append(Value(tensor: tensor, origin: origin, stage: stage))
        return tensor
    }
}
