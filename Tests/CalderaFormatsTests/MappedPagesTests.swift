import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

/// Pages of a mapped file leave this process's memory when they are released.
@Suite struct MappedPagesTests {
    /// Bytes of a mapped file that are resident here (`Rss` of proc_pid_smaps(5)).
    private func residentBytes(of path: String) throws -> Int {
        // To its end: files of proc(5) do not tell their size.
        let data = try #require(FileHandle(forReadingAtPath: "/proc/self/smaps")).readToEnd()
        let map = String(decoding: try #require(data), as: UTF8.self)
        var isFile = false
        var total = 0
        for line in map.split(separator: "\n") {
            let words = line.split(whereSeparator: \.isWhitespace)
            if words.first?.contains("-") == true { isFile = line.hasSuffix(path) }
            if isFile, words.first == "Rss:", words.count > 1 { total += (Int(words[1]) ?? 0) * 1024 }
        }
        return total
    }

    private func sum(_ source: any WeightSource, _ name: String) throws -> Float {
        try source.withBytes(name) { $0.bindMemory(to: Float.self).reduce(0, +) }
    }

    @Test func releasedTensorsAreResidentNoMore() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("large.safetensors")
        let count = 2 << 20
        let tensors = ["first", "second"].map { name in
            SafetensorsWriter.Tensor(name, HostTensor([count], [Float](repeating: 1, count: count)))
        }
        try SafetensorsWriter.write(tensors, metadata: [:], to: path)
        let source: any WeightSource = try SafetensorsFile(path)
        for name in ["first", "second"] {
            source.willRead(name)
            #expect(try sum(source, name) == Float(count))
        }
        #expect(try residentBytes(of: path) >= 2 * count * 4)
        source.release("first")
        let half = try residentBytes(of: path)
        #expect(half <= count * 4 + 4096 && half >= count * 4 - (256 << 10))
        source.release("second")
        #expect(try residentBytes(of: path) <= 256 << 10)
        // They come back when they are asked for.
        #expect(try sum(source, "first") == Float(count))
    }

    @Test func namesThatAreNotThereAreNoMatter() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("x.safetensors")
        try SafetensorsWriter.write(
            [SafetensorsWriter.Tensor("x", HostTensor([1], [1 as Float]))], metadata: [:], to: path)
        let source: any WeightSource = try SafetensorsFile(path)
        source.willRead("y")
        source.release("y")
        source.release("x")
        #expect(try sum(source, "x") == 1)
    }
}
