import CalderaDiffusion
import Foundation
import Testing

/// One configuration and number of steps, with what diffusers computed for it.
private struct GoldenTable: Sendable, CustomTestStringConvertible {
    let scheduler: String
    let steps: Int
    let eta: Double?
    /// scheduler_config.json by prediction type, without and with the prediction type's own key.
    let configs: [String: Data]
    let initial: [Float]
    let timesteps: [Float]
    let sigmas: [Float]?
    let initNoiseSigma: Double
    /// The latents after every step, by prediction type.
    let trajectories: [String: [Float]]
    private let label: String

    var testDescription: String { "\(scheduler), \(steps) steps, \(label)" }

    static func all() throws -> [GoldenTable] {
        let file = try object(JSONSerialization.jsonObject(with: Fixture.data("schedulers.json")))
        let initial = try Fixture.floats(string(file["initial"]))
        guard let tables = file["tables"] as? [Any] else { throw Fixture.Broken(what: "tables") }
        return try tables.map { try GoldenTable(object($0), initial: initial) }
    }

    private init(_ table: [String: Any], initial: [Float]) throws {
        let config = try Self.object(table["config"] as Any)
        let trajectories = try Self.object(table["trajectories"] as Any)
        self.initial = initial
        scheduler = try Self.string(table["scheduler"])
        eta = table["eta"] as? Double
        timesteps = try Fixture.floats(Self.string(table["timesteps"]))
        sigmas = try (table["sigmas"] as? String).map(Fixture.floats)
        guard let steps = table["steps"] as? Int, let scale = table["init_noise_sigma"] as? Double else {
            throw Fixture.Broken(what: "steps or init_noise_sigma")
        }
        (self.steps, initNoiseSigma) = (steps, scale)
        self.trajectories = try trajectories.mapValues { try Fixture.floats(Self.string($0)) }
        configs = try Dictionary(
            uniqueKeysWithValues: trajectories.keys.map { prediction in
                let complete = config.merging(["prediction_type": prediction]) { $1 }
                return (prediction, try JSONSerialization.data(withJSONObject: complete, options: .sortedKeys))
            })
        label = String(
            decoding: try JSONSerialization.data(withJSONObject: config, options: .sortedKeys), as: UTF8.self)
    }

    func schedule(prediction: String) throws -> Schedule {
        guard let json = configs[prediction] else { throw Fixture.Broken(what: prediction) }
        let config = try SchedulerConfig(json: json, path: "scheduler_config.json")
        if let eta { return try DDIMScheduler(config: config, eta: eta).schedule(steps: steps) }
        return try SchedulerRegistry.make(name: scheduler, config: config).schedule(steps: steps)
    }

    private static func object(_ value: Any) throws -> [String: Any] {
        guard let object = value as? [String: Any] else { throw Fixture.Broken(what: "an object") }
        return object
    }

    private static func string(_ value: Any?) throws -> String {
        guard let string = value as? String else { throw Fixture.Broken(what: "a string") }
        return string
    }
}

@Suite struct SchedulerGoldenTests {
    @Test(arguments: try GoldenTable.all())
    fileprivate func levelsMatchDiffusers(table: GoldenTable) throws {
        for prediction in table.trajectories.keys {
            let schedule = try table.schedule(prediction: prediction)
            #expect(schedule.timesteps.count == table.timesteps.count)
            #expect(schedule.sigmas.count == table.steps + 1)
            #expect(close(schedule.timesteps.map(Double.init), table.timesteps, within: 1e-6))
            #expect(abs(schedule.initNoiseSigma / table.initNoiseSigma - 1) <= 1e-6)
            if let sigmas = table.sigmas { #expect(close(schedule.sigmas, sigmas, within: 1e-6)) }
        }
    }

    @Test(arguments: try GoldenTable.all())
    fileprivate func everyStepMatchesDiffusers(table: GoldenTable) throws {
        for (prediction, expected) in table.trajectories {
            let schedule = try table.schedule(prediction: prediction)
            let exact = ToySampler.trajectory(of: schedule, from: table.initial, as: Double.self)
            let single = ToySampler.trajectory(of: schedule, from: table.initial, as: Float.self)
            #expect(worstError(exact, expected) <= 1e-5, "\(prediction) in fp64")
            #expect(worstError(single, expected) <= 1e-5, "\(prediction) in fp32")
        }
    }

    @Test func theTableCoversEverySchedulerAndSpacing() throws {
        let tables = try GoldenTable.all()
        for type in SchedulerRegistry.all {
            for steps in [1, 2, 5, 20, 50] {
                for spacing in ["linspace", "leading", "trailing"] {
                    let matching = tables.filter {
                        $0.scheduler == type.className && $0.steps == steps && $0.testDescription.contains(spacing)
                    }
                    #expect(!matching.isEmpty, "\(type.className), \(steps) steps, \(spacing)")
                }
            }
        }
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
