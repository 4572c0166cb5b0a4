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
        /// [B, time_cond_proj_dim]: the guidance scale's embedding, for UNets that were distilled with one; others, and
        /// runs without one, have nil.
        package let timestepCondition: Tensor?

        package init(
            timesteps: Tensor, step: Tensor, context: Tensor, added: AddedConditioning?,
            timestepCondition: Tensor? = nil
        ) {
            self.timesteps = timesteps
            self.step = step
            self.context = context
            self.added = added
            self.timestepCondition = timestepCondition
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
        let steps = features.shape[0]
        let conditioned = try conditioning.timestepCondition.map { try self.conditioned(layers, features, by: $0) }
        let rows = conditioned ?? features
        // [S, E], or [S·B, E] where the condition made the features differ from picture to picture.
        let embedded = try mlp(layers("time_embedding"), rows)
        let batch = embedded.shape[0] / max(steps, 1)
        var table = try graph.reshape(embedded, [steps, batch, config.timeChannels])
        if let added = conditioning.added {
            let other = try addedEmbedding(layers, added)
            table = try sum(graph, table, other)
        }
        return TimeTable(
            embeddings: graph.activation(table, .silu, label: "time_embedding"), step: conditioning.step)
    }

    /// Every step's row plus every picture's projected condition: [S, C] and [B, P] -> [S·B, C], steps outermost.
    private func conditioned(_ layers: Layers, _ features: Tensor, by condition: Tensor) throws -> Tensor {
        guard let channels = config.timeConditionChannels, condition.shape.channels == channels else {
            throw CalderaError(
                "The UNet takes a timestep condition of \(config.timeConditionChannels ?? 0) channels "
                    + "(time_cond_proj_dim); it was given \(condition.shape).")
        }
        let projected = try layers("time_embedding.cond_proj").linear(condition, features.shape.channels, bias: false)
        let sum = try layers.graph.outerSum(features, projected, label: "time_embedding.cond_proj")
        return try layers.graph.reshape(sum, [features.shape[0] * condition.shape[0], features.shape.channels])
    }

    /// table [S, 1 or B, E] plus rows [B, E] -> [S, B, E].
    private func sum(_ graph: Graph, _ table: Tensor, _ rows: Tensor) throws -> Tensor {
        let (steps, batch, channels) = (table.shape[0], table.shape[1], table.shape[2])
        if batch == 1 {
            return try graph.outerSum(graph.reshape(table, [steps, channels]), rows, label: "time_embedding")
        }
        // Both have a row for each picture: the rows of all pictures side by side are one row of each step.
        let joined = try graph.outerSum(
            graph.reshape(table, [steps, batch * channels]), graph.reshape(rows, [1, rows.shape.count]),
            label: "time_embedding")
        return try graph.reshape(joined, [steps, batch, channels])
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
