import CalderaGraph

/// Reads a pickle as Python's `pickle` module would, but builds only plain values and descriptions of tensors: nothing
/// that a file names is ever imported or called. Instructions and names outside the lists of `PickleOpcode` and
/// `PickleGlobal` are errors.
///
/// Memory is bounded by the limits below and by the pickle's own size; nesting costs nothing (see `PickleValue`).
struct PickleMachine {
    /// Some thirty instructions describe a tensor.
    private static let mostInstructions = 4 << 20
    private static let deepestStack = 1 << 20
    private static let largestMemo = 1 << 20
    private static let longestGlobal = 256

    let path: String
    var heap = PickleHeap()
    private var reader: ByteReader
    private var stack: [PickleValue] = []
    private var marks: [Int] = []
    private var memo: [Int: PickleValue] = [:]

    private init(_ bytes: UnsafeRawBufferPointer, path: String) {
        reader = ByteReader(bytes)
        self.path = path
    }

    /// Reads the bytes of one pickle, of which nothing is kept. Throws `CalderaError` when it is broken, asks for more
    /// than tensors need, or goes beyond the limits.
    static func read(_ bytes: UnsafeRawBufferPointer, path: String) throws -> PickleDocument {
        var machine = PickleMachine(bytes, path: path)
        return try machine.run()
    }

    private mutating func run() throws -> PickleDocument {
        guard reader.bytes.first == PickleOpcode.proto.rawValue else { throw broken("no protocol") }
        for _ in 0..<Self.mostInstructions {
            let byte = try integer(UInt8.self)
            guard let opcode = PickleOpcode(rawValue: byte) else { throw unknown(byte) }
            if opcode == .stop { return try finish() }
            try execute(opcode)
            guard stack.count <= Self.deepestStack else { throw broken("too many values at once") }
        }
        throw CalderaError(
            "\(path) has a pickle of more than \(Self.mostInstructions) instructions, far more than tensors need: "
                + "get it as safetensors.")
    }

    private mutating func finish() throws -> PickleDocument {
        let root = try pop()
        guard stack.isEmpty, marks.isEmpty else { throw broken("values left over") }
        return PickleDocument(root: root, heap: heap)
    }

    private mutating func execute(_ opcode: PickleOpcode) throws {
        switch opcode {
        case .proto: try checkProtocol()
        case .frame: try checkFrame()
        case .stop: return
        case .none: stack.append(.none)
        case .newTrue: stack.append(.bool(true))
        case .newFalse: stack.append(.bool(false))
        case .binInt: stack.append(.int(Int(try integer(Int32.self))))
        case .binInt1: stack.append(.int(Int(try integer(UInt8.self))))
        case .binInt2: stack.append(.int(Int(try integer(UInt16.self))))
        case .long1: try pushLong(count: Int(try integer(UInt8.self)))
        case .long4: try pushLong(count: Int(try integer(Int32.self)))
        case .binFloat: stack.append(.double(Double(bitPattern: try integer(UInt64.self).byteSwapped)))
        case .binUnicode: try pushString(count: Int(try integer(UInt32.self)))
        case .shortBinUnicode: try pushString(count: Int(try integer(UInt8.self)))
        case .binUnicode8: try pushString(count: try count64())
        case .binBytes: try skipBytes(count: Int(try integer(UInt32.self)))
        case .shortBinBytes: try skipBytes(count: Int(try integer(UInt8.self)))
        case .binBytes8: try skipBytes(count: try count64())
        case .mark: marks.append(stack.count)
        case .emptyTuple: pushTuple([])
        case .tuple: pushTuple(try popToMark())
        case .tuple1: pushTuple(try pop(1))
        case .tuple2: pushTuple(try pop(2))
        case .tuple3: pushTuple(try pop(3))
        case .emptyList: pushList()
        case .append: try append(try pop(1))
        case .appends: try append(try popToMark())
        case .emptyDict: pushDictionary(isOrdered: false)
        case .setItem: try setItems(try pop(2))
        case .setItems: try setItems(try popToMark())
        case .emptySet: stack.append(.inert(.set))
        case .addItems: try dropSetItems()
        case .binPut: try store(Int(try integer(UInt8.self)))
        case .longBinPut: try store(Int(try integer(UInt32.self)))
        case .memoize: try store(memo.count)
        case .binGet: try fetch(Int(try integer(UInt8.self)))
        case .longBinGet: try fetch(Int(try integer(UInt32.self)))
        case .global: try pushGlobal(module: try line(), name: try line())
        case .stackGlobal: try pushStackGlobal()
        case .binPersistentID: stack.append(try storage(try pop()))
        case .reduce: try reduce()
        case .newObject: try makeObject()
        case .build: try build()
        }
    }
}

// MARK: - Framing

extension PickleMachine {
    private mutating func checkProtocol() throws {
        let version = try integer(UInt8.self)
        guard (2...5).contains(version) else { throw broken("protocol \(version)") }
    }

    private mutating func checkFrame() throws {
        guard try count64() <= reader.remaining else { throw broken("a frame beyond its end") }
    }

    private mutating func integer<Number: FixedWidthInteger>(_ type: Number.Type) throws -> Number {
        guard let value = reader.integer(type) else { throw broken("it ends too early") }
        return value
    }

    private mutating func count64() throws -> Int {
        guard let count = Int(exactly: try integer(UInt64.self)) else { throw broken("an impossible length") }
        return count
    }

    private mutating func bytes(_ count: Int) throws -> UnsafeRawBufferPointer {
        guard let bytes = reader.run(count) else { throw broken("it ends too early") }
        return bytes
    }

    private mutating func line() throws -> String {
        guard let bytes = reader.line(longest: Self.longestGlobal), let line = String(validating: bytes, as: UTF8.self)
        else { throw broken("a name without end") }
        return line
    }
}

// MARK: - Plain values

extension PickleMachine {
    /// Two's complement, little-endian. Integers of more than 64 bits are nothing that Caldera reads.
    private mutating func pushLong(count: Int) throws {
        let bytes = try bytes(count)
        guard count <= 8 else { return stack.append(.opaque) }
        let isNegative = (bytes.last ?? 0) & 0x80 != 0
        let value = bytes.reversed().reduce(isNegative ? -1 : 0) { $0 << 8 | Int($1) }
        stack.append(.int(value))
    }

    private mutating func pushString(count: Int) throws {
        guard let string = String(validating: try bytes(count), as: UTF8.self) else {
            throw broken("a string that is not UTF-8")
        }
        stack.append(.string(string))
    }

    private mutating func skipBytes(count: Int) throws {
        _ = try bytes(count)
        stack.append(.opaque)
    }

    private mutating func pushTuple(_ items: [PickleValue]) {
        stack.append(.tuple(heap.tuples.count))
        heap.tuples.append(items)
    }

    private mutating func pushList() {
        stack.append(.list(heap.lists.count))
        heap.lists.append([])
    }

    mutating func pushDictionary(isOrdered: Bool) {
        stack.append(.dictionary(heap.dictionaries.count))
        heap.dictionaries.append(PickledDictionary(isOrdered: isOrdered))
    }

    private mutating func append(_ items: [PickleValue]) throws {
        guard case .list(let number)? = stack.last else { throw forbidden("adds items to something that is no list") }
        heap.lists[number] += items
    }

    /// Sets hold nothing that Caldera reads.
    private mutating func dropSetItems() throws {
        _ = try popToMark()
        guard case .inert(.set)? = stack.last else { throw forbidden("adds items to something that is no set") }
    }

    private mutating func setItems(_ items: [PickleValue]) throws {
        guard case .dictionary(let number)? = stack.last else {
            throw forbidden("sets items of something that is no dictionary")
        }
        guard items.count % 2 == 0 else { throw broken("a key without a value") }
        for index in stride(from: 0, to: items.count, by: 2) {
            heap.dictionaries[number].members.append((items[index], items[index + 1]))
        }
    }
}

// MARK: - Stack and memo

extension PickleMachine {
    mutating func push(_ value: PickleValue) { stack.append(value) }

    /// The last `count` values above the last mark, in the order in which they were pushed.
    mutating func pop(_ count: Int) throws -> [PickleValue] {
        guard stack.count - (marks.last ?? 0) >= count else { throw broken("a missing value") }
        defer { stack.removeLast(count) }
        return Array(stack.suffix(count))
    }

    mutating func pop() throws -> PickleValue {
        guard stack.count > (marks.last ?? 0) else { throw broken("a missing value") }
        return stack.removeLast()
    }

    /// The value on top, which stays there.
    func top() throws -> PickleValue {
        guard let value = stack.last, stack.count > (marks.last ?? 0) else { throw broken("a missing value") }
        return value
    }

    private mutating func popToMark() throws -> [PickleValue] {
        guard let mark = marks.popLast() else { throw broken("a missing mark") }
        defer { stack.removeSubrange(mark...) }
        return Array(stack[mark...])
    }

    private mutating func store(_ number: Int) throws {
        memo[number] = try top()
        guard memo.count <= Self.largestMemo else { throw broken("too many values to remember") }
    }

    private mutating func fetch(_ number: Int) throws {
        guard let value = memo[number] else { throw broken("a reference to nothing") }
        stack.append(value)
    }
}

// MARK: - Errors

extension PickleMachine {
    func broken(_ fault: String) -> CalderaError {
        CalderaError("\(path) has a broken pickle (\(fault), at byte \(reader.position)): download it again.")
    }

    func forbidden(_ deed: String) -> CalderaError {
        CalderaError(
            "\(path) \(deed), which tensors never need: this file may be malicious; get the weights as safetensors "
                + "from a source that you trust.")
    }

    private func unknown(_ byte: UInt8) -> CalderaError {
        guard let name = PickleOpcode.refused[byte] else { return broken("no instruction \(byte)") }
        return forbidden("uses the pickle instruction \(name)")
    }
}
