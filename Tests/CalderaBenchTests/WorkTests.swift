import CalderaBench
import CalderaGraph
import CalderaTestSupport
import Testing

@Suite("What nodes have to do")
struct WorkTests {
    /// The work of the only node that `build` adds to an fp16 graph.
    private func work(_ build: (Graph) throws -> Tensor) throws -> NodeWork {
        let graph = Graph(dtype: .float16)
        graph.output("result", try build(graph))
        let node = try #require(graph.nodes.last)
        return NodeWork(node)
    }

    @Test("A product counts two operations for each multiply-add")
    func product() throws {
        let work = try work { graph in
            let source = graph.input("source", [2, 3, 8], .float16)
            return try graph.linear(
                source, weight: graph.weight("w", [5, 8]), bias: graph.weight("b", [5]), label: "l")
        }
        // 6 rows, 5 columns, 8 deep; 48 + 40 + 5 + 30 elements.
        #expect(work.operations == 480)
        #expect(work.bytes == 246)
    }

    @Test("A gated product counts the columns of values and of gates")
    func gatedProduct() throws {
        let graph = Graph(dtype: .float16)
        let source = graph.input("source", [2, 3, 8], .float16)
        let wide = try graph.linear(source, weight: graph.weight("w", [10, 8]), bias: nil, label: "l")
        graph.output("result", try graph.geglu(wide, label: "g"))
        let node = try #require(try Planner.plan(graph).promptNodes.last)
        #expect(node.op.epilogue?.gated == true)
        // 6 rows, 10 columns, 8 deep; 48 + 80 + 30 elements.
        #expect(NodeWork(node).operations == 960)
        #expect(NodeWork(node).bytes == 316)
    }

    @Test("A convolution counts its taps at every pixel of its result")
    func convolution() throws {
        let work = try work { graph in
            let source = graph.input("source", [1, 8, 6, 4], .float16)
            return try graph.convolution(
                source, weight: graph.weight("w", [10, 4, 3, 3]), bias: nil, stride: 2, padding: Padding(1), label: "c")
        }
        // 4 x 3 pixels of 10 channels from 4 x 9 numbers each.
        #expect(work.operations == 2 * 12 * 10 * 36)
        #expect(work.bytes == 2 * (192 + 360 + 120))
    }

    @Test("Attention counts both of its products")
    func attention() throws {
        let work = try work { graph in
            let query = graph.input("query", [2, 7, 12], .float16)
            let key = graph.input("key", [2, 5, 12], .float16)
            return try graph.attention(query: query, key: key, value: key, heads: 3, label: "a")
        }
        // For each of 2 entries and 3 heads: 7 x 5 x 4 multiply-adds, twice.
        #expect(work.operations == 2 * 2 * 3 * 2 * 7 * 5 * 4)
    }

    @Test("What memory bounds counts no operations")
    func elementwise() throws {
        let work = try work { $0.activation($0.input("source", [4, 4], .float16), .silu, label: "s") }
        #expect(work.operations == 0)
        #expect(work.bytes == 64)
    }

    @Test("A spread is the median between the least and the most")
    func spread() throws {
        #expect(Spread([]) == nil)
        let odd = try #require(Spread([5, 1, 3]))
        #expect((odd.min, odd.median, odd.max, odd.count) == (1, 3, 5, 3))
        #expect(try #require(Spread([4, 1, 2, 8])).median == 3)
    }
}
