import CalderaDiffusion
import Foundation
import Testing

/// A short sampling run whose levels and result were written down by hand from diffusers, in plain numbers.
private struct SampleRun: Sendable, CustomTestStringConvertible {
    let name: String
    let options: String
    let timesteps: [Double]
    /// Empty for a scheduler that works without them.
    var sigmas: [Double] = []
    var eta = 0.0
    var steps = 5
    let final: [Double]

    var testDescription: String { "\(name) \(options) eta \(eta)" }

    func schedule() throws -> Schedule {
        let json = """
            {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
             "set_alpha_to_one": false, "clip_sample": false\(options.isEmpty ? "" : ", " + options)}
            """
        let config = try SchedulerConfig(json: Data(json.utf8), path: "scheduler_config.json")
            .overriding(["eta": .number(eta)])
        return try SchedulerRegistry.make(name: name, config: config).schedule(steps: steps)
    }

    private static let leading = #""timestep_spacing": "leading""#
    private static let velocity = #", "prediction_type": "v_prediction""#
    private static let leadingSteps = [801.0, 601, 401, 201, 1]
    private static let trailingSteps = [999.0, 799, 599, 399, 199]
    private static let leadingSigmas = [5.134433, 2.292855, 1.168216, 0.574051, 0.041314, 0]

    static let all = [
        SampleRun(
            name: "ddim", options: leading, timesteps: leadingSteps,
            final: [0.334303, -1.563671, 3.397455, 5.833912]),
        SampleRun(
            name: "ddim", options: leading, timesteps: leadingSteps, eta: 1,
            final: [0.059377, -0.458871, 4.444292, 4.135836]),
        SampleRun(
            name: "ddim", options: leading + velocity, timesteps: leadingSteps,
            final: [0.069995, -0.217173, 0.360781, 0.611504]),
        SampleRun(
            name: "ddim",
            options: #""timestep_spacing": "trailing", "rescale_betas_zero_snr": true"# + velocity,
            timesteps: trailingSteps, final: [0.048208, -0.169459, 0.273604, 0.481970]),
        SampleRun(
            name: "euler", options: leading, timesteps: leadingSteps, sigmas: leadingSigmas,
            final: [0.325887, -1.540265, 3.372693, 5.810129]),
        SampleRun(
            name: "euler", options: "", timesteps: [999, 749.25, 499.5, 249.75, 0],
            sigmas: [14.614647, 4.086090, 1.615583, 0.695151, 0.029168, 0],
            final: [0.657663, -3.692816, 9.871012, 16.611004]),
        SampleRun(
            name: "euler", options: #""timestep_spacing": "trailing""#, timesteps: trailingSteps,
            sigmas: [14.614647, 5.087765, 2.276464, 1.160579, 0.569285, 0],
            final: [0.583548, -3.644306, 9.735179, 16.516966]),
        SampleRun(
            name: "euler", options: leading + #", "use_karras_sigmas": true"#,
            timesteps: [801, 565.8302, 248.593033, 38.422298, 1],
            sigmas: [5.134433, 2.024807, 0.692151, 0.194693, 0.041314, 0],
            final: [0.338837, -1.574595, 3.384293, 5.811689]),
        SampleRun(
            name: "euler", options: leading + velocity, timesteps: leadingSteps, sigmas: leadingSigmas,
            final: [0.068072, -0.211348, 0.351319, 0.596595]),
        SampleRun(
            name: "euler_a", options: leading, timesteps: leadingSteps, sigmas: leadingSigmas,
            final: [0.031475, -0.467629, 4.443464, 4.134566]),
        SampleRun(
            name: "pndm", options: leading, timesteps: [801, 601, 601, 401, 201, 1],
            final: [0.332167, -1.362818, 3.341573, 5.842019]),
        SampleRun(
            name: "heun", options: leading, timesteps: [667, 334, 334, 1, 1],
            sigmas: [2.929550, 0.935510, 0.935510, 0.041314, 0.041314, 0], steps: 3,
            final: [0.379359, -0.980551, 2.131775, 3.586596]),
        SampleRun(
            name: "Heun Karras", options: "", timesteps: [999, 427.489777, 427.489777, 0, 0],
            sigmas: [14.614647, 1.274105, 1.274105, 0.029168, 0.029168, 0], steps: 3,
            final: [-0.084935, -2.433170, 9.850951, 16.802977]),
        SampleRun(
            name: "DPM++ 2M", options: leading, timesteps: [831, 665, 499, 333, 167],
            sigmas: [5.906451, 2.907123, 1.612887, 0.932358, 0.494697, 0],
            final: [0.337134, -1.592835, 3.808470, 6.636994]),
        SampleRun(
            name: "DPM++ 2M Karras", options: "", timesteps: karrasSteps, sigmas: karrasSigmas,
            final: [0.254395, -3.359325, 9.297353, 16.268068]),
        SampleRun(
            name: "DPM++ 2M SDE Karras", options: "", timesteps: karrasSteps, sigmas: karrasSigmas,
            final: [-0.845622, 1.026634, 9.528975, 9.383594]),
        SampleRun(
            name: "lcm", options: "", timesteps: [999, 759, 499, 259], steps: 4,
            final: [-0.023781, -0.168761, 9.364473, 11.465137]),
        SampleRun(
            name: "unipc", options: "", timesteps: [999, 799, 599, 400, 200],
            sigmas: [14.614647, 5.087765, 2.276464, 1.164392, 0.571666, 0],
            final: [0.467898, -3.435855, 9.552474, 16.447149]),
        SampleRun(
            name: "unipc", options: #""timestep_spacing": "trailing""# + velocity, timesteps: trailingSteps,
            sigmas: [14.614647, 5.087765, 2.276464, 1.160579, 0.569285, 0],
            final: [0.079656, -0.228087, 0.385711, 0.656896]),
        SampleRun(
            name: "edm_dpmpp_2m", options: "", timesteps: [1.095507, 0.715947, 0.230590, -0.443353, -1.553652],
            sigmas: [79.999985, 17.527830, 2.515219, 0.169753, 0.002, 0],
            final: [0.602976, -0.981832, 1.253321, 1.490269]),
    ]

    private static let karrasSteps = [999.0, 786, 427, 59, 0]
    private static let karrasSigmas = [14.614647, 4.796544, 1.274105, 0.247952, 0.029168, 0]
}

@Suite struct SchedulerVectorTests {
    @Test(arguments: SampleRun.all)
    fileprivate func reproducesTheRun(run: SampleRun) throws {
        let schedule = try run.schedule()
        #expect(difference(schedule.timesteps.map(Double.init), run.timesteps) <= 1e-4)
        if !run.sigmas.isEmpty { #expect(difference(schedule.sigmas, run.sigmas) <= 1e-6) }
        let latents = ToySampler.trajectory(of: schedule, from: [0.5, -1, 1.5, 2], as: Float.self)
        // Four draws at a time take the fp64 path of the random stream; diffusers' own fp32 noise is below 2e-5.
        #expect(difference(latents[latents.count - 1], run.final) <= 2e-5)
    }

    /// The scale of the first latent for SDXL's configuration, as diffusers prints it.
    @Test(arguments: [(50, 13.158469), (20, 11.073581), (25, 11.718795), (30, 11.520334)])
    func leadingEulerScalesTheFirstLatent(steps: Int, scale: Double) throws {
        let json = #"""
            {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
             "timestep_spacing": "leading"}
            """#
        let config = try SchedulerConfig(json: Data(json.utf8), path: "scheduler_config.json")
        let schedule = try EulerScheduler(config: config).schedule(steps: steps)
        #expect(abs(schedule.initNoiseSigma - scale) <= 1e-5)
    }

    private func difference(_ left: [Double], _ right: [Double]) -> Double {
        guard left.count == right.count else { return .infinity }
        return zip(left, right).map { abs($0 - $1) }.max() ?? 0
    }
}
