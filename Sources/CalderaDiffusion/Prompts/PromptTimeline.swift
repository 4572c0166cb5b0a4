import CalderaText

/// A prompt's texts in the order of its schedule, and which of them each evaluation of the UNet is told.
struct PromptTimeline {
    /// What is encoded together, in order; the web UI's emphasis sees all of them, equal ones as often as they come.
    let texts: [String]
    /// For each evaluation an index into `texts`.
    let order: [Int]

    /// One text for all of a run.
    init(_ text: String, steps: Int) {
        texts = [text]
        order = [Int](repeating: 0, count: steps)
    }

    /// A prompt of the web UI. Its sampler counts evaluations from 0 and looks for the first entry whose last step is not
    /// below that, so a text holds for one evaluation more than its step says.
    /// Reference: stable-diffusion-webui 1.10, `modules/prompt_parser.py`, `reconstruct_cond_batch`.
    init(scheduled prompt: String, steps: Int) throws {
        let entries = try PromptSchedule.entries(prompt, steps: steps)
        texts = entries.map(\.text)
        order = (0..<steps).map { step in
            let index = entries.firstIndex { step <= $0.lastStep } ?? entries.count - 1
            // Equal texts under one index, so that a change which changes nothing makes no segment.
            return entries.firstIndex { $0.text == entries[index].text } ?? index
        }
    }
}
