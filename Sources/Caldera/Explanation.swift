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
}

/// Plans without loading weights or computing.
public enum Explainer {
    /// Plans one picture with the model's own defaults. Throws as `ImageGenerator` does.
    public static func explain(
        model path: String?, variant: String? = nil, width: Int? = nil, height: Int? = nil,
        device: DeviceChoice = .auto,
        precision: Precision? = nil
    ) throws -> Explanation {
        let model = try ModelLoader.open(try path ?? EmbeddedModel.path(), variant: variant)
        let selection = try DeviceSelection(device, precision: precision)
        let plans = PipelinePlans(parts: model.parts, precision: selection.precision, limits: selection.backend.limits)
        let request = try model.resolved(GenerationRequest(prompt: "", width: width, height: height))
        let batch = request.guided ? 2 : 1
        let encoders = try model.parts.encoders.map { part in
            stages(part.name, try plans.encoder(part, batch: batch), selection.backend)
        }
        let denoiser = try plans.denoiser(model.denoising(request, plans))
        let scale = model.parts.autoencoder.config.downscale
        let decoder = try plans.decoder(height: request.height / scale, width: request.width / scale)
        return Explanation(
            device: selection.backend.name, precision: selection.precision.rawValue, width: request.width,
            height: request.height,
            stages: encoders.flatMap { $0 } + stages("unet", denoiser, selection.backend)
                + stages("vae decoder", decoder, selection.backend))
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
