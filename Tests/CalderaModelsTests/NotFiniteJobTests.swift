import Caldera
import CalderaDiffusion
import CalderaGraph
import CalderaModels
import CalderaTestSupport
import Testing

/// Values that are not finite numbers stop a job with a sentence that names the layer and a remedy.
@Suite(.serialized) struct NotFiniteJobTests {
    /// What a run with these parts throws.
    private func message(
        _ device: TestDevice = .cpuFP32, family: String = "sd15", _ change: (PipelineParts) throws -> PipelineParts
    ) throws -> String {
        var message = ""
        try GoldenModel.withParts(of: family) { parts in
            let changed = try change(parts)
            try device.withBackend { backend in
                let pipeline = try DiffusionPipeline(parts: changed, backend: backend, precision: device.precision)
                message = #expect(throws: CalderaError.self) { try pipeline.run(.small()) }?.message ?? ""
            }
        }
        return message
    }

    @Test("A weight of the UNet that is no number", arguments: [TestDevice.cpuFP32, .vulkanFP16])
    func unetWeight(device: TestDevice) throws {
        let name = "mid_block.resnets.0.conv1.weight"
        let message = try message(device) { $0.replacing(unet: ScaledWeights($0.unetWeights, factors: [name: .nan])) }
        #expect(
            message.hasPrefix("The weight \(name) of the layer mid_block.resnets.0.conv1 holds values"), "\(message)")
        #expect(message.contains("(UNet): get the model's files"), "\(message)")
    }

    @Test("A weight of the UNet that only the prompt meets") func promptWeight() throws {
        let name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
        let message = try message { $0.replacing(unet: ScaledWeights($0.unetWeights, factors: [name: .nan])) }
        #expect(message.hasPrefix("The weight \(name) of the layer"), "\(message)")
    }

    @Test("Activations of the UNet beyond fp16") func overflow() throws {
        // Each factor within fp16, their product beyond.
        let factors: [String: Float] = [
            "down_blocks.1.resnets.0.norm2.weight": 3e3, "down_blocks.1.resnets.0.conv2.weight": 3e3,
        ]
        let overflow: (PipelineParts) -> PipelineParts = {
            $0.replacing(unet: ScaledWeights($0.unetWeights, factors: factors))
        }
        let message = try message(.vulkanFP16, overflow)
        #expect(message.contains("The layer down_blocks.1.resnets.0.conv2"), "\(message)")
        #expect(message.contains("(UNet): try --precision fp32"), "\(message)")
        try GoldenModel.withParts(of: "sd15") { parts in
            try TestDevice.vulkanFP32.withBackend { backend in
                let pipeline = try DiffusionPipeline(parts: overflow(parts), backend: backend, precision: .fp32)
                #expect(try pipeline.run(.small()).latents.floats.allSatisfy(\.isFinite))
            }
        }
    }

    @Test("A weight of the decoder") func decoder() throws {
        let name = "decoder.mid_block.attentions.0.to_q.weight"
        let message = try message {
            $0.replacing(
                autoencoder: $0.autoencoder, weights: ScaledWeights($0.autoencoderWeights, factors: [name: .nan]))
        }
        #expect(message.hasPrefix("The weight \(name) of the layer decoder.mid_block.attentions.0"), "\(message)")
        #expect(message.contains("(vae decoder): get the model's files"), "\(message)")
    }

    @Test("A weight of the decoder that fp32 does not mend on a device either") func decoderOnTheDevice() throws {
        let name = "decoder.conv_in.bias"
        let message = try message(.vulkanFP16) {
            $0.replacing(
                autoencoder: $0.autoencoder, weights: ScaledWeights($0.autoencoderWeights, factors: [name: .nan]))
        }
        #expect(message.hasPrefix("The weight \(name) of the layer decoder.conv_in"), "\(message)")
    }

    @Test("A weight of each text encoder", arguments: [("sd15", "text_encoder"), ("sdxl", "text_encoder_2")])
    func encoder(family: String, part: String) throws {
        let message = try message(family: family) { parts in
            parts.replacing(encoder: { name, weights in
                let tensor = weights.names.first { $0.hasSuffix("layers.0.mlp.fc1.weight") } ?? ""
                return name == part ? ScaledWeights(weights, factors: [tensor: .nan]) : weights
            })
        }
        #expect(message.contains("encoder.layers.0.mlp.fc1.weight of the layer"), "\(message)")
        #expect(message.contains("(\(part)): get the model's files"), "\(message)")
    }

    @Test("Activations of a text encoder beyond fp16") func encoderOverflow() throws {
        let message = try message(.vulkanFP16) { parts in
            parts.replacing(encoder: { _, weights in
                let layers = ["layers.0.layer_norm2.weight", "layers.0.mlp.fc1.weight"]
                let tensors = weights.names.filter { name in layers.contains { name.hasSuffix($0) } }
                return ScaledWeights(weights, factors: Dictionary(uniqueKeysWithValues: tensors.map { ($0, 3e3) }))
            })
        }
        #expect(message.contains("layers.0.mlp") && message.contains("try --precision fp32"), "\(message)")
    }

    @Test("A preview decoder is no exception") func preview() throws {
        try GoldenModel.withParts(of: "sd15") { parts in
            try TestDevice.cpuFP32.withBackend { backend in
                let pipeline = try DiffusionPipeline(parts: parts, backend: backend, precision: .fp32)
                let weights = ScaledWeights(parts.autoencoderWeights, factors: ["decoder.conv_out.weight": .infinity])
                pipeline.previewDecoder = try PreviewDecoder(
                    parts.autoencoder, weights: weights, for: parts, backend: backend, precision: .fp32)
                let error = #expect(throws: CalderaError.self) { try pipeline.run(.small()) }
                #expect(error?.message.hasPrefix("The weight decoder.conv_out.weight") == true)
            }
        }
    }
}
