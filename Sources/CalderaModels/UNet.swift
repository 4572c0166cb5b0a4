import CalderaGraph

/// diffusers `UNet2DConditionModel`: the network that SD 1.x, SD 2.x, SDXL and its refiner share.
/// Reference: diffusers `unet_2d_condition.py`, `unet_2d_blocks.py`.
package struct UNet {
    package let config: UNetConfig

    package init(_ config: UNetConfig) { self.config = config }

    /// SDXL's second conditioning, `addition_embed_type` "text_time".
    package struct AddedConditioning {
        /// [B, P]: the pooled text embedding.
        package let textEmbeds: Tensor
        /// fp32 [B·n], row by row: original size, crop, target size or aesthetic score.
        package let timeIDs: Tensor

        package init(textEmbeds: Tensor, timeIDs: Tensor) {
            self.textEmbeds = textEmbeds
            self.timeIDs = timeIDs
        }
    }

    /// What the network sees besides the latents.
    package struct Conditioning {
        /// fp32 [S]: the timestep of every step of the schedule.
        package let timesteps: Tensor
        /// int32 [1]: which of them is current.
        package let step: Tensor
        /// [B, T, cross_attention_dim].
        package let context: Tensor
        package let added: AddedConditioning?

        package init(timesteps: Tensor, step: Tensor, context: Tensor, added: AddedConditioning?) {
            self.timesteps = timesteps
            self.step = step
            self.context = context
            self.added = added
        }
    }

    /// Appends the network to a graph: sample [B, h, w, in_channels] -> [B, h, w, out_channels].
    package func callAsFunction(_ graph: Graph, sample: Tensor, _ conditioning: Conditioning) throws -> Tensor {
        let layers = Layers(graph)
        let time = try timeTable(layers, conditioning)
        let context = conditioning.context
        var hidden = try layers("conv_in").convolution3x3(sample, config.blockChannels[0])
        var skips = [hidden]
        for index in config.blockChannels.indices {
            hidden = try downBlock(layers("down_blocks.\(index)"), index, hidden, &skips, time, context)
        }
        hidden = try midBlock(layers("mid_block"), hidden, time, context)
        for index in config.blockChannels.indices {
            hidden = try upBlock(layers("up_blocks.\(index)"), index, hidden, &skips, time, context)
        }
        hidden = try layers("conv_norm_out").groupNorm(hidden, groups: config.groups, epsilon: config.epsilon)
        hidden = layers("conv_norm_out").activation(hidden, .silu)
        return try layers("conv_out").convolution3x3(hidden, config.outChannels)
    }

    // MARK: Time

    /// SiLU of the sum of the timestep embedding and, for SDXL, of the added one: [S, B or 1, 4·channels].
    private func timeTable(_ layers: Layers, _ conditioning: Conditioning) throws -> TimeTable {
        let graph = layers.graph
        let features = try graph.sinusoid(
            conditioning.timesteps, channels: config.blockChannels[0], flipSinToCos: config.flipSinToCos,
            shift: config.frequencyShift, label: "time_proj")
        let embedded = try mlp(layers("time_embedding"), features)
        var table = try graph.reshape(embedded, [embedded.shape[0], 1, embedded.shape[1]])
        if let added = conditioning.added {
            table = try graph.outerSum(embedded, addedEmbedding(layers, added), label: "time_embedding")
        }
        return TimeTable(
            embeddings: graph.activation(table, .silu, label: "time_embedding"), step: conditioning.step)
    }

    private func addedEmbedding(_ layers: Layers, _ added: AddedConditioning) throws -> Tensor {
        let graph = layers.graph
        let batch = added.textEmbeds.shape[0]
        let features = try graph.sinusoid(
            added.timeIDs, channels: config.additionTimeChannels, flipSinToCos: config.flipSinToCos,
            shift: config.frequencyShift, label: "add_time_proj")
        let rows = try graph.reshape(features, [batch, features.shape.count / batch])
        let joined = try graph.concat(added.textEmbeds, rows, axis: 1, label: "add_embedding")
        guard joined.shape.channels == config.addedInputChannels else {
            throw CalderaError(
                "The UNet's added conditioning has \(joined.shape.channels) channels where its config "
                    + "(projection_class_embeddings_input_dim) says \(config.addedInputChannels): "
                    + "the text encoder does not fit this UNet.")
        }
        return try mlp(layers("add_embedding"), joined)
    }

    /// diffusers `TimestepEmbedding`: linear, SiLU, linear.
    private func mlp(_ layers: Layers, _ source: Tensor) throws -> Tensor {
        let channels = config.timeChannels
        let hidden = layers("linear_1").activation(try layers("linear_1").linear(source, channels), .silu)
        return try layers("linear_2").linear(hidden, channels)
    }

    // MARK: Blocks

    private func downBlock(
        _ layers: Layers, _ index: Int, _ source: Tensor, _ skips: inout [Tensor], _ time: TimeTable, _ context: Tensor
    ) throws -> Tensor {
        var hidden = source
        for layer in 0..<config.layersPerBlock[index] {
            hidden = try resnet(config.blockChannels[index])(layers("resnets.\(layer)"), hidden, time: time)
            if config.downAttention[index] {
                hidden = try transformer(index)(layers("attentions.\(layer)"), hidden, context: context)
            }
            skips.append(hidden)
        }
        if index == config.blockChannels.count - 1 { return hidden }
        hidden = try downsampled(layers("downsamplers.0"), hidden, padding: Padding(config.downsamplePadding))
        skips.append(hidden)
        return hidden
    }

    private func midBlock(_ layers: Layers, _ source: Tensor, _ time: TimeTable, _ context: Tensor) throws -> Tensor {
        let last = config.blockChannels.count - 1
        let resnet = resnet(config.blockChannels[last])
        var hidden = try resnet(layers("resnets.0"), source, time: time)
        hidden = try transformer(last)(layers("attentions.0"), hidden, context: context)
        return try resnet(layers("resnets.1"), hidden, time: time)
    }

    /// `index` counts from the deepest level, as diffusers' names do.
    private func upBlock(
        _ layers: Layers, _ index: Int, _ source: Tensor, _ skips: inout [Tensor], _ time: TimeTable, _ context: Tensor
    ) throws -> Tensor {
        let level = config.blockChannels.count - 1 - index
        var hidden = source
        for layer in 0...config.layersPerBlock[level] {
            let skip = skips.removeLast()
            let joined = try layers.graph.concat(hidden, skip, axis: -1, label: layers("resnets.\(layer)").path)
            hidden = try resnet(config.blockChannels[level])(layers("resnets.\(layer)"), joined, time: time)
            if config.upAttention[index] {
                hidden = try transformer(level)(layers("attentions.\(layer)"), hidden, context: context)
            }
        }
        guard level > 0, let next = skips.last else { return hidden }
        // To the size of the next skip: with odd latents it is not exactly twice this one (diffusers `upsample_size`).
        return try upsampled(layers("upsamplers.0"), hidden, height: next.shape[1], width: next.shape[2])
    }

    private func resnet(_ channels: Int) -> ResnetBlock {
        ResnetBlock(channels: channels, groups: config.groups, epsilon: config.epsilon)
    }

    private func transformer(_ level: Int) -> Transformer2D {
        Transformer2D(
            heads: config.heads[level], depth: config.transformerDepth[level], groups: config.groups,
            linearProjection: config.linearProjection)
    }
}
