import CalderaGraph

/// What `model_index.json` says of a model.
enum ModelIndex {
    /// The version of diffusers whose layout this is: the first that reads every part of it.
    private static let version = "0.27.0"
    /// Components that pipelines of diffusers know and that Caldera's models do without.
    private static let optional = [
        "StableDiffusionPipeline": ["safety_checker", "feature_extractor", "image_encoder"],
        "StableDiffusionInpaintPipeline": ["safety_checker", "feature_extractor", "image_encoder"],
        "StableDiffusionXLPipeline": ["feature_extractor", "image_encoder"],
        "StableDiffusionXLInpaintPipeline": ["feature_extractor", "image_encoder"],
        "StableDiffusionXLImg2ImgPipeline": ["text_encoder", "tokenizer", "feature_extractor", "image_encoder"],
    ]

    static func config(
        _ className: String, _ components: [String: ModelFolder.Component], flags: [String: Bool], path: String
    ) -> JSONConfig {
        var values: [String: JSONValue] = ["_class_name": .string(className), "_diffusers_version": .string(version)]
        for name in optional[className] ?? [] { values[name] = .array([.null, .null]) }
        for (name, component) in components {
            values[name] = .array([.string(component.library), .string(component.className)])
        }
        for (name, flag) in flags { values[name] = .bool(flag) }
        return JSONConfig(values, path: path)
    }
}
