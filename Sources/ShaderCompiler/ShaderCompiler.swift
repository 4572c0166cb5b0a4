import Foundation

/// Compiles every variant of every shader below a folder and writes the binaries as one Swift file.
///
///     ShaderCompiler --compiler GLSLANG --shaders FOLDER --output FOLDER
///
/// The output folder receives `Kernels.generated.swift`, `ShaderTexts.generated.swift` with the shaders' own texts and, for
/// spirv-val and spirv-dis, one `.spv` per variant.
@main
struct ShaderCompiler {
    static func main() {
        do {
            let options = try Options(Array(CommandLine.arguments.dropFirst()))
            try run(options)
        } catch {
            let text = "\(error)"
            FileHandle.standardError.write(Data((text.contains(": error: ") ? text : "error: \(text)").utf8 + [10]))
            exit(1)
        }
    }

    private static func run(_ options: Options) throws {
        let shaders = try ShaderFolder(options.shaders)
        let glslang = Glslang(
            program: options.compiler, includes: options.shaders + "/include",
            binaries: options.output + "/spirv", salt: try shaders.includesDigest())
        let outcomes = parallelMap(shaders.variants, workers: 2) { variant in
            Result { try glslang.compile(variant) }
        }
        var binaries: [Binary] = []
        var missing: [MissingBinary] = []
        var failures: [String] = []
        for (variant, outcome) in zip(shaders.variants, outcomes) {
            do {
                binaries.append(Binary(name: variant.name, bytes: try outcome.get()))
            } catch let error as UnknownExtension {
                let reason = "the glslang of this build (\(glslang.version)) does not know \(error.name)"
                missing.append(MissingBinary(name: variant.name, reason: reason))
                print("warning: the kernel \(variant.name) is left out: \(reason)")
            } catch {
                failures.append("\(error)")
            }
        }
        guard failures.isEmpty else { throw Failure(failures.joined(separator: "\n")) }

        try glslang.removeBinaries(except: Set(binaries.map(\.name)))
        let source = generatedSource(binaries, missing: missing)
        try Data(source.utf8).write(to: URL(filePath: options.output + "/Kernels.generated.swift"), options: .atomic)
        let texts = try generatedTexts(shaders)
        try Data(texts.utf8).write(to: URL(filePath: options.output + "/ShaderTexts.generated.swift"), options: .atomic)
    }
}

/// The three folders and programs that the command line names.
struct Options {
    let compiler: String
    let shaders: String
    let output: String

    init(_ arguments: [String]) throws {
        var values: [String: String] = [:]
        var rest = arguments[...]
        while let key = rest.popFirst() {
            guard ["--compiler", "--shaders", "--output"].contains(key), let value = rest.popFirst() else {
                throw Failure("usage: ShaderCompiler --compiler GLSLANG --shaders FOLDER --output FOLDER")
            }
            values[key] = value
        }
        guard let compiler = values["--compiler"], let shaders = values["--shaders"], let output = values["--output"]
        else { throw Failure("usage: ShaderCompiler --compiler GLSLANG --shaders FOLDER --output FOLDER") }
        self.compiler = compiler
        self.shaders = shaders
        self.output = output
    }
}

/// What stops the build, in the words that the build shows.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
