import CalderaGPU
import CalderaGraph
import CalderaTestSupport
import CalderaVulkan
import Foundation
import Testing

/// The tuner: what it chooses is kept, used again, and computes the same; what it finds on the disk is not trusted.
@Suite struct TuningTests {
    private let names = [
        "matmul [129, 40] to 70", "convolution [1, 16, 16, 64] to 64", "matmul [3, 77, 48] to 50+bias",
    ]
    private var cases: [OperatorCase] {
        names.compactMap { name in operatorCases.first { $0.name.hasPrefix(name) } }
            + operatorCases.filter { $0.name.hasPrefix("attention") }.prefix(2)
    }

    /// Tunes the shapes of cases; the messages.
    private func tune(_ backend: VulkanBackend, _ cases: [OperatorCase]) throws -> [String] {
        var messages: [String] = []
        backend.tuning = { messages.append($0) }
        for row in cases {
            let built = try row.built(dtype: .float16)
            let plan = try Planner.plan(built.graph, limits: backend.limits)
            _ = try backend.compile(plan, weights: MemoryWeights(built.weights, dtype: .float16))
        }
        backend.tuning = nil
        return messages
    }

    /// What each case's nodes run.
    private func kernels(_ backend: VulkanBackend) throws -> [String] {
        try cases.flatMap { row in
            let plan = try Planner.plan(try row.built(dtype: .float16).graph, limits: backend.limits)
            return plan.promptNodes.map { backend.describe($0, in: plan) }
        }
    }

    @Test func choicesAreKeptAndUsedAgain() throws {
        #expect(cases.count == 5)
        try withTunedVulkan { device, cache in
            let first = TunedKernels(device.info, beside: cache)
            #expect(first.count == 0 && first.warning == nil)
            let backend = VulkanBackend(device: device, tuned: first)
            let messages = try tune(backend, cases)
            #expect(messages.count == first.count)
            #expect(messages.count >= cases.count)
            #expect(messages.contains { $0.contains("gemm 129x70x40 float16") }, "\(messages)")
            #expect(messages.contains { $0.contains("attention ") }, "\(messages)")
            for row in cases {
                let report = try check(row, on: backend, dtype: .float16)
                #expect(report.passed, "\(report)")
            }
            let path = try #require(first.path)
            let file = try Data(contentsOf: URL(fileURLWithPath: path))

            let second = TunedKernels(device.info, beside: cache)
            #expect(second.count == first.count && second.warning == nil)
            let other = VulkanBackend(device: device, tuned: second)
            #expect(try kernels(other) == kernels(backend))
            #expect(try tune(other, cases).isEmpty, "what is known is not measured again")
            #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == file)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder(of: path)).count == 1)
        }
    }

    /// A choice that the file names is taken, also where the choice by shape would be another one.
    @Test func theFileDecides() throws {
        try withTunedVulkan { device, cache in
            let row = try #require(cases.first)
            let plan = try Planner.plan(try row.built(dtype: .float16).graph, limits: PlanLimits())
            let node = try #require(plan.promptNodes.first)
            let plain = VulkanBackend(device: device)
            let variants = plain.variants(of: node, in: plan)
            #expect(Set(variants.map(\.description)).count == variants.count)
            let path = try #require(TunedKernels(device.info, beside: cache).path)
            _ = try tune(VulkanBackend(device: device, tuned: TunedKernels(device.info, beside: cache)), [row])
            for variant in variants {
                try edit(path) { contents in
                    var choices = contents["choices"] as? [String: String] ?? [:]
                    choices["gemm 129x70x40 float16"] = variant.description
                    contents["choices"] = choices
                }
                let backend = VulkanBackend(device: device, tuned: TunedKernels(device.info, beside: cache))
                #expect(backend.describe(node, in: plan) == plain.replacing(variant).describe(node, in: plan))
            }
            // What the device cannot run is not taken.
            try edit(path) { $0["choices"] = ["gemm 129x70x40 float16": "shared 4096x4096x4096"] }
            let backend = VulkanBackend(device: device, tuned: TunedKernels(device.info, beside: cache))
            #expect(backend.describe(node, in: plan) == plain.describe(node, in: plan))
        }
    }

    @Test func damagedAndForeignFilesAreLeftAsideAndWrittenAnew() throws {
        try withTunedVulkan { device, cache in
            let path = try #require(TunedKernels(device.info, beside: cache).path)
            let url = URL(fileURLWithPath: path)
            let row = try #require(cases.first)
            _ = try tune(VulkanBackend(device: device, tuned: TunedKernels(device.info, beside: cache)), [row])
            let whole = try Data(contentsOf: url)
            var contents: [(String, Data)] = [
                ("damaged", Data()), ("damaged", whole.prefix(whole.count / 2)), ("damaged", whole.prefix(1)),
                ("damaged", Data(repeating: 0xff, count: 5000)), ("damaged", Data("{\"choices\": 7}".utf8)),
            ]
            let changes = [
                ("damaged", "format", "other.1"), ("another device", "identity", "00"),
                ("another version of the kernels", "kernels", "0"),
            ]
            for (reason, key, value) in changes {
                try whole.write(to: url)
                try edit(path) { $0[key] = value }
                contents.append((reason, try Data(contentsOf: url)))
            }
            for (reason, data) in contents {
                try data.write(to: url)
                let tuned = TunedKernels(device.info, beside: cache)
                #expect(tuned.count == 0)
                let warning = try #require(tuned.warning)
                #expect(warning.contains(path) && warning.contains(reason) && warning.contains("--tune"), "\(warning)")
            }
            _ = try tune(VulkanBackend(device: device, tuned: TunedKernels(device.info, beside: cache)), [row])
            let again = TunedKernels(device.info, beside: cache)
            #expect(again.warning == nil && again.count == 1)
        }
    }

    /// Every attention tile that is chosen from, on the rows of the table that have such heads.
    @Test func everyAttentionTileMatchesTheReference() throws {
        try withVulkan { device in
            let rows = operatorCases.filter { $0.name.hasPrefix("attention") }
            let plain = VulkanBackend(device: device)
            var tiles: Set<KernelVariant> = []
            for row in stride(from: 0, to: rows.count, by: max(1, rows.count / 2)).map({ rows[$0] }) {
                let plan = try Planner.plan(try row.built(dtype: .float32).graph, limits: plain.limits)
                for node in plan.promptNodes {
                    for variant in plain.variants(of: node, in: plan) {
                        guard case .attention = variant else { continue }
                        tiles.insert(variant)
                        let report = try check(row, on: plain.replacing(variant), dtype: .float32)
                        #expect(report.passed, "\(variant): \(report)")
                    }
                }
            }
            #expect(tiles.count >= 4)
        }
    }

    private func folder(of path: String) -> String { URL(fileURLWithPath: path).deletingLastPathComponent().path }

    private func edit(_ path: String, _ change: (inout [String: Any]) -> Void) throws {
        let url = URL(fileURLWithPath: path)
        var contents = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any])
        change(&contents)
        try JSONSerialization.data(withJSONObject: contents).write(to: url)
    }
}

/// A validated device beside a folder of caches of its own, in which no pipelines lie.
private func withTunedVulkan(_ body: (VulkanDevice, PipelineCacheFile) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "caldera-tuning-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try withVulkan { device in
        try body(device, PipelineCacheFile(identity: device.info.cacheIdentity, folder: folder))
    }
}
