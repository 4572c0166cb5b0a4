import CalderaDiffusion
import CalderaGraph
import Foundation
import Testing

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
        let thrown = thrownError { _ = try SchedulerRegistry.make(name: name, config: schedulerConfig("{\(values)}")) }
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
        let plain = try SchedulerRegistry.make(name: name, config: schedulerConfig("{}"))
        let extended = try SchedulerRegistry.make(name: name, config: schedulerConfig("{\(values)}"))
        #expect(try extended.schedule(steps: 7) == plain.schedule(steps: 7))
    }

    @Test(arguments: ["", "[]", "{", "null", #"{"a": }"#])
    func rejectsWhatIsNoObject(json: String) {
        let thrown = thrownError { _ = try schedulerConfig(json) }
        #expect(thrown?.message.contains("model/scheduler_config.json is not a JSON object") == true)
    }

    /// Without a signal at the first timestep no clean latent follows from predicted noise.
    @Test func rejectsAnUpdateThatDividesByZero() throws {
        let values = #"{"rescale_betas_zero_snr": true, "timestep_spacing": "trailing", "prediction_type": "epsilon"}"#
        let scheduler = try SchedulerRegistry.make(name: "ddim", config: schedulerConfig(values))
        let thrown = thrownError { _ = try scheduler.schedule(steps: 4) }
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
            try SchedulerRegistry.make(name: name, config: schedulerConfig(#"{"prediction_type": "\#(prediction)"}"#))
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
