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
        ("euler", #""use_karras_sigmas": true, "use_beta_sigmas": true"#, "use_beta_sigmas is true beside"),
        ("heun", #""clip_sample": true"#, "clip_sample is true"),
        ("ddpm", #""variance_type": "learned_range""#, "variance_type is 'learned_range'"),
        ("ddpm", #""variance_type": "fixed_large_log""#, "variance_type is 'fixed_large_log'"),
        ("pndm", #""skip_prk_steps": false"#, "skip_prk_steps is false"),
        ("pndm", #""prediction_type": "sample""#, "which PNDMScheduler does not support"),
        ("dpmpp_2m", #""use_flow_sigmas": true"#, "use_flow_sigmas is true"),
        ("dpmpp_2m", #""use_lu_lambdas": true"#, "use_lu_lambdas is true"),
        ("dpmpp_2m", #""thresholding": true"#, "thresholding is true"),
        ("dpmpp_2m", #""variance_type": "learned""#, "variance_type is 'learned'"),
        ("dpmpp_2m", #""lambda_min_clipped": 100"#, "lambda_min_clipped leaves no timesteps"),
        ("DPMSolverMultistepScheduler", #""algorithm_type": "dpmsolver""#, "final_sigmas_type is 'zero'"),
        ("DPMSolverMultistepScheduler", #""solver_order": 4"#, "solver_order is 4"),
        (
            "DPMSolverMultistepScheduler",
            #""algorithm_type": "sde-dpmsolver", "solver_order": 3, "final_sigmas_type": "sigma_min""#,
            "solver_order is 3"
        ),
        ("dpmpp_2s", #""algorithm_type": "sde-dpmsolver", "final_sigmas_type": "sigma_min""#, "algorithm_type is"),
        ("unipc", #""use_flow_sigmas": true"#, "use_flow_sigmas is true"),
        ("unipc", #""solver_order": 0"#, "solver_order is 0"),
        ("lcm", #""original_inference_steps": 0"#, "original_inference_steps is 0"),
        ("edm_euler", #""sigma_min": 90"#, "sigma_min is 90"),
        ("edm_dpmpp_2m", #""prediction_type": "sample""#, "which EDMDPMSolverMultistepScheduler does not support"),
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
        ("dpmpp_2m", #""lambda_min_clipped": -Infinity, "variance_type": "fixed_small", "solver_type": "bh2""#),
        ("unipc", #""solver_type": "midpoint", "lambda_min_clipped": -Infinity"#),
        ("heun", #""rescale_betas_zero_snr": true"#),
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
    @Test(arguments: [
        "euler", "euler_a", "heun", "lms", "dpm2", "dpm2_a", "dpmpp_sde", "ddim", "ddpm", "dpmpp_2m", "dpmpp_2s",
        "unipc", "lcm", "tcd",
    ])
    func predictionTypesAgree(name: String) throws {
        let schedules = try ["epsilon", "v_prediction", "sample"].map { prediction in
            try SchedulerRegistry.make(name: name, config: config(#"{"prediction_type": "\#(prediction)"}"#))
                .schedule(steps: 6)
        }
        let (clean, noise) = (0.7, -1.3)
        for index in schedules[0].steps.indices {
            // The noise level at which the model looks shows in the scale of its input, or else is that of the step.
            let step = schedules[0].steps[index]
            let explodes = step.inputScale != 1
            let sigma =
                explodes ? (1 / (step.inputScale * step.inputScale) - 1).squareRoot() : schedules[0].sigmas[index]
            let (signal, spread) = (1 / (sigma * sigma + 1).squareRoot(), sigma / (sigma * sigma + 1).squareRoot())
            let latent = explodes ? clean + sigma * noise : signal * clean + spread * noise
            let outputs = [noise, signal * noise - spread * clean, clean]
            for target in step.updates.indices {
                let next = zip(schedules, outputs).map { schedule, output in
                    let update = schedule.steps[index].updates[target]
                    return update.state(0) * latent + update.output * output
                }
                #expect(abs(next[1] - next[0]) <= 1e-6 * max(1, abs(latent)))
                #expect(abs(next[2] - next[0]) <= 1e-6 * max(1, abs(latent)))
            }
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

    @Test func onlyStochasticSamplersDrawNoise() throws {
        let drawing = try SchedulerRegistry.listedNames.filter { name in
            try SchedulerRegistry.make(name: name, config: config("{}")).schedule(steps: 3).usesNoise
        }
        let expected = [
            "euler_a", "dpm2_a", "ddpm", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde", "dpmpp_sde", "lcm", "tcd",
            "edm_dpmpp_2m_sde",
        ]
        #expect(drawing == expected)
        let eta = try config("{}").overriding(["eta": .number(0.5)])
        #expect(try SchedulerRegistry.make(name: "ddim", config: eta).schedule(steps: 3).usesNoise)
    }

    @Test(arguments: ["ddim", "tcd"])
    func anImpossibleEtaIsBadUsage(name: String) throws {
        let eta = try config("{}").overriding(["eta": .number(1.5)])
        let thrown = error { _ = try SchedulerRegistry.make(name: name, config: eta) }
        #expect(thrown?.kind == .usage)
        #expect(thrown?.message.contains("1.5") == true)
    }

    @Test(arguments: ["lcm", "tcd"])
    func distilledModelsTakeFewSteps(name: String) throws {
        let scheduler = try SchedulerRegistry.make(name: name, config: config("{}"))
        #expect(error { _ = try scheduler.schedule(steps: 51) }?.kind == .usage)
        #expect(try scheduler.schedule(steps: 50).steps.count == 50)
    }
}

@Suite struct CustomGridTests {
    private func request(_ grid: ScheduleRequest.CustomGrid) -> ScheduleRequest {
        ScheduleRequest(steps: 0, grid: grid)
    }

    @Test func onlySomeClassesTakeLists() throws {
        let lists: [ScheduleRequest.CustomGrid] = [.timesteps([900, 500, 100]), .sigmas([10, 3, 1])]
        let taken = try lists.map { grid in
            try SchedulerRegistry.all.filter { type in
                let scheduler = try SchedulerRegistry.make(name: type.className, config: config("{}"))
                do {
                    _ = try scheduler.schedule(request(grid))
                    return true
                } catch let error as CalderaError {
                    #expect(error.kind == .usage)
                    #expect(error.message.contains(type.className))
                    return false
                }
            }.map { $0.shortNames[0] }
        }
        #expect(taken[0] == ["euler", "heun", "ddpm", "dpm_solver_multistep", "dpmpp_2s", "lcm", "tcd"])
        #expect(taken[1] == ["euler"])
    }

    @Test(arguments: [
        [], [1000], [-1], [500, 500], [100, 200], [500, Int.max], [Int.min],
    ])
    func impossibleTimestepsAreBadUsage(timesteps: [Int]) throws {
        for name in ["euler", "ddpm", "dpmpp_2m", "lcm"] {
            let scheduler = try SchedulerRegistry.make(name: name, config: config("{}"))
            #expect(error { _ = try scheduler.schedule(request(.timesteps(timesteps))) }?.kind == .usage)
        }
    }

    @Test(arguments: [[], [0], [-1], [2, 2], [1, 2], [.nan], [.infinity, 1], [3, .nan, 1]] as [[Double]])
    func impossibleSigmasAreBadUsage(sigmas: [Double]) throws {
        let scheduler = try SchedulerRegistry.make(name: "euler", config: config("{}"))
        #expect(error { _ = try scheduler.schedule(request(.sigmas(sigmas))) }?.kind == .usage)
    }

    @Test(arguments: ["euler_karras", "heun_beta", "dpmpp_2m_exponential"])
    func timestepsAndAFamilyExcludeEachOther(name: String) throws {
        let scheduler = try SchedulerRegistry.make(name: name, config: config("{}"))
        let thrown = error { _ = try scheduler.schedule(request(.timesteps([500, 100]))) }
        #expect(thrown?.kind == .usage)
        #expect(thrown?.message.contains("_sigmas") == true)
    }

    /// A start beyond the last evaluation, or between the two evaluations of a step.
    @Test(arguments: [("euler", 5), ("euler", -1), ("heun", 9), ("heun", 3), ("dpm2_a", 1), ("dpmpp_sde", 1)])
    func impossibleStartsAreBadUsage(name: String, first: Int) throws {
        let scheduler = try SchedulerRegistry.make(name: name, config: config("{}"))
        #expect(error { _ = try scheduler.schedule(ScheduleRequest(steps: 5, first: first)) }?.kind == .usage)
    }
}

@Suite struct SchedulerRegistryTests {
    @Test(arguments: [
        ("euler", "EulerDiscreteScheduler"), ("EULER", "EulerDiscreteScheduler"),
        ("EulerDiscreteScheduler", "EulerDiscreteScheduler"), ("euler_a", "EulerAncestralDiscreteScheduler"),
        ("Euler a", "EulerAncestralDiscreteScheduler"), ("euler-ancestral", "EulerAncestralDiscreteScheduler"),
        ("eulerancestraldiscretescheduler", "EulerAncestralDiscreteScheduler"), ("DDIM", "DDIMScheduler"),
        ("Heun", "HeunDiscreteScheduler"), ("LMS Karras", "LMSDiscreteScheduler"), ("PLMS", "PNDMScheduler"),
        ("DPM2", "KDPM2DiscreteScheduler"), ("DPM2 a Karras", "KDPM2AncestralDiscreteScheduler"),
        ("DPM++ SDE Karras", "DPMSolverSDEScheduler"), ("UniPC", "UniPCMultistepScheduler"), ("LCM", "LCMScheduler"),
        ("tcd", "TCDScheduler"), ("ddpm", "DDPMScheduler"), ("edm_euler", "EDMEulerScheduler"),
        ("edm_dpmpp_2m", "EDMDPMSolverMultistepScheduler"), ("dpmpp_2s", "DPMSolverSinglestepScheduler"),
    ])
    func findsByClassAndShortName(name: String, className: String) throws {
        #expect(SchedulerRegistry.find(name)?.className == className)
        let scheduler = try SchedulerRegistry.make(name: name, config: config("{}"))
        #expect(type(of: scheduler).className == className)
    }

    @Test func everyNameBelongsToOneScheduler() {
        let names = SchedulerRegistry.all.flatMap { [$0.className] + $0.shortNames + $0.variants.map(\.name) }
        #expect(Set(names.map { $0.lowercased() }).count == names.count)
        #expect(SchedulerRegistry.all.allSatisfy { !$0.shortNames.isEmpty })
        #expect(SchedulerRegistry.listedNames.count == 22)
    }

    /// The labels of the web UI's list, and what is written into pictures for them.
    @Test(
        arguments: [
            ("Euler a", "Euler a", nil), ("Euler", "Euler", nil), ("Euler Beta", "Euler", "Beta"),
            ("euler_karras", "Euler", "Karras"), ("Heun", "Heun", nil), ("DPM2", "DPM2", nil),
            ("DPM2 a", "DPM2 a", nil),
            ("DPM++ 2M", "DPM++ 2M", nil), ("DPM++ 2M Karras", "DPM++ 2M", "Karras"),
            ("dpmpp_2m_karras", "DPM++ 2M", "Karras"), ("DPM++ 2M Exponential", "DPM++ 2M", "Exponential"),
            ("DPM++ 2M SDE", "DPM++ 2M SDE", nil), ("DPM++ 2M SDE Karras", "DPM++ 2M SDE", "Karras"),
            ("DPM++ 2M SDE Heun", "DPM++ 2M SDE Heun", nil), ("DPM++ 2M SDE Heun Beta", "DPM++ 2M SDE Heun", "Beta"),
            ("DPM++ 3M SDE", "DPM++ 3M SDE", nil), ("DPM++ SDE", "DPM++ SDE", nil),
            ("DPM++ SDE Karras", "DPM++ SDE", "Karras"), ("LMS Karras", "LMS", "Karras"), ("DDIM", "DDIM", nil),
            ("PLMS", "PLMS", nil), ("UniPC", "UniPC", nil), ("LCM", "LCM", nil),
        ] as [(String, String, String?)])
    func knowsTheLabelsOfTheWebUI(name: String, label: String, scheduleType: String?) throws {
        let scheduler = try SchedulerRegistry.make(name: name, config: config("{}"))
        #expect(scheduler.webLabel == label)
        #expect(scheduler.scheduleType == scheduleType)
    }

    /// A name decides over the configuration; a class name alone leaves it as it is.
    @Test func aNameSetsTheOptionsThatItSpells() throws {
        let own = try config(
            #"{"use_beta_sigmas": true, "algorithm_type": "sde-dpmsolver++", "solver_type": "heun", "solver_order": 3}"#
        )
        let named = try SchedulerRegistry.make(name: "dpmpp_2m_karras", config: own)
        #expect(named.webLabel == "DPM++ 2M")
        #expect(named.scheduleType == "Karras")
        let plain = try SchedulerRegistry.make(name: "DPMSolverMultistepScheduler", config: own)
        #expect(plain.webLabel == "DPM++ 3M SDE Heun")
        #expect(plain.scheduleType == "Beta")
    }

    @Test(arguments: ["euler_a_karras", "ddim_beta", "lcm_karras"])
    func familiesBelongToTheClassesThatHaveThem(name: String) {
        #expect(error { _ = try SchedulerRegistry.make(name: name, config: config("{}")) }?.kind == .usage)
    }

    @Test(arguments: [
        ("eular", "euler"), ("ddmi", "dpm2', 'ddim', 'ddpm"), ("euler_ancestrl", "euler_ancestral"),
        ("dpmpp_2m_karas", "dpmpp_2m_karras"), ("DPM+ 2M", "dpmpp_2m"),
    ])
    func suggestsTheNearName(name: String, suggestion: String) {
        let thrown = error { _ = try SchedulerRegistry.make(name: name, config: config("{}")) }
        #expect(thrown?.kind == .usage)
        #expect(thrown?.message.contains("'\(name)'. Did you mean '\(suggestion)'?") == true)
    }

    @Test(arguments: ["", "plain old sampling", String(repeating: "x", count: 10_000)])
    func listsTheNamesWhereNoneIsNear(name: String) {
        let thrown = error { _ = try SchedulerRegistry.make(name: name, config: config("{}")) }
        #expect(thrown?.kind == .usage)
        #expect(thrown?.message.contains("Did you mean") == false)
        #expect(thrown?.message.contains("Available: euler, euler_a, heun, lms") == true)
    }

    @Test func takesTheModelsOwnClass() throws {
        let scheduler = try SchedulerRegistry.make(config: config(#"{"_class_name": "DDIMScheduler"}"#))
        #expect(scheduler is DDIMScheduler)
    }

    @Test func aClassThatIsNotAvailableIsNamed() throws {
        let other = try config(#"{"_class_name": "SASolverScheduler", "steps_offset": 1}"#)
        let thrown = error { _ = try SchedulerRegistry.make(config: other) }
        #expect(thrown?.kind == .failed)
        #expect(thrown?.message.contains("SASolverScheduler") == true)
        #expect(thrown?.message.contains("--scheduler: euler, euler_a, heun") == true)
        #expect(try SchedulerRegistry.make(name: "euler", config: other).schedule(steps: 5).steps.count == 5)
    }

    @Test func aConfigurationWithoutAClassAsksForOne() throws {
        let thrown = error { _ = try SchedulerRegistry.make(config: config("{}")) }
        #expect(thrown?.message.contains("_class_name") == true)
        #expect(error { _ = try SchedulerRegistry.make(config: config(#"{"_class_name": 3}"#)) } != nil)
    }
}
