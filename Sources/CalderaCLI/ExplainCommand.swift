import ArgumentParser
import Caldera

/// `caldera explain`: the plan, without running it.
struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Show the plan: stages, fused nodes, memory, and the kernel of each node.")

    @OptionGroup var model: ModelArguments
    @OptionGroup var size: SizeOptions
    @OptionGroup var device: DeviceOptions

    @Flag(help: "Print one JSON object instead.")
    var json = false

    @OptionGroup var logging: LoggingOptions

    func run() throws {
        logging.bootstrap()
        let explanation = try Explainer.explain(
            model.options, width: size.width, height: size.height, device: device.choice, precision: device.precision,
            memoryLimit: device.maxMemory)
        try StandardStreams.print(json ? JSONText.encode(explanation) : Self.text(explanation))
    }

    private static func text(_ explanation: Explanation) -> String {
        let head = "\(explanation.width)x\(explanation.height) on \(explanation.device), \(explanation.precision)"
        return ([head, memory(explanation)] + explanation.stages.map(text)).joined(separator: "\n\n")
    }

    private static func memory(_ explanation: Explanation) -> String {
        var table = TextTable(rightAligned: [1])
        for part in explanation.memory {
            table.add(part.name, Units.bytes(part.deviceBytes), notes(part).joined(separator: ", "))
        }
        table.add("peak", Units.bytes(explanation.peakDeviceBytes))
        return "device memory:\n" + table.text(indentation: 2)
    }

    private static func notes(_ part: Explanation.PartMemory) -> [String] {
        var notes = part.tiles.map { ["\($0.count) tiles of \($0.width)x\($0.height)"] } ?? []
        if part.streamedWeightBytes > 0 { notes.append("\(Units.bytes(part.streamedWeightBytes)) of weights streamed") }
        return notes
    }

    private static func text(_ stage: Explanation.StagePlan) -> String {
        var memory = TextTable(rightAligned: [1])
        memory.add("weights", Units.bytes(stage.weightBytes))
        memory.add("arena", Units.bytes(stage.arenaBytes), "largest live set \(Units.bytes(stage.largestLiveSetBytes))")
        memory.add("persistent", Units.bytes(stage.persistentBytes))
        var nodes = TextTable()
        nodes.add("node", "operation", "shape", "kernel")
        for node in stage.nodes { nodes.add(node.label, node.operation, "\(node.shape)", node.kernel) }
        let count = stage.nodes.count == 1 ? "1 node" : "\(stage.nodes.count) nodes"
        return "\(stage.name): \(count)\n\(memory.text(indentation: 2))\n\(nodes.text(indentation: 2))"
    }
}
