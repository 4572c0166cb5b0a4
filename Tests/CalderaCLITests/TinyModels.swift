import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation

/// Models, adapters and pictures for runs of the program.
extension TemporaryFolder {
    /// Writes the tiny model of that family (a folder of `Fixtures/models`) under its name and returns its path.
    func tiny(_ family: String) throws -> String {
        let model = TinyModel(TestPaths.fixture("models/\(family)", of: "CalderaModelsTests"))
        try model.write(to: url.appending(path: family), embeddedModel: TestPaths.embeddedModel)
        return path(family)
    }

    /// Writes a tiny TAESD, whose pictures are four times as large as its latents, and returns its folder.
    func tinyAutoencoder() throws -> String {
        let source = TestPaths.fixture("networks/taesd/vae", of: "CalderaModelsTests")
        let weights = try DeterministicWeights(manifest: source.appending(path: "weights.json"))
        try write("taesd/config.json", Data(contentsOf: source.appending(path: "config.json")))
        let tensors = try weights.names.compactMap { name in
            try weights.info(name).map {
                SafetensorsWriter.Tensor(name, HostTensor($0.shape, try weights.values(name)))
            }
        }
        try SafetensorsWriter.write(tensors, to: path("taesd/diffusion_pytorch_model.safetensors"))
        return path("taesd")
    }

    /// Writes a picture of one colour left and another right.
    func picture(_ name: String, width: Int, height: Int, left: UInt8, right: UInt8) throws -> String {
        let pixels = (0..<width * height).flatMap { pixel in
            [UInt8](repeating: pixel % width < width / 2 ? left : right, count: 3)
        }
        try PNGFile.write(PNGPicture(width: width, height: height, rgb: pixels), to: path(name))
        return path(name)
    }

    /// The samples of a picture in this folder.
    func pixels(_ name: String) throws -> [UInt8] { try PNGFile.read(path(name)).rgb }
}

/// The LoRA that was trained for the embedded model.
enum TrainedAdapter {
    static let safetensors = fixture("thick_outline.safetensors")
    /// The same tensors as PyTorch writes them.
    static let pickle = fixture("thick_outline.pt")

    private static func fixture(_ name: String) -> String {
        TestPaths.fixture(name, of: "CalderaAdaptersTests").path
    }
}

extension Program {
    /// A picture of 64x64 by two steps on the processor, unless the arguments say otherwise.
    static func draw(_ arguments: [String], in folder: TemporaryFolder) throws -> Outcome {
        var all = ["generate"] + arguments
        func add(_ option: String, _ value: String, unless others: [String] = []) {
            if !([option] + others).contains(where: arguments.contains) { all += [option, value] }
        }
        add("--device", "cpu")
        add("--seed", "1")
        add("--steps", "2", unless: ["--sigmas", "--timesteps"])
        add("--width", "64", unless: ["--init-image"])
        add("--height", "64", unless: ["--init-image"])
        return try run(all, in: folder)
    }

    /// The samples of the picture that such a run draws. Throws where it fails.
    static func pixels(_ arguments: [String], in folder: TemporaryFolder) throws -> [UInt8] {
        let name = "pixels.png"
        let outcome = try draw(arguments + ["--output", name], in: folder)
        guard outcome.status == 0 else { throw CalderaError("The run failed: \(outcome.error)") }
        return try folder.pixels(name)
    }
}

/// The mean of the differences of samples.
func meanDifference(_ first: some Collection<UInt8>, _ second: some Collection<UInt8>) -> Double {
    let sum = zip(first, second).reduce(0) { $0 + abs(Int($1.0) - Int($1.1)) }
    return Double(sum) / Double(max(first.count, 1))
}
