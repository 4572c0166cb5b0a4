import CalderaGraph

/// The tuner's side of the backend.
extension VulkanBackend {
    /// Bytes that work has to go through for nothing of it to be found in a cache again: more than the last cache of any
    /// GPU holds.
    static let largestCache = 256 << 20

    /// Measures the variants of every shape of a plan that has no choice yet, and keeps the fastest of each. Does nothing
    /// where no choices are kept. Throws `CalderaError` when the device fails.
    func tune(_ plan: Plan, progress: (String) -> Void) throws {
        guard let tuned = choices.tuned, choices.pinned == nil else { return }
        let lowering = Lowering(device: device.info, plan: plan, memory: DescribedMemory(plan: plan))
        var work: [(shape: TunedShape, node: Node, variants: [KernelVariant])] = []
        var known: Set<TunedShape> = []
        for node in plan.promptNodes + plan.stepNodes {
            guard let shape = TunedShape(node), known.insert(shape).inserted, tuned[shape] == nil else { continue }
            let variants = lowering.variants(of: node)
            if variants.count > 1 { work.append((shape, node, variants)) }
        }
        let tuner = KernelTuner(device: device, kernels: kernels, plan: plan)
        for (index, (shape, node, variants)) in work.enumerated() {
            progress("tuning \(index + 1) of \(work.count): \(shape)")
            if let fastest = try tuner.fastest(of: variants, for: node) { tuned.keep(fastest, for: shape) }
        }
    }

    /// Every way in which the device could run a node, the one that is taken by shape first; empty where there is but
    /// one.
    package func variants(of node: Node, in plan: Plan) -> [KernelVariant] {
        Lowering(device: device.info, plan: plan, memory: DescribedMemory(plan: plan)).variants(of: node)
    }

    /// Why a file of tuned kernels was left aside, with the remedy; nil where it was read or there is none.
    package var tuningWarning: String? { choices.tuned?.warning }
}
