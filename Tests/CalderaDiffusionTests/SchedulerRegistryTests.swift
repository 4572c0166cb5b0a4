import CalderaDiffusion
import CalderaGraph
import Foundation
import Testing

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
        let scheduler = try SchedulerRegistry.make(name: name, config: schedulerConfig("{}"))
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
        let scheduler = try SchedulerRegistry.make(name: name, config: schedulerConfig("{}"))
        #expect(scheduler.webLabel == label)
        #expect(scheduler.scheduleType == scheduleType)
    }

    /// A name decides over the configuration; a class name alone leaves it as it is.
    @Test func aNameSetsTheOptionsThatItSpells() throws {
        let own = try schedulerConfig(
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
        #expect(
            thrownError { _ = try SchedulerRegistry.make(name: name, config: schedulerConfig("{}")) }?.kind == .usage)
    }

    @Test(arguments: [
        ("eular", "euler"), ("ddmi", "dpm2', 'ddim', 'ddpm"), ("euler_ancestrl", "euler_ancestral"),
        ("dpmpp_2m_karas", "dpmpp_2m_karras"), ("DPM+ 2M", "dpmpp_2m"),
    ])
    func suggestsTheNearName(name: String, suggestion: String) {
        let thrown = thrownError { _ = try SchedulerRegistry.make(name: name, config: schedulerConfig("{}")) }
        #expect(thrown?.kind == .usage)
        #expect(thrown?.message.contains("'\(name)'. Did you mean '\(suggestion)'?") == true)
    }

    @Test(arguments: ["", "plain old sampling", String(repeating: "x", count: 10_000)])
    func listsTheNamesWhereNoneIsNear(name: String) {
        let thrown = thrownError { _ = try SchedulerRegistry.make(name: name, config: schedulerConfig("{}")) }
        #expect(thrown?.kind == .usage)
        #expect(thrown?.message.contains("Did you mean") == false)
        #expect(thrown?.message.contains("Available: euler, euler_a, heun, lms") == true)
    }

    @Test func takesTheModelsOwnClass() throws {
        let scheduler = try SchedulerRegistry.make(config: schedulerConfig(#"{"_class_name": "DDIMScheduler"}"#))
        #expect(scheduler is DDIMScheduler)
    }

    @Test func aClassThatIsNotAvailableIsNamed() throws {
        let other = try schedulerConfig(#"{"_class_name": "SASolverScheduler", "steps_offset": 1}"#)
        let thrown = thrownError { _ = try SchedulerRegistry.make(config: other) }
        #expect(thrown?.kind == .failed)
        #expect(thrown?.message.contains("SASolverScheduler") == true)
        #expect(thrown?.message.contains("--scheduler: euler, euler_a, heun") == true)
        #expect(try SchedulerRegistry.make(name: "euler", config: other).schedule(steps: 5).steps.count == 5)
    }

    @Test func aConfigurationWithoutAClassAsksForOne() throws {
        let thrown = thrownError { _ = try SchedulerRegistry.make(config: schedulerConfig("{}")) }
        #expect(thrown?.message.contains("_class_name") == true)
        #expect(thrownError { _ = try SchedulerRegistry.make(config: schedulerConfig(#"{"_class_name": 3}"#)) } != nil)
    }
}
