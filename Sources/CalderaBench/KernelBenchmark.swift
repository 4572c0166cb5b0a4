import Caldera
import CalderaCPU
import CalderaGPU
import CalderaGraph

/// Measures every variant of every shape.
package struct KernelBenchmark {
    package struct Options: Sendable {
        package var sets: [KernelSet] = []
        /// Only these; empty for all.
        package var families: [KernelFamily] = []
        /// Shapes of one's own, for the only family.
        package var shapes: [[Int]] = []
        package var device = DeviceChoice.auto
        package var precision: Precision?
        /// Device bytes.
        package var memoryLimit: Int?
        /// How long each variant is measured.
        package var secondsEach = 0.2
        /// As it was typed.
        package var command: [String] = []

        package init() {}
    }

    let options: Options
    let backend: any Backend
    let precision: Precision
    private let reference: CPUBackend

    /// Operations of a shape up to which the processor computes it too, to compare with.
    private static let largestReference = 20e9

    /// Opens the device. Throws `CalderaError` as `ImageGenerator.init` does.
    package init(_ options: Options) throws {
        self.options = options
        let selection = try DeviceSelection(options.device, precision: options.precision)
        backend = selection.backend
        backend.memoryLimit = options.memoryLimit
        precision = selection.precision
        reference = try CPUBackend()
    }

    /// Measures everything; `progress` is told each result as it comes.
    package func run(progress: (KernelReport.Result) throws -> Void) throws -> KernelReport {
        let shapes = try shapes()
        guard !shapes.isEmpty else {
            throw CalderaError.usage("There is no such operation in this set: leave --op out, or name another set.")
        }
        let ceilings = try DeviceCeilings(backend, precision)
        var results: [KernelReport.Result] = []
        for (shape, count) in shapes {
            for result in try measure(shape, count, ceilings) {
                try progress(result)
                results.append(result)
            }
        }
        return KernelReport(
            environment: BenchmarkEnvironment(
                device: backend.name, precision: precision, command: options.command),
            ceilings: ceilings, results: results)
    }

    // MARK: Shapes

    func shapes() throws -> [(shape: KernelShape, count: Int)] {
        if !options.shapes.isEmpty {
            guard options.families.count == 1 else {
                throw CalderaError.usage("--shape needs one --op, which says how its numbers are read.")
            }
            return try options.shapes.map { (try KernelShape(options.families[0], extents: $0, precision), 1) }
        }
        var found: [(shape: KernelShape, count: Int)] = []
        var known: Set<String> = []
        for set in options.sets {
            for entry in try set.shapes(precision, limits: backend.limits)
            where isWanted(entry.shape) && known.insert(entry.shape.name).inserted {
                found.append(entry)
            }
        }
        return found
    }

    private func isWanted(_ shape: KernelShape) -> Bool {
        options.families.isEmpty || options.families.contains(shape.family)
    }

    // MARK: Variants

    private func measure(
        _ shape: KernelShape, _ count: Int, _ ceilings: DeviceCeilings
    ) throws -> [KernelReport.Result] {
        let copies = try KernelRun.copies(shape, on: backend)
        let expected = try expected(shape)
        var known: Set<String> = []
        var results: [KernelReport.Result] = []
        for (index, variant) in try variants(shape).enumerated() {
            // What the backend takes by itself comes first; it is one of the others too.
            let plan = try shape.plan(copies: 1, limits: variant.limits)
            guard let node = plan.promptNodes.first, known.insert(variant.describe(node, in: plan)).inserted else {
                continue
            }
            let measured = try measure(
                shape, count, on: variant, copies: copies, ceilings, expected: expected, isChosen: index == 0)
            if let measured { results.append(measured) }
        }
        return results
    }

    /// One variant; nil where nothing could be timed.
    func measure(
        _ shape: KernelShape, _ count: Int, on variant: any Backend, copies: Int, _ ceilings: DeviceCeilings,
        expected: HostTensor?, isChosen: Bool
    ) throws -> KernelReport.Result? {
        let run = try KernelRun(shape, on: variant, copies: copies)
        guard let seconds = Spread(try run.seconds(atLeast: options.secondsEach)) else { return nil }
        return KernelReport.Result(
            family: shape.family, shape: shape.name, count: count, variant: run.kernel, isChosen: isChosen,
            seconds: seconds, operations: run.work.operations, bytes: run.work.bytes,
            shareOfCeiling: ceilings.leastSeconds(run.work) / max(seconds.median, 1e-12),
            error: try expected.map { try KernelBenchmark.error(run.result(), $0) })
    }

    /// The backend itself, then each other way in which it could run the shape.
    func variants(_ shape: KernelShape) throws -> [any Backend] {
        guard let vulkan = backend as? VulkanBackend else { return [backend] }
        let plan = try shape.plan(copies: 1, limits: vulkan.limits)
        let variants = plan.promptNodes.first.map { vulkan.variants(of: $0, in: plan) } ?? []
        return [vulkan] + variants.map { vulkan.replacing($0) }
    }

    /// What the processor makes of the first set of operands in fp32; nil where it is the one to be measured, or would
    /// take too long.
    private func expected(_ shape: KernelShape) throws -> HostTensor? {
        if backend is CPUBackend, precision == .fp32 { return nil }
        return try operations(shape) <= Self.largestReference ? reference(shape) : nil
    }

    private func operations(_ shape: KernelShape) throws -> Double {
        let plan = try shape.plan(copies: 1, limits: reference.limits, dtype: .float32)
        return plan.promptNodes.reduce(0) { $0 + NodeWork($1).operations }
    }

    /// What the processor makes of the first set of operands in fp32.
    func reference(_ shape: KernelShape) throws -> HostTensor {
        try KernelRun(shape, on: reference, copies: 1, dtype: .float32).firstResult()
    }

    /// ||value - reference|| / ||reference||.
    private static func error(_ value: HostTensor, _ reference: HostTensor) -> Double {
        var difference = 0.0
        var norm = 0.0
        for (one, other) in zip(value.floats, reference.floats) {
            difference += (Double(one) - Double(other)) * (Double(one) - Double(other))
            norm += Double(other) * Double(other)
        }
        return norm > 0 ? (difference / norm).squareRoot() : difference.squareRoot()
    }
}
