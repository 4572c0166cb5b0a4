"""Where and with what a measurement is made."""

import json
import os
import platform
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path

from processes import Failure, run

# What PyTorch's contestants need, and what they are.
VERSIONS = """
import importlib.metadata, json, platform, re, sys
try:
    import torch, diffusers, transformers
except ImportError as error:
    sys.exit(f"no module {error.name}")
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
onednn = re.search(r"MKL-DNN v([0-9.]+)", torch.__config__.show())
cuda = torch.cuda.is_available()
print(json.dumps({
    "python": platform.python_version(), "torch": torch.__version__, "diffusers": diffusers.__version__,
    "transformers": transformers.__version__, "accelerate": version("accelerate"),
    "xllamacpp": version("xllamacpp"), "gguf": version("gguf"), "torch_onednn": onednn and onednn[1],
    "cuda": torch.version.cuda if cuda else None, "cudnn": torch.backends.cudnn.version() if cuda else None,
    "cuda_device": torch.cuda.get_device_name() if cuda else None}))
"""


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def load_average() -> list[float]:
    """Processes that run or wait, over the last 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def check_caldera(program: str) -> None:
    """Builds it too, where it is Tools/caldera. Throws `Failure` when it does not run."""
    if shutil.which(program) is None:
        raise Failure(f"There is no program {program}: leave --caldera out to build it, or name another.")
    print("bench-peers: looking for Caldera (built first where it is not yet)", file=sys.stderr)
    run([program, "--version"], timeout=7200)


def check_python(python: str, device: str) -> dict:
    """Versions of what it has. Throws `Failure` when something is missing."""
    if shutil.which(python) is None:
        raise Failure(f"There is no interpreter {python}: name one that has torch and diffusers with --python.")
    try:
        found = json.loads(run([python, "-c", VERSIONS], timeout=600).output)
    except Failure as failure:
        raise Failure(
            f"{python} cannot run PyTorch's contestants ({failure}): install torch, diffusers, transformers and "
            "accelerate for it, or name another interpreter with --python.") from None
    if device == "gpu" and not found["cuda"]:
        raise Failure(f"{python} has PyTorch, but PyTorch sees no CUDA device: use --device cpu.")
    return found


def described(command: str, python: dict, arguments) -> dict:
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": command, "commit": commit(), "device": arguments.device, "processor": processor(),
        "processors": processors(),
        "instructions": instructions(), "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(), "versions": python, "threads": arguments.threads, "note": arguments.note,
        "repeats": arguments.repeats, "runs": arguments.runs,
        "load_average": {"start": load_average(), "end": load_average()},
    }


def commit() -> str | None:
    """That the scripts, and what Tools/caldera builds, come from."""
    try:
        return run(["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"], timeout=60).output.strip()
    except Failure:
        return None


def processor() -> str:
    return cpu_field("model name") or platform.machine()


def instructions() -> list[str]:
    """Those of the processor's extensions that decide how fast matrices are multiplied."""
    flags = cpu_field("flags").split()
    return [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if name in flags]


def cpu_field(name: str) -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else []:
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
