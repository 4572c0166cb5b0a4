import Foundation

/// One shader under one set of macros.
struct Variant: Sendable {
    /// The path of the `.comp` file.
    let path: String
    /// File name without extension.
    let kernel: String
    /// The macros defined for this variant, such as `FP16` or `FP16` and `CAUSAL`.
    let macros: [String]
    /// A compiler that lacks any of these extensions may leave the variant out.
    let optionalExtensions: [String]

    /// What the host asks for: `gemm.FP16`, `attention.FP16+CAUSAL`.
    var name: String { "\(kernel).\(macros.joined(separator: "+"))" }
}

/// The `.comp` files below `Shaders/` and the includes that they share.
struct ShaderFolder {
    let variants: [Variant]
    /// The paths of the `.glsl` files and of the `.comp` files.
    let includes: [String]
    let kernels: [String]

    init(_ folder: String) throws {
        let files =
            FileManager.default.fileExists(atPath: folder)
            ? try FileManager.default.subpathsOfDirectory(atPath: folder).sorted() : []
        includes = files.filter { $0.hasSuffix(".glsl") }.map { "\(folder)/\($0)" }
        kernels = files.filter { $0.hasSuffix(".comp") }.map { "\(folder)/\($0)" }
        variants = try kernels.flatMap(Self.variants(of:))
        if let twice = Dictionary(grouping: variants, by: \.name).first(where: { $0.value.count > 1 }) {
            let paths = Set(twice.value.map(\.path)).sorted().joined(separator: " and ")
            throw Failure("the kernel '\(twice.key)' is declared twice, in \(paths): kernels go by their file names")
        }
    }

    /// A digest of every include: binaries made with other includes are stale.
    func includesDigest() throws -> UInt64 {
        var digest = Digest()
        for path in includes {
            digest.add(Data(path.utf8))
            digest.add(try Data(contentsOf: URL(filePath: path)))
        }
        return digest.value
    }

    /// The variants that a line `// variants: FP16 FP32 FP16+CAUSAL` declares; FP16 and FP32 without such a line.
    ///
    /// A line `// optional: GL_KHR_cooperative_matrix` says that compilers without these extensions need not build them.
    private static func variants(of path: String) throws -> [Variant] {
        let kernel = URL(filePath: path).deletingPathExtension().lastPathComponent
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let mark = "// variants:"
        let optionalMark = "// optional:"
        var declared: [String] = ["FP16", "FP32"]
        var optionalExtensions: [String] = []
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if line.hasPrefix(optionalMark) {
                optionalExtensions = line.dropFirst(optionalMark.count).split(separator: " ").map(String.init)
            }
            guard line.hasPrefix(mark) else { continue }
            declared = line.dropFirst(mark.count).split(separator: " ").map(String.init)
            let isMacro = { (word: Substring) in word.allSatisfy { $0.isLetter || $0.isNumber || $0 == "_" } }
            guard !declared.isEmpty, declared.allSatisfy({ $0.split(separator: "+").allSatisfy(isMacro) }) else {
                throw Failure("\(path):\(number + 1): error: a variants line lists macros, such as FP16 FP16+CAUSAL")
            }
        }
        return declared.map {
            Variant(
                path: path, kernel: kernel, macros: $0.split(separator: "+").map(String.init),
                optionalExtensions: optionalExtensions)
        }
    }
}

/// FNV-1a, 64 bits: tells an edited file from an unedited one.
struct Digest {
    private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ data: Data) {
        for byte in data { value = (value ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        // The length parts this piece from the next one.
        value = (value ^ UInt64(data.count)) &* 0x0000_0100_0000_01b3
    }
}
