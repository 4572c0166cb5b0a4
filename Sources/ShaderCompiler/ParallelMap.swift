import Foundation

/// `transform` of each element, in order, on `workers` threads.
func parallelMap<Element: Sendable, Value: Sendable>(
    _ elements: [Element], workers: Int, _ transform: @escaping @Sendable (Element) -> Value
) -> [Value] {
    let results = Results<Value>(count: elements.count)
    DispatchQueue.concurrentPerform(iterations: min(workers, elements.count)) { _ in
        while let index = results.next() { results.set(index, transform(elements[index])) }
    }
    return results.values()
}

/// Hands out indices and collects what becomes of them.
private final class Results<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var started = 0
    private var slots: [Value?]

    init(count: Int) { slots = Array(repeating: nil, count: count) }

    func next() -> Int? {
        lock.withLock {
            guard started < slots.count else { return nil }
            started += 1
            return started - 1
        }
    }

    func set(_ index: Int, _ value: Value) { lock.withLock { slots[index] = value } }

    func values() -> [Value] { lock.withLock { slots.compactMap { $0 } } }
}
