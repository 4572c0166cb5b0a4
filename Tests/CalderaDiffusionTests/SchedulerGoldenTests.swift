import CalderaDiffusion
import Foundation
import Testing

/// Every scheduler against diffusers, one case per class: the failing table is named in the message.
///
/// Two classes magnify the last digit of torch's functions, which differs by CPU (`SingleFunctions`): their levels are
/// rounded as the torch did that made the tables, and how rarely that matters has a test of its own.
@Suite struct SchedulerGoldenTests {
    /// Read once: the file is large, and every case makes a suite of its own.
    private static let fixture = Result { try GoldenTable.byScheduler() }

    private static let magnifying = ["DPMSolverSDEScheduler", "KDPM2AncestralDiscreteScheduler"]

    private let tables: [String: [GoldenTable]]

    init() throws { tables = try Self.fixture.get() }

    @Test(arguments: SchedulerRegistry.all.map { $0.className })
    func levelsMatchDiffusers(scheduler: String) throws {
        for table in tables[scheduler] ?? [] {
            for prediction in table.trajectories.keys {
                let schedule = try schedule(table, prediction)
                #expect(close(schedule.timesteps.map(Double.init), table.timesteps, within: 1e-6), "\(table)")
                #expect(schedule.sigmas.count == schedule.steps.count + 1, "\(table)")
                #expect(abs(schedule.initNoiseSigma / table.initNoiseSigma - 1) <= 1e-6, "\(table)")
                if let sigmas = table.sigmas { #expect(close(schedule.sigmas, sigmas, within: 1e-6), "\(table)") }
                if let levels = table.levels {
                    let reached = [schedule.start] + schedule.steps.dropLast().map(\.level)
                    let factors = reached.flatMap { [$0.image, $0.noise] }
                    #expect(close(factors, levels, within: 1e-6), "\(table)")
                }
                #expect(schedule.steps.last?.level == .clean)
            }
        }
    }

    @Test(arguments: SchedulerRegistry.all.map { $0.className })
    func everyStepMatchesDiffusers(scheduler: String) throws {
        for table in tables[scheduler] ?? [] {
            for (prediction, expected) in table.trajectories {
                let schedule = try schedule(table, prediction)
                let exact = ToySampler.trajectory(of: schedule, from: table.initial, as: Double.self)
                #expect(worstError(exact, expected) <= 1e-5, "\(prediction) in fp64, \(table)")
                if table.needsDouble.contains(prediction) { continue }
                let single = ToySampler.trajectory(of: schedule, from: table.initial, as: Float.self)
                #expect(worstError(single, expected) <= 1e-5, "\(prediction) in fp32, \(table)")
            }
        }
    }

    /// With the nearest numbers, which are what Caldera uses, few runs leave those of the torch that made the tables, and no
    /// further than torch on other CPUs does. Of 70 runs of DPM++ SDE: 4 where it used MKL's functions for AVX-512, 12 for
    /// AVX2, 15 for older CPUs and AMD's. Of DPM2 ancestral: none, none and 2.
    @Test(arguments: [("DPMSolverSDEScheduler", 15), ("KDPM2AncestralDiscreteScheduler", 2)])
    func theLastDigitMattersInFewRuns(scheduler: String, most: Int) throws {
        var errors: [Double] = []
        for table in tables[scheduler] ?? [] {
            for (prediction, expected) in table.trajectories {
                let schedule = try table.schedule(prediction: prediction)
                let exact = ToySampler.trajectory(of: schedule, from: table.initial, as: Double.self)
                errors.append(worstError(exact, expected))
            }
        }
        #expect(errors.count == 70)
        #expect(errors.filter { $0 > 1e-5 }.count <= most)
        #expect(errors.allSatisfy { $0 <= 3e-3 })
    }

    /// What a device can keep and sum up.
    @Test(arguments: SchedulerRegistry.all.map { $0.className })
    func stepsAreSmallEnoughForADevice(scheduler: String) throws {
        for table in tables[scheduler] ?? [] {
            for prediction in table.trajectories.keys {
                let schedule = try table.schedule(prediction: prediction)
                #expect(schedule.stateCount <= 5, "\(table)")
                for update in schedule.steps.flatMap(\.updates) {
                    let terms = (0..<schedule.stateCount).map(update.state) + [update.output, update.noise]
                    #expect(terms.filter { $0 != 0 }.count <= 7, "\(table)")
                }
                #expect(schedule.steps.last?.updates.count == 1, "\(table)")
            }
        }
    }

    /// Singlestep, the distilled and the EDM classes have a spacing of their own.
    @Test(arguments: SchedulerRegistry.all.map { $0.className })
    func theTablesCoverEverySpacing(scheduler: String) throws {
        let fixed = [
            "DPMSolverSinglestepScheduler", "LCMScheduler", "TCDScheduler", "EDMEulerScheduler",
            "EDMDPMSolverMultistepScheduler",
        ]
        let spacings = fixed.contains(scheduler) ? [""] : ["linspace", "leading", "trailing"]
        for steps in [1, 2, 5, 20, 50] {
            for spacing in spacings {
                let matching = (tables[scheduler] ?? []).filter {
                    $0.steps == steps && (spacing.isEmpty || $0.description.contains(spacing))
                }
                #expect(matching.contains { $0.trajectories["v_prediction"] != nil }, "\(steps) steps, \(spacing)")
                #expect(matching.contains { $0.trajectories["epsilon"] != nil }, "\(steps) steps, \(spacing)")
            }
        }
        #expect((tables[scheduler] ?? []).contains { $0.levels != nil })
    }

    @Test(
        arguments: SchedulerRegistry.all.filter { $0.takesSigmaFamilies }.map { $0.className },
        ["karras", "exponential", "beta"])
    func theTablesCoverEveryFamilyOfSigmas(scheduler: String, family: String) throws {
        let matching = (tables[scheduler] ?? []).filter { $0.description.contains("use_\(family)_sigmas") }
        #expect(Set([1, 2, 5, 20, 50]).isSubset(of: Set(matching.map(\.steps))))
    }

    private func schedule(_ table: GoldenTable, _ prediction: String) throws -> Schedule {
        let magnifies = Self.magnifying.contains(table.scheduler)
        return try table.schedule(prediction: prediction, rounding: magnifies ? .asTorch : .nearest)
    }

    /// The largest error of any step, relative to that step's largest value.
    private func worstError(_ steps: [[Double]], _ expected: [Float]) -> Double {
        guard steps.joined().count == expected.count else { return .infinity }
        return steps.enumerated().map { index, latent in
            let golden = expected[index * latent.count..<(index + 1) * latent.count].map(Double.init)
            let scale = golden.map(abs).max() ?? 0
            let error = zip(latent, golden).map { abs($0 - $1) }.max() ?? 0
            return error.isNaN ? .infinity : error / scale
        }.max() ?? .infinity
    }

    private func close(_ values: [Double], _ expected: [Float], within tolerance: Double) -> Bool {
        values.count == expected.count
            && zip(values, expected).allSatisfy { abs($0 - Double($1)) <= tolerance * max(1e-2, abs(Double($1))) }
    }
}
