import CalderaGraph
import CalderaModels
import Testing

/// Settings that the model reads, and those that it refuses.
@Suite struct LlamaConfigTests {
    private func config(_ values: [String: JSONValue]) throws -> LlamaConfig {
        try LlamaConfig(JSONConfig(values, path: "config.json"))
    }

    private func message(_ values: [String: JSONValue]) -> String {
        do {
            _ = try config(values)
            return ""
        } catch {
            return "\(error)"
        }
    }

    @Test func defaultsAreThoseOfTransformers() throws {
        let plain = try config([:])
        #expect(plain.vocabularySize == 32000 && plain.heads == 32 && plain.keyHeads == 32 && plain.headSize == 128)
        #expect(plain.epsilon == 1e-6 && !plain.isTied && plain.rope.radians[0] == 1)
        #expect(try config(["eos_token_id": .array([.int(2), .int(7)])]).endOfText == [2, 7])
    }

    /// Older files write the scaling's kind as `type`, and theta beside it.
    @Test func bothSpellingsOfRotarySettingsMeanTheSame() throws {
        let old = try config([
            "rope_theta": .int(500), "rope_scaling": .object(["type": .string("linear"), "factor": .int(2)]),
        ])
        let new = try config([
            "rope_parameters": .object(["rope_type": .string("linear"), "factor": .int(2), "rope_theta": .int(500)])
        ])
        #expect(old == new)
        #expect(old.rope.radians[0] == 0.5)
    }

    @Test func whatIsNotComputedIsRefused() {
        #expect(message(["hidden_act": .string("gelu")]).contains("hidden_act"))
        #expect(message(["model_type": .string("mistral")]).contains("model_type"))
        #expect(message(["sliding_window": .int(4096)]).contains("sliding_window"))
        #expect(message(["num_key_value_heads": .int(5)]).contains("does not divide"))
        #expect(message(["head_dim": .int(5)]).contains("head_dim"))
        #expect(message(["vocab_size": .int(0)]).contains("vocab_size"))
        #expect(message(["rope_scaling": .object(["type": .string("yarn")])]).contains("yarn"))
        #expect(message(["rope_theta": .int(-1)]).contains("rope_theta"))
        #expect(message(["rope_scaling": .object(["type": .string("linear"), "factor": .int(0)])]).contains("factor"))
        #expect(message(["rope_scaling": .object(["type": .string("linear")])]).contains("factor"))
    }
}
