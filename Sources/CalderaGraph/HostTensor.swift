/// A tensor in host memory, the form in which a pipeline hands values to an executable and takes them back.
/// Floating values are fp32 here whatever the device stores; the backend converts on the way in and out.
public struct HostTensor: Sendable, Equatable {
    public enum Values: Sendable, Equatable {
        case float([Float])
        case int([Int32])
    }

    public let shape: Shape
    public let values: Values

    public init(_ shape: Shape, _ values: [Float]) {
        precondition(shape.count == values.count, "\(values.count) values do not fill \(shape)")
        self.shape = shape
        self.values = .float(values)
    }

    public init(_ shape: Shape, _ values: [Int32]) {
        precondition(shape.count == values.count, "\(values.count) values do not fill \(shape)")
        self.shape = shape
        self.values = .int(values)
    }

    /// The elements as fp32, integers converted.
    public var floats: [Float] {
        switch values {
        case .float(let floats): floats
        case .int(let ints): ints.map(Float.init)
        }
    }
}
