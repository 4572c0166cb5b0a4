import CalderaModels
import CalderaGraph
struct Conditioning { struct Segment { let firstStep: Int; let positive: PromptEmbedding; let negative: PromptEmbedding? }
  let segments: [Segment]; let tokens: Int }
protocol NormalStream { mutating func normal(count: Int) -> [Float] }
extension TorchRandom: NormalStream {}
struct PhiloxRandom: NormalStream { init(seed: UInt64) {} ; mutating func normal(count: Int) -> [Float] { [] } }
enum VariationNoise { static func mixed(_ a: [Float], _ b: [Float], strength: Double, channels: Int, width: Int) -> [Float] { a } }
enum NonFinite { static func error(_ e: any Executable, stage: Stage, part: String, dtype: DType) -> CalderaError { CalderaError("") } }
extension PromptEncoder { func encode(_ r: PipelineRequest, _ s: Schedule) throws -> Conditioning { 
 let p = try encode([r.prompt])[0]
 return Conditioning(segments: [.init(firstStep: 0, positive: p, negative: nil)], tokens: 77) } }
extension AutoencoderConfig { func fromSampler(_ t: HostTensor) -> HostTensor { t }; func toSampler(_ t: HostTensor) -> HostTensor { t } }
