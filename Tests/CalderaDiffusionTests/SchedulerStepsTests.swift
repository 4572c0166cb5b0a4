import CalderaDiffusion
import CalderaGraph
import Foundation
import Testing

@Suite struct StepCountTests {
    @Test(arguments: ["euler", "euler_a", "ddim"], [Int.min, -1, 0, 1001, Int.max])
    func impossibleCountsAreBadUsage(name: String, steps: Int) throws {
        let scheduler = try SchedulerRegistry.make(name: name, config: schedulerConfig("{}"))
        let thrown = thrownError { _ = try scheduler.schedule(steps: steps) }
        #expect(thrown?.kind == .usage)
        #expect(thrown?.message.contains("\(steps)") == true)
    }

    @Test(arguments: ["euler", "euler_a", "ddim"], ["linspace", "leading", "trailing"])
    func everyPossibleCountGivesThatManySteps(name: String, spacing: String) throws {
        let scheduler = try SchedulerRegistry.make(
            name: name, config: schedulerConfig(#"{"num_train_timesteps": 1000, "timestep_spacing": "\#(spacing)"}"#))
        // 61 and 122 are among the counts at which numpy's arange runs one element too far.
        for steps in [1, 2, 3, 7, 61, 122, 333, 999, 1000] {
            let schedule = try scheduler.schedule(steps: steps)
            #expect(schedule.steps.count == steps)
            #expect(schedule.sigmas.count == steps + 1)
            #expect(schedule.timesteps.allSatisfy { (0...999).contains($0) })
            #expect(zip(schedule.timesteps, schedule.timesteps.dropFirst()).allSatisfy { $0 >= $1 })
        }
    }

    /// Solvers take whole timesteps that may repeat; two evaluations in a step come in pairs; PNDM repeats a step.
    @Test(arguments: [
        "dpmpp_2m", "dpmpp_2m_sde_karras", "dpmpp_2s", "unipc_beta", "heun", "lms_exponential", "dpm2", "dpm2_a_karras",
        "dpmpp_sde", "ddpm", "pndm", "edm_euler", "edm_dpmpp_2m",
    ])
    func otherFamiliesTakeEveryCommonCount(name: String) throws {
        let scheduler = try SchedulerRegistry.make(name: name, config: schedulerConfig("{}"))
        for steps in [1, 2, 3, 4, 7, 14, 15, 61, 122, 250] {
            let schedule = try scheduler.schedule(steps: steps)
            let evaluations = name == "pndm" && steps > 1 ? steps + 1 : schedule.order * (steps - 1) + 1
            #expect(schedule.steps.count == evaluations)
            #expect(schedule.sigmas.count == evaluations + 1)
            #expect(schedule.timesteps.allSatisfy { $0 <= 999 })
        }
        for steps in [Int.min, -1, 0, 1001, Int.max] {
            #expect(thrownError { _ = try scheduler.schedule(steps: steps) }?.kind == .usage)
        }
    }

    @Test func anOffsetBeyondTheTableIsBadUsage() throws {
        let scheduler = try SchedulerRegistry.make(name: "ddim", config: schedulerConfig(#"{"steps_offset": 1}"#))
        #expect(thrownError { _ = try scheduler.schedule(steps: 1000) }?.kind == .usage)
        #expect(try scheduler.schedule(steps: 999).timesteps.first == 999)
    }

    @Test func onlyStochasticSamplersDrawNoise() throws {
        let drawing = try SchedulerRegistry.listedNames.filter { name in
            try SchedulerRegistry.make(name: name, config: schedulerConfig("{}")).schedule(steps: 3).usesNoise
        }
        let expected = [
            "euler_a", "dpm2_a", "ddpm", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde", "dpmpp_sde", "lcm", "tcd",
            "edm_dpmpp_2m_sde",
        ]
        #expect(drawing == expected)
        let eta = try schedulerConfig("{}").overriding(["eta": .number(0.5)])
        #expect(try SchedulerRegistry.make(name: "ddim", config: eta).schedule(steps: 3).usesNoise)
    }

    @Test(arguments: ["ddim", "tcd"])
    func anImpossibleEtaIsBadUsage(name: String) throws {
        let eta = try schedulerConfig("{}").overriding(["eta": .number(1.5)])
        let thrown = thrownError { _ = try SchedulerRegistry.make(name: name, config: eta) }
        #expect(thrown?.kind == .usage)
        #expect(thrown?.message.contains("1.5") == true)
    }

    @Test(arguments: ["lcm", "tcd"])
    func distilledModelsTakeFewSteps(name: String) throws {
        let scheduler = try SchedulerRegistry.make(name: name, config: schedulerConfig("{}"))
        #expect(thrownError { _ = try scheduler.schedule(steps: 51) }?.kind == .usage)
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
                let scheduler = try SchedulerRegistry.make(name: type.className, config: schedulerConfig("{}"))
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
            let scheduler = try SchedulerRegistry.make(name: name, config: schedulerConfig("{}"))
            #expect(thrownError { _ = try scheduler.schedule(request(.timesteps(timesteps))) }?.kind == .usage)
        }
    }

    @Test(arguments: [[], [0], [-1], [2, 2], [1, 2], [.nan], [.infinity, 1], [3, .nan, 1]] as [[Double]])
    func impossibleSigmasAreBadUsage(sigmas: [Double]) throws {
        let scheduler = try SchedulerRegistry.make(name: "euler", config: schedulerConfig("{}"))
        #expect(thrownError { _ = try scheduler.schedule(request(.sigmas(sigmas))) }?.kind == .usage)
    }

    @Test(arguments: ["euler_karras", "heun_beta", "dpmpp_2m_exponential"])
    func timestepsAndAFamilyExcludeEachOther(name: String) throws {
        let scheduler = try SchedulerRegistry.make(name: name, config: schedulerConfig("{}"))
        let thrown = thrownError { _ = try scheduler.schedule(request(.timesteps([500, 100]))) }
        #expect(thrown?.kind == .usage)
        #expect(thrown?.message.contains("_sigmas") == true)
    }

    /// A start beyond the last evaluation, or between the two evaluations of a step.
    @Test(arguments: [("euler", 5), ("euler", -1), ("heun", 9), ("heun", 3), ("dpm2_a", 1), ("dpmpp_sde", 1)])
    func impossibleStartsAreBadUsage(name: String, first: Int) throws {
        let scheduler = try SchedulerRegistry.make(name: name, config: schedulerConfig("{}"))
        #expect(thrownError { _ = try scheduler.schedule(ScheduleRequest(steps: 5, first: first)) }?.kind == .usage)
    }
}
