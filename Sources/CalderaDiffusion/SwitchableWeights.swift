import CalderaGraph

/// Weights that can be exchanged for an adapted form of themselves between pictures.
package final class SwitchableWeights: WeightSource, @unchecked Sendable {
    /// The weights as the files have them.
    package let base: any WeightSource
    /// What is lent now; set between runs only, from the thread that runs them.
    private var current: any WeightSource

    package init(_ base: any WeightSource) {
        self.base = base
        current = base
    }

    /// Lends `weights` from now on; nil lends the base again.
    package func use(_ weights: (any WeightSource)?) { current = weights ?? base }

    package var names: [String] { current.names }

    package func info(_ name: String) -> WeightInfo? { current.info(name) }

    package func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        try current.withBytes(name, body)
    }

    package func willRead(_ name: String) { current.willRead(name) }

    package func release(_ name: String) { current.release(name) }
}
