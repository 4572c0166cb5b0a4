import Caldera
import CalderaDiffusion
import CalderaGraph
import CalderaModels
import CalderaTestSupport
import Testing

extension PipelineParts {
    /// The same parts with other weights.
    func replacing(
        unet: (any WeightSource)? = nil, encoder: ((String, any WeightSource) -> any WeightSource)? = nil
    ) -> PipelineParts {
        let encoders = encoders.map { part in
            TextEncoderPart(
                name: part.name, model: part.model, weights: encoder?(part.name, part.weights) ?? part.weights,
                tokenizer: part.tokenizer)
        }
        return PipelineParts(
            family: family, encoders: encoders, unet: self.unet, unetWeights: unet ?? unetWeights,
            autoencoder: autoencoder, autoencoderWeights: autoencoderWeights, scheduler: scheduler,
            forceZerosForEmptyPrompt: forceZerosForEmptyPrompt, requiresAestheticsScore: requiresAestheticsScore)
    }
}

extension PipelineRequest {
    /// A small picture that needs few steps: 64x48, two of them, guided.
    static func small(prompt: String = "a red circle", seeds: [UInt64] = [1], scheduler: String? = nil) -> Self {
        PipelineRequest(
            prompt: prompt, negativePrompt: "blue", width: 64, height: 48, steps: 2, guidanceScale: 4,
            seeds: PictureSeeds(seeds: seeds), scheduler: scheduler)
    }
}

extension DiffusionPipeline {
    func run(_ request: PipelineRequest) throws -> PipelineResult { try run(request) { _ in } }
}

/// The exact values of a tensor: equal zeros of other signs differ. A failed expectation names them, and prints none.
struct Bits: Hashable, CustomTestStringConvertible {
    let patterns: [UInt32]

    var testDescription: String { "\(patterns.count) values with the hash \(patterns.hashValue)" }

    static func + (left: Bits, right: Bits) -> Bits { Bits(patterns: left.patterns + right.patterns) }
}

extension HostTensor: CustomTestStringConvertible {
    var bits: Bits { Bits(patterns: floats.map(\.bitPattern)) }

    public var testDescription: String { "\(shape) with the hash \(bits.patterns.hashValue)" }

    /// A picture [1, H, W, 3] in -1...1 with large and small shapes.
    static func scene(height: Int, width: Int) -> HostTensor {
        let values = (0..<height).flatMap { row in
            (0..<width).flatMap { column -> [Float] in
                let isDisc = (row - height / 2) * (row - height / 2) + (column - width / 3) * (column - width / 3) < 600
                let stripe: Float = (row / 8 + column / 16).isMultiple(of: 2) ? 0.5 : -0.25
                return [isDisc ? 0.9 : stripe, Float(column) / Float(width) - 0.5, 0.8 - Float(row) / Float(height)]
            }
        }
        return HostTensor([1, height, width, 3], values)
    }
}

/// A backend that notes what another compiles and writes.
final class RecordingBackend: Backend {
    private let base: any Backend
    /// The dtypes of the plans, in the order in which they were compiled.
    private(set) var compiled: [DType] = []
    /// What was written to `context`, in its order.
    fileprivate(set) var contexts: [HostTensor] = []
    /// Is given the number of a step that is about to run, and what runs it.
    var beforeStep: ((Int, any Executable) throws -> Void)?

    init(_ base: any Backend) { self.base = base }

    var name: String { base.name }
    var limits: PlanLimits { base.limits }
    var peakMemory: Int { base.peakMemory }
    var availableMemory: Int? { base.availableMemory }
    var memoryLimit: Int? {
        get { base.memoryLimit }
        set { base.memoryLimit = newValue }
    }

    var countsHostMemory: Bool { base.countsHostMemory }

    func resetPeakMemory() { base.resetPeakMemory() }

    func countHostMemory(_ bytes: Int) { base.countHostMemory(bytes) }

    func forecast(_ plan: Plan, weights: any WeightSource, budget: Int?) throws -> MemoryForecast {
        try base.forecast(plan, weights: weights, budget: budget)
    }

    func compile(_ plan: Plan, weights: any WeightSource, budget: Int?) throws -> any Executable {
        compiled.append(plan.dtype)
        return RecordingExecutable(try base.compile(plan, weights: weights, budget: budget), self)
    }

    func describe(_ node: Node, in plan: Plan) -> String { base.describe(node, in: plan) }
}

private final class RecordingExecutable: Executable {
    private let base: any Executable
    private unowned let backend: RecordingBackend
    private var steps = 0

    init(_ base: any Executable, _ backend: RecordingBackend) { (self.base, self.backend) = (base, backend) }

    var memory: MemoryUse { base.memory }

    func write(_ name: String, _ tensor: HostTensor) throws {
        if name == "context" { backend.contexts.append(tensor) }
        try base.write(name, tensor)
    }

    func profile(_ stage: Stage) throws -> [NodeTiming] { try base.profile(stage) }
    func run(_ stage: Stage) throws {
        if stage == .step {
            try backend.beforeStep?(steps, base)
            steps += 1
        }
        try base.run(stage)
    }

    func read(_ name: String) throws -> HostTensor { try base.read(name) }

    func replaceWeights(_ names: Set<String>, from source: any WeightSource) throws {
        try base.replaceWeights(names, from: source)
    }

    func statesAreFinite() throws -> Bool { try base.statesAreFinite() }

    func firstNonFinite(_ stage: Stage) throws -> NonFiniteValue? { try base.firstNonFinite(stage) }
}
