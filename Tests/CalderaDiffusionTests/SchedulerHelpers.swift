import CalderaDiffusion
import CalderaGraph
import Foundation
import Testing

func schedulerConfig(_ json: String) throws -> SchedulerConfig {
    try SchedulerConfig(json: Data(json.utf8), path: "model/scheduler_config.json")
}

/// The error that `body` throws; records an issue and returns nil when it throws none or another kind.
func thrownError(_ body: () throws -> Void) -> CalderaError? {
    #expect(throws: CalderaError.self, performing: body)
}
