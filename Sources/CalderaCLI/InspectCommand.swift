import ArgumentParser
import Caldera

/// `caldera inspect`: what a model folder or a safetensors file is.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Say what a model folder or safetensors file is, and the memory that it needs.")

    @Argument(help: "A model folder in the diffusers layout, or a safetensors file.")
    var path: String

    @OptionGroup var size: SizeOptions

    @Flag(help: "Print one JSON object instead.")
    var json = false

    @OptionGroup var logging: LoggingOptions

    func run() throws {
        logging.bootstrap()
        let report = try Inspector.inspect(path, width: size.width, height: size.height)
        try StandardStreams.print(json ? JSONText.encode(report) : Self.text(report))
    }

    private static func text(_ report: InspectionReport) -> String {
        var sections = ["\(report.path): \(report.kind)\narchitecture: \(report.architecture.onOneLine)"]
        if !report.parts.isEmpty { sections.append(parts(report)) }
        if let tensors = report.tensors { sections.append(self.tensors(tensors)) }
        if !report.metadata.isEmpty { sections.append(metadata(report.metadata)) }
        if let needed = report.memoryNeeded { sections.append(memory(needed, at: report.size)) }
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

    private static func memory(_ needed: [String: Int], at size: InspectionReport.Size?) -> String {
        var table = TextTable(rightAligned: [1])
        for (precision, bytes) in needed.sorted(by: { $0.key < $1.key }) { table.add(precision, Units.bytes(bytes)) }
        let place = size.map { " at \($0.width)x\($0.height)" } ?? ""
        return "memory needed\(place):\n" + table.text(indentation: 2)
    }
}
