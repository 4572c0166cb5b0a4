import CalderaFormats
import CalderaGraph

/// The small trained model that ships with Caldera, so that a first picture needs no download.
public enum EmbeddedModel {
    /// The folder's path. Throws `CalderaError` when the resources did not come along with the program.
    public static func path() throws -> String {
        try ResourceFolder.path("EmbeddedModel", module: "Caldera", holding: "model_index.json")
    }

    /// The folder of the small language model that makes rich prompts of short ones. Throws as `path` does.
    public static func upsamplerPath() throws -> String {
        try ResourceFolder.path("EmbeddedUpsampler", module: "Caldera", holding: "tokenizer.json")
    }
}
