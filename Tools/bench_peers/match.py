"""Contestants in turns."""

import statistics
import sys
import time
from collections.abc import Iterator

import environment
from contestants import Contestant
from processes import Failure
from works import Work


def played(work: Work, contestants: list[Contestant], repeats: int) -> Iterator[dict]:
    """Measures one work: every contestant once, then every one again. One that fails is out, with its reason.
    Gives what is known after each round."""
    entries = {contestant.name: entry(contestant) for contestant in contestants if contestant.knows(work)}
    for number in range(repeats):
        for contestant in contestants:
            record = entries.get(contestant.name)
            if record is None or "failure" in record:
                continue
            print(f"{work.name}, round {number + 1} of {repeats}: {contestant.name}", file=sys.stderr, flush=True)
            play(contestant, work, record)
        yield {"name": work.name, "what": work.what, "rounds": number + 1, "contestants": list(entries.values())} | (
            ratios(entries.values()))


def entry(contestant: Contestant) -> dict:
    return {"name": contestant.name, "is_caldera": contestant.is_caldera, "rounds": [], "details": {}}


def play(contestant: Contestant, work: Work, record: dict) -> None:
    load, started = environment.load_average()[0], time.monotonic()
    try:
        sample = contestant.measure(work)
    except Failure as failure:
        record["failure"] = str(failure)
        print(f"{contestant.name} is out: {failure}", file=sys.stderr)
        return
    # Of the last round: profiles and versions do not change much.
    record["details"] = sample.details
    record["rounds"].append({
        "seconds": [round(value, 4) for value in sample.seconds], "load_average": load,
        "process_seconds": round(time.monotonic() - started, 1)})
    record["seconds"] = spread([value for turn in record["rounds"] for value in turn["seconds"]])


def spread(values: list[float]) -> dict:
    return {
        "median": round(statistics.median(values), 4), "min": min(values), "max": max(values), "count": len(values)}


def ratios(entries) -> dict:
    """Caldera's best over the peers' best: below 1, Caldera is faster."""
    ran = [entry for entry in entries if "seconds" in entry and "failure" not in entry]
    ours = [entry for entry in ran if entry["is_caldera"]]
    theirs = [entry for entry in ran if not entry["is_caldera"]]
    if not ours or not theirs:
        return {"ratio": None, "ratio_of_least": None, "best_of_caldera": None, "best_of_peers": None}
    best, peer = (min(side, key=lambda entry: entry["seconds"]["median"]) for side in (ours, theirs))
    least = [min(entry["seconds"]["min"] for entry in side) for side in (ours, theirs)]
    return {
        "ratio": round(best["seconds"]["median"] / peer["seconds"]["median"], 3),
        # What else runs on a machine only ever adds time, so the least is what is least disturbed.
        "ratio_of_least": round(least[0] / least[1], 3),
        "best_of_caldera": best["name"], "best_of_peers": peer["name"],
    }
