import CalderaGraph

/// How far a result may lie from the naive reference, which stores nothing rounded.
package struct ErrorBounds: Sendable {
    /// On ‖x - ref‖ / ‖ref‖.
    package let normalised: Double
    /// On max |x - ref| / max |ref|.
    package var largest: Double { 5 * normalised }

    /// `dtype` is the coarsest element type that any node's result is stored in.
    package init(_ dtype: DType, _ exactness: OperatorCase.Exactness) {
        normalised =
            switch dtype {
            case .float32: exactness == .long ? 2e-5 : 1e-5
            case .float16: 2e-3
            case .bfloat16: 1.5e-2
            case .int32: 0
            }
    }
}

/// What a case's run on a backend showed.
package struct OperatorReport: Sendable, CustomStringConvertible {
    package let title: String
    /// The largest errors over all results and replays.
    package fileprivate(set) var normalisedError = 0.0
    package fileprivate(set) var largestError = 0.0
    /// One sentence for each thing that is wrong; empty when the case passed.
    package fileprivate(set) var faults: [String] = []

    package var passed: Bool { faults.isEmpty }
    package var description: String {
        faults.isEmpty ? "\(title): passed" : "\(title): " + faults.joined(separator: " ")
    }
}

/// Runs a case on a backend and, with nothing fused, on the naive reference, on inputs and weights rounded to `dtype`, and compares every
/// result after the prompt stage and after each replay; then runs it all again and asks for the same bits.
///
/// `limits` replaces the backend's own where it can bear a smaller alignment, so that guards lie closer.
/// Throws what building, planning, compiling or running throws.
package func check(
    _ operatorCase: OperatorCase, on backend: any Backend, dtype: DType, limits: PlanLimits? = nil
) throws -> OperatorReport {
    let built = try operatorCase.built(dtype: dtype)
    let plan = try Planner.plan(built.graph, limits: limits ?? backend.limits)
    let weights = MemoryWeights(built.weights, dtype: dtype)
    let executable = try backend.compile(plan, weights: weights)
    let unfused = try Planner.plan(built.graph, fusing: false)
    let reference = try NaiveBackend().compile(unfused, weights: weights)
    let nodeTypes = (plan.promptNodes + plan.stepNodes).map(\.output.dtype)
    let coarsest = [DType.bfloat16, .float16].first(where: nodeTypes.contains) ?? .float32
    let bounds = ErrorBounds(coarsest, operatorCase.exactness)

    var report = OperatorReport(title: "\(operatorCase.name), \(dtype) on \(backend.name)")
    let wanted = try snapshots(of: reference, built, replays: operatorCase.replays)
    let first = try snapshots(of: executable, built, replays: operatorCase.replays)
    for (replay, pair) in zip(wanted, first).enumerated() {
        for name in built.results {
            report.compare(name, replay, pair.1[name], with: pair.0[name], bounds)
        }
        for name in built.guards where pair.1[name] != built.contents[name] {
            report.faults.append("The guard \(name) was overwritten (replay \(replay)).")
        }
    }
    if try !areSameBits(snapshots(of: executable, built, replays: operatorCase.replays), first) {
        report.faults.append("A second run gave other bits.")
    }
    return report
}

/// The results and guards after the prompt stage with the first replay, and after each replay that follows.
private func snapshots(
    of executable: any Executable, _ built: CaseBuilder, replays: Int
) throws -> [[String: HostTensor]] {
    for name in built.contents.keys.sorted() {
        if let tensor = built.contents[name] { try executable.write(name, tensor) }
    }
    try executable.run(.prompt)
    return try (0..<replays).map { _ in
        try executable.run(.step)
        let names = built.results + built.guards
        return Dictionary(uniqueKeysWithValues: try names.map { ($0, try executable.read($0)) })
    }
}

/// Equality that takes a NaN to equal itself: differing values are reported elsewhere.
private func areSameBits(_ left: [[String: HostTensor]], _ right: [[String: HostTensor]]) -> Bool {
    func bits(_ tensor: HostTensor) -> [UInt32] {
        switch tensor.values {
        case .float(let floats): floats.map(\.bitPattern)
        case .int(let ints): ints.map { UInt32(bitPattern: $0) }
        }
    }
    return left.map { $0.mapValues(bits) } == right.map { $0.mapValues(bits) }
}

extension OperatorReport {
    fileprivate mutating func compare(
        _ name: String, _ replay: Int, _ tensor: HostTensor?, with reference: HostTensor?, _ bounds: ErrorBounds
    ) {
        let place = "\(name) (replay \(replay))"
        guard let tensor, let reference, tensor.shape == reference.shape else {
            faults.append("\(place) has another shape than the reference.")
            return
        }
        if case .int = reference.values {
            if tensor != reference { faults.append("\(place) differs from the reference's integers.") }
            return
        }
        let wanted = reference.floats.map { Double($0) }
        let found = tensor.floats.map { Double($0) }
        let wild = found.indices.filter { !found[$0].isFinite }
        if let index = wild.first {
            let wrong = zip(found, wanted).count { abs($0 - $1) > 1 }
            faults.append(
                "\(place) \(tensor.shape) holds \(found[index]) at element \(index); \(wild.count) elements are not "
                    + "finite (\(wild.prefix(8))), \(wrong) others are off by more than 1.")
            return
        }
        let differences = zip(found, wanted).map { abs($0 - $1) }
        let normalised = ratio(norm(differences), to: norm(wanted))
        let largest = ratio(differences.max() ?? 0, to: wanted.map { abs($0) }.max() ?? 0)
        normalisedError = max(normalisedError, normalised)
        largestError = max(largestError, largest)
        if normalised <= bounds.normalised && largest <= bounds.largest { return }
        let index = differences.indices.max { differences[$0] < differences[$1] } ?? 0
        faults.append(
            "\(place) \(tensor.shape) is off by \(normalised) (bound \(bounds.normalised)) in norm and \(largest) "
                + "(bound \(bounds.largest)) at most: element \(index) is \(found[index]), not \(wanted[index]).")
    }
}

private func norm(_ values: [Double]) -> Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }

/// Against an all-zero reference the error itself.
private func ratio(_ error: Double, to scale: Double) -> Double { scale == 0 ? error : error / scale }
