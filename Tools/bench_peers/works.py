"""What is measured."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Work:
    name: str
    # "unet": one forward; "decoder": one picture; "load": from the start of a process to its first step;
    # "token": one more token of a text.
    kind: str
    # As Tools/full_size/configs.py names it.
    arch: str
    # Pixels of the square picture; of a language model, tokens that are written behind a prompt of 64.
    side: int
    # What the network sees at a time.
    batch: int
    what: str


@dataclass
class Sample:
    # One for each run.
    seconds: list[float]
    details: dict = field(default_factory=dict)


WORKS = {
    work.name: work
    for work in (
        Work("sd15-512", "unet", "sd15", 512, 2, "one forward of SD1.5's UNet at 512x512, batch 2"),
        Work("sdxl-512", "unet", "sdxl", 512, 1, "one forward of SDXL's UNet at 512x512, batch 1"),
        Work("sdxl-1024", "unet", "sdxl", 1024, 1, "one forward of SDXL's UNet at 1024x1024, batch 1"),
        Work("decoder-512", "decoder", "sd15", 512, 1, "one picture of 512x512 by the VAE's decoder"),
        Work("load-sd15", "load", "sd15", 512, 2, "start of a process to its first step, SD1.5 at 512x512"),
        Work("tipo-500m", "token", "tipo-500m", 64, 1, "one token of the prompt upsampler TIPO-500M"),
        Work("load-sdxl", "load", "sdxl", 512, 2, "start of a process to its first step, SDXL at 512x512"),
    )
}
