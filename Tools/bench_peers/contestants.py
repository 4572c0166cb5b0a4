"""Who takes part, and how each of them does a work."""

import argparse
import atexit
import json
import re
import shutil
import tempfile
from pathlib import Path

import caldera_profile
import configs
from language import LANGUAGE_MODELS
from processes import Failure, run
from works import Sample, Work

PROMPT = "a lighthouse at dusk"
TORCH_WORKER = Path(__file__).with_name("torch_worker.py")
LLAMA_CPP_WORKER = Path(__file__).with_name("llama_cpp_worker.py")


class Contestant:
    name: str
    is_caldera = False

    def knows(self, work: Work) -> bool:
        return True

    def measure(self, work: Work) -> Sample:
        """In a process of its own. Throws `Failure`."""
        raise NotImplementedError


def line_up(arguments: argparse.Namespace, versions: dict) -> tuple[list[Contestant], list[str]]:
    """All that can take part, and lines on those who cannot; `versions` are those of the interpreter's packages.
    Throws `Failure` when none is left."""
    scratch = Path(tempfile.mkdtemp(prefix="bench-peers-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    contestants: list[Contestant] = [Caldera(arguments, precision, scratch) for precision in arguments.precision]
    for variant in torch_variants(arguments):
        contestants.append(Diffusers(arguments, scratch, *variant))
    absent = []
    program = shutil.which("sd") or shutil.which("sd-cli")
    if program is None:
        absent.append("stable-diffusion.cpp takes no part: neither sd nor sd-cli is on the PATH.")
    elif arguments.models is None:
        absent.append("stable-diffusion.cpp takes no part: it needs a checkpoint in the folder that --models names.")
    else:
        contestants.append(StableDiffusionCpp(arguments, program, scratch))
    if arguments.device != "cpu" or any(versions[name] is None for name in ("xllamacpp", "gguf")):
        absent.append("llama.cpp takes no part: it runs on the CPU, and the interpreter needs xllamacpp and gguf.")
    else:
        contestants.append(LlamaCpp(arguments, scratch))
    return chosen(contestants, arguments.contestants), absent


def chosen(contestants: list[Contestant], names: list[str] | None) -> list[Contestant]:
    known = [contestant.name for contestant in contestants]
    for name in names or []:
        if name not in known:
            raise Failure(f"There is no contestant {name!r} here; there are: {', '.join(known)}.")
    return [contestant for contestant in contestants if names is None or contestant.name in names]


def torch_variants(arguments: argparse.Namespace) -> list[tuple[str, bool, bool]]:
    """Precision, channels last, compiled."""
    variants = []
    for precision in arguments.precision:
        variants += [(precision, False, False), (precision, True, False)]
        if arguments.compile or arguments.device == "gpu":
            variants.append((precision, True, True))
    return variants


class Caldera(Contestant):
    is_caldera = True

    def __init__(self, arguments: argparse.Namespace, precision: str, scratch: Path):
        self.name = f"Caldera {precision}"
        self.arguments, self.scratch = arguments, scratch
        device = {"cpu": "cpu", "gpu": "vulkan"}[arguments.device]
        self.common = ["--device", device, "--precision", precision]

    def measure(self, work: Work) -> Sample:
        kinds = {"load": self.load, "token": self.token}
        return kinds.get(work.kind, self.bench)(work)

    def token(self, work: Work) -> Sample:
        file = self.scratch / "caldera.json"
        words = ["bench", "language", "--arch", work.arch, "--tokens", str(work.side), "--json", str(file)]
        run([self.arguments.caldera, *words, *self.common], self.arguments.timeout)
        return caldera_profile.token_sample(json.loads(file.read_text()))

    def bench(self, work: Work) -> Sample:
        arch = "vae" if work.kind == "decoder" else work.arch
        file = self.scratch / "caldera.json"
        part, count = ("decoder", "--repeats") if work.kind == "decoder" else ("unet", "--steps")
        words = ["bench", "model", "--arch", arch, "--width", str(work.side), "--height", str(work.side),
                 "--part", part, count, str(self.arguments.runs), "--json", str(file), *self.common]
        run([self.arguments.caldera, *words, *([] if work.batch == 2 else ["--no-guidance"])], self.arguments.timeout)
        return caldera_profile.sample(json.loads(file.read_text()), work)

    def load(self, work: Work) -> Sample:
        words = ["generate", PROMPT, "--model", str(self.arguments.models / work.arch), "--steps", "1",
                 "--width", str(work.side), "--height", str(work.side), "--seed", "1", "--json",
                 "--output", str(self.scratch / "caldera.png"), *self.common]
        finished = run([self.arguments.caldera, *words], self.arguments.timeout)
        timings = json.loads(finished.output)["timings"]
        # What comes behind the step is the rest of the program's own total.
        start = max(0.0, finished.seconds - timings["total"])
        step = timings["denoise_steps"][0]
        seconds = start + timings["load"] + timings["compile"] + timings["encode"]
        return Sample([seconds], {"step_seconds": step, "with_step_seconds": round(seconds + step, 4)})


class Diffusers(Contestant):
    def __init__(self, arguments: argparse.Namespace, scratch: Path, precision: str, channels_last: bool,
                 compiled: bool):
        words = ["PyTorch", precision, "channels-last" if channels_last else "", "compiled" if compiled else ""]
        self.name = " ".join(word for word in words if word)
        self.arguments, self.scratch = arguments, scratch
        self.options = {
            "precision": precision, "channels_last": channels_last, "compiled": compiled,
            "device": "cuda" if arguments.device == "gpu" else "cpu", "threads": arguments.threads,
            "runs": arguments.runs}

    def knows(self, work: Work) -> bool:
        # Loading is a matter of the first minute: layouts and compilers only add to it. Language has no channels.
        is_plain = not (self.options["channels_last"] or self.options["compiled"])
        return is_plain or work.kind not in ("load", "token")

    def measure(self, work: Work) -> Sample:
        job = self.options | {"kind": work.kind, "side": work.side, "batch": work.batch, "prompt": PROMPT}
        if work.kind == "load":
            job["folder"] = str(self.arguments.models / work.arch)
        elif work.kind == "token":
            job["config"] = LANGUAGE_MODELS[work.arch]
        else:
            job["config"] = configs.UNETS[work.arch] if work.kind == "unet" else configs.vae_config(work.arch)
        environment = {"HF_HUB_OFFLINE": "1", "TORCHINDUCTOR_CACHE_DIR": str(self.scratch / "inductor")}
        finished = run([self.arguments.python, str(TORCH_WORKER), json.dumps(job)], self.arguments.timeout, environment)
        answer = json.loads(finished.output.splitlines()[-1])
        if work.kind == "load":
            details = answer["details"] | {"with_step_seconds": round(answer["ended"] - finished.started, 4)}
            return Sample([answer["began"] - finished.started], details)
        return Sample(answer["seconds"], answer["details"])


class StableDiffusionCpp(Contestant):
    name = "stable-diffusion.cpp"

    def __init__(self, arguments: argparse.Namespace, program: str, scratch: Path):
        self.arguments, self.program, self.scratch = arguments, program, scratch

    def knows(self, work: Work) -> bool:
        return work.kind != "token" and self.model(work).is_file()

    def model(self, work: Work) -> Path:
        return self.arguments.models / f"{work.arch}.safetensors"

    def measure(self, work: Work) -> Sample:
        steps = self.arguments.runs if work.kind == "unet" else 1
        words = ["-m", str(self.model(work)), "-p", PROMPT, "-W", str(work.side), "-H", str(work.side),
                 "--steps", str(steps), "--sampling-method", "euler", "-t", str(self.arguments.threads),
                 "--cfg-scale", "7.5" if work.batch == 2 else "1", "-o", str(self.scratch / "peer.png")]
        finished = run([self.program, *words], self.arguments.timeout)
        said = finished.output + finished.errors
        sampling = told(said, r"sampling completed, taking ([0-9.]+)s")
        if work.kind == "unet":
            return Sample([sampling / steps])
        decoding = told(said, r"decode_first_stage completed, taking ([0-9.]+)s")
        if work.kind == "decoder":
            return Sample([decoding])
        # Writing the picture, which counts too, takes no time beside the rest.
        return Sample([finished.seconds - decoding], {"step_seconds": sampling})


class LlamaCpp(Contestant):
    name = "llama.cpp f16"

    def __init__(self, arguments: argparse.Namespace, scratch: Path):
        self.arguments, self.scratch = arguments, scratch

    def knows(self, work: Work) -> bool:
        return work.kind == "token"

    def measure(self, work: Work) -> Sample:
        job = {"config": LANGUAGE_MODELS[work.arch], "scratch": str(self.scratch), "side": work.side,
               "threads": self.arguments.threads, "runs": self.arguments.runs}
        finished = run([self.arguments.python, str(LLAMA_CPP_WORKER), json.dumps(job)], self.arguments.timeout)
        answer = json.loads(finished.output.splitlines()[-1])
        return Sample(answer["seconds"], answer["details"])


def told(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise Failure(f"stable-diffusion.cpp did not say {pattern.split(',')[0]!r}; is it another version?")
    return float(found[1])
