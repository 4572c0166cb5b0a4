import CalderaGraph
import CalderaModels
import CalderaTestSupport
import Foundation
import Testing

/// What a config asks for and Caldera does not compute is an error that names the setting, never another picture.
struct ConfigTests {
    private static func config(_ part: String, _ changes: [String: JSONValue]) throws -> JSONConfig {
        let path = TestPaths.embeddedModel.appending(path: "\(part)/config.json").path
        let values = try JSONConfig(contentsOf: path).values
        return JSONConfig(values.merging(changes) { $1 }, path: path)
    }

    private func expect<Config>(
        _ wanted: String, from config: JSONConfig, _ read: (JSONConfig) throws -> Config
    ) {
        let error = #expect(throws: CalderaError.self) { _ = try read(config) }
        let message = error?.message ?? ""
        #expect(message.contains(wanted) && message.contains("config.json"), "\(message)")
    }

    @Test func readsTheEmbeddedUNet() throws {
        let config = try UNetConfig(Self.config("unet", [:]))
        #expect(config.blockChannels == [64, 96, 128])
        #expect(config.heads == [2, 3, 4])
        #expect(config.downAttention == [false, true, true])
        #expect(config.upAttention == [true, true, false])
        #expect(config.timeChannels == 256)
        #expect(config.addedInputChannels == 256)
    }

    @Test(arguments: [
        ("act_fn", JSONValue.string("gelu")), ("center_input_sample", .bool(true)),
        ("class_embed_type", .string("timestep")), ("resnet_time_scale_shift", .string("scale_shift")),
        ("addition_embed_type", .string("image")),
        ("dual_cross_attention", .bool(true)),
        ("conv_in_kernel", .int(1)), ("encoder_hid_dim", .int(64)), ("mid_block_type", .string("UNetMidBlock2D")),
    ])
    func namesUNetSettingsThatItDoesNotCompute(key: String, value: JSONValue) throws {
        expect(key, from: try Self.config("unet", [key: value])) { try UNetConfig($0) }
    }

    @Test func namesUnknownBlocksAndKeys() throws {
        let blocks: JSONValue = .array([
            .string("DownBlock2D"), .string("SkipDownBlock2D"), .string("CrossAttnDownBlock2D"),
        ])
        expect("SkipDownBlock2D", from: try Self.config("unet", ["down_block_types": blocks])) { try UNetConfig($0) }
        expect("new_setting", from: try Self.config("unet", ["new_setting": .int(1)])) { try UNetConfig($0) }
    }

    @Test(arguments: [
        ("block_out_channels", JSONValue.array([])), ("block_out_channels", .array([.int(-64), .int(96), .int(128)])),
        ("norm_num_groups", .int(0)), ("norm_num_groups", .int(7)), ("layers_per_block", .int(0)),
        ("layers_per_block", .array([.int(1)])), ("attention_head_dim", .int(5)), ("in_channels", .int(1 << 40)),
        ("norm_eps", .string("small")), ("time_cond_proj_dim", .int(0)),
    ])
    func refusesSizesThatNoUNetHas(key: String, value: JSONValue) throws {
        let config = try Self.config("unet", [key: value])
        let error = #expect(throws: CalderaError.self) { _ = try UNetConfig(config) }
        #expect(error?.message.contains("config.json") == true)
    }

    @Test(arguments: [
        ("act_fn", JSONValue.string("mish")), ("shift_factor", .double(0.1)), ("latents_mean", .array([.double(1)])),
        ("down_block_types", .array(Array(repeating: .string("AttnDownEncoderBlock2D"), count: 4))),
        ("scaling_factor", .double(0)), ("unheard_of", .bool(true)),
    ])
    func namesAutoencoderSettingsThatItDoesNotCompute(key: String, value: JSONValue) throws {
        let wanted = key == "down_block_types" ? "AttnDownEncoderBlock2D" : key
        expect(wanted, from: try Self.config("vae", [key: value])) { try AutoencoderConfig($0) }
    }

    /// As the autoencoder of Playground v2.5 has them; one without the other would be another computation.
    @Test func readsMeansAndDeviationsOfLatents() throws {
        let numbers: JSONValue = .array([.double(-1.5), .int(2), .double(0.25), .int(1)])
        let both = try AutoencoderConfig(
            Self.config("vae", ["latents_mean": numbers, "latents_std": .array([.int(1), .int(2), .int(3), .int(4)])]))
        #expect(both.latentScale.mean == [-1.5, 2, 0.25, 1])
        #expect(both.latentScale.deviation == [1, 2, 3, 4])
        expect("latents_std", from: try Self.config("vae", ["latents_mean": numbers])) { try AutoencoderConfig($0) }
        expect("latents_std", from: try Self.config("vae", ["latents_mean": numbers, "latents_std": numbers])) {
            try AutoencoderConfig($0)
        }
    }

    @Test func theDefaultsOfATinyAutoencoderAreTAESDs() throws {
        let empty = JSONConfig(["_class_name": .string("AutoencoderTiny")], path: "vae/config.json")
        let config = try AutoencoderTinyConfig(empty)
        #expect(config.encoderBlocks == [1, 3, 3, 3] && config.decoderBlocks == [3, 3, 3, 1])
        #expect(config.encoderChannels == 64 && config.decoderChannels == 64)
        let autoencoder = try makeAutoencoder(empty)
        #expect(autoencoder is AutoencoderTiny)
        #expect(autoencoder.downscale == 8 && autoencoder.latentChannels == 4 && autoencoder.encoding == .latents)
        #expect(autoencoder.latentScale == LatentScale(scalingFactor: 1))
    }

    @Test(arguments: [
        ("act_fn", JSONValue.string("gelu")), ("upsampling_scaling_factor", .int(4)), ("shift_factor", .double(0.5)),
        ("num_decoder_blocks", .array([.int(3), .int(1)])), ("num_encoder_blocks", .array([])),
        ("encoder_block_out_channels", .array([.int(64), .int(32), .int(64), .int(64)])),
        ("scaling_factor", .double(-1)), ("unheard_of", .bool(true)),
    ])
    func namesTinyAutoencoderSettingsThatItDoesNotCompute(key: String, value: JSONValue) throws {
        let config = JSONConfig([key: value], path: "vae/config.json")
        expect(key, from: config) { try AutoencoderTinyConfig($0) }
    }

    @Test func namesAutoencodersThatItDoesNotKnow() throws {
        expect("AutoencoderDC", from: try Self.config("vae", ["_class_name": .string("AutoencoderDC")])) {
            try makeAutoencoder($0)
        }
    }

    @Test(arguments: [
        ("hidden_act", JSONValue.string("gelu_new")), ("model_type", .string("bert")),
        ("architectures", .array([.string("CLIPVisionModel")])), ("num_attention_heads", .int(5)),
    ])
    func namesTextEncoderSettingsThatItDoesNotCompute(key: String, value: JSONValue) throws {
        let config = try Self.config("text_encoder", [key: value])
        let error = #expect(throws: CalderaError.self) { _ = try CLIPTextConfig(config) }
        #expect(error?.message.contains("config.json") == true)
    }

    /// The first CLIP configs say 2 and mean the largest id; later ones say which id ends a text.
    @Test func findsTheEndOfText() throws {
        let legacy = try CLIPTextConfig(Self.config("text_encoder", ["eos_token_id": .int(2)]))
        #expect(legacy.endOfTextPosition([49406, 320, 49407, 49407]) == 2)
        let exact = try CLIPTextConfig(Self.config("text_encoder", ["eos_token_id": .int(99)]))
        #expect(exact.endOfTextPosition([98, 120, 99, 0]) == 2)
    }
}
