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
        // Of the glslang's age, where Tools/setup had to fetch one: an older one knows no cooperative matrices.
        let fetched = TestPaths.repository.appending(path: ".build/tools/glslang/bin/spirv-val").path
        let validator = FileManager.default.isExecutableFile(atPath: fetched) ? fetched : "spirv-val"
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
        for kernel in ["gemm_cooperative.FP16", "conv_cooperative.FP16"] {
            #expect(KernelBinaries.contains(kernel) != KernelBinaries.missing.keys.contains(kernel), "\(kernel)")
        }
        #expect(KernelBinaries.missing.keys.allSatisfy { $0.contains("_cooperative.") })
        #expect(KernelBinaries.missing.values.allSatisfy { $0.contains("GL_KHR_cooperative_matrix") })
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
