import CalderaGraph

/// What a file of weights looks like that is no model which Caldera knows.
enum UnknownCheckpoint {
    /// One sentence for a person who gave this file as a model.
    static func error(_ path: String, _ names: Set<String>) -> CalderaError {
        guard let kind = kinds.first(where: { kind in names.contains { kind.matches($0) } }) else {
            let sample = names.sorted().first.map { " (it has \($0))" } ?? " (it holds no tensor)"
            return CalderaError(
                "\(path) is no Stable Diffusion 1.x, 2.x or XL checkpoint that Caldera knows\(sample): name a diffusers "
                    + "folder or a checkpoint in the original key names.")
        }
        return CalderaError("\(path) is not a whole model but looks like \(kind.title): \(kind.remedy).")
    }

    private struct Kind {
        let title: String
        let remedy: String
        let matches: @Sendable (String) -> Bool

        /// - Parameter marks: a name of the file that contains one of these is of this kind.
        init(_ title: String, _ remedy: String, marks: String...) {
            self.title = title
            self.remedy = remedy
            matches = { name in marks.contains { name.contains($0) } }
        }

        /// - Parameter prefixes: a name of the file that begins with one of these is of this kind.
        init(_ title: String, _ remedy: String, prefixes: String...) {
            self.title = title
            self.remedy = remedy
            matches = { name in prefixes.contains { name.hasPrefix($0) } }
        }
    }

    private static let otherModel = "Caldera does not run that architecture"

    /// In the order of asking: adapters first, since they carry the names of the modules that they change.
    private static let kinds = [
        Kind(
            "a LoRA", "name a base model, and the LoRA with --lora",
            marks: "lora_down", "lora_up", "lora_A", "lora_B", "lora.down", "lora.up", "hada_w1", "lokr_w", "dora_scale"
        ),
        Kind(
            "a textual-inversion embedding", "name a model, and the embedding beside it",
            prefixes: "emb_params", "string_to_param", "clip_l", "clip_g", "<"),
        Kind(
            "a ControlNet", "Caldera does not run those; name a model",
            prefixes: "control_model.", "controlnet_", "input_hint_block."),
        Kind("a Flux model", otherModel, marks: "double_blocks."),
        Kind("a Stable Diffusion 3 model", otherModel, marks: "joint_blocks."),
        Kind("the EMA weights alone", "download the whole checkpoint", prefixes: "model_ema."),
        Kind(
            "a UNet of another architecture", "Caldera runs those of Stable Diffusion 1.x, 2.x and XL",
            prefixes: "model.diffusion_model."),
        Kind(
            "a UNet alone", "name the whole checkpoint or the diffusers folder that it belongs to",
            prefixes: "input_blocks.", "down_blocks.", "unet."),
        Kind(
            "an autoencoder (VAE) alone", "name a model, and this file with --vae",
            prefixes: "first_stage_model.", "vae.", "encoder.conv_in.", "decoder.conv_in.", "encoder.down",
            "decoder.up",
            "post_quant_conv."),
        Kind(
            "a small autoencoder (TAESD)", "name a model, and this file with --vae",
            prefixes: "decoder.layers.", "encoder.layers.", "decoder.1.", "taesd_"),
        Kind(
            "a text encoder alone", "name the whole checkpoint or the diffusers folder that it belongs to",
            prefixes: "text_model.", "cond_stage_model.", "conditioner.", "transformer.resblocks.", "text_projection"),
    ]
}
