import CalderaGraph

/// From tensors to what files hold.
package enum Picture {
    /// Pictures [B, H, W, 3] in -1...1 -> 8-bit RGB: x/2 + 1/2, clamped, times 255, rounded half to even
    /// (diffusers `VaeImageProcessor.postprocess` and `numpy_to_pil`).
    package static func bytes(_ pictures: HostTensor) -> [UInt8] {
        pictures.floats.map { value in
            let unit = min(max(value / 2 + 0.5, 0), 1)
            return UInt8((unit * 255).rounded(.toNearestOrEven))
        }
    }

    /// [B, h, w, c] -> [B, c, h, w].
    package static func channelsFirst(_ tensor: HostTensor) -> HostTensor {
        let (pixels, channels) = (tensor.shape[1] * tensor.shape[2], tensor.shape[3])
        let values = tensor.floats
        var result = [Float](repeating: 0, count: values.count)
        for entry in 0..<tensor.shape[0] {
            let base = entry * pixels * channels
            for pixel in 0..<pixels {
                for channel in 0..<channels {
                    result[base + channel * pixels + pixel] = values[base + pixel * channels + channel]
                }
            }
        }
        return HostTensor([tensor.shape[0], channels, tensor.shape[1], tensor.shape[2]], result)
    }
}
