"""What `caldera bench model --json` says, cut down to one work."""

from collections import defaultdict

from processes import Failure
from works import Sample, Work


def sample(report: dict, work: Work) -> Sample:
    """A forward is a step and what the UNet computes once for a prompt."""
    details = profile(report, work)
    if work.kind == "decoder":
        return Sample(runs(report["decode_seconds"]), details)
    if report["unet_batch"] != work.batch:
        raise Failure(f"Caldera's UNet had batch {report['unet_batch']}, not {work.batch}.")
    once = report["prompt_seconds"]["median"]
    details |= {"step_seconds": report["step_seconds"], "prompt_seconds": once}
    return Sample([seconds + once for seconds in runs(report["step_seconds"])], details)


def token_sample(report: dict) -> Sample:
    """What `caldera bench language --json` says."""
    names = ("prompt_seconds", "bytes_per_second", "copy_bytes_per_second", "weight_bytes_per_token")
    environment = {name: report["environment"].get(name) for name in ("version", "commit", "device", "driver")}
    return Sample(runs(report["token_seconds"]), environment | {name: report[name] for name in names})


def runs(spread: dict) -> list[float]:
    """The file has the median and the ends, not each run: those, which have the same median and ends."""
    if spread["count"] < 3:
        return sorted({spread["min"], spread["max"]})
    return [spread["min"], spread["median"], spread["max"]]


def profile(report: dict, work: Work) -> dict:
    part = "vae decoder" if work.kind == "decoder" else "unet"
    layers = [layer for layer in report["layers"] if layer["part"] == part]
    by_kernel: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0])
    for layer in layers:
        totals = by_kernel[layer["operation"] + ": " + layer["kernel"]]
        totals[0] += layer["seconds"]
        totals[1] += layer["operations"]
        totals[2] += 1
    environment = report["environment"]
    return {
        "version": environment["version"], "commit": environment.get("commit"), "device": environment["device"],
        "driver": environment["driver"], "peak_device_bytes": report["peak_device_bytes"],
        "layers_by_kernel": [
            {"kernel": kernel, "layers": count, "seconds": round(seconds, 4),
             "tflops_per_second": round(operations / seconds / 1e12, 3) if operations and seconds else None}
            for kernel, (seconds, operations, count) in sorted(by_kernel.items(), key=lambda item: -item[1][0])],
    }
