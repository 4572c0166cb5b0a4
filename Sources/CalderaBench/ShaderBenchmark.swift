import CalderaGPU
import CalderaGraph
import Foundation

/// Measures a shader of the user's own in the place of a built-in kernel, on the shapes of a benchmark.
package struct ShaderBenchmark {
    package struct Outcome {
        package var results: [KernelReport.Result] = []
        /// Why the shader's results are not those of the operation; nil where they are.
        package var fault: CalderaError?
    }

    /// A way to run the kernel on a shape.
    private struct Place {
        let shape: KernelShape
        let count: Int
        let backend: VulkanBackend
        let use: KernelUse
    }

    /// The built-in kernel, by its file's name without ending.
    package let kernel: String
    private let benchmark: KernelBenchmark
    private let backend: VulkanBackend
    private let places: [Place]
    private let references = References()

    /// - Parameter kernel: nil for the one that the backend takes by itself on the first shape.
    /// Throws a usage error where the benchmark is not on a Vulkan device or not of one operation, or the operation does not
    /// run that kernel.
    package init(_ benchmark: KernelBenchmark, kernel wanted: String?) throws {
        guard let backend = benchmark.backend as? VulkanBackend else {
            throw CalderaError.usage("Shaders run on Vulkan devices only: name one with --device, such as vulkan.")
        }
        guard benchmark.options.families.count == 1 else {
            throw CalderaError.usage("A shader takes the place of one kernel: name its operation with one --op.")
        }
        let places = try ShaderBenchmark.places(benchmark)
        let kernel = try wanted ?? ShaderBenchmark.chosenKernel(places)
        self.places = places.filter { $0.use.kernel == kernel }
        guard !self.places.isEmpty else {
            let names = ShaderBenchmark.names(places).joined(separator: ", ")
            throw CalderaError.usage("These shapes run no kernel named \(kernel): --kernel takes one of \(names).")
        }
        self.kernel = kernel
        self.benchmark = benchmark
        self.backend = backend
    }

    /// Every kernel that every variant of every shape runs.
    private static func places(_ benchmark: KernelBenchmark) throws -> [Place] {
        var places: [Place] = []
        for (shape, count) in try benchmark.shapes() {
            var known: Set<String> = []
            for case let variant as VulkanBackend in try benchmark.variants(shape) {
                let plan = try shape.plan(copies: 1, limits: variant.limits)
                guard let node = plan.promptNodes.first, known.insert(variant.describe(node, in: plan)).inserted else {
                    continue
                }
                places += try variant.kernels(of: node, in: plan).filter { !$0.isPart }.map {
                    Place(shape: shape, count: count, backend: variant, use: $0)
                }
            }
        }
        return places
    }

    /// What the backend takes by itself stands first.
    private static func chosenKernel(_ places: [Place]) throws -> String {
        guard let first = places.first else {
            throw CalderaError.usage("There is no such operation in this set: name another --op or another set.")
        }
        let chosen = names(places.filter { $0.shape.name == first.shape.name && $0.backend === first.backend })
        guard chosen.count == 1 else {
            throw CalderaError.usage(
                "This operation runs several kernels: say with --kernel which one is meant, "
                    + chosen.joined(separator: " or ") + ".")
        }
        return chosen[0]
    }

    private static func names(_ places: [Place]) -> [String] {
        places.reduce(into: []) { names, place in
            if !names.contains(place.use.kernel) { names.append(place.use.kernel) }
        }
    }

    // MARK: Source

    /// The built-in kernel as one file without includes.
    package func source() throws -> String {
        guard let text = ShaderTexts.whole(kernel) else {
            throw CalderaError("This build of Caldera has no kernel named \(kernel).")
        }
        return "// Measure with: caldera bench kernels --op \(places[0].shape.family.rawValue) --kernel \(kernel) "
            + "--shader FILE\n" + text
    }

    // MARK: Measurement

    /// Throws `CalderaError` where the shader does not compile or does not fit, before time is spent on measurements.
    package func check(_ shader: UserShader) throws { _ = try compile(shader) }

    /// Times and checks the shader on every shape in every way in which the kernel would be run.
    /// Throws `CalderaError` as `check` does.
    package func run(_ shader: UserShader, _ ceilings: DeviceCeilings) throws -> Outcome {
        let compiled = try compile(shader)
        var outcome = Outcome()
        for place in places {
            guard let replacement = compiled[place.use.variant] else { continue }
            let result = try benchmark.measure(
                place.shape, place.count, on: place.backend.replacing(replacement),
                copies: KernelRun.copies(place.shape, on: backend), ceilings,
                expected: references.value(place.shape) { try benchmark.reference(place.shape) }, isChosen: false)
            guard let result else { continue }
            outcome.results.append(result)
            outcome.fault = outcome.fault ?? fault(result, place.shape, shader)
        }
        return outcome
    }

    /// By the variants that the places need.
    private func compile(_ shader: UserShader) throws -> [String: KernelReplacement] {
        try shader.compile(inPlaceOf: places.map(\.use), on: backend.deviceInfo)
    }

    /// The largest error of a right result: what rounding to the element type leaves, several times over.
    package static func errorBound(_ dtype: DType) -> Double { dtype.size == 2 ? 2e-3 : 1e-5 }

    private func fault(_ result: KernelReport.Result, _ shape: KernelShape, _ shader: UserShader) -> CalderaError? {
        let bound = ShaderBenchmark.errorBound(shape.dtype)
        // An error that is not a number is none below the bound.
        guard let error = result.error, !(error <= bound) else { return nil }
        return CalderaError(
            "\(shader.path) is wrong: its error on \(result.shape) is \(ShaderBenchmark.text(error)), and the bound is "
                + "\(ShaderBenchmark.text(bound)).")
    }

    private static func text(_ error: Double) -> String { error.isNaN ? "not a number" : String(format: "%.1e", error) }
}

/// What the processor makes of shapes, computed once.
private final class References {
    private var values: [String: HostTensor] = [:]

    func value(_ shape: KernelShape, _ compute: () throws -> HostTensor) rethrows -> HostTensor {
        if let known = values[shape.name] { return known }
        let value = try compute()
        values[shape.name] = value
        return value
    }
}
