"""Other programs: run to their end, with what they say kept."""

import os
import subprocess
import time
from dataclasses import dataclass


class Failure(Exception):
    """One sentence that names the thing and the remedy."""


@dataclass(frozen=True)
class Finished:
    output: str
    errors: str
    # The whole process, by the monotonic clock, which all processes share.
    started: float
    seconds: float


def run(words: list[str], timeout: int, environment: dict[str, str] | None = None) -> Finished:
    """Runs a program. Throws `Failure` when it is not there, fails or does not end in time."""
    name = os.path.basename(words[0])
    started = time.monotonic()
    try:
        process = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout,
            env=os.environ | (environment or {}), check=False)
    except FileNotFoundError:
        raise Failure(f"There is no program {words[0]}.") from None
    except PermissionError:
        raise Failure(f"{words[0]} cannot be run.") from None
    except subprocess.TimeoutExpired:
        raise Failure(f"{name} did not end in {timeout} s; give it longer with --timeout.") from None
    finished = Finished(process.stdout, process.stderr, started, time.monotonic() - started)
    if process.returncode < 0:
        raise Failure(f"{name} was ended by signal {-process.returncode} (9 is mostly a lack of memory).")
    if process.returncode > 0:
        raise Failure(f"{name} failed: {last_line(process.stderr) or 'it did not say why'}")
    return finished


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
