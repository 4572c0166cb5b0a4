"""Contact sheets: pictures in rows of eight, their captions below."""

from pathlib import Path

import torch
from PIL import Image, ImageDraw

COLUMNS, PICTURE, MARGIN, LINE, LINES, LETTERS = 8, 128, 4, 10, 4, 21


def write_sheet(path: Path, pictures: torch.Tensor, captions: list[str]) -> None:
    """`pictures` are [n, 3, 128, 128] in -1...1."""
    width, height = PICTURE + MARGIN, PICTURE + MARGIN + LINES * LINE + 4
    rows = -(-len(captions) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width + MARGIN, rows * height + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    bytes_ = ((pictures.float().cpu() + 1) * 127.5 + 0.5).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    for index, caption in enumerate(captions):
        x, y = index % COLUMNS * width + MARGIN, index // COLUMNS * height + MARGIN
        sheet.paste(Image.fromarray(bytes_[index]), (x, y))
        for number, line in enumerate(wrapped(caption)[:LINES]):
            draw.text((x, y + PICTURE + 2 + number * LINE), line, fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


def wrapped(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= LETTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
