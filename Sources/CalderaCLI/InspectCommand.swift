import ArgumentParser
import Caldera

/// `caldera inspect`: what a model or a file of weights is.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Say what a model or a file of weights is, and the memory that it needs.")

    @Argument(
        help: "A model (a diffusers folder or a checkpoint file), or any other file of weights: a LoRA, an autoencoder."
    )
    var path: String

    @OptionGroup var files: ModelFileArguments
    @OptionGroup var size: SizeOptions

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("The device for which memory is predicted, as in generate. (default: auto)"),
        transform: DeviceChoice.init(argument:))
    var device: DeviceChoice?

    @Flag(help: "Print one JSON object instead.")
    var json = false

    @OptionGroup var logging: LoggingOptions

    func run() throws {
        logging.bootstrap()
        var options = ModelOptions(model: path)
        files.apply(to: &options)
        let report = try Inspector.inspect(
            options, width: size.width, height: size.height, device: device ?? .auto)
        try StandardStreams.print(json ? JSONText.encode(report) : Self.text(report))
    }

    private static func text(_ report: InspectionReport) -> String {
        var sections = ["\(report.path): \(report.kind)\narchitecture: \(report.architecture.onOneLine)"]
        if let note = report.note { sections[0] += "\n\(note.onOneLine)" }
        if !report.parts.isEmpty { sections.append(parts(report)) }
        if let tensors = report.tensors { sections.append(self.tensors(tensors)) }
        if !report.metadata.isEmpty { sections.append(metadata(report.metadata)) }
        if let needed = report.memoryNeeded { sections.append(memory(needed, report)) }
        return sections.joined(separator: "\n\n")
    }

    private static func parts(_ report: InspectionReport) -> String {
        var table = TextTable(rightAligned: [2, 4])
        table.add("part", "class", "parameters", "tensors", "bytes")
        for part in report.parts {
            let dtypes = part.dtypes.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
            table.add(
                part.name, part.className, Units.count(part.parameters), dtypes.joined(separator: ", "),
                Units.bytes(part.bytes))
        }
        return table.text()
    }

    private static func tensors(_ tensors: [InspectionReport.TensorLine]) -> String {
        var table = TextTable()
        table.add("tensor", "dtype", "shape")
        for tensor in tensors { table.add(tensor.name, tensor.dtype, "\(tensor.shape)") }
        return table.text()
    }

    private static func metadata(_ metadata: [String: String]) -> String {
        var table = TextTable()
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) { table.add(key, value) }
        return "metadata:\n" + table.text(indentation: 2)
    }

    private static func memory(_ needed: [String: Int], _ report: InspectionReport) -> String {
        var table = TextTable(rightAligned: [1])
        for (precision, bytes) in needed.sorted(by: { $0.key < $1.key }) { table.add(precision, Units.bytes(bytes)) }
        let size = report.size.map { " at \($0.width)x\($0.height)" } ?? ""
        let place = size + (report.device.map { " on \($0)" } ?? "")
        return "memory needed\(place):\n" + table.text(indentation: 2)
    }
}
