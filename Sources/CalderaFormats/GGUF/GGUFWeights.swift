import CalderaGraph
import Synchronization

/// The weights of a LLaMA model in a GGUF file under transformers' names, as transformers lays them out.
///
/// Quantised tensors are lent in fp32. GGUF files keep the rows of each query and key head so that the pairs which rotary
/// positions turn lie side by side; here they lie half a head apart again.
/// Reference: llama.cpp's `convert_hf_to_gguf.py`, `LlamaModel.permute`.
final class GGUFWeights: WeightSource, Sendable {
    private struct Source: Sendable {
        let entry: GGUFFile.Entry
        /// Heads whose rows are to be put in order; nil for tensors that are stored as they are.
        let heads: Int?
    }

    private struct Kept {
        var values: [String: [UInt8]] = [:]
        var released: Set<String> = []
    }

    private let file: GGUFFile
    private let sources: [String: Source]
    private let kept = Mutex(Kept())

    /// Throws `CalderaError` when query or key weights do not consist of that many heads.
    init(_ file: GGUFFile, heads: Int, keyHeads: Int) throws {
        self.file = file
        var sources: [String: Source] = [:]
        for (stored, entry) in file.tensors {
            guard let name = GGUFWeights.name(of: stored) else { continue }
            let heads = name.contains(".q_proj.") ? heads : name.contains(".k_proj.") ? keyHeads : nil
            if let heads, let rows = entry.shape.extents.first, heads < 1 || !rows.isMultiple(of: 2 * heads) {
                throw CalderaError("\(file.file.path): \(stored) has \(rows) rows, which are not \(heads) heads.")
            }
            sources[name] = Source(entry: entry, heads: heads)
        }
        self.sources = sources
    }

    /// transformers' name of a tensor, or nil where it has none.
    private static func name(of stored: String) -> String? {
        switch stored {
        case "token_embd.weight": return "model.embed_tokens.weight"
        case "output_norm.weight": return "model.norm.weight"
        case "output.weight": return "lm_head.weight"
        default: break
        }
        let parts = stored.split(separator: ".")
        guard parts.count == 4, parts[0] == "blk", let layer = layers[String(parts[2])] else { return nil }
        return "model.layers.\(parts[1]).\(layer).\(parts[3])"
    }

    private static let layers = [
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    ]

    var names: [String] { sources.keys.sorted() }

    func info(_ name: String) -> WeightInfo? {
        sources[name].map { WeightInfo(dtype: $0.entry.type.dtype, shape: $0.entry.shape) }
    }

    func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard let source = sources[name] else {
            throw CalderaError("\(file.file.path) has no tensor for \(name): is it the file for this model?")
        }
        return try withExtendedLifetime(file.file) {
            let stored = UnsafeRawBufferPointer(rebasing: file.file.bytes[source.entry.range])
            if source.heads == nil, source.entry.type.blockCount == 1 { return try body(stored) }
            return try unpacked(name, source, stored).withUnsafeBytes(body)
        }
    }

    func willRead(_ name: String) { sources[name].map { file.file.willRead($0.entry.range) } }

    func release(_ name: String) {
        sources[name].map { file.file.release($0.entry.range) }
        kept.withLock { _ = $0.released.insert(name) }
    }

    /// A tensor that is asked for again after it was released is read row by row, at each token: it is kept from then on.
    private func unpacked(_ name: String, _ source: Source, _ stored: UnsafeRawBufferPointer) -> [UInt8] {
        if let known = kept.withLock({ $0.values[name] }) { return known }
        let values = GGUFWeights.unpacked(source, stored)
        kept.withLock { if $0.released.contains(name) { $0.values[name] = values } }
        return values
    }

    private static func unpacked(_ source: Source, _ stored: UnsafeRawBufferPointer) -> [UInt8] {
        let (entry, dtype) = (source.entry, source.entry.type.dtype)
        let plain: [UInt8]
        if entry.type.blockCount == 1 {
            plain = Array(stored)
        } else {
            let count = entry.shape.count
            plain = [UInt8](unsafeUninitializedCapacity: count * dtype.size) { buffer, initialized in
                if let base = buffer.baseAddress {
                    UnsafeMutableRawPointer(base).withMemoryRebound(to: Float.self, capacity: count) {
                        GGUFBlocks.unpack(stored, entry.type, to: $0)
                    }
                }
                initialized = count * dtype.size
            }
        }
        guard let heads = source.heads, let rows = entry.shape.extents.first, rows > 0 else { return plain }
        return reordered(plain, heads: heads, rows: rows)
    }

    /// Row s·d/2 + i of a head lies at place 2i + s of it in the file.
    private static func reordered(_ stored: [UInt8], heads: Int, rows: Int) -> [UInt8] {
        let (rowSize, headRows) = (stored.count / rows, rows / heads)
        var result: [UInt8] = []
        result.reserveCapacity(stored.count)
        for row in 0..<rows {
            let (head, place) = (row / headRows, row % headRows)
            let from = head * headRows + 2 * (place % (headRows / 2)) + place / (headRows / 2)
            result += stored[from * rowSize..<(from + 1) * rowSize]
        }
        return result
    }
}
