import CalderaGraph
import Foundation

/// The values of a scheduler_config.json. Each scheduler asks for the keys that it knows; the rest are ignored, which
/// is how one file serves every scheduler, as diffusers' `from_config` has it.
package struct SchedulerConfig: Sendable {
    /// What errors call the file.
    package let path: String
    /// How noise levels are rounded. Only a comparison with a certain build of torch needs others than the nearest numbers.
    package var functions = SingleFunctions.nearest
    private var values: [String: Value]

    /// Parses the bytes of a scheduler_config.json. Throws `CalderaError` when they are not a JSON object.
    package init(json: Data, path: String) throws {
        self.path = path
        do {
            let decoder = JSONDecoder()
            // Python writes an unset lambda_min_clipped as -Infinity, which only JSON5 knows.
            decoder.allowsJSON5 = true
            var values = try decoder.decode([String: Value].self, from: json)
            // diffusers lists here the keys that it wrote only because they were defaults of another class.
            if case .strings(let keys) = values["_use_default_values"] {
                for key in keys { values[key] = nil }
            }
            self.values = values
        } catch {
            throw CalderaError("\(path) is not a JSON object; the scheduler's configuration must be one")
        }
    }

    /// The same configuration with some keys set anew, as diffusers' `from_config(config, key=value)`. Beside the keys of
    /// the file there is `eta`, which diffusers passes with each step: the share of fresh noise of DDIM and TCD, 0...1.
    package func overriding(_ changes: [String: Value]) -> SchedulerConfig {
        var config = self
        config.values.merge(changes) { $1 }
        return config
    }

    /// The diffusers class that the model asks for, or nil where the file names none.
    package func className() throws -> String? {
        try string("_class_name")
    }

    /// A string, or nil where the key is missing or null.
    func string(_ key: String) throws -> String? {
        try value(key, as: "a string") { value in
            if case .string(let string) = value { string } else { nil }
        }
    }

    /// A number, or `fallback` where the key is missing or null.
    func number(_ key: String, default fallback: Double) throws -> Double {
        try number(key) ?? fallback
    }

    /// A number, or nil where the key is missing or null.
    func number(_ key: String) throws -> Double? {
        try value(key, as: "a number") { value in
            if case .number(let number) = value { number } else { nil }
        }
    }

    /// A whole number, or `fallback` where the key is missing or null.
    func integer(_ key: String, default fallback: Int) throws -> Int {
        guard let number = try number(key) else { return fallback }
        guard let integer = Int(exactly: number) else { throw error(key, "is \(number); it must be a whole number") }
        return integer
    }

    /// True or false, or `fallback` where the key is missing or null.
    func flag(_ key: String, default fallback: Bool) throws -> Bool {
        try value(key, as: "true or false") { value in
            if case .flag(let flag) = value { flag } else { nil }
        } ?? fallback
    }

    /// A list of numbers, or nil where the key is missing or null.
    func numbers(_ key: String) throws -> [Double]? {
        try value(key, as: "a list of numbers") { value in
            if case .numbers(let numbers) = value { numbers } else { nil }
        }
    }

    /// One of the spellings of `Choice`, or `fallback` where the key is missing or null.
    func choice<Choice>(_ key: String, default fallback: Choice) throws -> Choice
    where Choice: RawRepresentable & CaseIterable, Choice.RawValue == String {
        guard let name = try string(key) else { return fallback }
        guard let choice = Choice(rawValue: name) else {
            let known = Choice.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")
            throw error(key, "is '\(name)', which is not supported; supported: \(known)")
        }
        return choice
    }

    /// prediction_type, epsilon where it is missing.
    func prediction(of scheduler: any Scheduler.Type, without unsupported: PredictionType? = nil) throws
        -> PredictionType
    {
        let prediction = try choice("prediction_type", default: PredictionType.epsilon)
        guard prediction != unsupported else {
            throw error("prediction_type", "is '\(prediction.rawValue)', which \(scheduler.className) does not support")
        }
        return prediction
    }

    /// `eta`, the share of fresh noise, 0...1. Throws a usage error outside of that.
    func eta(of scheduler: any Scheduler.Type, default fallback: Double) throws -> Double {
        let eta = try number("eta", default: fallback)
        guard (0...1).contains(eta) else {
            throw CalderaError.usage("The eta of \(scheduler.className) is \(eta); it must be from 0 to 1")
        }
        return eta
    }

    /// Throws unless each of the keys is missing, null or false.
    func requireOff(_ keys: String...) throws {
        for key in keys where try flag(key, default: false) {
            throw error(key, "is true, which is not supported; choose another scheduler or set it to false")
        }
    }

    /// num_train_timesteps, checked so that tables of that length can be built.
    func trainSteps() throws -> Int {
        let count = try integer("num_train_timesteps", default: 1000)
        guard (2...1_000_000).contains(count) else {
            throw error("num_train_timesteps", "is \(count); it must be from 2 to 1000000")
        }
        return count
    }

    /// An error about one key of this file; `complaint` continues the sentence that the key begins.
    func error(_ key: String, _ complaint: String) -> CalderaError {
        CalderaError("\(path): \(key) \(complaint)")
    }

    private func value<Result>(_ key: String, as form: String, _ read: (Value) -> Result?) throws -> Result? {
        guard let value = values[key], value != .null else { return nil }
        guard let result = read(value) else { throw error(key, "must be \(form)") }
        return result
    }

    /// The value of a key.
    package enum Value: Sendable, Equatable, Decodable {
        case null
        case flag(Bool)
        case number(Double)
        case string(String)
        case numbers([Double])
        case strings([String])
        /// A form that no scheduler reads.
        case other

        package init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if container.decodeNil() {
                self = .null
            } else if let flag = try? container.decode(Bool.self) {
                self = .flag(flag)
            } else if let number = try? container.decode(Double.self) {
                self = .number(number)
            } else if let string = try? container.decode(String.self) {
                self = .string(string)
            } else if let numbers = try? container.decode([Double].self) {
                self = .numbers(numbers)
            } else if let strings = try? container.decode([String].self) {
                self = .strings(strings)
            } else {
                self = .other
            }
        }
    }
}
