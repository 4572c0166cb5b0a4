import CalderaGraph

/// What a device can do at most, measured with programs that do nothing else.
package struct DeviceCeilings: Codable, Sendable, Equatable {
    /// Multiply-adds in fp32, counted as two operations, for a second; on the processor those of its best product.
    package let fp32OperationsPerSecond: Double
    /// The same in the 16-bit type that is measured; nil where that is not computed in.
    package let halfOperationsPerSecond: Double?
    /// The same of cooperative matrices, fp16 summed in fp32; nil where there are none or fp16 is not measured.
    package let cooperativeOperationsPerSecond: Double?
    /// Read and written by copies.
    package let copyBytesPerSecond: Double

    package init(
        fp32OperationsPerSecond: Double, halfOperationsPerSecond: Double?,
        cooperativeOperationsPerSecond: Double? = nil, copyBytesPerSecond: Double
    ) {
        self.cooperativeOperationsPerSecond = cooperativeOperationsPerSecond
        self.fp32OperationsPerSecond = fp32OperationsPerSecond
        self.halfOperationsPerSecond = halfOperationsPerSecond
        self.copyBytesPerSecond = copyBytesPerSecond
    }

    /// The least time that work can take: as long as its arithmetic or its memory, whichever is longer (Williams,
    /// Waterman and Patterson, "Roofline", 2009).
    func leastSeconds(_ work: NodeWork) -> Double {
        let arithmetic = max(
            fp32OperationsPerSecond, halfOperationsPerSecond ?? 0, cooperativeOperationsPerSecond ?? 0)
        return max(work.operations / arithmetic, work.bytes / copyBytesPerSecond)
    }
}

/// What `caldera bench kernels` measures.
package struct KernelReport: Codable, Sendable {
    /// One variant on one shape.
    package struct Result: Codable, Sendable, Equatable {
        package let family: KernelFamily
        package let shape: String
        /// Nodes of the model that have this shape.
        package let count: Int
        /// The kernel and its parameters.
        package var variant: String
        /// Whether it is the one that the backend takes by itself.
        package let isChosen: Bool
        package var seconds: Spread
        /// Multiply-adds counted as two; 0 where memory bounds the work.
        package let operations: Double
        package let bytes: Double
        /// Of what the device's ceilings allow, from 0 to 1.
        package let shareOfCeiling: Double
        /// Relative L2 against the processor's fp32; nil where that is what is measured, or the shape is too large.
        package let error: Double?
    }

    package let format: String
    package let environment: BenchmarkEnvironment
    package let ceilings: DeviceCeilings
    package let results: [Result]

    package init(environment: BenchmarkEnvironment, ceilings: DeviceCeilings, results: [Result]) {
        format = "caldera.bench.kernels.1"
        self.environment = environment
        self.ceilings = ceilings
        self.results = results
    }

    /// The same with further results, each behind the last one of its shape.
    package func adding(_ others: [Result]) -> KernelReport {
        var merged: [Result] = []
        for (index, result) in results.enumerated() {
            merged.append(result)
            let isLast = index + 1 == results.count || results[index + 1].shape != result.shape
            if isLast { merged += others.filter { $0.shape == result.shape } }
        }
        return KernelReport(environment: environment, ceilings: ceilings, results: merged)
    }
}

/// Two reports of one device, the second over the first.
package struct KernelComparison: Sendable {
    package struct Line: Sendable, Equatable {
        package let shape: String
        package let variant: String
        package let before: Double
        package let after: Double
        /// Above 1 is slower.
        package var ratio: Double { after / before }
    }

    /// What both have.
    package let lines: [Line]
    /// What grew by more than the bound.
    package let regressions: [Line]

    /// - Parameter bound: the largest ratio of new and old medians that is no regression, such as 1.1.
    /// Throws `CalderaError` where nothing can be compared.
    package init(_ before: KernelReport, _ after: KernelReport, bound: Double) throws {
        let known = Dictionary(before.results.map { ("\($0.shape)|\($0.variant)", $0.seconds.median) }) { $1 }
        lines = after.results.compactMap { result in
            known["\(result.shape)|\(result.variant)"].map {
                Line(shape: result.shape, variant: result.variant, before: $0, after: result.seconds.median)
            }
        }
        guard !lines.isEmpty else {
            throw CalderaError(
                "The earlier report has none of these shapes and variants: compare with one of the same --set and device."
            )
        }
        regressions = lines.filter { $0.ratio > bound }
    }
}
