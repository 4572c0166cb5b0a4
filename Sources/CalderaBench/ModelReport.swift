import CalderaGraph

/// What `caldera bench model` measures.
package struct ModelReport: Codable, Sendable {
    /// One part of the model: an encoder, the UNet, the decoder.
    package struct Part: Codable, Sendable {
        package let name: String
        /// Building the graph and the plan.
        package let planSeconds: Double
        /// Memory, weights (made up, packed, sent), kernels and recordings.
        package let compileSeconds: Double
        /// Of those, the driver's compiler of kernels.
        package let pipelineSeconds: Double
        /// The first run, which warms caches and is counted nowhere else.
        package let firstRunSeconds: Double
        package let weightBytes: Int
        package let arenaBytes: Int
        package let largestLiveSetBytes: Int
        package let persistentBytes: Int
        /// Recording both stages, without the driver's compiler; nil on the processor, which records nothing.
        package let recordSeconds: Double?
        /// What the host had to do for the last run that was measured, without its wait for the device; nil on the processor.
        package internal(set) var hostSeconds: Double?
        /// Multiply-adds counted as two, for one run.
        package let operations: Double
    }

    /// One node of a run that was profiled.
    package struct Layer: Codable, Sendable {
        package let part: String
        /// "prompt" for what runs once, "step" for what runs at each step.
        package let stage: String
        package let label: String
        package let operation: String
        package let shape: [Int]
        package let kernel: String
        package let seconds: Double
        package let operations: Double
        package let bytes: Double
    }

    package let format: String
    package let environment: BenchmarkEnvironment
    package let architecture: String
    /// Pixels.
    package let width: Int
    package let height: Int
    /// Pictures side by side.
    package let batch: Int
    /// What the UNet sees at a time: twice as many under guidance.
    package let unetBatch: Int
    package let steps: Int
    /// One replay of the UNet's step; nil for an autoencoder alone.
    package let stepSeconds: Spread?
    /// All text encoders once; for an autoencoder alone, its encoder.
    package let encodeSeconds: Spread?
    /// What the UNet computes once for a prompt.
    package let promptSeconds: Spread?
    /// One picture.
    package let decodeSeconds: Spread?
    package let peakDeviceBytes: Int
    package let peakHostBytes: Int
    /// Spent in the driver's compiler of kernels, in no other number but `compileSeconds` of the parts.
    package let pipelineSeconds: Double
    package let parts: [Part]
    package let layers: [Layer]

    package static let format = "caldera.bench.model.1"
}
