import CalderaGraph
import Foundation
import Testing

/// Whole runs of diffusers' pipelines, of every kind: the fixture `pipelines`.
package struct GoldenPipelines: Sendable {
    package enum Kind: String, Decodable, Sendable {
        case textToImage = "text2img"
        case imageToImage = "img2img"
        case inpainting = "inpaint"
        case ensemble
    }

    /// A run. What is nil was left to the pipeline's default.
    package struct Run: Decodable, Sendable, CustomTestStringConvertible {
        package let name: String
        /// A folder of `Fixtures/models`.
        package let family: String
        package let kind: Kind
        package let prompt: String
        package let negativePrompt: String?
        package let scheduler: String
        /// Keys of scheduler_config.json that the run changes.
        package let schedulerOptions: [String: JSONValue]?
        package let seeds: [UInt64]
        package let steps: Int
        package let guidanceScale: Double
        package let guidanceRescale: Double?
        package let clipSkip: Int?
        package let eta: Double?
        package let timesteps: [Int]?
        package let sigmas: [Double]?
        /// In pixels.
        package let width: Int
        package let height: Int
        /// Height, then width, in pixels.
        package let originalSize: [Int]?
        package let cropsCoordsTopLeft: [Int]?
        package let targetSize: [Int]?
        package let aestheticScore: Double?
        package let negativeAestheticScore: Double?
        /// Golden tensors: [1, 3, H, W] in 0...1 and [1, 1, H, W] of 0 and 1.
        package let image: String?
        package let mask: String?
        package let strength: Double?
        package let denoisingEnd: Double?
        package let refinerFamily: String?
        /// The golden tensor of the last latents, [pictures, c, h, w].
        package let latents: String

        package var testDescription: String { name }
    }

    package let golden: GoldenFile
    package let runs: [Run]

    /// - Parameter folder: the fixture. Throws `CalderaError` when it cannot be read.
    package init(_ folder: URL) throws {
        golden = try GoldenFile(folder.appending(path: "golden.safetensors"))
        let cases = folder.appending(path: "cases.json")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            runs = try decoder.decode([Run].self, from: Data(contentsOf: cases))
        } catch {
            throw CalderaError("\(cases.path) does not describe golden runs: \(error)")
        }
    }
}
