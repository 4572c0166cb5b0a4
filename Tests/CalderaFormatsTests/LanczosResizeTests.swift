import CalderaFormats
import Foundation
import Testing

/// Resized pictures against Pillow's, to the bit.
@Suite struct LanczosResizeTests {
    struct Case: Decodable, CustomTestStringConvertible {
        let height: Int
        let width: Int
        let toHeight: Int
        let toWidth: Int
        let channels: Int
        let source: Data
        let result: Data

        var testDescription: String { "\(width)x\(height) to \(toWidth)x\(toHeight), \(channels) channels" }

        static func all() throws -> [Case] {
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            let url = try #require(Bundle.module.url(forResource: "Fixtures/resize", withExtension: "json"))
            return try decoder.decode([Case].self, from: Data(contentsOf: url))
        }
    }

    @Test(arguments: try Case.all())
    func resizedPicturesEqualPillows(golden: Case) {
        let resized = LanczosResize.resized(
            Array(golden.source), width: golden.width, height: golden.height, channels: golden.channels,
            toWidth: golden.toWidth, toHeight: golden.toHeight)
        #expect(resized == Array(golden.result))
    }

    @Test func thePictureItselfStaysAsItIs() {
        let pixels: [UInt8] = [1, 2, 3, 4, 5, 6]
        let same = LanczosResize.resized(pixels, width: 2, height: 1, channels: 3, toWidth: 2, toHeight: 1)
        #expect(same == pixels)
    }
}
