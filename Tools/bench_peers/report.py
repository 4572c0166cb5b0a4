"""Results as a table and as a file."""

import json
import os
from pathlib import Path


def write(result: dict, path: Path) -> None:
    """Replaces the file at once."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(result, indent=2) + "\n")
    os.replace(beside, path)


def table(work: dict) -> str:
    rows = [("seconds", "median", "least", "most", "/ best of peers")]
    best = next((e for e in work["contestants"] if e["name"] == work["best_of_peers"]), None)
    for entry in work["contestants"]:
        if "failure" in entry or "seconds" not in entry:
            rows.append((entry["name"], "-", "-", "-", entry.get("failure", "not measured")))
            continue
        seconds = entry["seconds"]
        ratio = f"{seconds['median'] / best['seconds']['median']:.2f}" if best else ""
        rows.append((entry["name"], *(number(seconds[key]) for key in ("median", "min", "max")), ratio))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  " + "  ".join([row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in (1, 2, 3)), row[4]])
        for row in rows]
    return "\n".join([f"{work['name']}: {work['what']}", *lines, conclusion(work)]) + "\n"


def conclusion(work: dict) -> str:
    if work["ratio"] is None:
        return "  no ratio: Caldera or all of its peers gave no number"
    return (f"  {work['best_of_caldera']} / {work['best_of_peers']}: {work['ratio']:.2f}"
            f" (least over least: {work['ratio_of_least']:.2f}; below 1 Caldera is faster)")


def number(seconds: float) -> str:
    return f"{seconds:.4f}" if seconds < 1 else f"{seconds:.2f}"
