import CalderaGPU
import Testing

@Suite struct HazardTrackerTests {
    private typealias Work = (reads: [Range<UInt64>], writes: [Range<UInt64>])

    /// Before which pieces of work a barrier stands.
    private func barriers(_ works: [Work]) -> [Bool] {
        var hazards = HazardTracker()
        return works.map { hazards.needsBarrier(reads: $0.reads, writes: $0.writes) }
    }

    @Test func workOnSeparateMemoryNeedsNoBarrier() {
        let works: [Work] = [([0..<10], [10..<20]), ([0..<10], [20..<30]), ([30..<40], [40..<50])]
        #expect(barriers(works) == [false, false, false])
    }

    @Test(arguments: [9..<10, 5..<15, 0..<100, 11..<12] as [Range<UInt64>])
    func readingWhatWasWrittenNeedsOne(range: Range<UInt64>) {
        #expect(barriers([([], [9..<12]), ([range], [])]) == [false, true])
    }

    @Test func writingWhatWasReadNeedsOne() {
        #expect(barriers([([0..<8], [8..<16]), ([], [7..<8])]) == [false, true])
    }

    @Test func writingWhatWasWrittenNeedsOne() {
        #expect(barriers([([], [8..<16]), ([], [15..<20])]) == [false, true])
    }

    @Test func neighboursDoNotTouch() {
        #expect(barriers([([], [8..<16]), ([0..<8, 16..<24], [24..<32])]) == [false, false])
    }

    @Test func aBarrierCoversAllThatWentBeforeAndNothingBehindIt() {
        let works: [Work] = [
            ([], [0..<8, 100..<108]),
            ([0..<8], [8..<16]),
            // The barrier before the last line has made this visible too.
            ([100..<108], []),
            // What was written behind that barrier is not.
            ([8..<16], []),
        ]
        #expect(barriers(works) == [false, true, false, true])
    }
}
