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
    package let autoencoder: AutoencoderKL
    package let autoencoderWeights: any WeightSource
    package let scheduler: SchedulerConfig
    /// Whether an absent negative prompt is zeros rather than the encoded empty prompt.
    package let forceZerosForEmptyPrompt: Bool

    package init(
        family: Family, encoders: [TextEncoderPart], unet: UNet, unetWeights: any WeightSource,
        autoencoder: AutoencoderKL, autoencoderWeights: any WeightSource, scheduler: SchedulerConfig,
        forceZerosForEmptyPrompt: Bool
    ) {
        self.family = family
        self.encoders = encoders
        self.unet = unet
        self.unetWeights = unetWeights
        self.autoencoder = autoencoder
        self.autoencoderWeights = autoencoderWeights
        self.scheduler = scheduler
        self.forceZerosForEmptyPrompt = forceZerosForEmptyPrompt
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
        guard unet.config.inChannels == autoencoder.config.latentChannels,
            unet.config.outChannels == unet.config.inChannels
        else {
            throw CalderaError(
                "The UNet takes \(unet.config.inChannels) and gives \(unet.config.outChannels) channels where the "
                    + "autoencoder has \(autoencoder.config.latentChannels): this is no text-to-image model.")
        }
        if family == .stableDiffusionXL, encoders.last?.model.config.projection == nil || !unet.config.addsTextTime {
            throw CalderaError(
                "An SDXL pipeline needs a CLIPTextModelWithProjection and a UNet with addition_embed_type text_time.")
        }
    }
}
