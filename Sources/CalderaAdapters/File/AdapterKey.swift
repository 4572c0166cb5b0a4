/// Which component of a pipeline a module of an adapter belongs to, as far as the file says.
enum AdapterComponent: Hashable {
    case unet
    /// `lora_te_`: the text encoder of a model that has one.
    case onlyText
    case firstText
    case secondText
    /// The file does not say: the oldest diffusers files and what PEFT itself saves.
    case unnamed

    /// The component's names in a model folder, those to be tried first in front.
    func candidates(in model: Set<String>) -> [String] {
        switch self {
        case .unet: ["unet"]
        case .onlyText: model.contains("text_encoder") ? ["text_encoder"] : ["text_encoder_2"]
        case .firstText: ["text_encoder"]
        case .secondText: ["text_encoder_2"]
        case .unnamed: ["unet", "text_encoder", "text_encoder_2"]
        }
    }
}

/// What a tensor is for in its module.
enum AdapterPart: String {
    case down, up, middle, alpha, scale, magnitude, outputMagnitude
    case biasOfUp
    case hadamardFirstA, hadamardFirstB, hadamardSecondA, hadamardSecondB, hadamardFirstCore, hadamardSecondCore
    case kroneckerFirst, kroneckerFirstA, kroneckerFirstB
    case kroneckerSecond, kroneckerSecondA, kroneckerSecondB, kroneckerSecondCore
    case difference, biasDifference, normDifference, normBiasDifference
    /// Parts of methods that are recognised and refused.
    case ia3, glora, orthogonal, sparseBias, kroneckerFirstCore
}

extension AdapterPart {
    /// The method that makes parts of this kind, where it is one that is not merged.
    var refusedMethod: String? {
        switch self {
        case .ia3: "IA3"
        case .glora: "GLoRA"
        case .orthogonal: "orthogonal fine-tuning (OFT)"
        case .sparseBias: "a LoRA extractor that leaves a sparse remainder"
        case .kroneckerFirstCore: "LoKr with a core in its first factor"
        default: nil
        }
    }
}

/// A tensor name of an adapter file, taken apart. The forms are those of kohya's sd-scripts and LyCORIS
/// (`lora_unet_..._to_q.lora_down.weight`), of PEFT (`unet....to_q.lora_A.weight`) and of diffusers before PEFT
/// (`unet....processor.to_q_lora.down.weight`).
struct AdapterKey {
    let component: AdapterComponent
    /// The module's path inside its component, dots as underscores: `down_blocks_1_attentions_0_proj_in`.
    let module: String
    /// The same with the file's own dots, where it has any: what PEFT's patterns are matched with.
    let dottedModule: String
    let part: AdapterPart

    /// Nil for a name that is no part of any known kind of adapter.
    init?(_ key: String) {
        guard let (path, part) = Self.split(key) else { return nil }
        let (component, rest) = Self.component(path)
        dottedModule = Self.withoutProcessor(rest)
        module = dottedModule.replacing(".", with: "_")
        guard !module.isEmpty else { return nil }
        self.component = component
        self.part = part
    }

    private static func split(_ key: String) -> (path: Substring, part: AdapterPart)? {
        if let found = splitPEFT(key) { return found }
        // The longest suffix that fits: ".lora.down.weight" before ".down.weight".
        guard let (suffix, part) = suffixes.first(where: { key.hasSuffix($0.suffix) }) else { return nil }
        return (key.dropLast(suffix.count), part)
    }

    /// `PATH.lora_A.weight`, with the adapter's name between in files that PEFT saved as they were trained:
    /// `PATH.lora_A.default.weight`.
    private static func splitPEFT(_ key: String) -> (path: Substring, part: AdapterPart)? {
        let components = key.split(separator: ".", omittingEmptySubsequences: false)
        let marks = ["lora_A", "lora_B", "lora_magnitude_vector"]
        guard let mark = components.lastIndex(where: { marks.contains(String($0)) }), mark > 0 else { return nil }
        let path = key[..<components[mark - 1].endIndex]
        let rest = components[(mark + 1)...]
        guard rest.count <= 2 else { return nil }
        switch (components[mark], rest.last) {
        case ("lora_A", "weight"): return (path, .down)
        case ("lora_B", "weight"): return (path, .up)
        case ("lora_B", "bias"): return (path, .biasOfUp)
        case ("lora_magnitude_vector", _): return (path, .outputMagnitude)
        default: return nil
        }
    }

    private static let suffixes: [(suffix: String, part: AdapterPart)] = {
        let table: [(String, AdapterPart)] = [
            (".lora_down.weight", .down), (".lora_up.weight", .up), (".lora_mid.weight", .middle),
            (".lora_linear_layer.down.weight", .down), (".lora_linear_layer.up.weight", .up),
            (".lora.down.weight", .down), (".lora.up.weight", .up), (".down.weight", .down), (".up.weight", .up),
            (".alpha", .alpha), (".scale", .scale), (".dora_scale", .magnitude),
            (".hada_w1_a", .hadamardFirstA), (".hada_w1_b", .hadamardFirstB), (".hada_t1", .hadamardFirstCore),
            (".hada_w2_a", .hadamardSecondA), (".hada_w2_b", .hadamardSecondB), (".hada_t2", .hadamardSecondCore),
            (".lokr_w1", .kroneckerFirst), (".lokr_w1_a", .kroneckerFirstA), (".lokr_w1_b", .kroneckerFirstB),
            (".lokr_w2", .kroneckerSecond), (".lokr_w2_a", .kroneckerSecondA), (".lokr_w2_b", .kroneckerSecondB),
            (".lokr_t1", .kroneckerFirstCore), (".lokr_t2", .kroneckerSecondCore),
            (".diff", .difference), (".diff_b", .biasDifference),
            (".w_norm", .normDifference), (".b_norm", .normBiasDifference),
            (".on_input", .ia3), (".a1.weight", .glora), (".a2.weight", .glora), (".b1.weight", .glora),
            (".b2.weight", .glora), (".bm.weight", .glora), (".oft_blocks", .orthogonal), (".oft_diag", .orthogonal),
            (".oft_R.weight", .orthogonal), (".bias_indices", .sparseBias), (".bias_values", .sparseBias),
            (".bias_size", .sparseBias),
        ]
        return table.sorted { $0.0.count > $1.0.count }.map { (suffix: $0.0, part: $0.1) }
    }()

    private static let prefixes: [(prefix: String, component: AdapterComponent)] = [
        ("lora_unet_", .unet), ("lora_te1_", .firstText), ("lora_te2_", .secondText), ("lora_te_", .onlyText),
        ("unet.", .unet), ("text_encoder_2.", .secondText), ("text_encoder.", .firstText),
    ]

    private static func component(_ path: Substring) -> (AdapterComponent, Substring) {
        let known = prefixes.first { path.hasPrefix($0.prefix) }
        var rest = path.dropFirst(known?.prefix.count ?? 0)
        let wrapper = "base_model.model."
        if rest.hasPrefix(wrapper) { rest = rest.dropFirst(wrapper.count) }
        return (known?.component ?? .unnamed, rest)
    }

    /// Names of the attention processors that carried adapters in diffusers before PEFT:
    /// `attn1.processor.to_out_lora` is `attn1.to_out.0`, a text encoder's `self_attn.to_q_lora` is `self_attn.q_proj`.
    private static func withoutProcessor(_ path: Substring) -> String {
        var components = path.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard let last = components.popLast() else { return String(path) }
        guard last.hasPrefix("to_"), last.hasSuffix("_lora") else { return String(path) }
        let projection = last.dropLast("_lora".count)
        if components.last == "processor" { components.removeLast() }
        if components.last == "self_attn" {
            components.append("\(projection.dropFirst("to_".count))_proj")
        } else {
            components.append(projection == "to_out" ? "to_out.0" : String(projection))
        }
        return components.joined(separator: ".")
    }
}
