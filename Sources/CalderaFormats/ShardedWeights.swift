import CalderaGraph
import Foundation

/// Weights in several files, joined by an index (`*.safetensors.index.json`, `*.bin.index.json`) whose `weight_map` says
/// which file holds which tensor.
public final class ShardedWeights: WeightSource {
    public let path: String
    /// The files, in the order of their names.
    public let shards: [any WeightSource]

    private let shardOfTensor: [String: any WeightSource]

    /// Opens the index and every shard beside it. Throws `CalderaError` when the index is no such index, and when
    /// shards or tensors that it names are missing: then all of them are listed.
    public init(index path: String) throws {
        let map = try Self.weightMap(path)
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
        let files = Set(map.values).sorted()
        let missing = files.filter { !FileManager.default.fileExists(atPath: folder.appendingPathComponent($0).path) }
        guard missing.isEmpty else {
            throw CalderaError(
                "\(path) names files that are not beside it; download them: \(missing.joined(separator: ", "))")
        }
        let opened = try files.map { ($0, try WeightFile.open(folder.appendingPathComponent($0).path)) }
        let shardOfName = Dictionary(uniqueKeysWithValues: opened)
        let held = shardOfName.mapValues { Set($0.names) }
        let absent = map.filter { held[$0.value]?.contains($0.key) != true }
        guard absent.isEmpty else {
            let list = absent.map { "\($0.key) (in \($0.value))" }.sorted().joined(separator: ", ")
            throw CalderaError("\(path) names tensors that its files lack; download the files again: \(list)")
        }
        self.path = path
        shards = opened.map(\.1)
        shardOfTensor = map.compactMapValues { shardOfName[$0] }
    }

    public var names: [String] { shardOfTensor.keys.sorted() }

    public func info(_ name: String) -> WeightInfo? { shardOfTensor[name]?.info(name) }

    public func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard let shard = shardOfTensor[name] else {
            throw CalderaError("\(path) has no tensor \(name): is it the index for this model?")
        }
        return try shard.withBytes(name, body)
    }

    private static func weightMap(_ path: String) throws -> [String: String] {
        let map = try JSONConfig(contentsOf: path).object("weight_map")
        return try map.keys.reduce(into: [:]) { files, tensor in
            let file = try map.string(tensor)
            guard !file.isEmpty, !file.contains("/"), file != "..", file != "." else {
                throw CalderaError("\(path): the file \"\(file)\" of tensor \(tensor) should be beside the index.")
            }
            files[tensor] = file
        }
    }
}
