import CalderaGraph
import Foundation

/// A published model without its files: its configs come with Caldera, its weights from whoever makes some up.
package struct PublishedModel: ModelSource {
    package let path: String
    package let className: String
    package let components: [String: ModelFolder.Component]
    package let index: JSONConfig
    package let note: String
    private let configs: PublishedConfigs
    private let encoders: [CheckpointLayout.TextEncoder]
    private let tokenizers: URL
    private let makeWeights: @Sendable (_ component: String, _ config: JSONConfig) throws -> any WeightSource

    /// - Parameters:
    ///   - tokenizers: a folder that holds the CLIP tokenizers `tokenizer` and `tokenizer_2`.
    ///   - weights: makes a component's weights, in the names of diffusers and transformers.
    /// Throws `CalderaError` when Caldera's resources are not there.
    package init(
        _ architecture: CheckpointArchitecture, tokenizers: URL,
        weights: @escaping @Sendable (_ component: String, _ config: JSONConfig) throws -> any WeightSource
    ) throws {
        path = architecture.title
        className = architecture.pipeline
        note = "the published configs of \(architecture.title)"
        configs = try PublishedConfigs(architecture)
        encoders = architecture.layout.textEncoders
        self.tokenizers = tokenizers
        makeWeights = weights
        var components = [
            "unet": ModelFolder.Component(library: "diffusers", className: "UNet2DConditionModel"),
            "vae": ModelFolder.Component(library: "diffusers", className: "AutoencoderKL"),
            "scheduler": ModelFolder.Component(
                library: "diffusers", className: try configs.config("scheduler").string("_class_name")),
        ]
        for encoder in encoders {
            let name = encoder.hasProjection ? "CLIPTextModelWithProjection" : "CLIPTextModel"
            components[encoder.component] = ModelFolder.Component(library: "transformers", className: name)
            components[encoder.tokenizerComponent] = ModelFolder.Component(
                library: "transformers", className: "CLIPTokenizer")
        }
        self.components = components
        index = ModelIndex.config(className, components, flags: architecture.flags, path: path)
    }

    package var name: String { path }

    package func config(_ component: String) throws -> JSONConfig { try configs.config(component) }

    package func weights(_ component: String) throws -> any WeightSource {
        try makeWeights(component, config(component))
    }

    package func tokenizer(_ component: String) throws -> URL {
        let encoder = encoders.first { $0.tokenizerComponent == component }
        return tokenizers.appendingPathComponent(encoder?.tokenizer ?? component)
    }

    package func settings() throws -> JSONConfig { try configs.settings() }
}
