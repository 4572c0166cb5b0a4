import CalderaGraph

/// Weights under other names than their file's.
package final class RenamedWeights: WeightSource {
    private let base: any WeightSource
    private let stored: [String: String]

    init(_ base: any WeightSource, stored: [String: String]) {
        self.base = base
        self.stored = stored
    }

    /// The attention layers of autoencoders from before diffusers 0.17 are called `query`, `key`, `value`, `proj_attn`.
    package static func autoencoder(_ base: any WeightSource) -> any WeightSource {
        let renames = ["query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"]
        var stored: [String: String] = [:]
        for name in base.names {
            var path = name.split(separator: ".").map(String.init)
            guard path.contains("attentions"), path.count >= 2, let renamed = renames[path[path.count - 2]] else {
                continue
            }
            path[path.count - 2] = renamed
            stored[path.joined(separator: ".")] = name
        }
        return stored.isEmpty ? base : RenamedWeights(base, stored: stored)
    }

    package var names: [String] {
        let old = Set(stored.values)
        return base.names.filter { !old.contains($0) } + stored.keys.sorted()
    }

    package func info(_ name: String) -> WeightInfo? { base.info(stored[name] ?? name) }

    package func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        try base.withBytes(stored[name] ?? name, body)
    }
}
