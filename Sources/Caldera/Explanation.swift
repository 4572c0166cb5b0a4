import CalderaDiffusion
import CalderaGraph

/// The plan of a picture: what would run, in which order, by which kernels, in how much memory.
public struct Explanation: Codable, Sendable {
    public struct NodeLine: Codable, Sendable {
        /// The layer's name in the model's files.
        public let label: String
        public let operation: String
        /// The result's shape, channels last.
        public let shape: [Int]
        public let kernel: String
    }

    public struct StagePlan: Codable, Sendable {
        public let name: String
        public let nodes: [NodeLine]
        public let arenaBytes: Int
        public let largestLiveSetBytes: Int
        public let persistentBytes: Int
        public let weightBytes: Int
    }

    public let device: String
    public let precision: String
    public let width: Int
    public let height: Int
    public let stages: [StagePlan]
    /// Device bytes of each part alone, as they will be allocated, and the most at any time.
    public let memory: [PartMemory]
    public let peakDeviceBytes: Int

    public struct PartMemory: Codable, Sendable {
        public let name: String
        public let deviceBytes: Int
        /// Of the weights, those that do not stay in memory but are read again at each use.
        public let streamedWeightBytes: Int
        /// How the picture is cut where it does not fit as a whole.
        public let tiles: Tiles?
    }

    /// Tiles of one size, in pixels.
    public struct Tiles: Codable, Sendable {
        public let count: Int
        public let width: Int
        public let height: Int
    }
}

/// Plans without loading weights or computing.
public enum Explainer {
    /// Plans one picture with the model's own defaults. Throws as `ImageGenerator` does.
    public static func explain(
        _ options: ModelOptions = ModelOptions(), width: Int? = nil, height: Int? = nil,
        device: DeviceChoice = .auto, precision: Precision? = nil, memoryLimit: Int? = nil
    ) throws -> Explanation {
        let model = try ModelLoader.open(options)
        let selection = try DeviceSelection(device, precision: precision)
        selection.backend.memoryLimit = memoryLimit
        let pipeline = try DiffusionPipeline(
            parts: model.parts, backend: selection.backend, precision: selection.precision)
        let request = try model.planned(width: width, height: height)
        let stages = try pipeline.plans(request).flatMap { part in
            Self.stages(part.name, part.plan, selection.backend)
        }
        let memory = try pipeline.predictMemory(request)
        return Explanation(
            device: selection.backend.name, precision: selection.precision.rawValue, width: request.width,
            height: request.height, stages: stages, memory: memory.parts.map(Explanation.PartMemory.init),
            peakDeviceBytes: memory.peak)
    }

    private static func stages(_ name: String, _ plan: Plan, _ backend: any Backend) -> [Explanation.StagePlan] {
        let parts =
            plan.stepNodes.isEmpty
            ? [(name, plan.promptNodes)]
            : [("\(name) (once for a prompt)", plan.promptNodes), ("\(name) (each step)", plan.stepNodes)]
        return parts.map { name, nodes in
            Explanation.StagePlan(
                name: name, nodes: nodes.map { line($0, plan, backend) }, arenaBytes: plan.arenaSize,
                largestLiveSetBytes: plan.largestLiveSet, persistentBytes: plan.persistentSize,
                weightBytes: plan.weightSize)
        }
    }

    private static func line(_ node: Node, _ plan: Plan, _ backend: any Backend) -> Explanation.NodeLine {
        Explanation.NodeLine(
            label: node.label, operation: node.op.name, shape: node.output.shape.extents,
            kernel: backend.describe(node, in: plan))
    }
}

extension Explanation.PartMemory {
    init(_ part: MemoryPrediction.Part) {
        self.init(
            name: part.name, deviceBytes: part.forecast.total, streamedWeightBytes: part.forecast.streamedWeights,
            tiles: part.tiles.map { Explanation.Tiles(count: $0.count, width: $0.width, height: $0.height) })
    }
}
