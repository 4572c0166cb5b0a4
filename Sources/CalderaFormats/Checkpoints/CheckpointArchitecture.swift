/// The kinds of model that a single file can hold. The raw value is the folder of its configs in Caldera's resources.
package enum CheckpointArchitecture: String, Sendable, CaseIterable {
    case stableDiffusion1 = "sd1"
    case stableDiffusion1Inpainting = "sd1-inpainting"
    /// SD 2.x at 768 pixels, which predicts v.
    case stableDiffusion2 = "sd2"
    /// SD 2.x at 512 pixels, which predicts the noise.
    case stableDiffusion2Base = "sd2-base"
    case stableDiffusion2Inpainting = "sd2-inpainting"
    case stableDiffusionXL = "sdxl"
    case stableDiffusionXLInpainting = "sdxl-inpainting"
    case stableDiffusionXLRefiner = "sdxl-refiner"
    /// SDXL's network, trained anew.
    case playground2 = "playground-v2"
    /// SDXL's network with EDM's preconditioning (Karras et al. 2022) and normalised latents.
    case playground25 = "playground-v2.5"

    /// What a person calls it.
    package var title: String {
        switch self {
        case .stableDiffusion1: "Stable Diffusion 1.x"
        case .stableDiffusion1Inpainting: "Stable Diffusion 1.x for inpainting"
        case .stableDiffusion2: "Stable Diffusion 2.x at 768 pixels"
        case .stableDiffusion2Base: "Stable Diffusion 2.x base"
        case .stableDiffusion2Inpainting: "Stable Diffusion 2.x for inpainting"
        case .stableDiffusionXL: "Stable Diffusion XL"
        case .stableDiffusionXLInpainting: "Stable Diffusion XL for inpainting"
        case .stableDiffusionXLRefiner: "Stable Diffusion XL refiner"
        case .playground2: "Playground v2"
        case .playground25: "Playground v2.5"
        }
    }

    /// The class of diffusers that runs it.
    var pipeline: String {
        switch self {
        case .stableDiffusion1, .stableDiffusion2, .stableDiffusion2Base: "StableDiffusionPipeline"
        case .stableDiffusion1Inpainting, .stableDiffusion2Inpainting: "StableDiffusionInpaintPipeline"
        case .stableDiffusionXL, .playground2, .playground25: "StableDiffusionXLPipeline"
        case .stableDiffusionXLInpainting: "StableDiffusionXLInpaintPipeline"
        case .stableDiffusionXLRefiner: "StableDiffusionXLImg2ImgPipeline"
        }
    }

    var layout: CheckpointLayout {
        switch self {
        case .stableDiffusion1, .stableDiffusion1Inpainting: .stableDiffusion1
        case .stableDiffusion2, .stableDiffusion2Base, .stableDiffusion2Inpainting: .stableDiffusion2
        case .stableDiffusionXL, .stableDiffusionXLInpainting, .playground2, .playground25: .stableDiffusionXL
        case .stableDiffusionXLRefiner: .stableDiffusionXLRefiner
        }
    }

    /// The folders of Caldera's resources that hold its configs: what a variant does not have is its base's.
    var configFolders: [String] {
        switch self {
        case .stableDiffusion1, .stableDiffusion2, .stableDiffusionXL, .stableDiffusionXLRefiner: [rawValue]
        case .stableDiffusion1Inpainting: [rawValue, CheckpointArchitecture.stableDiffusion1.rawValue]
        case .stableDiffusion2Base: [rawValue, CheckpointArchitecture.stableDiffusion2.rawValue]
        case .stableDiffusion2Inpainting:
            [rawValue] + CheckpointArchitecture.stableDiffusion2Base.configFolders
        case .stableDiffusionXLInpainting, .playground2, .playground25:
            [rawValue, CheckpointArchitecture.stableDiffusionXL.rawValue]
        }
    }

    /// Settings of the pipeline, as `model_index.json` writes them.
    var flags: [String: Bool] {
        switch layout {
        case .stableDiffusion1, .stableDiffusion2: ["requires_safety_checker": false]
        case .stableDiffusionXL: ["force_zeros_for_empty_prompt": true]
        case .stableDiffusionXLRefiner: ["force_zeros_for_empty_prompt": false, "requires_aesthetics_score": true]
        }
    }
}

/// Where the parts of a model are in a single file, and which tokenizers they need.
enum CheckpointLayout: Sendable {
    case stableDiffusion1
    case stableDiffusion2
    case stableDiffusionXL
    case stableDiffusionXLRefiner

    /// What stands before the original names of the UNet.
    static let unet = "model.diffusion_model."
    /// What stands before those of the autoencoder; written is the first.
    static let autoencoder = ["first_stage_model.", "vae."]

    /// A text encoder of the model.
    struct TextEncoder: Sendable {
        /// diffusers' name: `text_encoder`, `text_encoder_2`.
        let component: String
        /// What stands before its original names, up to the class that names them.
        let stem: String
        /// Whether it is written in OpenCLIP's names, otherwise in transformers'.
        let isOpenCLIP: Bool
        /// The tokenizer to it: a folder of those that Caldera ships. They differ in the token that fills up a prompt:
        /// "<|endoftext|>" in `tokenizer`, "!" in `tokenizer_2`.
        let tokenizer: String

        /// What stands before transformers' and before OpenCLIP's names.
        var transformersPrefix: String { stem + "transformer." }
        var openCLIPPrefix: String { stem + "model." }
        /// diffusers' name of its tokenizer.
        var tokenizerComponent: String { "tokenizer" + component.dropFirst("text_encoder".count) }
        /// Its class in transformers.
        var hasProjection: Bool { component == "text_encoder_2" }
    }

    /// The layout of a single file that holds this model; nil for a kind that has none. Throws `CalderaError` where its
    /// configs are broken.
    init?(of model: any ModelSource) throws {
        switch model.className {
        case "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline":
            // OpenCLIP's towers have the exact GELU, OpenAI's the quick one.
            let activation = try model.config("text_encoder").string("hidden_act", default: "quick_gelu")
            self = activation == "gelu" ? .stableDiffusion2 : .stableDiffusion1
        case "StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline":
            self = model.components["text_encoder"] == nil ? .stableDiffusionXLRefiner : .stableDiffusionXL
        default:
            return nil
        }
    }

    var textEncoders: [TextEncoder] {
        switch self {
        case .stableDiffusion1: [Self.openAI("text_encoder", "cond_stage_model.")]
        case .stableDiffusion2: [Self.openCLIP("text_encoder", "cond_stage_model.")]
        case .stableDiffusionXL:
            [
                Self.openAI("text_encoder", "conditioner.embedders.0."),
                Self.openCLIP("text_encoder_2", "conditioner.embedders.1."),
            ]
        case .stableDiffusionXLRefiner: [Self.openCLIP("text_encoder_2", "conditioner.embedders.0.")]
        }
    }

    private static func openAI(_ component: String, _ stem: String) -> TextEncoder {
        TextEncoder(component: component, stem: stem, isOpenCLIP: false, tokenizer: "tokenizer")
    }

    private static func openCLIP(_ component: String, _ stem: String) -> TextEncoder {
        TextEncoder(component: component, stem: stem, isOpenCLIP: true, tokenizer: "tokenizer_2")
    }
}

/// What a model was trained to predict, as `prediction_type` spells it.
public enum CheckpointPrediction: String, Sendable, CaseIterable {
    case epsilon
    case velocity = "v_prediction"
}
