import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite("bench and --profile")
struct BenchTests {
    private func object(_ path: String) throws -> [String: Any] {
        let json = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: path)))
        return try #require(json as? [String: Any])
    }

    @Test("Help names every flag")
    func help() throws {
        let bench = try Program.run(["bench", "--help"])
        for command in ["model", "language", "kernels"] { #expect(bench.output.contains(command)) }
        let model = try Program.run(["bench", "model", "--help"]).output
        let flags = [
            "--arch", "--part", "--width", "--height", "--batch", "--steps", "--device", "--precision", "--json",
            "--tune",
        ]
        for flag in flags { #expect(model.contains(flag), "\(flag)") }
        let kernels = try Program.run(["bench", "kernels", "--help"]).output
        let kernelFlags = [
            "--op", "--set", "--shape", "--device", "--json", "--compare", "--bound", "--shader", "--kernel", "--watch",
            "--print-shader",
        ]
        for flag in kernelFlags { #expect(kernels.contains(flag), "\(flag)") }
    }

    @Test("A model is measured without its files, and the report is written")
    func model() throws {
        let folder = try TemporaryFolder()
        let outcome = try Program.run(
            [
                "bench", "model", "--arch", "vae", "--width", "32", "--height", "32", "--repeats", "1", "--device",
                "cpu", "--json", "report.json",
            ], in: folder)
        #expect(outcome.status == 0, "\(outcome.error)")
        #expect(outcome.output.contains("decode"))
        let report = try object(folder.path("report.json"))
        #expect(report["architecture"] as? String == "vae")
        let decode = try #require(report["decode_seconds"] as? [String: Any])
        for key in ["median", "min", "max"] { #expect(try #require(decode[key] as? Double) > 0) }
        for key in ["peak_device_bytes", "peak_host_bytes"] { #expect(try #require(report[key] as? Int) > 0) }
        let environment = try #require(report["environment"] as? [String: Any])
        for key in ["device", "driver", "version", "date", "command"] {
            #expect((environment[key] as? String)?.isEmpty == false, "\(key)")
        }
    }

    @Test("A language model is measured without its files, and the report is written")
    func language() throws {
        let folder = try TemporaryFolder()
        let run = ["bench", "language", "--arch", "tipo-200m", "--device", "cpu", "--precision", "bf16", "--tokens"]
        let outcome = try Program.run(
            run + ["3", "--prompt-tokens", "2", "--repeats", "1", "--json", "report.json"], in: folder)
        #expect(outcome.status == 0, "\(outcome.error)")
        #expect(outcome.output.contains("of copying"))
        let report = try object(folder.path("report.json"))
        // 202,557,696 parameters, of which the token table has 32013 x 768.
        #expect(report["weight_bytes_per_token"] as? Int == 2 * (202_557_696 - 32013 * 768))
        for key in ["prompt_seconds", "token_seconds"] {
            #expect(try #require((report[key] as? [String: Any])?["median"] as? Double) > 0)
        }
        let tooLong = try Program.run(run + ["2000"], in: folder)
        #expect(tooLong.status == 2)
        #expect(tooLong.lastErrorLine.contains("beyond the model's 2048"))
    }

    @Test("A regression beyond the bound ends with 1, anything else with 0")
    func compare() throws {
        let folder = try TemporaryFolder()
        let measure = ["bench", "kernels", "--op", "layernorm", "--shape", "8x64", "--device", "cpu"]
        #expect(try Program.run(measure + ["--json", "now.json"], in: folder).status == 0)
        // The same measurements, a million times as fast and as slow.
        for (name, factor) in [("fast.json", 1e-6), ("slow.json", 1e6)] {
            var report = try object(folder.path("now.json"))
            var results = try #require(report["results"] as? [[String: Any]])
            for index in results.indices {
                var seconds = try #require(results[index]["seconds"] as? [String: Any])
                seconds["median"] = try #require(seconds["median"] as? Double) * factor
                results[index]["seconds"] = seconds
            }
            report["results"] = results
            try folder.write(name, JSONSerialization.data(withJSONObject: report))
        }
        let slower = try Program.run(measure + ["--compare", "fast.json", "--bound", "2"], in: folder)
        #expect(slower.status == 1)
        #expect(slower.lastErrorLine.contains("1 of 1 measurements"))
        #expect(slower.output.contains("ratio"))
        #expect(try Program.run(measure + ["--compare", "slow.json"], in: folder).status == 0)
    }

    @Test("A profile is a trace with the model's layers, beside the picture, and a table on the standard error")
    func profile() throws {
        let folder = try TemporaryFolder()
        let outcome = try Program.run(
            ["generate", "x", "--steps", "2", "--device", "cpu", "--output", "x.png", "--profile", "trace.json"],
            in: folder)
        #expect(outcome.status == 0, "\(outcome.error)")
        #expect(outcome.lines == ["x.png"])
        #expect(outcome.error.contains("The slowest layers"))
        #expect(try folder.contents() == ["trace.json", "x.png"])
        let events = try #require(try object(folder.path("trace.json"))["traceEvents"] as? [[String: Any]])
        #expect(events.count { $0["name"] as? String == "conv_in" } == 2)
        #expect(events.count { $0["name"] as? String == "decoder.conv_in" } == 1)
        #expect(events.contains { $0["name"] as? String == "unet: step 2" })
    }

    @Test(
        "Bad usage exits with 2",
        arguments: [
            (["bench", "model"], "--arch"), (["bench", "model", "--arch", "gpt"], "gpt"),
            (["bench", "model", "--arch", "vae", "--width", "7"], "multiple of 8"),
            (["bench", "model", "--arch", "vae", "--part", "unet"], "--part"),
            (["bench", "model", "--arch", "sd15", "--part", "wheels"], "wheels"),
            (["bench", "model", "--arch", "vae", "--json", "none/x.json"], "none"),
            (["bench", "kernels", "--op", "fft"], "fft"), (["bench", "kernels", "--shape", "4xx4"], "--shape"),
            (["bench", "kernels", "--shape", "4x4", "--device", "cpu"], "--op"),
            (["bench", "kernels", "--op", "gemm", "--shape", "4x4", "--device", "cpu"], "ROWSxCOLUMNSxINNER"),
            (["bench", "kernels", "--bound", "2"], "--compare"),
            (["bench", "kernels", "--watch"], "--shader"), (["bench", "kernels", "--kernel", "gemm"], "--shader"),
            (["bench", "kernels", "--print-shader", "--shader", "x.comp"], "--print-shader"),
            (["bench", "kernels", "--op", "gemm", "--shader", "x.comp", "--device", "cpu"], "--device"),
            (["bench", "kernels", "--shader", "x.comp", "--device", "vulkan"], "--op"),
            (["generate", "x", "--profile", "none/trace.json"], "none"),
        ] as [([String], String)])
    func badUsage(arguments: [String], mentions: String) throws {
        let folder = try TemporaryFolder()
        let outcome = try Program.run(arguments, in: folder)
        #expect(outcome.status == 2)
        #expect(outcome.lastErrorLine.contains(mentions), "\(outcome.lastErrorLine)")
        #expect(try folder.contents().isEmpty)
    }
}
