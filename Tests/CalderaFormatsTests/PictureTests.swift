import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

private func picture(_ width: Int, _ height: Int, text: [PNGPicture.Text] = []) -> PNGPicture {
    let rgb = (0..<(width * height * 3)).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
    return PNGPicture(width: width, height: height, rgb: rgb, text: text)
}

@Suite struct PNGTests {
    @Test(arguments: [(1, 1), (7, 3), (128, 64)])
    func roundTrip(width: Int, height: Int) throws {
        let folder = try TemporaryFolder()
        let text: [PNGPicture.Text] = [
            .init("parameters", "a cafÃ©\nsecond, \"line\""), .init("other", "猫 🐈 ñ"), .init("nul", "a\0b"),
            .init("empty", ""),
        ]
        try PNGFile.write(picture(width, height, text: text), to: folder.path("x.png"))
        let back = try PNGFile.read(folder.path("x.png"))
        #expect((back.width, back.height) == (width, height))
        #expect(back.rgb == picture(width, height).rgb)
        #expect(back.text("parameters") == "a cafÃ©\nsecond, \"line\"")
        #expect(back.text("other") == "猫 🐈 ñ")
        #expect(back.text("nul") == "a\u{FFFD}b")
        #expect(back.text("empty") == "")
        #expect(try folder.contents() == ["x.png"])
    }

    @Test func latinTextIsPlainAndOtherTextInternational() throws {
        let bytes = try PNGFile.encode(picture(2, 2, text: [.init("a", "é"), .init("b", "猫")]))
        let data = Data(bytes)
        #expect(data.range(of: Data("tEXta\0".utf8) + Data([0xE9])) != nil)
        #expect(data.range(of: Data("iTXtb\0".utf8)) != nil)
    }

    @Test func everyTruncationIsAnError() throws {
        let folder = try TemporaryFolder()
        let bytes = try PNGFile.encode(picture(9, 5, text: [.init("a", "b")]))
        for count in 0..<bytes.count {
            let path = try folder.write("cut.png", Data(bytes.prefix(count)))
            #expect(throws: CalderaError.self, "\(count) of \(bytes.count) bytes") { try PNGFile.read(path) }
        }
    }

    @Test func absurdSizesAreRefused() throws {
        let folder = try TemporaryFolder()
        // A valid header chunk whose size is far more than the file can hold, with its checksum.
        for (size, message) in [(60_000, "too large to read"), (16_384, "cut short")] {
            let path = try folder.write("huge.png", header(UInt32(size)))
            let error = #expect(throws: CalderaError.self) { try PNGFile.read(path) }
            #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
        }
        for (width, height) in [(0, 1), (-1, 1), (1_000_000, 1), (65_536, 65_536)] {
            let empty = PNGPicture(width: width, height: height, rgb: [])
            #expect(throws: CalderaError.self) { try PNGFile.encode(empty) }
        }
        #expect(throws: CalderaError.self) { try PNGFile.encode(PNGPicture(width: 2, height: 2, rgb: [0])) }
    }

    /// The signature, a header chunk of size x size, and the start of a data chunk.
    private func header(_ size: UInt32) -> Data {
        let sides = withUnsafeBytes(of: size.bigEndian) { Data($0) }
        let chunk = Data("IHDR".utf8) + sides + sides + Data([8, 2, 0, 0, 0])
        let sum = withUnsafeBytes(of: crc(chunk).bigEndian) { Data($0) }
        let start = Data([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0, 0, 0, 13])
        return start + chunk + sum + Data([0, 0, 0, 1]) + Data("IDAT".utf8) + Data([0x78])
    }

    /// The checksum of a PNG chunk (PNG specification, annex D).
    private func crc(_ data: Data) -> UInt32 {
        ~data.reduce(UInt32.max) { sum, byte in
            (0..<8).reduce(sum ^ UInt32(byte)) { sum, _ in sum >> 1 ^ (sum & 1 == 1 ? 0xEDB8_8320 : 0) }
        }
    }

    @Test func othersFilesAreNotPictures() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("x.png", "GIF89a and more")
        let error = #expect(throws: CalderaError.self) { try PNGFile.read(path) }
        #expect(error?.message == "\(path) cannot be read as a picture: it is no PNG file.")
    }
}

// The files under way are known to the whole process, so these tests take turns.
@Suite(.serialized) struct AtomicFileTests {
    private struct Stop: Error {}

    @Test func aFailureLeavesNothingAndKeepsWhatStoodThere() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("x", "old")
        #expect(throws: Stop.self) {
            try AtomicFile.write(to: path) { file in
                try [UInt8](repeating: 1, count: 100).withUnsafeBytes { try file.append($0) }
                #expect(try folder.contents().count == 2)
                throw Stop()
            }
        }
        #expect(try folder.contents() == ["x"])
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "old")
    }

    @Test func anInterruptRemovesWhatIsUnderWay() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("x")
        #expect(throws: CalderaError.self) {
            try AtomicFile.write(to: path) { _ in
                let mine = AtomicFile.pendingPaths.filter { $0.hasPrefix(folder.url.path) }
                #expect(mine.count == 1 && mine.allSatisfy(FileManager.default.fileExists(atPath:)))
                for path in mine { unlink(path) }
            }
        }
        #expect(try folder.contents().isEmpty)
        #expect(AtomicFile.pendingPaths.allSatisfy { !$0.hasPrefix(folder.url.path) })
    }

    @Test func aFullDiskAndBadFoldersAreSentences() throws {
        let folder = try TemporaryFolder()
        let bytes = [UInt8](repeating: 0, count: 10)
        func message(_ path: String) -> String? {
            #expect(throws: CalderaError.self) { try bytes.withUnsafeBytes { try AtomicFile.write($0, to: path) } }?
                .message
        }
        #expect(message("/dev/full")?.contains("the disk is full") == true)
        #expect(message(folder.path("none/x"))?.contains("there is no folder \(folder.path("none"))") == true)
        #expect(message(folder.url.path)?.contains("it is a folder") == true)
        #expect(message("/proc/x")?.contains("could not be written") == true)
        #expect(try folder.contents().isEmpty)
    }
}
