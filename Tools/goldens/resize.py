"""Pictures resized by Pillow with Lanczos' filter, as diffusers' VaeImageProcessor does it.

Writes Tests/CalderaFormatsTests/Fixtures/resize.json: for each case the sizes and the bytes of source and result in
base64.
"""

import base64
import json
from pathlib import Path

import numpy as np
from PIL import Image

FIXTURE = Path(__file__).resolve().parents[2] / "Tests/CalderaFormatsTests/Fixtures/resize.json"
# Source height and width, target height and width, channels: shrunk, grown, one side only, down to a pixel, grey.
CASES = [
    (20, 30, 8, 16, 3), (9, 7, 24, 32, 3), (16, 24, 16, 8, 3), (24, 16, 40, 16, 3), (5, 5, 1, 1, 3), (33, 47, 16, 24, 1),
]


def main() -> None:
    random = np.random.default_rng(5)
    cases = []
    for height, width, to_height, to_width, channels in CASES:
        source = random.integers(0, 256, (height, width, channels), dtype=np.uint8)
        image = Image.fromarray(source if channels == 3 else source[..., 0])
        result = np.asarray(image.resize((to_width, to_height), Image.Resampling.LANCZOS))
        cases.append({
            "height": height, "width": width, "to_height": to_height, "to_width": to_width, "channels": channels,
            "source": base64.b64encode(source.tobytes()).decode(), "result": base64.b64encode(result.tobytes()).decode(),
        })
    FIXTURE.write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
