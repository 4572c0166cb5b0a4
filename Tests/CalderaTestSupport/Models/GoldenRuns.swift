import CalderaGraph
import Foundation

/// The runs of a whole pipeline that a golden file holds the last latents of: the fixture's `pipeline.json`.
package struct GoldenRuns: Decodable, Sendable {
    package struct Run: Decodable, Sendable, CustomStringConvertible {
        package let name: String
        package let prompt: String
        /// Nil is not the same as "": a pipeline may take zeros for a negative prompt that was not given.
        package let negativePrompt: String?
        /// The scheduler's class in diffusers, made from the folder's config.
        package let scheduler: String
        /// One picture of the batch for each.
        package let seeds: [UInt64]
        package let steps: Int
        package let guidanceScale: Double
        /// In pixels.
        package let width: Int
        package let height: Int
        /// The golden tensor of the last latents, [pictures, 4, height / 8, width / 8].
        package let latents: String
        /// File names of the 8-bit pictures, in the order of `seeds`; empty where none were kept.
        package let pictures: [String]

        package var description: String { name }
    }

    /// The pipeline's class in diffusers.
    package let pipeline: String
    package let cases: [Run]

    /// Throws `CalderaError` when the file cannot be read or lacks a value.
    package init(_ url: URL) throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            self = try decoder.decode(Self.self, from: Data(contentsOf: url))
        } catch {
            throw CalderaError("\(url.path) does not describe golden runs: \(error)")
        }
    }
}
