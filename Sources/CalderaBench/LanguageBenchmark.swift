import Caldera
import CalderaGPU
import CalderaGraph
import CalderaLanguage
import CalderaModels

/// The language models that can be measured without their files.
package enum LanguageArchitecture: String, CaseIterable, Sendable {
    case tipo500m = "tipo-500m"
    case tipo200m = "tipo-200m"

    /// As KBlueLeaf's model cards and files have it: 508 and 203 million parameters.
    private var extents: (hidden: Int, intermediate: Int, heads: Int) {
        switch self {
        case .tipo500m: (1280, 3840, 20)
        case .tipo200m: (768, 2304, 12)
        }
    }

    func config() throws -> LlamaConfig {
        let (hidden, intermediate, heads) = extents
        let values: [String: JSONValue] = [
            "vocab_size": .int(32013), "hidden_size": .int(hidden), "intermediate_size": .int(intermediate),
            "num_hidden_layers": .int(20), "num_attention_heads": .int(heads), "max_position_embeddings": .int(2048),
            "rms_norm_eps": .double(1e-5), "eos_token_id": .int(2),
        ]
        return try LlamaConfig(JSONConfig(values, path: rawValue))
    }
}

/// What `caldera bench language` measures.
package struct LanguageReport: Codable, Sendable {
    package let format: String
    package let environment: BenchmarkEnvironment
    package let architecture: String
    /// Texts side by side.
    package let batch: Int
    package let promptTokens: Int
    package let tokens: Int
    /// Planning, weights (made up, packed, sent), kernels and recordings.
    package let compileSeconds: Double
    /// All tokens of the prompts, up to the logits behind the last.
    package let promptSeconds: Spread
    /// One more token of each text: the pass, and its choice on the host.
    package let tokenSeconds: Spread
    /// Weights that a pass for one token reads: all but the token table, unless that is the last layer's too.
    package let weightBytesPerToken: Int
    /// By the median of `tokenSeconds`.
    package let bytesPerSecond: Double
    /// What copying reaches on the device, reads and writes counted.
    package let copyBytesPerSecond: Double
    package let peakDeviceBytes: Int
    package let peakHostBytes: Int

    package static let format = "caldera.bench.language.1"
}

/// Measures a language model with random weights as it reads a prompt and writes tokens.
package struct LanguageBenchmark {
    package struct Options: Sendable {
        package var architecture: LanguageArchitecture
        package var batch = 1
        package var promptTokens = 64
        /// Tokens to measure; one more is written before them.
        package var tokens = 64
        package var repeats = 3
        package var device = DeviceChoice.auto
        package var precision: Precision?
        /// Device bytes.
        package var memoryLimit: Int?
        /// As it was typed.
        package var command: [String] = []

        package init(_ architecture: LanguageArchitecture) { self.architecture = architecture }
    }

    private let options: Options
    private let config: LlamaConfig
    private let backend: any Backend
    private let precision: Precision

    /// Opens the device. Throws a usage error for texts beyond the model's context, and as `DeviceSelection` does.
    package init(_ options: Options) throws {
        self.options = options
        config = try options.architecture.config()
        guard options.promptTokens < config.positions, options.tokens < config.positions - options.promptTokens else {
            throw CalderaError.usage(
                "\(options.promptTokens) tokens of a prompt and \(options.tokens) more are beyond the model's "
                    + "\(config.positions): choose fewer.")
        }
        let selection = try DeviceSelection(options.device, precision: options.precision)
        backend = selection.backend
        backend.memoryLimit = options.memoryLimit
        precision = selection.precision
    }

    /// Throws what planning, compiling and running throw.
    package func run() throws -> LanguageReport {
        let model = Llama(config)
        let chunk = min(64, options.promptTokens)
        let weights = try LanguagePlan.graph(model, precision, batch: 1, context: chunk, chunk: chunk).weights
        let table = weights.map(\.name).first { $0.hasSuffix("embed_tokens.weight") }
        let (compileSeconds, plan) = try timed {
            try LanguagePlan(
                model, weights: RandomWeights(weights, holding: table), backend: backend, precision: precision,
                batch: options.batch,
                context: config.positions, chunk: chunk)
        }
        let prompts = (0..<options.batch).map { row in
            (0..<options.promptTokens).map { Int32(($0 * 131 + row * 17 + 3) % config.vocabularySize) }
        }
        _ = try plan.begin(prompts)
        let reading = try (0..<options.repeats).map { _ in try timed { try plan.begin(prompts) }.seconds }
        let writing = try write(plan, prompts)
        guard let promptSeconds = Spread(reading), let tokenSeconds = Spread(writing) else {
            throw CalderaError.usage("There is nothing to measure: ask for a token and a repeat at least.")
        }
        let bytes = weights.filter { config.isTied || $0.name != table }
            .reduce(0) { $0 + $1.shape.count * precision.dtype.size }
        return LanguageReport(
            format: LanguageReport.format,
            environment: BenchmarkEnvironment(device: backend.name, precision: precision, command: options.command),
            architecture: options.architecture.rawValue, batch: options.batch, promptTokens: options.promptTokens,
            tokens: options.tokens, compileSeconds: compileSeconds, promptSeconds: promptSeconds,
            tokenSeconds: tokenSeconds, weightBytesPerToken: bytes,
            bytesPerSecond: Double(bytes) / tokenSeconds.median,
            copyBytesPerSecond: try DeviceCeilings.copyBytesPerSecond(backend), peakDeviceBytes: backend.peakMemory,
            peakHostBytes: HostMemory.peak)
    }

    /// Seconds of each token behind the first; the texts do not end before.
    private func write(_ plan: LanguagePlan, _ prompts: [[Int32]]) throws -> [Double] {
        var sampling = TokenSampling()
        sampling.minNewTokens = options.tokens + 1
        var samplers = prompts.enumerated().map {
            TokenSampler(sampling, prompt: $1, endOfText: [2], seed: UInt64($0))
        }
        var logits = try plan.begin(prompts)
        let active = Array(prompts.indices)
        return try (0...options.tokens).map { step in
            try timed {
                let next = active.map { (id: samplers[$0].next(logits[$0]), position: prompts[$0].count + step) }
                logits = try plan.step(next, active: active)
            }.seconds
        }.suffix(options.tokens)
    }
}

extension DeviceCeilings {
    /// The best rate at which a backend's device copies memory, reads and writes counted.
    static func copyBytesPerSecond(_ backend: any Backend) throws -> Double {
        if let vulkan = backend as? VulkanBackend { return try vulkan.measureCopies() }
        return hostCopies()
    }
}
