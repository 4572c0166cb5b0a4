import CalderaGraph
import Foundation

/// What kind of model a single file holds, found from the names and shapes of its tensors.
///
/// The tests and their order are those of diffusers' `infer_diffusers_model_type`. What the tensors cannot tell (SD2's
/// prediction type, whether SDXL's network is Playground v2) is taken from the name of the file where that says it.
package struct CheckpointRecognition: Sendable {
    package let architecture: CheckpointArchitecture
    package let prediction: CheckpointPrediction
    /// Whether the betas are to be rescaled so that the last step has no signal (the marker `ztsnr`).
    package let hasZeroTerminalSNR: Bool
    /// Height and width of the latents where they are not the architecture's own.
    package let sampleSize: Int?
    /// The `global_step` of SD 2.0 base, by which diffusers tells it from the models that predict v.
    static let baseStep = 875_000

    /// One sentence: what the file was recognised as, and by which tensor.
    package let reason: String

    /// - Parameters:
    ///   - weights: the whole file.
    ///   - path: its path, for messages; the file's name may settle what the tensors leave open.
    ///   - prediction: what a person says that the model predicts; nil to find out.
    ///   - configs: a model whose configs say what the file is, where its shapes are no published model's.
    /// Throws `CalderaError` when the file is no such model, saying what it looks like.
    package init(
        _ weights: any WeightSource, path: String, prediction: CheckpointPrediction? = nil,
        configs: (any ModelSource)? = nil
    ) throws {
        let evidence = Evidence(weights, path)
        let (layout, cause) = try configs.map(evidence.layout) ?? evidence.layout()
        let channels = try evidence.inputChannels()
        let (predicted, predictionCause) = evidence.prediction(layout, channels, asked: prediction)
        architecture = try evidence.architecture(layout, channels, predicted)
        self.prediction = predicted
        hasZeroTerminalSNR = evidence.has("ztsnr")
        sampleSize = architecture == .playground2 ? evidence.sizeInName.map { $0 / 8 } : nil
        let mask = channels == 9 ? ", and its first convolution takes 9 channels" : ""
        reason = "recognised as \(architecture.title) because \(cause)\(mask)\(predictionCause)"
    }
}

/// The tensors that tell architectures apart.
private struct Evidence {
    private static let unet = CheckpointLayout.unet
    private static let firstConvolution = unet + "input_blocks.0.0.weight"
    private static let crossAttention = unet + "input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
    private static let labels = unet + "label_emb.0.0.weight"
    private static let secondEncoder = "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias"
    private static let onlyEncoder = "conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias"

    private let weights: any WeightSource
    private let path: String
    private let names: Set<String>
    /// The file's name, without the folders above it.
    private let fileName: String

    init(_ weights: any WeightSource, _ path: String) {
        self.weights = weights
        self.path = path
        names = Set(weights.names)
        fileName = URL(fileURLWithPath: path).lastPathComponent.lowercased()
    }

    func has(_ name: String) -> Bool { names.contains(name) }

    /// The last extent of a matrix.
    private func width(_ name: String) -> Int? { weights.info(name)?.shape.extents.last }

    private func shape(_ name: String) -> String { "\(name) has the shape \(weights.info(name)?.shape ?? [])" }

    func layout() throws -> (CheckpointLayout, cause: String) {
        guard has(Self.firstConvolution) else { throw UnknownCheckpoint.error(path, names) }
        switch width(Self.crossAttention) {
        case 1024: return (.stableDiffusion2, shape(Self.crossAttention))
        case 768: return (.stableDiffusion1, shape(Self.crossAttention))
        default: break
        }
        if has(Self.secondEncoder) { return (.stableDiffusionXL, "it has \(Self.secondEncoder)") }
        if has(Self.onlyEncoder) { return (.stableDiffusionXLRefiner, "it has \(Self.onlyEncoder)") }
        // Files without text encoders: the width of the pooled text and of the size ids tells.
        switch width(Self.labels) {
        case 2816: return (.stableDiffusionXL, shape(Self.labels))
        case 2560: return (.stableDiffusionXLRefiner, shape(Self.labels))
        default: throw UnknownCheckpoint.error(path, names)
        }
    }

    /// The layout of a model of that kind, whatever its widths.
    func layout(as model: any ModelSource) throws -> (CheckpointLayout, cause: String) {
        guard has(Self.firstConvolution) else { throw UnknownCheckpoint.error(path, names) }
        if let layout = try CheckpointLayout(of: model) { return (layout, "the configs of \(model.path) are such") }
        throw CalderaError("\(model.path) is a \(model.className), whose configs fit no checkpoint file.")
    }

    func inputChannels() throws -> Int {
        guard let shape = weights.info(Self.firstConvolution)?.shape, shape.rank == 4 else {
            // A type that graphs do not know says so when its bytes are asked for.
            try weights.withBytes(Self.firstConvolution) { _ in }
            throw CalderaError("\(path): \(Self.firstConvolution) is no convolution: the file is damaged.")
        }
        return shape[1]
    }

    func architecture(
        _ layout: CheckpointLayout, _ channels: Int, _ prediction: CheckpointPrediction
    ) throws -> CheckpointArchitecture {
        switch (layout, channels) {
        case (.stableDiffusion1, 4): return .stableDiffusion1
        case (.stableDiffusion1, 9): return .stableDiffusion1Inpainting
        case (.stableDiffusion2, 4): return prediction == .velocity ? .stableDiffusion2 : .stableDiffusion2Base
        case (.stableDiffusion2, 9): return .stableDiffusion2Inpainting
        case (.stableDiffusionXL, 9): return .stableDiffusionXLInpainting
        case (.stableDiffusionXL, 4):
            if has("edm_mean") { return .playground25 }
            return saysPlayground2 ? .playground2 : .stableDiffusionXL
        case (.stableDiffusionXLRefiner, 4): return .stableDiffusionXLRefiner
        default:
            throw CalderaError(
                "\(path): \(shape(Self.firstConvolution)), so its UNet takes \(channels) channels; Caldera runs those "
                    + "that take 4 (text to image) or 9 (inpainting).")
        }
    }

    /// What the model predicts, and how that is known, as the end of a sentence.
    func prediction(
        _ layout: CheckpointLayout, _ channels: Int, asked: CheckpointPrediction?
    ) -> (CheckpointPrediction, cause: String) {
        if let asked { return (asked, "; \(asked.rawValue) as asked for") }
        if has("v_pred") { return (.velocity, "; v_prediction because it has v_pred") }
        guard layout == .stableDiffusion2, channels == 4 else { return (.epsilon, "") }
        if globalStep == CheckpointRecognition.baseStep {
            return (.epsilon, "; epsilon because global_step is \(CheckpointRecognition.baseStep)")
        }
        if fileName.contains("512"), !fileName.contains("768") {
            return (.epsilon, "; epsilon because the file's name says 512")
        }
        return (.velocity, "; v_prediction as no tensor tells (--prediction epsilon if its pictures are noise)")
    }

    /// The number of training steps.
    private var globalStep: Int? {
        let name = "global_step"
        return (weights as? SafetensorsFile)?.integer(name) ?? (weights as? PickleFile)?.integers[name]
    }

    private var saysPlayground2: Bool { PlaygroundName.isMeant(by: fileName) }

    /// The picture size that the file's name says ("playground-v2-512px-base").
    var sizeInName: Int? { [256, 512].first { fileName.contains("\($0)px") } }
}
