import COneDNN

/// Loops on oneDNN's own team of threads, so that no second pool competes with it for the cores.
enum Parallel {
    /// Threads in the team; `thread` arguments are below it.
    static var threads: Int { max(1, Int(cdnn_thread_count())) }

    private struct Work {
        let body: (Int, Int) -> Int32
    }

    /// Calls `body(thread, index)` for each index below `count`, in no particular order. What an index computes must
    /// not depend on the thread, so that results are the same bits each time. Returns 0, or a non-zero result of one
    /// of the calls.
    @discardableResult
    static func run(_ count: Int, _ body: (_ thread: Int, _ index: Int) -> Int32) -> Int32 {
        withoutActuallyEscaping(body) { body in
            withUnsafePointer(to: Work(body: body)) { work in
                cdnn_parallel(
                    Int64(count),
                    { context, thread, index in
                        guard let work = context?.assumingMemoryBound(to: Work.self) else { return 0 }
                        return work.pointee.body(Int(thread), Int(index))
                    }, UnsafeMutableRawPointer(mutating: work))
            }
        }
    }

    /// Calls `body` on consecutive ranges that cover 0..<count, of `grain` each but for the last.
    static func ranges(_ count: Int, grain: Int, _ body: (Range<Int>) -> Void) {
        let grain = max(1, grain)
        run((count + grain - 1) / grain) { _, index in
            body(index * grain..<min(count, (index + 1) * grain))
            return 0
        }
    }

    /// Ranges of rows with some 16 Ki elements each: work enough to outweigh handing it out.
    static func rows(_ rows: Int, channels: Int, _ body: (Range<Int>) -> Void) {
        ranges(rows, grain: 16_384 / max(1, channels), body)
    }

    /// Ranges of single elements.
    static func elements(_ count: Int, _ body: (Range<Int>) -> Void) { ranges(count, grain: 16_384, body) }
}
