"""Makes Tests/CalderaFormatsTests/Fixtures/Pickles: files as torch.save writes them, and files that nobody should open.

- good/NAME: PyTorch files; beside each NAME.safetensors what its tensors are (those of types that graphs know), and in
  good.json its wrappers, integers, and the type and shape of every tensor.
- embeddings/: textual-inversion embeddings in every published form; vector i of width d holds (i * d + j - 5) / 8.
- bad.json: broken and malicious files in base64, each with words that the error must contain.

Run from anywhere with a Python that has torch: python Tools/goldens/pickles.py
"""

import base64
import collections
import functools
import io
import json
import pickle
import shutil
import struct
import sys
import types
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent / "support"))
import archives  # noqa: E402
from archives import Raw  # noqa: E402

FIXTURES = Path(__file__).resolve().parents[2] / "Tests/CalderaFormatsTests/Fixtures/Pickles"
KNOWN = (torch.float32, torch.float16, torch.bfloat16, torch.int32)
STORED = {
    torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
    torch.complex64: "C64", torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.uint16: "U16",
}


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    count = torch.Size(shape).numel()
    return ((torch.arange(count, dtype=torch.float32) - 5) / 8).reshape(shape).to(dtype)


def small_model() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


def views() -> dict:
    base = numbers(6, 4)
    storage = numbers(64)
    return {
        "whole": base, "rows": base[2:4], "columns": base[:, 1:3], "steps": base[::2, ::3], "transposed": base.t(),
        "expanded": base[0].expand(3, 4), "permuted": numbers(2, 3, 4).permute(2, 0, 1),
        "channels_last": numbers(2, 3, 4, 5).to(memory_format=torch.channels_last), "scalar": base[3, 2],
        "empty": base[:0], "nothing": torch.zeros(0), "half_columns": numbers(3, 5, dtype=torch.float16)[:, 2:],
        "ones": numbers(1, 4, 1).transpose(0, 2), "first": storage[:3], "last": storage[-3:],
    }


@functools.cache
def callback_class() -> type:
    """A class of the name that Lightning's has, so that it need not be installed."""
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules[module.__name__] = module
    return module.ModelCheckpoint


def lightning() -> dict:
    """What Stable Diffusion 1's checkpoints hold beside their weights. The callback's class is a key, as then."""
    score = {"best_model_score": numpy.float64(0.25), "best": torch.tensor(0.5), "path": "/tmp/last.ckpt", 1: b"\x00\xff"}
    return {
        "epoch": 2, "global_step": 875000, "pytorch-lightning_version": "1.4.2", "state_dict": small_model().state_dict(),
        "callbacks": {callback_class(): score}, "optimizer_states": [{"state": {0: {"step": 1, "exp_avg": numbers(2)}}}],
        "lr_schedulers": [], "huge": 1 << 100, "negative": -(1 << 40), "kinds": {"a"}, "shape": torch.Size([1, 2]),
        "type": torch.float16, "device": torch.device("cpu"),
    }


def good_files() -> dict[str, tuple[object, dict, list[str]]]:
    """Each file: what it holds, its tensors, and the names under which they stand."""
    model = small_model()
    kinds = {str(dtype).removeprefix("torch."): torch.tensor([1, 0, 1, 1]).to(dtype) for dtype in STORED}
    training = lightning()
    flat = {"b": numbers(2, 2), "a.weight": numbers(3, dtype=torch.float16)}
    return {
        "views.pt": (views(), views(), []),
        "types.pth": (kinds, kinds, []),
        "module.bin": (model.state_dict(), model.state_dict(), []),
        "parameters.bin": (dict(model.named_parameters()), dict(model.named_parameters()), []),
        "lightning.ckpt": (training, training["state_dict"], ["state_dict"]),
        "wrapped.pt": ({"state_dict": {"module": flat}, "epoch": 3}, flat, ["state_dict", "module"]),
        "averaged.pth": ({"params": {"b": numbers(1)}, "params_ema": flat}, flat, ["params_ema"]),
    }


def write_good() -> None:
    facts = {}
    files = {name: (*parts, 2) for name, parts in good_files().items()}
    for protocol in (3, 4, 5):
        files[f"protocol{protocol}.ckpt"] = (*good_files()["lightning.ckpt"], protocol)
    for name, (contents, tensors, wrappers, protocol) in files.items():
        path = FIXTURES / "good" / name
        torch.save(contents, path, pickle_protocol=protocol)
        facts[name] = describe(contents, tensors, wrappers)
        known = {key: value.detach().contiguous().clone() for key, value in tensors.items() if value.dtype in KNOWN}
        save_file(known, FIXTURES / "good" / f"{name}.safetensors")
    facts["big_endian.pt"] = write_big_endian(FIXTURES / "good" / "big_endian.pt")
    facts["wide.pt"] = write_wide(FIXTURES / "good" / "wide.pt")
    (FIXTURES / "good.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")


def describe(contents: dict, tensors: dict, wrappers: list[str]) -> dict:
    integers = {key: value for key, value in contents.items() if type(value) is int and abs(value) < 1 << 63}
    listed = {key: [STORED[value.dtype], list(value.shape)] for key, value in tensors.items()}
    return {"integers": integers, "tensors": listed, "wrappers": wrappers}


def write_big_endian(path: Path) -> dict:
    """As a big-endian machine writes it, and in a ZIP archive without 64-bit records."""
    tensors = {"x": numbers(2, 3), "y": numbers(4, dtype=torch.float16)}
    little = archives.contents(tensors)
    swapped = {"data/0": tensors["x"].numpy().astype(">f4"), "data/1": tensors["y"].numpy().astype(">f2")}
    little |= {name: value.tobytes() for name, value in swapped.items()} | {"byteorder": b"big"}
    path.write_bytes(archives.build(little))
    save_file(tensors, f"{path}.safetensors")
    return describe(tensors, tensors, [])


def write_wide(path: Path) -> dict:
    """In the form of an archive of more than 4 GiB."""
    tensors = {"x": numbers(2, 3), "y": numbers(4, dtype=torch.float16)}
    path.write_bytes(archives.build_wide(archives.contents(tensors)))
    save_file(tensors, f"{path}.safetensors")
    return describe(tensors, tensors, [])


def old_parameter_dict(**parameters: torch.Tensor) -> torch.nn.ParameterDict:
    """A ParameterDict with the state that torch 1.11 gave it, in which the first embeddings were written."""
    module = torch.nn.ParameterDict.__new__(torch.nn.ParameterDict)
    module.__dict__.update(
        training=True, _parameters=collections.OrderedDict(parameters), _buffers=collections.OrderedDict(),
        _non_persistent_buffers_set=set(), _backward_hooks=collections.OrderedDict(),
        _is_full_backward_hook=None, _modules=collections.OrderedDict())
    return module


def write_embeddings() -> None:
    folder = FIXTURES / "embeddings"
    settings = {"string_to_token": {"*": 265}, "name": "inner-name", "step": 500, "sd_checkpoint": None}
    torch.save(settings | {"string_to_param": {"*": numbers(3, 8)}}, folder / "webui.pt")
    module = torch.nn.ParameterDict({"*": torch.nn.Parameter(numbers(3, 8))})
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": module}, folder / "webui_module.pt")
    old = old_parameter_dict(**{"*": torch.nn.Parameter(numbers(3, 8))})
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": old}, folder / "webui_old_module.pt")
    torch.save({"<cat-toy>": numbers(8)}, folder / "diffusers.bin")
    save_file({"<cat-toy>": numbers(3, 8)}, folder / "diffusers.safetensors")
    two = {"clip_l": numbers(2, 8, dtype=torch.float16), "clip_g": numbers(2, 12, dtype=torch.float16)}
    save_file(two, folder / "sdxl.safetensors")
    torch.save(two, folder / "sdxl.pt")
    save_file({"emb_params": numbers(3, 8, dtype=torch.bfloat16)}, folder / "bare.safetensors")
    save_file({"a": numbers(8), "b": numbers(8)}, folder / "no_embedding.safetensors")
    save_file({"emb_params": numbers(8) / 0}, folder / "not_finite.safetensors")


def bad_pickles() -> dict[str, tuple[bytes, str]]:
    """Pickles and words of the error. Each would do harm, or make a naive reader crash or run out of memory."""
    call = archives.global_name
    text = archives.text
    tensor = archives.tensor_pickle
    evil = "this file may be malicious"
    ordered = call("collections", "OrderedDict") + b")R"
    in_state_dict = b"}" + text("state_dict") + b"}" + text("x") + call("builtins", "eval") + text("1") + b"\x85Rss."
    return {
        "os.system": (call("os", "system") + text("true") + b"\x85R.", "asks to call os.system, which tensors never need"),
        "posix.system": (pickle.dumps(Raw("os", "system", "true"), 2)[2:], "asks to call posix.system"),
        "eval": (call("__builtin__", "eval") + text("1") + b"\x85R.", "asks to call __builtin__.eval"),
        "eval inside": (in_state_dict, "asks to call builtins.eval"),
        "stack global": (text("os") + text("system") + b"\x93.", "asks to call os.system"),
        "stack global of numbers": (b"K\x01K\x02\x93.", "whose name is no text"),
        "getattr": (call("builtins", "getattr") + b".", "builtins.getattr"),
        "torch.load": (call("torch", "load") + b".", "torch.load"),
        "hub": (call("torch.hub", "load") + b".", "torch.hub.load"),
        "dotted name": (call("torch._utils", "_rebuild_tensor_v2.__globals__") + b".", "_rebuild_tensor_v2.__globals__"),
        "dotted module": (call("torch.storage", "torch") + b".", "torch.storage.torch"),
        "terminal codes": (call("\x1b[2Jos", "system") + b".", "asks to call ?[2Jos.system"),
        "INST": (b"(ios\nsystem\n.", "the pickle instruction INST"),
        "OBJ": (b"(" + ordered + b"o.", "the pickle instruction OBJ"),
        "EXT1": (b"\x82\x01.", "the pickle instruction EXT1"),
        "EXT2": (b"\x83\x01\x00.", "the pickle instruction EXT2"),
        "EXT4": (b"\x84\x01\x00\x00\x00.", "the pickle instruction EXT4"),
        "NEWOBJ_EX": (call("collections", "OrderedDict") + b")}\x92.", "the pickle instruction NEWOBJ_EX"),
        "PERSID": (b"Pstorage\n.", "the pickle instruction PERSID"),
        "reduce of a value": (b"K\x01)R.", evil),
        "reduce without a tuple": (call("collections", "OrderedDict") + b"]R.", evil),
        "reduce of a class": (call("torch", "FloatStorage") + b")R.", "calls a known name in an unknown way"),
        "dictionary from a list": (call("collections", "OrderedDict") + b"]\x85R.", evil),
        "callback made": (
            call("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint") + b")R.", evil),
        "new object": (call("collections", "OrderedDict") + b")\x81.", "makes an object"),
        "new value": (call("numpy", "dtype") + b")\x81.", "makes an object"),
        "build on a dictionary": (b"}}b.", "sets the state"),
        "build on a tensor": (tensor(end=b"}b."), "sets the state"),
        "build on a global": (call("torch", "FloatStorage") + b"}b.", "sets the state"),
        "items of a module": (
            call("torch.nn.modules.container", "ParameterDict") + b")\x81" + text("a") + b"Ns.", "sets items"),
        "items of a list": (b"]" + text("a") + b"Ns.", "sets items"),
        "add to a dictionary": (b"}(N\x90.", "adds items to something that is no set"),
        "append to a dictionary": (b"}Na.", "adds items"),
        "persistent text": (text("storage") + b"Q.", "no tensor's storage"),
        "persistent number": (b"K\x01Q.", "no tensor's storage"),
        "persistent function": (tensor(storage_class=call("torch", "Size")), "no tensor's storage"),
        "persistent kind": (tensor(kind="file"), "no tensor's storage"),
        "persistent key": (tensor(key=b"K\x00"), "no tensor's storage"),
        "negative storage": (tensor(count=-1), "no tensor's storage"),
        "storage overflow": (tensor(count=1 << 62), "a storage of 4611686018427387904 elements"),
        "storage too large": (tensor(count=1 << 40), "needs 4398046511104 bytes, of which the file holds 24"),
        "storage missing": (tensor(key=text("7")), "of which the file holds 0"),
        "storage elsewhere": (tensor(key=text("../version")), "of which the file holds 0"),
        "negative offset": (tensor(offset=-1), "a tensor of impossible shape"),
        "offset beyond": (tensor(offset=1), "a tensor of impossible shape"),
        "offset overflow": (tensor(offset=(1 << 63) - 1), "a tensor of impossible shape"),
        "negative extent": (tensor(shape=(-2, 3)), "a tensor of impossible shape"),
        "negative stride": (tensor(strides=(-3, 1)), "a tensor of impossible shape"),
        "stride beyond": (tensor(strides=(4, 1)), "a tensor of impossible shape"),
        "stride overflow": (tensor(strides=(1 << 62, 1 << 62)), "a tensor of impossible shape"),
        "product overflow": (tensor(shape=(1 << 40, 1 << 40), strides=(0, 0)), "a tensor of impossible shape"),
        "byte overflow": (tensor(shape=(1 << 31, 1 << 31), strides=(0, 0)), "a tensor of impossible shape"),
        "huge expansion": (tensor(shape=(1 << 20, 1 << 12), strides=(0, 0)), "a tensor of impossible shape"),
        "too few strides": (tensor(strides=(1,)), "a tensor of impossible shape"),
        "too many axes": (tensor(shape=(1,) * 17, strides=(1,) * 17), "a tensor of the wrong parts"),
        "shape of text": (tensor(shape="ab"), "a tensor of the wrong parts"),
        "type beyond": (
            tensor(rebuild="_rebuild_tensor_v3", last=call("torch", "float64")), "a tensor of impossible shape"),
        "type missing": (tensor(rebuild="_rebuild_tensor_v3", last=b"N"), "a tensor without a type"),
        "untyped": (tensor(storage_class=call("torch.storage", "UntypedStorage")), "a tensor without a type"),
        "endless text": (b"X\xff\xff\xff\xff", "it ends too early"),
        "endless text of 64 bits": (b"\x8d" + b"\xff" * 8, "an impossible length"),
        "endless bytes": (b"\x8e" + struct.pack("<Q", 1 << 50), "it ends too early"),
        "negative long": (b"\x8b\xff\xff\xff\xff", "it ends too early"),
        "endless frame": (b"\x95" + struct.pack("<Q", 1 << 40) + b".", "a frame beyond its end"),
        "endless name": (b"c" + b"a" * 5000 + b"\nb\n.", "a name without end"),
        "no UTF-8": (b"X\x02\x00\x00\x00\xff\xfe.", "not UTF-8"),
        "no protocol 9": (b"\x80\x09}.", "protocol 9"),
        "stack underflow": (b"0.", "the pickle instruction POP"),
        "nothing": (b".", "a missing value"),
        "pop below the mark": (b"}(s.", "a missing value"),
        "no mark": (b"t.", "a missing mark"),
        "odd items": (b"}(Nu.", "a key without a value"),
        "unknown memo": (b"h\x05.", "a reference to nothing"),
        "memo of nothing": (b"q\x05.", "a missing value"),
        "left over": (b"}}.", "values left over"),
        "mark left over": (b"}(.", "a missing value"),
        "no instruction": (b"\xff.", "no instruction 255"),
        "no stop": (b"}", "it ends too early"),
        "in a circle": (b"}q\x00" + text("state_dict") + b"h\x00s.", "no tensors by name"),
        "deep": (b"}" + text("state_dict") + b")" + b"\x85" * 30000 + b"s.", "no tensors by name"),
        "a number": (b"K\x01.", "no tensors by name"),
        "a bare tensor": (tensor(end=b"."), "no tensors by name"),
    }


def legacy_file() -> bytes:
    """The beginning of a file as torch wrote it before version 1.6; later on stand memory addresses."""
    buffer = io.BytesIO()
    torch.save({"x": numbers(2)}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()[:64]


def bad_archives() -> dict[str, tuple[bytes, str]]:
    fine = archives.contents({"x": numbers(2, 3)})
    whole = archives.build(fine)
    wide = archives.build_wide(fine)
    pickle_only = {"data.pkl": fine["data.pkl"]}
    return {
        "compressed": (archives.build(fine, compressed=True), "is compressed"),
        "encrypted": (archives.patch(whole, 8, b"\x01\x08"), "is encrypted"),
        "repeated": (archives.build(fine | {"data/0 ": b""}).replace(b"data/0 ", b"version"), "two entries"),
        "overlapping": (archives.overlapping(whole), "overlaps another one"),
        "entry beyond": (archives.patch(whole, 20, struct.pack("<II", 1 << 30, 1 << 30)), "damaged in its ZIP entry"),
        "sizes differ": (archives.patch(whole, 20, struct.pack("<I", 1)), "damaged in its ZIP directory"),
        "local header elsewhere": (archives.patch(whole, 42, struct.pack("<I", 1)), "damaged in its ZIP entry"),
        "checksum": (archives.patch(whole, 16, b"\x00\x00\x00\x00"), "checksum of its data.pkl does not match"),
        "many entries": (archives.patch_end(whole, 8, struct.pack("<HH", 9999, 9999)), "damaged in its ZIP directory"),
        "fewer entries": (archives.patch_end(whole, 8, struct.pack("<HH", 1, 1)), "damaged in its ZIP directory"),
        "directory beyond": (archives.patch_end(whole, 16, struct.pack("<I", 1 << 30)), "damaged in its ZIP directory"),
        "second disk": (archives.patch_end(whole, 4, struct.pack("<HH", 1, 1)), "damaged in its ZIP directory"),
        "something after it": (whole + b"tail", "is cut short"),
        "wide size missing": (archives.patch(wide, 30, struct.pack("<H", 8)), "damaged in its ZIP directory"),
        "wide records disagree": (archives.patch_end(wide, 8, struct.pack("<HH", 3, 3)), "damaged in its ZIP directory"),
        "wide record elsewhere": (archives.patch_end(wide, -12, struct.pack("<Q", 1 << 63)), "damaged in its ZIP directory"),
        "wide directory overflow": (
            archives.patch_end(wide, -20 - 16, struct.pack("<QQ", (1 << 63) - 1, (1 << 63) - 1)),
            "damaged in its ZIP directory"),
        "no pickle": (archives.build({"version": b"3\n"}), "lacks its one data.pkl"),
        "pickle at the top": (archives.build(pickle_only, folder=""), "lacks its one data.pkl"),
        "two pickles": (archives.two_pickles(fine), "lacks its one data.pkl"),
        "TorchScript": (archives.build(fine | {"constants.pkl": b")."}), "TorchScript"),
        "byte order": (archives.build(fine | {"byteorder": b"middle"}), "neither little nor big"),
        "storage cut": (archives.build(fine | {"data/0": b"123"}), "needs 24 bytes, of which the file holds 3"),
        "legacy": (legacy_file(), "from before version 1.6"),
        "bare pickle": (pickle.dumps({"x": 1}, 4), "from before version 1.6"),
        "empty": (b"", "is cut short (0 bytes)"),
        "text": (b"<!DOCTYPE html><html>", "neither a safetensors nor a PyTorch file"),
    }


def write_bad() -> None:
    cases = dict(bad_archives())
    fine = archives.contents({"x": numbers(2, 3)})
    for name, (code, words) in bad_pickles().items():
        cases[name] = (archives.build(fine | {"data.pkl": b"\x80\x02" + code}), words)
    lines = [
        json.dumps({"name": name, "words": words, "file": base64.b64encode(data).decode()}, separators=(",", ":"))
        for name, (data, words) in cases.items()]
    (FIXTURES / "bad.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(cases)} bad files")


def main() -> None:
    shutil.rmtree(FIXTURES, ignore_errors=True)
    for name in ("good", "embeddings"):
        (FIXTURES / name).mkdir(parents=True)
    write_good()
    write_embeddings()
    write_bad()
    print(sum(file.stat().st_size for file in FIXTURES.rglob("*") if file.is_file()), "bytes")


if __name__ == "__main__":
    main()
