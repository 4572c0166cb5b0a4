import CalderaGPU
import CalderaTestSupport
import Foundation
import Testing

/// Every kernel that the package ships.
@Suite struct SpirvTests {
    @Test func everyKernelIsValid() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "caldera-spirv-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        #expect(KernelBinaries.names.count >= 30)
        // Of the glslang's age, where one had to be fetched: an older one knows no cooperative matrices.
        let fetched = [".build/driver/bin/spirv-val", ".build/tools/glslang/bin/spirv-val"].map {
            TestPaths.repository.appending(path: $0).path
        }
        let validator = fetched.first(where: FileManager.default.isExecutableFile) ?? "spirv-val"
        for name in KernelBinaries.names {
            let words = try #require(KernelBinaries.words(name))
            let file = folder.appending(path: "\(name).spv")
            try words.withUnsafeBytes { Data($0) }.write(to: file)
            let process = Process()
            process.executableURL = URL(filePath: "/usr/bin/env")
            process.arguments = [validator, "--target-env", "vulkan1.3", file.path]
            let pipe = Pipe()
            process.standardOutput = pipe
            process.standardError = pipe
            try process.run()
            let said = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            #expect(process.terminationStatus == 0, "\(name): \(said)")
        }
    }

    /// Nothing is dropped in silence: a kernel that the compiler cannot build is listed, and only optional ones may be.
    @Test func kernelsThatCannotBeBuiltAreListed() {
        let needed = ["cooperative": "GL_KHR_cooperative_matrix", "flexible": "GL_NV_cooperative_matrix2"]
        for (core, name) in needed {
            for kernel in ["gemm_\(core).FP16", "conv_\(core).FP16"] {
                let reason = KernelBinaries.missing[kernel]
                #expect(KernelBinaries.contains(kernel) == (reason == nil), "\(kernel)")
                #expect(reason?.contains(name) ?? true, "\(kernel)")
            }
        }
        #expect(KernelBinaries.missing.keys.allSatisfy { $0.contains("_cooperative.") || $0.contains("_flexible.") })
    }

    @Test func everyKernelComesInBothPrecisionsUnlessItNeedsOne() {
        let single: Set<String> = ["blend", "cast", "group_norm_merge", "increment", "rescale"]
        let names = Set(KernelBinaries.names)
        for name in names where name.hasSuffix(".FP32") {
            let kernel = String(name.dropLast(5))
            #expect(names.contains("\(kernel).FP16") != single.contains(kernel), "\(kernel)")
        }
    }
}
