import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import CalderaModels
import CalderaText
import Foundation

/// Opens an autoencoder: a model's own, or another from a file or a folder.
struct AutoencoderLoader {
    let autoencoder: any Autoencoder
    let weights: any WeightSource

    /// - Parameters:
    ///   - source: the model whose own autoencoder is meant, and whose config describes one that comes as a bare file.
    ///   - path: another autoencoder: the folder of one, a model folder with a `vae`, a checkpoint, or a bare file,
    ///     TAESD's included.
    /// Throws `CalderaError` when there is none, or it is of a kind that Caldera does not compute.
    init(source: any ModelSource, path: String?) throws {
        guard let path else {
            try self.init(source.config("vae"), RenamedWeights.autoencoder(source.weights("vae")))
            return
        }
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw CalderaError("There is no autoencoder at \(path): name a folder or a file.")
        }
        if isFolder.boolValue {
            try self.init(folder: path)
        } else {
            try self.init(file: path, config: source.config("vae"))
        }
    }

    private init(_ config: JSONConfig, _ weights: any WeightSource) throws {
        autoencoder = try makeAutoencoder(config)
        self.weights = weights
    }

    /// A component's own folder, or a whole model's.
    private init(folder path: String) throws {
        let url = URL(fileURLWithPath: path)
        if FileManager.default.fileExists(atPath: url.appendingPathComponent("model_index.json").path) {
            let model = try ModelFolder(path)
            try self.init(model.config("vae"), RenamedWeights.autoencoder(model.weights("vae")))
            return
        }
        let configPath = url.appendingPathComponent("config.json").path
        guard FileManager.default.fileExists(atPath: configPath) else {
            throw CalderaError(
                "\(path) holds no autoencoder: it has neither a config.json nor a model_index.json; name the folder of one."
            )
        }
        let config = try JSONConfig(contentsOf: configPath)
        try self.init(config, RenamedWeights.autoencoder(WeightFile.open(folder: path)))
    }

    private init(file path: String, config: JSONConfig) throws {
        let file = try WeightFile.open(path)
        let tiny = RenamedWeights.tinyAutoencoder(file)
        func has(_ half: String) -> Bool { tiny.names.contains { $0.hasPrefix("\(half).layers.") } }
        if has("encoder"), !has("decoder") {
            throw CalderaError(
                "\(path) is the encoder of a TAESD alone: name the file of its decoder, or a folder of both.")
        }
        if has("decoder") {
            try self.init(JSONConfig(["_class_name": .string("AutoencoderTiny")], path: path), tiny)
            return
        }
        let prefix =
            ["first_stage_model.", "vae."].first { prefix in file.names.contains { $0.hasPrefix(prefix) } } ?? ""
        let weights = RenamedWeights.autoencoder(file, prefix: prefix)
        guard weights.info("decoder.conv_in.weight") != nil else {
            throw CalderaError("\(path) holds no autoencoder: it has no decoder.conv_in.")
        }
        try self.init(config, weights)
    }
}

/// Makes a text encoder out of its files, with embeddings added to its vocabulary.
struct TextEncoderLoader {
    let name: String
    let config: CLIPTextConfig
    let weights: SwitchableWeights
    let tokenizer: CLIPTokenizer

    /// Every embedding goes to the encoder of its width. Throws where one has no vectors for this encoder's.
    func part(with embeddings: [EmbeddingFile]) throws -> TextEncoderPart {
        let prefix = weights.info("text_model.final_layer_norm.weight") == nil ? "" : "text_model"
        guard !embeddings.isEmpty else {
            return TextEncoderPart(
                name: name, model: CLIPText(config, prefix: prefix), weights: weights, tokenizer: tokenizer)
        }
        let vectors = try embeddings.map { try $0.vectors(forWidth: config.hiddenSize, encoderName: name) }
        let extended = try ExtendedEmbeddings(weights, vectors: vectors)
        var next = Int32(extended.firstToken)
        let tokens = zip(embeddings, vectors).map { file, vectors in
            let ids = (0..<Int32(vectors.shape[0])).map { next + $0 }
            next += Int32(vectors.shape[0])
            return TextualInversionToken(trigger: file.name, ids: ids)
        }
        return TextEncoderPart(
            name: name, model: CLIPText(config.with(vocabularySize: Int(next)), prefix: prefix), weights: extended,
            tokenizer: try tokenizer.adding(tokens))
    }
}
