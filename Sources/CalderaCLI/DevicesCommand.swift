import ArgumentParser
import Caldera

/// `caldera devices`: what could compute here.
struct DevicesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "devices", abstract: "List what could compute, and what `--device auto` would choose.")

    @Flag(help: "Print one JSON object instead.")
    var json = false

    @OptionGroup var logging: LoggingOptions

    func run() throws {
        logging.bootstrap()
        let report = Devices.report()
        try StandardStreams.print(json ? JSONText.encode(report) : Self.text(report))
    }

    private static func text(_ report: DevicesReport) -> String {
        var paragraphs = report.devices.map(text)
        if let note = report.note { paragraphs.append(note) }
        if !report.missingKernels.isEmpty {
            let lines = ["This build lacks GPU kernels (build it with a newer glslang, named in CALDERA_GLSLANG):"]
            paragraphs.append((lines + report.missingKernels.map { "  " + $0 }).joined(separator: "\n"))
        }
        paragraphs.append("--device auto takes: \(report.chosen)")
        return paragraphs.joined(separator: "\n\n")
    }

    private static func text(_ device: DeviceReport) -> String {
        let selector = device.index.map { "vulkan:\($0)" } ?? "cpu"
        var table = TextTable()
        if let reason = device.unusableReason { table.add("unusable", reason) }
        table.add("driver", device.driver)
        if let version = device.apiVersion { table.add("Vulkan", version) }
        table.add("memory", Units.bytes(device.memoryBytes))
        table.add("fp16", "arithmetic \(yesNo(device.fp16Arithmetic)), storage \(yesNo(device.fp16Storage))")
        table.add("bf16", "arithmetic \(yesNo(device.bf16))")
        if device.index != nil {
            let shapes = device.cooperativeMatrixShapes
            table.add("cooperative matrices", shapes.isEmpty ? "none" : shapes.joined(separator: ", "))
            let kinds = device.flexibleMatrices
            table.add("flexible matrices", kinds.isEmpty ? "none" : kinds.joined(separator: ", "))
        }
        if let size = device.subgroupSize { table.add("subgroup size", "\(size)") }
        if let bytes = device.sharedMemoryBytes { table.add("shared memory", Units.bytes(bytes)) }
        if let bytes = device.largestAllocationBytes { table.add("largest allocation", Units.bytes(bytes)) }
        if let shapes = device.tunedShapes { table.add("tuned shapes", tuning(shapes, device.tuning)) }
        return "\(selector)  \(device.name) (\(device.type))\n" + table.text(indentation: 2)
    }

    private static func tuning(_ shapes: Int, _ note: String?) -> String {
        if shapes > 0 { return "\(shapes)" + (note.map { " (\($0))" } ?? "") }
        return note.map { "none: \($0)" } ?? "none"
    }

    private static func yesNo(_ flag: Bool) -> String { flag ? "yes" : "no" }
}
