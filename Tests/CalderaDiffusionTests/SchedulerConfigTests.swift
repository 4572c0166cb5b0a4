import CalderaDiffusion
import CalderaGraph
import Foundation
import Testing

private func config(_ json: String) throws -> SchedulerConfig {
    try SchedulerConfig(json: Data(json.utf8), path: "model/scheduler_config.json")
}

/// The error that `body` throws; records an issue and returns nil when it throws none or another kind.
private func error(_ body: () throws -> Void) -> CalderaError? {
    #expect(throws: CalderaError.self, performing: body)
}

@Suite struct SchedulerConfigTests {
    /// A scheduler, one value that it cannot do, and the key that the message must name.
    @Test(arguments: [
        ("euler", #""use_exponential_sigmas": true"#, "use_exponential_sigmas"),
        ("euler", #""use_beta_sigmas": true"#, "use_beta_sigmas"),
        ("euler", #""timestep_type": "continuous""#, "timestep_type is 'continuous'"),
        ("euler", #""interpolation_type": "cubic""#, "interpolation_type is 'cubic'"),
        ("euler", #""final_sigmas_type": "one""#, "final_sigmas_type"),
        ("euler", #""use_karras_sigmas": true, "sigma_max": -3"#, "sigma_max is -3"),
        ("euler", #""prediction_type": "flow""#, "supported: 'epsilon', 'v_prediction', 'sample'"),
        ("euler_a", #""timestep_spacing": "karras""#, "timestep_spacing is 'karras'"),
        ("euler_a", #""beta_schedule": "sigmoid""#, "beta_schedule is 'sigmoid'"),
        ("ddim", #""clip_sample": true"#, "clip_sample is true"),
        ("ddim", #""thresholding": true"#, "thresholding is true"),
        ("ddim", #""steps_offset": -1"#, "steps_offset is -1"),
        ("ddim", #""steps_offset": 1.5"#, "steps_offset is 1.5"),
        ("ddim", #""num_train_timesteps": 0"#, "num_train_timesteps is 0"),
        ("ddim", #""num_train_timesteps": 1e300"#, "num_train_timesteps"),
        ("ddim", #""beta_start": "small""#, "beta_start must be a number"),
        ("ddim", #""beta_end": 1"#, "beta_end is 1"),
        ("ddim", #""trained_betas": [0.1, 0.2]"#, "trained_betas must hold 1000 numbers"),
        ("ddim", #""set_alpha_to_one": "yes""#, "set_alpha_to_one must be true or false"),
    ])
    func namesTheValueThatItCannotDo(name: String, values: String, expected: String) {
        let thrown = error { _ = try SchedulerRegistry.make(name: name, config: config("{\(values)}")) }
        #expect(thrown?.kind == .failed)
        #expect(thrown?.message.contains("model/scheduler_config.json") == true)
        #expect(thrown?.message.contains(expected) == true, "\(thrown?.message ?? "")")
    }

    /// Keys of other classes, nulls and values that change nothing.
    @Test(arguments: [
        ("euler", #""clip_sample": true, "thresholding": true"#),
        ("euler", #""trained_betas": null, "use_karras_sigmas": null, "sigma_min": null, "sample_max_value": 1.0"#),
        ("euler_a", #""use_beta_sigmas": true, "interpolation_type": "log_linear", "use_karras_sigmas": true"#),
        ("ddim", #""timestep_type": "continuous", "skip_prk_steps": true, "_nested": {"a": [1, "b"]}"#),
    ])
    func ignoresWhatOtherSchedulersRead(name: String, values: String) throws {
        let plain = try SchedulerRegistry.make(name: name, config: config("{}"))
        let extended = try SchedulerRegistry.make(name: name, config: config("{\(values)}"))
        #expect(try extended.schedule(steps: 7) == plain.schedule(steps: 7))
    }

    @Test(arguments: ["", "[]", "{", "null", #"{"a": }"#])
    func rejectsWhatIsNoObject(json: String) {
        let thrown = error { _ = try config(json) }
        #expect(thrown?.message.contains("model/scheduler_config.json is not a JSON object") == true)
    }

    /// Without a signal at the first timestep no clean latent follows from predicted noise.
    @Test func rejectsAnUpdateThatDividesByZero() throws {
        let values = #"{"rescale_betas_zero_snr": true, "timestep_spacing": "trailing", "prediction_type": "epsilon"}"#
        let scheduler = try SchedulerRegistry.make(name: "ddim", config: config(values))
        let thrown = error { _ = try scheduler.schedule(steps: 4) }
        #expect(thrown?.message.contains("timestep 999") == true)
        #expect(thrown?.message.contains("'epsilon'") == true)
    }

    /// The three prediction types describe the same update: a model that predicts noise e from x also predicts
    /// x0 and v, and each must lead to the same next latent.
    @Test(arguments: ["euler", "euler_a", "ddim"])
    func predictionTypesAgree(name: String) throws {
        let schedules = try ["epsilon", "v_prediction", "sample"].map { prediction in
            try SchedulerRegistry.make(name: name, config: config(#"{"prediction_type": "\#(prediction)"}"#))
                .schedule(steps: 6)
        }
        let (clean, noise) = (0.7, -1.3)
        for index in 0..<6 {
            let sigma = schedules[0].sigmas[index]
            let (signal, spread) = (1 / (sigma * sigma + 1).squareRoot(), sigma / (sigma * sigma + 1).squareRoot())
            let latent = name == "ddim" ? signal * clean + spread * noise : clean + sigma * noise
            let outputs = [noise, signal * noise - spread * clean, clean]
            let next = zip(schedules, outputs).map { schedule, output in
                schedule.steps[index].updates[0].state(0) * latent + schedule.steps[index].updates[0].output * output
            }
            #expect(abs(next[1] - next[0]) <= 1e-9 * max(1, abs(latent)))
            #expect(abs(next[2] - next[0]) <= 1e-9 * max(1, abs(latent)))
        }
    }
}

@Suite struct StepCountTests {
    @Test(arguments: ["euler", "euler_a", "ddim"], [Int.min, -1, 0, 1001, Int.max])
    func impossibleCountsAreBadUsage(name: String, steps: Int) throws {
        let scheduler = try SchedulerRegistry.make(name: name, config: config("{}"))
        let thrown = error { _ = try scheduler.schedule(steps: steps) }
        #expect(thrown?.kind == .usage)
        #expect(thrown?.message.contains("\(steps)") == true)
    }

    @Test(arguments: ["euler", "euler_a", "ddim"], ["linspace", "leading", "trailing"])
    func everyPossibleCountGivesThatManySteps(name: String, spacing: String) throws {
        let scheduler = try SchedulerRegistry.make(
            name: name, config: config(#"{"num_train_timesteps": 1000, "timestep_spacing": "\#(spacing)"}"#))
        // 61 and 122 are among the counts at which numpy's arange runs one element too far.
        for steps in [1, 2, 3, 7, 61, 122, 333, 999, 1000] {
            let schedule = try scheduler.schedule(steps: steps)
            #expect(schedule.steps.count == steps)
            #expect(schedule.sigmas.count == steps + 1)
            #expect(schedule.timesteps.allSatisfy { (0...999).contains($0) })
            #expect(zip(schedule.timesteps, schedule.timesteps.dropFirst()).allSatisfy { $0 >= $1 })
        }
    }

    @Test func anOffsetBeyondTheTableIsBadUsage() throws {
        let scheduler = try SchedulerRegistry.make(name: "ddim", config: config(#"{"steps_offset": 1}"#))
        #expect(error { _ = try scheduler.schedule(steps: 1000) }?.kind == .usage)
        #expect(try scheduler.schedule(steps: 999).timesteps.first == 999)
    }

    @Test func onlyAncestralSamplingDrawsNoise() throws {
        let drawing = try SchedulerRegistry.listedNames.filter { name in
            try SchedulerRegistry.make(name: name, config: config("{}")).schedule(steps: 3).usesNoise
        }
        #expect(drawing == ["euler_a"])
        let stochastic = try DDIMScheduler(config: config("{}"), eta: 0.5).schedule(steps: 3)
        #expect(stochastic.usesNoise)
        #expect(error { _ = try DDIMScheduler(config: config("{}"), eta: 1.5) }?.kind == .usage)
    }
}

@Suite struct SchedulerRegistryTests {
    @Test(arguments: [
        ("euler", "EulerDiscreteScheduler"), ("EULER", "EulerDiscreteScheduler"),
        ("EulerDiscreteScheduler", "EulerDiscreteScheduler"), ("euler_a", "EulerAncestralDiscreteScheduler"),
        ("Euler a", "EulerAncestralDiscreteScheduler"), ("euler-ancestral", "EulerAncestralDiscreteScheduler"),
        ("eulerancestraldiscretescheduler", "EulerAncestralDiscreteScheduler"), ("DDIM", "DDIMScheduler"),
    ])
    func findsByClassAndShortName(name: String, className: String) throws {
        #expect(SchedulerRegistry.find(name)?.className == className)
        let scheduler = try SchedulerRegistry.make(name: name, config: config("{}"))
        #expect(type(of: scheduler).className == className)
    }

    @Test func everyNameBelongsToOneScheduler() {
        let names = SchedulerRegistry.all.flatMap { $0.names }.map { $0.lowercased() }
        #expect(Set(names).count == names.count)
        #expect(SchedulerRegistry.all.allSatisfy { !$0.shortNames.isEmpty })
    }

    @Test(arguments: [("eular", "euler"), ("ddmi", "ddim"), ("euler_ancestrl", "euler_a")])
    func suggestsTheNearName(name: String, suggestion: String) {
        let thrown = error { _ = try SchedulerRegistry.make(name: name, config: config("{}")) }
        #expect(thrown?.kind == .usage)
        #expect(thrown?.message.contains("'\(name)'. Did you mean '\(suggestion)'?") == true)
    }

    @Test(arguments: ["", "heun", String(repeating: "x", count: 10_000)])
    func listsTheNamesWhereNoneIsNear(name: String) {
        let thrown = error { _ = try SchedulerRegistry.make(name: name, config: config("{}")) }
        #expect(thrown?.kind == .usage)
        #expect(thrown?.message.contains("Did you mean") == false)
        #expect(thrown?.message.hasSuffix("Available: euler, euler_a, ddim") == true)
    }

    @Test func takesTheModelsOwnClass() throws {
        let scheduler = try SchedulerRegistry.make(config: config(#"{"_class_name": "DDIMScheduler"}"#))
        #expect(scheduler is DDIMScheduler)
    }

    @Test func aClassThatIsNotAvailableIsNamed() throws {
        let pndm = try config(#"{"_class_name": "PNDMScheduler", "steps_offset": 1, "skip_prk_steps": true}"#)
        let thrown = error { _ = try SchedulerRegistry.make(config: pndm) }
        #expect(thrown?.kind == .failed)
        #expect(thrown?.message.contains("PNDMScheduler") == true)
        #expect(thrown?.message.hasSuffix("--scheduler: euler, euler_a, ddim") == true)
        #expect(try SchedulerRegistry.make(name: "euler", config: pndm).schedule(steps: 5).steps.count == 5)
    }

    @Test func aConfigurationWithoutAClassAsksForOne() throws {
        let thrown = error { _ = try SchedulerRegistry.make(config: config("{}")) }
        #expect(thrown?.message.contains("_class_name") == true)
        #expect(error { _ = try SchedulerRegistry.make(config: config(#"{"_class_name": 3}"#)) } != nil)
    }
}
