import Caldera
import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import CalderaModels
import CalderaTestSupport
import Foundation

/// A family of the golden fixtures, or some networks alone: its configs, its weights, and what diffusers computed with them.
struct GoldenModel {
    let name: String
    let golden: GoldenFile
    private let tiny: TinyModel

    static let embedded = "embedded"
    static let fixtures = TestPaths.repository.appending(path: "Tests/CalderaModelsTests/Fixtures/models")

    init(_ name: String) throws {
        self.name = name
        tiny = TinyModel(GoldenModel.fixtures.appending(path: name))
        golden = try tiny.golden()
    }

    /// Networks without a pipeline, which `Tools/goldens/networks.py` makes.
    init(network name: String) throws {
        self.name = name
        tiny = TinyModel(TestPaths.fixture("networks/\(name)", of: "CalderaModelsTests"))
        golden = try tiny.golden()
    }

    /// The folder that holds configs: the fixture's own, or the embedded model's.
    private var configs: URL { name == GoldenModel.embedded ? TestPaths.embeddedModel : tiny.description }

    func config(_ part: String) throws -> JSONConfig {
        try JSONConfig(contentsOf: configs.appending(path: "\(part)/config.json").path)
    }

    func has(_ part: String) -> Bool {
        FileManager.default.fileExists(atPath: configs.appending(path: "\(part)/config.json").path)
    }

    func weights(_ part: String) throws -> any WeightSource {
        let weights: any WeightSource =
            name == GoldenModel.embedded
            ? try ModelFolder(TestPaths.embeddedModel.path).weights(part) : try tiny.weights(part)
        return part == "vae" ? RenamedWeights.autoencoder(weights) : weights
    }

    func holds(_ tensor: String) -> Bool { golden.names(startingWith: tensor).contains(tensor) }

    /// Whole runs of the pipeline that the fixture holds.
    func runs() throws -> [GoldenRuns.Run] { try tiny.runs().cases }

    /// Calls `body` with the opened model.
    func withParts(_ body: (PipelineParts) throws -> Void) throws {
        try withFolder { folder in try body(ModelLoader.open(ModelOptions(model: folder)).parts) }
    }

    /// The same for a family that need not have goldens of its own.
    static func withParts(of family: String, _ body: (PipelineParts) throws -> Void) throws {
        let temporary = try TemporaryFolder()
        let folder = temporary.url.appending(path: family)
        try TinyModel(fixtures.appending(path: family)).write(to: folder, embeddedModel: TestPaths.embeddedModel)
        try body(ModelLoader.open(ModelOptions(model: folder.path)).parts)
    }

    /// Calls `body` with the path of a complete model folder, made for the call where the fixture is only a description.
    func withFolder(_ body: (String) throws -> Void) throws {
        if name == GoldenModel.embedded { return try body(TestPaths.embeddedModel.path) }
        let temporary = try TemporaryFolder()
        let folder = temporary.url.appending(path: name)
        try tiny.write(to: folder, embeddedModel: TestPaths.embeddedModel)
        try body(folder.path)
    }
}

/// Runs one part of a model on a backend, with the golden's inputs, and gives the relative error of each output.
struct GoldenRun {
    let model: GoldenModel
    let backend: any Backend
    let dtype: DType

    func textEncoder(_ part: String) throws -> [String: Double] {
        let config = try CLIPTextConfig(model.config(part))
        let weights = try model.weights(part)
        let prefix = weights.info("text_model.final_layer_norm.weight") == nil ? "" : "text_model"
        let ids = try model.golden.tensor("\(part).ids")
        guard case .int(let values) = ids.values else { throw CalderaError("\(part).ids are not integers.") }
        let tokens = ids.shape[1]
        let ends = (0..<ids.shape[0]).map { row in
            Int32(config.endOfTextPosition(Array(values[row * tokens..<(row + 1) * tokens])))
        }
        let graph = Graph(dtype: dtype)
        let output = try CLIPText(config, prefix: prefix)(
            graph, ids: graph.input("ids", ids.shape, .int32),
            endOfText: graph.input("ends", [ids.shape[0]], .int32))
        graph.output("last_hidden_state", output.lastHiddenState)
        graph.output("penultimate", output.penultimate)
        if let embeds = output.textEmbeds { graph.output("text_embeds", embeds) }
        let inputs = ["ids": ids, "ends": HostTensor([ids.shape[0]], ends)]
        return try errors(graph, weights, inputs) { "\(part).\($0)" }
    }

    /// `group` is `unet` or `unet_odd`.
    func unet(_ group: String) throws -> Double {
        let unet = UNet(try UNetConfig(model.config("unet")))
        let sample = try model.golden.channelsLast("\(group).sample")
        let context = try model.golden.tensor("\(group).context")
        var inputs = [
            "sample": sample, "context": context,
            // The golden's timestep is the second of two, so that a table of steps in another order would show.
            "timesteps": HostTensor([2], try [17] + model.golden.tensor("\(group).timestep").floats),
            "step": HostTensor([1], [Int32(1)]),
        ]
        let graph = Graph(dtype: dtype)
        var added: UNet.AddedConditioning?
        if unet.config.addsTextTime {
            let embeds = try model.golden.tensor("\(group).text_embeds")
            let ids = try model.golden.tensor("\(group).time_ids")
            inputs["embeds"] = embeds
            inputs["time_ids"] = HostTensor([ids.shape.count], ids.floats)
            added = UNet.AddedConditioning(
                textEmbeds: graph.input("embeds", embeds.shape, dtype),
                timeIDs: graph.input("time_ids", [ids.shape.count], .float32))
        }
        var condition: Tensor?
        if model.holds("\(group).timestep_cond") {
            let values = try model.golden.tensor("\(group).timestep_cond")
            inputs["timestep_cond"] = values
            condition = graph.input("timestep_cond", values.shape, dtype)
        }
        let conditioning = UNet.Conditioning(
            timesteps: graph.input("timesteps", [2], .float32), step: graph.state("step", [1], .int32),
            context: graph.input("context", context.shape, dtype), added: added, timestepCondition: condition)
        let output = try unet(graph, sample: graph.input("sample", sample.shape, dtype), conditioning)
        graph.output("output", output)
        return try errors(graph, model.weights("unet"), inputs) { "\(group).\($0)" }["output"] ?? .infinity
    }

    func decoder(_ group: String) throws -> Double {
        let autoencoder = try makeAutoencoder(model.config("vae"))
        let latents = try model.golden.channelsLast("\(group).latents")
        let graph = Graph(dtype: dtype)
        graph.output(
            "decoded", try autoencoder.decode(graph, latents: graph.input("latents", latents.shape, dtype)))
        return try errors(graph, model.weights("vae"), ["latents": latents]) { "\(group).\($0)" }["decoded"]
            ?? .infinity
    }

    func encoder(_ group: String) throws -> Double {
        let autoencoder = try makeAutoencoder(model.config("vae"))
        let image = try model.golden.channelsLast("\(group).image")
        let graph = Graph(dtype: dtype)
        let output = autoencoder.encoding == .moments ? "moments" : "encoded"
        graph.output(output, try autoencoder.encode(graph, picture: graph.input("image", image.shape, dtype)))
        return try errors(graph, model.weights("vae"), ["image": image]) { "\(group).\($0)" }[output] ?? .infinity
    }

    /// Runs both stages and compares every output with the golden of the name that `golden` gives it.
    private func errors(
        _ graph: Graph, _ weights: any WeightSource, _ inputs: [String: HostTensor], golden: (String) -> String
    ) throws -> [String: Double] {
        let plan = try Planner.plan(graph, limits: backend.limits)
        try plan.check(weights, part: model.name)
        let executable = try backend.compile(plan, weights: weights)
        for (name, tensor) in inputs { try executable.write(name, tensor) }
        try executable.run(.prompt)
        if !plan.stepNodes.isEmpty { try executable.run(.step) }
        var errors: [String: Double] = [:]
        for port in plan.outputs {
            let reference = try model.golden.tensor(golden(port.name))
            let expected = reference.shape.rank == 4 ? reference.channelsLast() : reference
            errors[port.name] = relativeL2(try executable.read(port.name), expected)
        }
        return errors
    }
}
