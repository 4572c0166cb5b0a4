import CalderaFormats
import CalderaTestSupport
import Foundation
import Testing

@Suite("Sampling options of generate")
struct SamplingTests {
    @Test(
        "A scheduler goes by the class of diffusers, the web UI's label and a short name",
        arguments: [
            ("DPMSolverMultistepScheduler", "DPMSolverMultistepScheduler"),
            ("DPM++ 2M SDE Karras", "DPMSolverMultistepScheduler"),
            ("dpmpp_2m_karras", "DPMSolverMultistepScheduler"),
            ("Euler a", "EulerAncestralDiscreteScheduler"),
            ("unipc", "UniPCMultistepScheduler"),
            ("LCM", "LCMScheduler"),
            ("HeunDiscreteScheduler", "HeunDiscreteScheduler"),
        ])
    func schedulers(name: String, className: String) throws {
        let folder = try TemporaryFolder()
        let outcome = try Program.draw(
            ["x", "--model", folder.tiny("sd15"), "--scheduler", name, "--json"], in: folder)
        #expect(outcome.status == 0, "\(outcome.error)")
        #expect(try outcome.json()["scheduler"] as? String == className)
    }

    /// Options, what they are in the report, and whether they change the picture.
    private struct Case {
        let arguments: [String]
        let key: String
        let value: String
        var changes = true
    }

    @Test("Each option reaches the picture and the report")
    func options() throws {
        let folder = try TemporaryFolder()
        let prompt = ["a (red:1.4) [circle]", "--model", try folder.tiny("sd15")]
        let plain = try Program.pixels(prompt, in: folder)
        for option in Self.cases {
            let outcome = try Program.draw(prompt + option.arguments + ["--json", "--output", "with.png"], in: folder)
            #expect(outcome.status == 0, "\(outcome.error)")
            let value = try #require(try outcome.json()[option.key])
            #expect("\(value)" == option.value, "\(option.arguments)")
            #expect((try folder.pixels("with.png") != plain) == option.changes, "\(option.arguments)")
        }
    }

    private static let cases = [
        Case(arguments: ["--clip-skip", "2"], key: "clip_skip", value: "2"),
        Case(arguments: ["--guidance-rescale", "0.7"], key: "guidance_rescale", value: "0.7"),
        Case(arguments: ["--guidance-rescale", "0"], key: "guidance_rescale", value: "0", changes: false),
        Case(arguments: ["--guidance-scale", "1"], key: "guidance_scale", value: "1"),
        Case(
            arguments: ["--variation-seed", "9", "--variation-strength", "0.3"], key: "variation_seed", value: "9"),
        Case(
            arguments: ["--variation-seed", "9", "--variation-strength", "0"], key: "variation_strength",
            value: "0", changes: false),
        Case(arguments: ["--prompt-syntax", "webui"], key: "prompt_syntax", value: "webui"),
        Case(arguments: ["--negative-prompt", "blue"], key: "negative_prompt", value: "blue"),
        Case(arguments: ["--rng", "cuda"], key: "rng", value: "cuda"),
        Case(arguments: ["--scheduler", "ddim", "--eta", "0.5"], key: "eta", value: "0.5"),
        Case(
            arguments: ["--scheduler", "euler", "--sigmas", "12,3"], key: "sigmas", value: "[12, 3]"),
        Case(
            arguments: ["--scheduler", "euler", "--timesteps", "900,300"], key: "timesteps",
            value: "[900, 300]"),
        Case(arguments: ["--prediction", "v_prediction"], key: "prediction", value: "v_prediction"),
        Case(arguments: ["--vae-tiling", "off"], key: "vae_tiling", value: "off", changes: false),
    ]

    @Test("A list of noise levels may end in 0")
    func finalZero() throws {
        let folder = try TemporaryFolder()
        let run = ["x", "--model", try folder.tiny("sd15"), "--scheduler", "euler", "--sigmas"]
        let levels = try Program.pixels(run + ["14.6,3,0.5"], in: folder)
        #expect(try Program.pixels(run + ["14.6, 3, 0.5, 0"], in: folder) == levels)
    }

    @Test("Sizes that SDXL is told change its pictures")
    func sizes() throws {
        let folder = try TemporaryFolder()
        let prompt = ["x", "--model", try folder.tiny("sdxl")]
        let plain = try Program.pixels(prompt, in: folder)
        for option in [["--original-size", "640x480"], ["--crop", "0,128"], ["--target-size", "1024x768"]] {
            #expect(try Program.pixels(prompt + option, in: folder) != plain, "\(option)")
        }
        #expect(try Program.pixels(prompt + ["--original-size", "64x64", "--crop", "0,0"], in: folder) == plain)
    }

    @Test("Each warning is one line on the standard error, and in the report")
    func warnings() throws {
        let folder = try TemporaryFolder()
        let outcome = try Program.draw(
            ["x <hypernet:h:1>", "--model", folder.tiny("sd15"), "--count", "2", "--json"], in: folder)
        #expect(outcome.status == 0)
        let lines = outcome.error.split(separator: "\n").filter { $0.contains("warning") }
        #expect(lines.count == 1)
        #expect(lines.first?.hasPrefix("caldera: warning: ") == true)
        #expect(lines.first?.contains("<hypernet:h:1>") == true)
        let reported = try #require(try outcome.json()["warnings"] as? [String])
        #expect(reported.count == 1 && reported.first?.contains("<hypernet:h:1>") == true)
    }
}
