import CalderaGraph

/// What a single file says of sampling, as tensors: their names are marks, their values seldom count.
enum CheckpointMarks {
    /// `v_pred` and `ztsnr` (models that predict v, without signal at the last step), `global_step` (SD2 models that
    /// predict the noise, which diffusers knows by it), `edm_mean` and `edm_std` (Playground v2.5).
    static func tensors(
        _ source: any ModelSource, _ layout: CheckpointLayout
    ) throws -> [SafetensorsWriter.StreamedTensor] {
        var tensors: [SafetensorsWriter.StreamedTensor] = []
        let scheduler = try source.config("scheduler")
        let prediction = try scheduler.string("prediction_type", default: CheckpointPrediction.epsilon.rawValue)
        switch (CheckpointPrediction(rawValue: prediction), layout) {
        case (.velocity, .stableDiffusion2): break
        case (.velocity, _): tensors.append(tensor("v_pred", []))
        case (.epsilon, .stableDiffusion2): tensors.append(baseStep)
        case (.epsilon, _): break
        case (nil, _):
            throw CalderaError(
                "\(source.path): single files cannot say that a model predicts \(prediction): keep the folder.")
        }
        if try scheduler.bool("rescale_betas_zero_snr", default: false) { tensors.append(tensor("ztsnr", [])) }
        let vae = try source.config("vae")
        for (key, name) in [("latents_mean", "edm_mean"), ("latents_std", "edm_std")] where vae.has(key) {
            tensors.append(tensor(name, try vae.doubles(key).map(Float.init)))
        }
        return tensors
    }

    /// The training step of SD 2.0 base.
    private static var baseStep: SafetensorsWriter.StreamedTensor {
        SafetensorsWriter.StreamedTensor("global_step", dtype: .int32, shape: []) { append in
            let step = CheckpointRecognition.baseStep
            try withUnsafeBytes(of: Int32(step).littleEndian, append)
        }
    }

    private static func tensor(_ name: String, _ values: [Float]) -> SafetensorsWriter.StreamedTensor {
        SafetensorsWriter.StreamedTensor(name, dtype: .float32, shape: [values.count]) { append in
            try values.withUnsafeBytes(append)
        }
    }
}
