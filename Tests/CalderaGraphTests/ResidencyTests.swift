import CalderaGraph
import CalderaTestSupport
import Testing

/// Which weights stay in memory under a budget.
@Suite struct ResidencyTests {
    private func candidates(_ sizes: [Int], prompt: Set<Int> = []) -> [Residency.Candidate] {
        sizes.enumerated().map { Residency.Candidate(size: $1, stage: prompt.contains($0) ? .prompt : .step) }
    }

    @Test func allStayWhereTheyFit() {
        for budget in [nil, 60] {
            let residency = Residency(candidates([10, 20, 30]), budget: budget, regions: 2)
            #expect(residency.isResident == [true, true, true])
            #expect(residency.largestStreamed == 0)
        }
    }

    @Test func largeOnesGoBeforeSmallOnes() {
        let residency = Residency(candidates([10, 20, 30]), budget: 59, regions: 1)
        #expect(residency.isResident == [false, true, false])
        #expect(residency.largestStreamed == 30)
    }

    @Test func largeOnesStayWhereTheirRegionsWouldNotFit() {
        let residency = Residency(candidates([10, 20, 100, 10, 10]), budget: 145, regions: 2)
        #expect(residency.isResident == [false, false, true, false, false])
        #expect(residency.largestStreamed == 20)
    }

    @Test func weightsOfTheStepsStayBeforeThoseOfThePrompt() {
        let residency = Residency(candidates([30, 10, 10], prompt: [0]), budget: 49, regions: 1)
        #expect(residency.isResident == [false, true, false])
        #expect(residency.largestStreamed == 30)
    }

    @Test func nothingStaysWhereTheRegionsTakeItAll() {
        let residency = Residency(candidates([20, 20, 20, 20]), budget: 41, regions: 2)
        #expect(residency.isResident == [false, false, false, false])
        #expect(residency.largestStreamed == 20)
    }

    @Test func whereNothingFitsTheLeastIsChosen() {
        // Everything resident takes 104 bytes; two regions for the largest weight would take 200.
        let residency = Residency(candidates([2, 100, 2]), budget: 0, regions: 2)
        #expect(residency.isResident == [false, true, false])
        #expect(residency.largestStreamed == 2)
    }

    @Test func whatStaysAndTheRegionsNeverExceedTheBudget() {
        var random = SeededRandom(seed: 7)
        for _ in 0..<500 {
            let sizes = (0..<Int.random(in: 1...20, using: &random)).map { _ in Int.random(in: 1...100, using: &random)
            }
            let regions = Int.random(in: 1...4, using: &random)
            let prompt = Set(sizes.indices.filter { _ in Bool.random(using: &random) })
            let least = sizes.sorted().reversed().enumerated().map { count, size in
                sizes.sorted().suffix(count).reduce(regions * size, +)
            }
            let budget = Int.random(in: min(least.min() ?? 0, sizes.reduce(0, +))...1000, using: &random)
            let residency = Residency(candidates(sizes, prompt: prompt), budget: budget, regions: regions)
            let stays = zip(sizes, residency.isResident).reduce(0) { $0 + ($1.1 ? $1.0 : 0) }
            let streamed = zip(sizes, residency.isResident).filter { !$0.1 }.map(\.0)
            #expect(residency.largestStreamed == streamed.max() ?? 0)
            #expect(stays + regions * residency.largestStreamed <= budget)
        }
    }

    @Test func bitsTellFiniteNumbers() {
        for (value, isFinite) in [(Float(0), true), (-3.4e38, true), (.infinity, false), (.nan, false)] {
            for dtype in [DType.float32, .float16, .bfloat16] where dtype == .float32 || abs(value) < 1 || !isFinite {
                for place in [0, 5000] {
                    var values = [Float](repeating: 1, count: 5001)
                    values[place] = value
                    let bytes = ElementCoding.encoded(values, as: dtype)
                    let holds = bytes.withUnsafeBytes { bytes in
                        bytes.baseAddress.map { FiniteCheck.holds($0, dtype, count: values.count) }
                    }
                    #expect(holds == isFinite, "\(value) as \(dtype)")
                }
            }
        }
    }
}
