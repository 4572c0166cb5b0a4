"""Makes Tests/CalderaAdaptersTests/Fixtures/thick_outline.pt: the trained LoRA beside it as torch.save writes it.

Run from anywhere with a Python that has torch: python Tools/goldens/pickled_adapter.py
"""

import sys
from pathlib import Path

from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent / "support"))
import archives  # noqa: E402

FIXTURES = Path(__file__).resolve().parents[2] / "Tests/CalderaAdaptersTests/Fixtures"


def main() -> None:
    tensors = load_file(FIXTURES / "thick_outline.safetensors")
    (FIXTURES / "thick_outline.pt").write_bytes(archives.build(archives.contents(tensors)))


if __name__ == "__main__":
    main()
