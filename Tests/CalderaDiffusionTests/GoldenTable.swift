import CalderaDiffusion
import Foundation

/// One configuration, grid and start, with what diffusers computed for it.
struct GoldenTable: Sendable, CustomStringConvertible {
    let scheduler: String
    let steps: Int
    let initial: [Float]
    let timesteps: [Float]
    let sigmas: [Float]?
    let initNoiseSigma: Double
    /// The latents after every evaluation, by prediction type.
    let trajectories: [String: [Float]]
    /// The prediction types for which fp32 strays from fp64 in diffusers itself.
    let needsDouble: [String]
    /// What `add_noise` makes of a picture of ones and of noise of ones, before every evaluation.
    let levels: [Float]?
    let description: String

    private let request: ScheduleRequest
    private let config: SchedulerConfig
    /// Those of the torch that made the table.
    private let functions: SingleFunctions

    /// All tables by diffusers class.
    static func byScheduler() throws -> [String: [GoldenTable]] {
        let file = try object(JSONSerialization.jsonObject(with: Fixture.data("schedulers.json")))
        let initial = try Fixture.floats(string(file["initial"]))
        let functions = try SingleFunctions(misses: misses(object(file["misses"] as Any)))
        guard let tables = file["tables"] as? [Any] else { throw Fixture.Broken(what: "tables") }
        return try Dictionary(
            grouping: tables.map { try GoldenTable(object($0), initial: initial, functions: functions) },
            by: \.scheduler)
    }

    private init(_ table: [String: Any], initial: [Float], functions: SingleFunctions) throws {
        self.functions = functions
        let config = try Self.object(table["config"] as Any)
        let json = try JSONSerialization.data(withJSONObject: config, options: .sortedKeys)
        self.initial = initial
        self.config = try Self.config(json, eta: table["eta"] as? Double)
        scheduler = try Self.string(table["scheduler"])
        timesteps = try Fixture.floats(Self.string(table["timesteps"]))
        sigmas = try (table["sigmas"] as? String).map(Fixture.floats)
        levels = try (table["levels"] as? String).map(Fixture.floats)
        guard let steps = table["steps"] as? Int, let scale = table["init_noise_sigma"] as? Double else {
            throw Fixture.Broken(what: "steps or init_noise_sigma")
        }
        (self.steps, initNoiseSigma) = (steps, scale)
        trajectories = try Self.object(table["trajectories"] as Any).mapValues { try Fixture.floats(Self.string($0)) }
        needsDouble = table["double"] as? [String] ?? []
        let first = table["first"] as? Int ?? 0
        request = ScheduleRequest(steps: steps, first: first, grid: Self.grid(table["grid"] as? [String: Any]))
        let eta = (table["eta"] as? Double).map { ", eta \($0)" } ?? ""
        let grid = request.grid.map { ", \($0)" } ?? ""
        description = "\(steps) steps from \(first)\(eta)\(grid) of " + String(decoding: json, as: UTF8.self)
    }

    /// - Parameter rounding: how noise levels are rounded.
    func schedule(prediction: String, rounding: Rounding = .nearest) throws -> Schedule {
        var config = config.overriding(["prediction_type": .string(prediction)])
        if rounding == .asTorch { config.functions = functions }
        return try SchedulerRegistry.make(name: scheduler, config: config).schedule(request)
    }

    enum Rounding {
        case nearest
        /// As the torch that made the table did on its CPU.
        case asTorch
    }

    private static func misses(
        _ values: [String: Any]
    ) throws -> [SingleFunctions.Name: [Float: SingleFunctions.Miss]] {
        var misses: [SingleFunctions.Name: [Float: SingleFunctions.Miss]] = [:]
        for name in SingleFunctions.Name.allCases {
            let sides = try object(values[name.rawValue] as Any)
            for side in SingleFunctions.Miss.allCases {
                for argument in try Fixture.floats(string(sides[side.rawValue])) {
                    misses[name, default: [:]][argument] = side
                }
            }
        }
        return misses
    }

    private static func config(_ json: Data, eta: Double?) throws -> SchedulerConfig {
        let config = try SchedulerConfig(json: json, path: "scheduler_config.json")
        return config.overriding(eta.map { ["eta": .number($0)] } ?? [:])
    }

    private static func grid(_ values: [String: Any]?) -> ScheduleRequest.CustomGrid? {
        if let timesteps = values?["timesteps"] as? [Int] { return .timesteps(timesteps) }
        return (values?["sigmas"] as? [Double]).map { .sigmas($0) }
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
