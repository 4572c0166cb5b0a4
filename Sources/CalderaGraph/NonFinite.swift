/// Where the first value that is not a finite number comes from.
public struct NonFiniteValue: Sendable, Equatable {
    public enum Cause: Sendable, Equatable {
        /// The layer computed it from finite numbers.
        case computation
        /// The weight of this name holds it already.
        case weight(String)
        /// The input or state of this name held it before the run.
        case input(String)
    }

    /// The layer, as the model's files name it.
    public let label: String
    public let cause: Cause

    public init(label: String, cause: Cause) {
        self.label = label
        self.cause = cause
    }

    /// For people, as the beginning of a sentence that goes on with a remedy.
    public var description: String {
        switch cause {
        case .computation: "The layer \(label) gives values that are not finite numbers"
        case .weight(let name): "The weight \(name) of the layer \(label) holds values that are not finite numbers"
        case .input(let name): "The input \(name) of the layer \(label) holds values that are not finite numbers"
        }
    }
}

/// A stage that can be run one node at a time.
package protocol NodeReplay {
    /// Runs one node of the stage; the ones before it have been run.
    func run(_ index: Int, of stage: Stage) throws
    /// Whether a value that has a place in the plan holds finite numbers alone.
    func isFinite(_ tensor: Tensor) throws -> Bool
    /// Where the weights come from: they are looked at in their own type, as the file has them.
    func source(ofWeight name: String) -> any WeightSource
}

/// Finds the first node of a stage whose result is not finite.
package struct NonFiniteSearch {
    private let plan: Plan
    private let replay: any NodeReplay

    package init(_ plan: Plan, _ replay: any NodeReplay) {
        self.plan = plan
        self.replay = replay
    }

    /// Runs the stage up to the first such node. A value that came from the prompt stage is looked for there.
    package func first(_ stage: Stage) throws -> NonFiniteValue? {
        var known: Set<Int> = []
        for (index, node) in plan.nodes(stage).enumerated() {
            // What the host or an earlier stage has written is looked at before the node may overwrite it.
            for input in node.inputs where isValue(input) && known.insert(plan.storage(of: input)).inserted {
                if try !replay.isFinite(input) { return try blame(input, of: node, stage) }
            }
            try replay.run(index, of: stage)
            known.insert(plan.storage(of: node.output))
            if !isValue(node.output) { continue }
            if try replay.isFinite(node.output) { continue }
            return NonFiniteValue(label: node.label, cause: try badWeight(of: node).map { .weight($0) } ?? .computation)
        }
        return nil
    }

    /// Whether a tensor is a computed or written value that can be infinite.
    private func isValue(_ tensor: Tensor) -> Bool {
        // Entries of a cache that nothing has written mean nothing.
        if case .cache = plan.origin(of: tensor) { return false }
        return plan.location(of: tensor) != nil && tensor.dtype != .int32 && tensor.shape.count > 0
    }

    /// Says where an input comes from that was not finite before its node ran: the host, or the stage before.
    private func blame(_ input: Tensor, of node: Node, _ stage: Stage) throws -> NonFiniteValue {
        switch plan.origin(of: input) {
        case .input(let name), .state(let name), .weight(let name):
            return NonFiniteValue(label: node.label, cause: .input(name))
        case .node, .view, .cache:
            if stage == .step, let earlier = try first(.prompt) { return earlier }
            return NonFiniteValue(label: node.label, cause: .computation)
        }
    }

    private func badWeight(of node: Node) throws -> String? {
        try node.inputs.compactMap { plan.weightName($0) }.first { name in
            let source = replay.source(ofWeight: name)
            guard let info = source.info(name) else { return false }
            defer { source.release(name) }
            return try source.withBytes(name) { bytes in
                guard let base = bytes.baseAddress else { return false }
                return !FiniteCheck.holds(base, info.dtype, count: bytes.count / info.dtype.size)
            }
        }
    }
}

/// Looks for infinities and NaNs by their bits: exponents of ones alone.
package enum FiniteCheck {
    /// True when all of `count` elements are finite numbers.
    package static func holds(_ base: UnsafeRawPointer, _ dtype: DType, count: Int) -> Bool {
        switch dtype {
        case .float32: holds(base, count, exponent: 0x7f80_0000 as UInt32)
        case .float16: holds(base, count, exponent: 0x7c00 as UInt16)
        case .bfloat16: holds(base, count, exponent: 0x7f80 as UInt16)
        case .int32: true
        }
    }

    private static func holds<Bits: FixedWidthInteger>(
        _ base: UnsafeRawPointer, _ count: Int, exponent: Bits
    ) -> Bool {
        let blockSize = 4096
        for start in stride(from: 0, to: count, by: blockSize) {
            // No exit inside a block, so that the compiler can look at many elements at a time.
            var found: Bits = 0
            for index in start..<min(start + blockSize, count) {
                let bits = base.loadUnaligned(fromByteOffset: index * MemoryLayout<Bits>.size, as: Bits.self)
                found |= bits & exponent == exponent ? 1 : 0
            }
            if found != 0 { return false }
        }
        return true
    }
}
