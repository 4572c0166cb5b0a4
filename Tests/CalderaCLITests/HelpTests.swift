import CalderaTestSupport
import Testing

@Suite("Help and version")
struct HelpTests {
    @Test(
        "Each command's help exits with 0 and names every flag",
        arguments: [
            ([], ["generate", "devices", "inspect", "explain", "convert", "--version"]),
            (
                ["generate"],
                [
                    "<prompt>", "--negative-prompt", "--model", "--variant", "--width", "--height", "--steps",
                    "--guidance-scale", "--seed", "--count", "--scheduler", "--device", "--precision", "--output",
                    "--save-latents", "--json", "--verbose",
                ]
            ),
            (
                ["generate"],
                [
                    "PROMPT:", "MODEL:", "ADAPTERS:", "REFINER:", "SAMPLING:", "PICTURE:", "DEVICE:", "OUTPUT:",
                    "--prompt-syntax", "--clip-skip", "--lora-folder", "--prediction", "--config", "--vae",
                    "--embedding", "--lora ", "--lora-allow-partial", "--refiner ", "--refiner-start",
                    "--guidance-rescale", "--eta", "--timesteps", "--sigmas", "--rng", "--variation-seed",
                    "--variation-strength", "--init-image", "--mask", "--strength", "--original-size", "--crop",
                    "--target-size", "--aesthetic-score", "--negative-aesthetic-score", "--vae-tiling", "--max-memory",
                    "--tune",
                    "--preview ", "--preview-output",
                ]
            ),
            (
                ["convert"],
                [
                    "<in>", "<out>", "--dtype", "--variant", "--prediction", "--config", "--lora ",
                    "--lora-allow-partial", "--json",
                ]
            ),
            (["devices"], ["--json", "--verbose"]),
            (
                ["inspect"],
                [
                    "<path>", "--variant", "--prediction", "--config", "--device", "--width", "--height", "--json",
                    "--verbose",
                ]
            ),
            (
                ["explain"],
                ["--model", "--variant", "--width", "--height", "--device", "--precision", "--json", "--verbose"]
            ),
        ] as [([String], [String])])
    func help(command: [String], mentions: [String]) throws {
        let outcome = try Program.run(command + ["--help"])
        #expect(outcome.status == 0)
        #expect(outcome.error.isEmpty)
        for text in mentions { #expect(outcome.output.contains(text), "\(text)") }
    }

    @Test("Every option of generate says its default")
    func defaults() throws {
        let help = try Program.run(["generate", "--help"]).output
        let words = help.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        let descriptions = words.components(separatedBy: " --").dropFirst().filter { !$0.hasPrefix("version") }
        // A switch has no value: it is off unless given.
        let options = descriptions.filter { $0.contains("<") }
        #expect(options.count == 44)
        for option in options { #expect(option.contains("(default: "), "\(option)") }
    }

    @Test("The program alone prints the help")
    func noArguments() throws {
        let outcome = try Program.run([])
        #expect(outcome.status == 0)
        #expect(outcome.output.contains("SUBCOMMANDS"))
    }

    @Test("--version prints one line")
    func version() throws {
        let outcome = try Program.run(["--version"])
        #expect(outcome.status == 0)
        #expect(outcome.lines.count == 1)
        #expect(outcome.output.hasPrefix("caldera "))
    }
}
