import CalderaFormats
import CalderaGraph
import Foundation

/// A file with a LoRA or one of its relatives: LoCon, LoHa, LoKr, DoRA, full differences, norms.
///
/// Opening it checks names, pairs and ranks. Values are read when they are merged.
package final class AdapterFile: Sendable {
    package let path: String
    /// The name that the trainer gave it (`ss_output_name`), under which prompts may mention it.
    package let alias: String?
    let modules: [AdapterModule]
    /// Tensors that are no part of any known kind of adapter.
    let strangers: [String]

    /// Opens a safetensors or a PyTorch file. Throws `CalderaError` when it is missing or broken, when a pair lacks a
    /// half or ranks do not fit, and when it is of a kind that cannot be merged.
    package convenience init(_ path: String) throws {
        let file = try WeightFile.open(path)
        try self.init(file, metadata: (file as? SafetensorsFile)?.metadata ?? [:], path: path)
    }

    /// Takes tensors that have been opened already.
    /// - Parameters:
    ///   - metadata: the strings that the file's writer left in it.
    ///   - path: the file, for messages; an `adapter_config.json` beside it is read where the metadata has no settings.
    package init(_ source: any WeightSource, metadata: [String: String], path: String) throws {
        let written = try PEFTSettings(metadata: metadata, path: path)
        let settings = written.isEmpty ? try PEFTSettings(besideFile: path) : written
        let contents = try Self.group(source, path, settings)
        guard !contents.builders.isEmpty else {
            throw CalderaError("\(path) is no LoRA: none of its \(source.names.count) tensors is part of one.")
        }
        self.path = path
        alias = metadata["ss_output_name"].flatMap { $0.isEmpty ? nil : $0 }
        modules = try contents.builders.map { try $0.module() }
        strangers = contents.strangers
    }

    private struct Address: Hashable {
        let component: AdapterComponent
        let module: String
    }

    private static func group(
        _ source: any WeightSource, _ path: String, _ settings: PEFTSettings
    ) throws -> (builders: [AdapterModuleBuilder], strangers: [String]) {
        var builders: [AdapterModuleBuilder] = []
        var places: [Address: Int] = [:]
        var strangers: [String] = []
        for name in source.names.sorted() {
            guard let key = AdapterKey(name) else {
                strangers.append(name)
                continue
            }
            if let method = key.part.refusedMethod {
                throw CalderaError(
                    "\(path) is made by \(method) (\(name)), which cannot be merged: train or export it as a LoRA.")
            }
            let address = Address(component: key.component, module: key.module)
            let place = places[address] ?? builders.count
            if place == builders.count {
                builders.append(AdapterModuleBuilder(key, file: path, settings: settings))
                places[address] = place
            }
            try builders[place].add(try tensor(name, source, path), as: key.part)
        }
        return (builders, strangers)
    }

    private static func tensor(_ name: String, _ source: any WeightSource, _ path: String) throws -> AdapterTensor {
        guard let info = source.info(name) else {
            throw CalderaError("\(path): \(name) is of a type that cannot be merged; convert it to F32, F16 or BF16.")
        }
        return AdapterTensor(source: source, name: name, path: path, info: info)
    }
}
