import CalderaGraph
import Foundation

/// The scales of a PEFT adapter, which its tensors do not tell: `lora_alpha`, the exceptions in `alpha_pattern`, and
/// whether the scale is alpha / sqrt(rank) (`use_rslora`; Kalajdzievski 2023) instead of alpha / rank.
///
/// diffusers writes them into the file's metadata as JSON with a prefix for each component (`unet.lora_alpha`), PEFT
/// itself into `adapter_config.json` beside the weights, without a prefix.
struct PEFTSettings: Sendable {
    static let metadataKey = "lora_adapter_metadata"

    private let values: JSONConfig?

    /// Throws when the metadata has such settings and they are no JSON object.
    init(metadata: [String: String], path: String) throws {
        values = try metadata[Self.metadataKey].map { text in
            try JSONConfig(Data(text.utf8), path: "\(path) (\(Self.metadataKey))")
        }
    }

    /// Reads the `adapter_config.json` that stands beside the file, where there is one.
    init(besideFile path: String) throws {
        let config = URL(fileURLWithPath: path).deletingLastPathComponent().appending(path: "adapter_config.json").path
        values = FileManager.default.fileExists(atPath: config) ? try JSONConfig(contentsOf: config) : nil
    }

    var isEmpty: Bool { values == nil }

    /// The scale of a module's delta, or nil where the settings do not say.
    func scale(of module: String, component: AdapterComponent, rank: Int) throws -> Double? {
        guard let values, let prefix = prefix(component, values) else { return nil }
        let alpha = try pattern("\(prefix)alpha_pattern", module) ?? values.double("\(prefix)lora_alpha")
        let isStabilized = try values.bool("\(prefix)use_rslora", default: false)
        return isStabilized ? alpha / Double(rank).squareRoot() : alpha / Double(rank)
    }

    private func prefix(_ component: AdapterComponent, _ values: JSONConfig) -> String? {
        let named: String? =
            switch component {
            case .unet: "unet."
            case .firstText, .onlyText: "text_encoder."
            case .secondText: "text_encoder_2."
            case .unnamed: nil
            }
        return [named, ""].compactMap(\.self).first { values.has("\($0)lora_alpha") }
    }

    /// The first pattern, in the order in which both libraries write them, that fits the end of the module's path:
    /// PEFT's `get_pattern_key`.
    private func pattern(_ key: String, _ module: String) throws -> Double? {
        guard let values, values.has(key) else { return nil }
        let patterns = try values.object(key)
        let found = patterns.keys.first { Self.fits($0, module) }
        return try found.map { try patterns.double($0) }
    }

    private static func fits(_ pattern: String, _ module: String) -> Bool {
        if module == pattern || module.hasSuffix(".\(pattern)") { return true }
        guard let expression = try? Regex("(.*\\.)?(\(pattern))") else { return false }
        return (try? expression.wholeMatch(in: module)) != nil
    }
}
