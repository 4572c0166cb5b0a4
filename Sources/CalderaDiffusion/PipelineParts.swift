import CalderaGraph
import CalderaModels
import CalderaText

/// One text encoder of a pipeline: its network, its weights, its tokenizer.
package struct TextEncoderPart {
    package let name: String
    package let model: CLIPText
    package let weights: any WeightSource
    package let tokenizer: CLIPTokenizer

    package init(name: String, model: CLIPText, weights: any WeightSource, tokenizer: CLIPTokenizer) {
        self.name = name
        self.model = model
        self.weights = weights
        self.tokenizer = tokenizer
    }

    /// The same encoder with textual-inversion embeddings: `weights` are its own with a token table that has a row for
    /// every id of `tokens`, and no more. Throws as `CLIPTokenizer.adding` does.
    package func adding(_ tokens: [TextualInversionToken], weights: any WeightSource) throws -> TextEncoderPart {
        let ids = tokens.flatMap(\.ids).map { Int($0) + 1 }
        let config = model.config.with(vocabularySize: max(model.config.vocabularySize, ids.max() ?? 0))
        return TextEncoderPart(
            name: name, model: CLIPText(config, prefix: model.prefix), weights: weights,
            tokenizer: try tokenizer.adding(tokens))
    }
}

/// What a text-to-image pipeline is made of, whatever files it came from.
package struct PipelineParts {
    package enum Family: Sendable {
        /// SD 1.x and 2.x: one encoder, its last hidden state behind the final layer norm.
        case stableDiffusion
        /// SDXL: the penultimate states of its encoders side by side, a pooled embedding, time ids. Its refiner has one
        /// encoder, the second.
        case stableDiffusionXL

        /// The hidden state that the UNet was trained with.
        package var hiddenState: CLIPText.HiddenState {
            switch self {
            case .stableDiffusion: .last
            case .stableDiffusionXL: .penultimate
            }
        }
    }

    package let family: Family
    package let encoders: [TextEncoderPart]
    package let unet: UNet
    package let unetWeights: any WeightSource
    package let autoencoder: any Autoencoder
    package let autoencoderWeights: any WeightSource
    package let scheduler: SchedulerConfig
    /// Whether an absent negative prompt is zeros rather than the encoded empty prompt.
    package let forceZerosForEmptyPrompt: Bool
    /// Whether the UNet is told an aesthetic score in place of a target size, as SDXL's refiner is.
    package let requiresAestheticsScore: Bool

    package init(
        family: Family, encoders: [TextEncoderPart], unet: UNet, unetWeights: any WeightSource,
        autoencoder: any Autoencoder, autoencoderWeights: any WeightSource, scheduler: SchedulerConfig,
        forceZerosForEmptyPrompt: Bool, requiresAestheticsScore: Bool = false
    ) {
        self.family = family
        self.encoders = encoders
        self.unet = unet
        self.unetWeights = unetWeights
        self.autoencoder = autoencoder
        self.autoencoderWeights = autoencoderWeights
        self.scheduler = scheduler
        self.forceZerosForEmptyPrompt = forceZerosForEmptyPrompt
        self.requiresAestheticsScore = requiresAestheticsScore
    }

    /// Throws when the encoders' widths are not those that the UNet was made for.
    package func checkFit() throws {
        let width = encoders.reduce(0) { $0 + $1.model.config.hiddenSize }
        let wanted = unet.config.crossAttentionChannels
        guard width == wanted else {
            throw CalderaError(
                "The text encoders give \(width) channels where the UNet's cross_attention_dim is \(wanted): "
                    + "these parts belong to different models.")
        }
        let latents = autoencoder.latentChannels
        guard unet.config.outChannels == latents, unet.config.inChannels == latents || takesMask else {
            throw CalderaError(
                "The UNet takes \(unet.config.inChannels) and gives \(unet.config.outChannels) channels where the "
                    + "autoencoder has \(latents): these parts belong to different models.")
        }
        if family == .stableDiffusionXL, encoders.last?.model.config.projection == nil || !unet.config.addsTextTime {
            throw CalderaError(
                "An SDXL pipeline needs a CLIPTextModelWithProjection and a UNet with addition_embed_type text_time.")
        }
    }

    /// Throws when latents of this model are not the other's.
    func checkHandover(to refiner: PipelineParts) throws {
        guard refiner.requiresAestheticsScore else {
            throw CalderaError.usage("The refiner is no refiner: name an SDXL refiner with --refiner.")
        }
        let (mine, its) = (autoencoder, refiner.autoencoder)
        guard family == .stableDiffusionXL, mine.latentChannels == its.latentChannels, mine.downscale == its.downscale
        else {
            throw CalderaError(
                "The refiner cannot go on with this model's latents: it refines those of SDXL base models only.")
        }
    }

    /// Whether the UNet takes a mask and the latents of the masked picture beside its own (inpainting models).
    package var takesMask: Bool { unet.config.inChannels == 2 * autoencoder.latentChannels + 1 }

    /// Guidance costs a second evaluation: at a scale of 1 or below diffusers leaves it out, and a UNet that was distilled
    /// with guidance is told the scale instead.
    func guides(_ request: PipelineRequest) -> Bool {
        request.guidanceScale > 1 && unet.config.timeConditionChannels == nil
    }

    /// The rows of time ids for the negative prompt and for the prompt; empty for SD 1.x and 2.x.
    func timeIDs(_ request: PipelineRequest) -> (negative: [Float], positive: [Float]) {
        guard unet.config.addsTextTime else { return ([], []) }
        let picture = SizeConditioning.Extent(height: request.height, width: request.width)
        func row(negative: Bool) -> [Float] {
            request.sizes.timeIDs(picture: picture, scored: requiresAestheticsScore, negative: negative)
        }
        return (row(negative: true), row(negative: false))
    }

    /// The same parts with another autoencoder.
    package func replacing(autoencoder: any Autoencoder, weights: any WeightSource) -> PipelineParts {
        PipelineParts(
            family: family, encoders: encoders, unet: unet, unetWeights: unetWeights, autoencoder: autoencoder,
            autoencoderWeights: weights, scheduler: scheduler, forceZerosForEmptyPrompt: forceZerosForEmptyPrompt,
            requiresAestheticsScore: requiresAestheticsScore)
    }

    /// The same parts with another scheduler configuration.
    package func replacing(scheduler: SchedulerConfig) -> PipelineParts {
        PipelineParts(
            family: family, encoders: encoders, unet: unet, unetWeights: unetWeights, autoencoder: autoencoder,
            autoencoderWeights: autoencoderWeights, scheduler: scheduler,
            forceZerosForEmptyPrompt: forceZerosForEmptyPrompt, requiresAestheticsScore: requiresAestheticsScore)
    }
}
