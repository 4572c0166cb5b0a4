import Caldera
import CalderaFormats
import CalderaGraph
import CalderaModels
import Foundation

/// The models that can be measured without their files.
package enum BenchmarkArchitecture: String, CaseIterable, Sendable {
    case sd15
    case sd21
    case sdxl
    case refiner
    /// The autoencoder of the Stable Diffusion models alone.
    case vae

    var checkpoint: CheckpointArchitecture {
        switch self {
        case .sd15, .vae: .stableDiffusion1
        case .sd21: .stableDiffusion2
        case .sdxl: .stableDiffusionXL
        case .refiner: .stableDiffusionXLRefiner
        }
    }
}

/// Published models with random weights.
package enum BenchmarkModel {
    /// Opens a model; every tensor that its networks name is there, in its shape.
    /// Throws `CalderaError` when Caldera's resources are not there.
    package static func open(_ architecture: BenchmarkArchitecture) throws -> LoadedModel {
        let source = try PublishedModel(
            architecture.checkpoint, tokenizers: URL(fileURLWithPath: EmbeddedModel.path()), weights: weights)
        return try ModelLoader.open(source)
    }

    /// Random weights for all that a component's network names.
    private static func weights(_ component: String, _ config: JSONConfig) throws -> any WeightSource {
        let graph = Graph(dtype: .float32)
        switch component {
        case "unet": try addUNet(UNet(UNetConfig(config)), to: graph)
        case "vae": try addAutoencoder(makeAutoencoder(config), to: graph)
        default: try addEncoder(CLIPText(CLIPTextConfig(config)), to: graph)
        }
        return RandomWeights(graph.weights)
    }

    // Shapes of weights do not depend on those of pictures: the smallest serve.

    private static func addUNet(_ unet: UNet, to graph: Graph) throws {
        let config = unet.config
        let side = 1 << config.blockChannels.count
        let added = config.addsTextTime ? try addedConditioning(config, graph) : nil
        let condition = config.timeConditionChannels.map { graph.input("guidance", [1, $0], graph.dtype) }
        let conditioning = UNet.Conditioning(
            timesteps: graph.input("timesteps", [1], .float32), step: graph.state("step", [1], .int32),
            context: graph.input("context", [1, 77, config.crossAttentionChannels], graph.dtype), added: added,
            timestepCondition: condition)
        let sample = graph.input("sample", [1, side, side, config.inChannels], graph.dtype)
        _ = try unet(graph, sample: sample, conditioning)
    }

    /// The pooled embedding of SDXL's second encoder has 1280 channels; what is left is six time ids, for the refiner five.
    private static func addedConditioning(_ config: UNetConfig, _ graph: Graph) throws -> UNet.AddedConditioning {
        let pooled = 1280
        let ids = (config.addedInputChannels - pooled) / config.additionTimeChannels
        return UNet.AddedConditioning(
            textEmbeds: graph.input("text_embeds", [1, pooled], graph.dtype),
            timeIDs: graph.input("time_ids", [ids], .float32))
    }

    private static func addAutoencoder(_ autoencoder: any Autoencoder, to graph: Graph) throws {
        let side = 2 * autoencoder.downscale
        let latents = graph.input("latents", [1, 2, 2, autoencoder.latentChannels], graph.dtype)
        _ = try autoencoder.decode(graph, latents: latents)
        _ = try autoencoder.encode(graph, picture: graph.input("picture", [1, side, side, 3], graph.dtype))
    }

    private static func addEncoder(_ encoder: CLIPText, to graph: Graph) throws {
        let endOfText = encoder.config.projection.map { _ in graph.input("end_of_text", [1], .int32) }
        let ids = graph.input("ids", [1, encoder.config.positions], .int32)
        _ = try encoder(graph, ids: ids, endOfText: endOfText)
    }
}
