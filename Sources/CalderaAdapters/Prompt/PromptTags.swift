import CalderaGraph
import Foundation

/// A prompt and the adapters that its tags ask for, as AUTOMATIC1111's web UI reads them: every `<KIND:...>` is taken
/// out, whatever its kind, and leaves nothing behind.
///
/// `<lora:NAME>`, `<lora:NAME:WEIGHT>`, `<lora:NAME:TEXT:UNET>`, or named: `<lora:NAME:te=0.5:unet=1>`. `lyco` means
/// the same. Without weights both are 1; a UNet weight that is not given is that of the text encoders.
public struct PromptTags: Sendable, Hashable {
    /// The prompt without its tags.
    public let prompt: String
    /// The adapters in the order of their tags.
    public let adapters: [AdapterSpec]
    /// Tags of kinds that are unknown, which the web UI passes over too: worth a warning.
    public let ignored: [String]

    /// Throws a usage error for a tag whose weights are no numbers, and for settings that are not supported.
    public init(_ text: String) throws {
        var adapters: [AdapterSpec] = []
        var ignored: [String] = []
        for tag in text.matches(of: Self.tag) {
            guard ["lora", "lyco"].contains(tag.output.kind) else {
                ignored.append(String(tag.output.0))
                continue
            }
            adapters.append(try Self.adapter(tag.output.arguments, String(tag.output.0)))
        }
        prompt = text.replacing(Self.tag, with: "")
        self.adapters = adapters
        self.ignored = ignored
    }

    // Regex is not Sendable, so it is made each time.
    private static var tag: Regex<(Substring, kind: Substring, arguments: Substring)> {
        /<(?<kind>\w+):(?<arguments>[^>]+)>/.matchingSemantics(.unicodeScalar)
    }

    private static func adapter(_ arguments: Substring, _ tag: String) throws -> AdapterSpec {
        var positional: [String] = []
        var named: [String: String] = [:]
        for argument in arguments.split(separator: ":", omittingEmptySubsequences: false) {
            let pair = argument.split(separator: "=", omittingEmptySubsequences: false)
            if pair.count == 2 {
                named[String(pair[0])] = String(pair[1])
            } else {
                positional.append(String(argument))
            }
        }
        guard let name = positional.first, !name.isEmpty else {
            throw CalderaError.usage("The tag \(tag) has no name: write <lora:NAME:WEIGHT>.")
        }
        guard positional.count <= 3, named["dyn"] == nil else {
            throw CalderaError.usage(
                "The tag \(tag) asks for a lower rank (dyn), which is not supported: leave it out.")
        }
        let text = try weight(named["te"] ?? positional.dropFirst().first, default: 1, tag)
        let unet = try weight(named["unet"] ?? positional.dropFirst(2).first, default: text, tag)
        return AdapterSpec(name, textWeight: text, unetWeight: unet)
    }

    private static func weight(_ text: String?, default fallback: Double, _ tag: String) throws -> Double {
        guard let text else { return fallback }
        // As Python's `float`, which takes spaces.
        guard let weight = AdapterSpec.weight(text.trimmingCharacters(in: .whitespaces)) else {
            throw CalderaError.usage("The tag \(tag) has the weight \"\(text)\", which is no number.")
        }
        return weight
    }
}
