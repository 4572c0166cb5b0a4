import Caldera
import CalderaCPU
import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import CalderaModels
import CalderaTestSupport
import CalderaText
import Foundation
import Testing

/// Rules that hold of every run: batches, seeds, guidance, prompts that change on the way.
@Suite(.serialized) struct PipelineRuleTests {
    private func pipeline(_ parts: PipelineParts) throws -> DiffusionPipeline {
        try DiffusionPipeline(parts: parts, backend: CPUBackend(), precision: .fp32)
    }

    enum Start: String, CaseIterable { case noise, picture, mask }

    /// What the order of a sum may change: oneDNN chooses a product's kernel by its size, on some processors another
    /// one for a batch than for its entries.
    private static let otherOrder = 1e-5

    @Test(
        "A batch has its pictures as they are made alone", arguments: Start.allCases,
        ["euler_a", "ddim", "dpmpp_sde", "lcm", "dpmpp_2m_sde"])
    func batch(start: Start, scheduler: String) throws {
        try GoldenModel.withParts(of: "sd15") { parts in
            let pipeline = try pipeline(parts)
            func run(_ seeds: [UInt64]) throws -> PipelineResult {
                var request = PipelineRequest.small(seeds: seeds, scheduler: scheduler)
                request.steps = 4
                request.eta = 1
                if start != .noise {
                    request.source = SourcePicture(
                        picture: .scene(height: 48, width: 64), mask: start == .mask ? Self.mask : nil, strength: 0.6)
                }
                return try pipeline.run(request)
            }
            let together = try run([3, 9, 4])
            let alone = try [3, 9, 4].map { try run([$0]) }
            let stacked = (HostTensor.stacked(alone.map(\.latents)), HostTensor.stacked(alone.map(\.pictures)))
            #expect(relativeL2(together.latents, stacked.0) < Self.otherOrder)
            #expect(relativeL2(together.pictures, stacked.1) < Self.otherOrder)
            #expect(alone[0].latents != alone[1].latents)
        }
    }

    @Test("An inpainting UNet too") func batchOfAnInpaintingModel() throws {
        try GoldenModel.withParts(of: "sd15_inpaint") { parts in
            let pipeline = try pipeline(parts)
            func run(_ seeds: [UInt64]) throws -> HostTensor {
                var request = PipelineRequest.small(seeds: seeds, scheduler: "euler_a")
                request.source = SourcePicture(picture: .scene(height: 48, width: 64), mask: Self.mask, strength: 1)
                return try pipeline.run(request).latents
            }
            let alone = try HostTensor.stacked([run([3]), run([9])])
            #expect(try relativeL2(run([3, 9]), alone) < Self.otherOrder)
        }
    }

    /// The lower right part.
    private static let mask: HostTensor = {
        let values = (0..<48 * 64).map { index -> Float in index % 64 > 20 && index / 64 > 10 ? 1 : 0 }
        return HostTensor([1, 48, 64, 1], values)
    }()

    @Test("A refiner behind an inpainting UNet puts the whole picture back, not the masked one")
    func refinedInpainting() throws {
        try GoldenModel.withParts(of: "sdxl_inpaint") { parts in
            try GoldenModel.withParts(of: "refiner") { refiner in
                let pipeline = try DiffusionPipeline(
                    parts: parts, refiner: refiner, backend: CPUBackend(), precision: .fp32)
                var request = PipelineRequest.small(scheduler: "euler")
                (request.steps, request.refinerStart) = (10, 0.6)
                let (height, width) = (request.height, request.width)
                let picture = HostTensor.scene(height: height, width: width)
                // The right half is made anew.
                let mask = HostTensor(
                    [1, height, width, 1], (0..<height * width).map { $0 % width < width / 2 ? 0 : Float(1) })
                request.source = SourcePicture(picture: picture, mask: mask, strength: 0.8)
                let result = try pipeline.run(request).latents
                let known = try pipeline.encode(picture, seed: 1)
                func left(_ latents: HostTensor) -> HostTensor {
                    let (columns, channels) = (latents.shape[2], latents.shape[3])
                    let values = latents.floats.enumerated().filter {
                        $0.offset / channels % columns < columns / 2
                    }
                    return HostTensor([values.count], values.map(\.element))
                }
                #expect(relativeL2(left(result), left(known)) < 1e-5)
                #expect(relativeL2(result, known) > 1e-2)
                // From pure noise, where the base model never takes the picture as a whole, it is there to be put back.
                request.source = SourcePicture(picture: picture, mask: mask, strength: 1)
                #expect(try pipeline.run(request).latents.floats.allSatisfy(\.isFinite))
            }
        }
    }

    @Test("Variation seeds at their ends, and in between") func variations() throws {
        try GoldenModel.withParts(of: "sd15") { parts in
            let pipeline = try pipeline(parts)
            func run(_ seed: UInt64, variation: UInt64? = nil, _ strength: Double = 0) throws -> HostTensor {
                var request = PipelineRequest.small(scheduler: "euler")
                request.seeds = PictureSeeds(
                    draws: [
                        .init(seed: seed, variation: variation.map { VariationNoise(seed: $0, strength: strength) })
                    ])
                return try pipeline.run(request).latents
            }
            let (own, other) = (try run(1), try run(2))
            #expect(try run(1, variation: 2, 0) == own)
            let mixed = try run(1, variation: 2, 0.3)
            #expect(mixed != own && mixed != other)
            #expect(try relativeL2(run(1, variation: 2, 1), other) < 1e-5)
        }
    }

    @Test("Philox seeds start from torch's CUDA noise") func philox() throws {
        try GoldenModel.withParts(of: "sd15") { parts in
            let pipeline = try pipeline(parts)
            func run(_ source: RandomSource) throws -> Bits {
                var request = PipelineRequest.small(scheduler: "euler_a")
                request.seeds = PictureSeeds(draws: [.init(seed: 7)], source: source)
                return try pipeline.run(request).latents.bits
            }
            let (cpu, cuda) = (try run(.cpu), try run(.cuda))
            #expect(try run(.cuda) == cuda)
            #expect(cuda != cpu)
        }
    }

    @Test("A guidance rescale of 0 is none, and the smallest one is nearly none") func rescale() throws {
        try GoldenModel.withParts(of: "sd15") { parts in
            let pipeline = try pipeline(parts)
            func run(_ rescale: Double, guidance: Double = 4) throws -> HostTensor {
                var request = PipelineRequest.small(scheduler: "euler")
                request.guidanceScale = guidance
                request.guidanceRescale = rescale
                return try pipeline.run(request).latents
            }
            let plain = try run(0)
            #expect(try relativeL2(run(1e-7), plain) < 1e-5)
            #expect(try run(0.7) != plain)
            // Without guidance there is nothing to rescale.
            let unguided = try run(0, guidance: 1)
            #expect(try run(0.7, guidance: 1) == unguided)
        }
    }

    @Test("No guidance is one evaluation a step") func unguided() throws {
        try GoldenModel.withParts(of: "sd15") { parts in
            let plans = PipelinePlans(parts: parts, precision: .fp32, limits: try CPUBackend().limits)
            var request = PipelineRequest.small(seeds: [1, 2], scheduler: "euler")
            let schedule = try parts.schedule(request)
            #expect(plans.denoising(request, schedule: schedule, pictures: 2).batch == 4)
            request.guidanceScale = 1
            #expect(plans.denoising(request, schedule: schedule, pictures: 2).batch == 2)
        }
    }

    @Test("[a:b:0.5] is the one prompt first and then the other") func editing() throws {
        try GoldenModel.withParts(of: "sd15") { parts in
            func run(
                _ prompt: String, _ syntax: PromptSyntax = .webui,
                beforeStep: ((Int, any Executable) throws -> Void)? = nil
            ) throws -> (latents: HostTensor, contexts: [HostTensor]) {
                let backend = RecordingBackend(try CPUBackend())
                backend.beforeStep = beforeStep
                var request = PipelineRequest.small(prompt: prompt, scheduler: "dpmpp_2m")
                (request.steps, request.promptSyntax) = (4, syntax)
                let pipeline = try DiffusionPipeline(parts: parts, backend: backend, precision: .fp32)
                return (try pipeline.run(request).latents, backend.contexts)
            }
            let edited = try run("[red:green:0.5] circle")
            let (red, green) = (try run("red circle"), try run("green circle"))
            #expect(edited.contexts.count == 2)
            for (context, expected) in zip(edited.contexts, red.contexts + green.contexts) {
                #expect(relativeL2(context, expected) < Self.otherOrder)
            }
            let halves = try run("red circle") { step, executable in
                // The web UI counts evaluations from 0 and changes behind the one that is named.
                guard step == 3 else { return }
                try executable.write("context", green.contexts[0])
                try executable.run(.prompt)
            }
            #expect(relativeL2(edited.latents, halves.latents) < Self.otherOrder)
            #expect(relativeL2(edited.latents, red.latents) > 1e-4)
            #expect(relativeL2(edited.latents, green.latents) > 1e-4)
            // Under plain syntax brackets are text.
            let plain = try run("[red:green:0.5] circle", .plain)
            #expect(plain.contexts.count == 1)
        }
    }

    @Test("Long prompts run under the web UI's syntax", arguments: ["sd15", "sdxl"]) func longPrompts(family: String)
        throws
    {
        try GoldenModel.withParts(of: family) { parts in
            let pipeline = try pipeline(parts)
            var request = PipelineRequest.small(prompt: String(repeating: "red ", count: 100), scheduler: "euler")
            request.promptSyntax = .webui
            let long = try pipeline.run(request)
            #expect(long.warnings.isEmpty)
            request.prompt = String(repeating: "red ", count: 60)
            let short = try pipeline.run(request)
            #expect(long.latents != short.latents)
            #expect(long.latents.floats.allSatisfy { $0.isFinite })
        }
    }
}

/// Folders of Playground v2 want less guidance than SDXL's.
@Suite(.serialized) struct PlaygroundDefaultsTests {
    @Test(
        "Its name is enough, wherever it stands",
        arguments: [
            "playground-v2-1024px-aesthetic", "Playground-v2.5-1024px-aesthetic", "playground_v2",
            "models--playgroundai--playground-v2-512px-base/snapshots/0a1b2c",
        ])
    func folderName(name: String) throws { #expect(try defaults(name).guidanceScale == 3) }

    @Test func configsSayIt() throws {
        #expect(try defaults("model").guidanceScale == 5)
        let origin = #""_name_or_path": "playgroundai/playground-v2-256px-base","#
        #expect(try defaults("model", index: origin).guidanceScale == 3)
        #expect(try defaults("model", unet: origin).guidanceScale == 3)
        #expect(try defaults("model", unet: #""_name_or_path": "stabilityai/sdxl","#).guidanceScale == 5)
    }

    @Test func whatTheFolderSaysItselfCounts() throws {
        #expect(try defaults("playground-v2", settings: #"{"guidance_scale": 4.5}"#).guidanceScale == 4.5)
        let defaults = try defaults("playground-v2", settings: #"{"steps": 12}"#)
        #expect(defaults.guidanceScale == 3 && defaults.steps == 12)
    }

    @Test func anotherArchitectureOfThatNameIsNone() throws {
        #expect(try defaults("playground-v2", family: "sd15").guidanceScale == 7.5)
    }

    private func defaults(
        _ name: String, family: String = "playground", index: String = "", unet: String = "", settings: String? = nil
    ) throws -> ModelDefaults {
        let temporary = try TemporaryFolder()
        let folder = temporary.url.appending(path: name)
        try FileManager.default.createDirectory(
            at: folder.deletingLastPathComponent(), withIntermediateDirectories: true)
        try TinyModel(GoldenModel.fixtures.appending(path: family)).write(
            to: folder, embeddedModel: TestPaths.embeddedModel)
        for (file, line) in [("model_index.json", index), ("unet/config.json", unet)] {
            let url = folder.appending(path: file)
            let text = try String(contentsOf: url, encoding: .utf8)
            try Data(text.replacing("{", with: "{\(line)", maxReplacements: 1).utf8).write(to: url)
        }
        if let settings { try Data(settings.utf8).write(to: folder.appending(path: "caldera.json")) }
        return try ModelLoader.open(ModelOptions(model: folder.path)).defaults
    }
}
