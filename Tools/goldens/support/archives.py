"""Puts together the ZIP archives and pickles of torch.save by hand, so that they can be wrong."""

import io
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

import torch


def contents(tensors: dict) -> dict[str, bytes]:
    """The entries of the file that torch.save writes, without the folder's name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.pt"
        torch.save(tensors, path)
        with zipfile.ZipFile(path) as archive:
            return {info.filename.split("/", 1)[1]: archive.read(info) for info in archive.infolist()}


def build(entries: dict[str, bytes], folder: str = "archive/", compressed: bool = False) -> bytes:
    """An archive by Python's own writer: no 64-bit records, no alignment."""
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(folder + name), data, method)
    return buffer.getvalue()


def build_wide(entries: dict[str, bytes], folder: str = "archive/") -> bytes:
    """An archive as those of more than 4 GiB are: sizes and places stand in 64-bit fields alone."""
    local, directory = b"", b""
    for name, data in entries.items():
        path, checksum, full = (folder + name).encode(), zlib.crc32(data), 0xFFFFFFFF
        other = struct.pack("<HHI", 0x4246, 4, 0)  # torch pads with an extra field "FB"
        wide = struct.pack("<HHQQQ", 1, 24, len(data), len(data), len(local))
        common = struct.pack("<HHHHHIII", 0, 0, 0, 0, 0, checksum, full, full)
        record = b"PK\x01\x02\0\0" + common + struct.pack("<HHHHHII", len(path), 36, 0, 0, 0, 0, full)
        directory += record + path + other + wide
        local += b"PK\x03\x04" + common + struct.pack("<HH", len(path), 0) + path + data
    count, place = len(entries), len(local)
    end = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(directory), place)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, place + len(directory), 1)
    narrow = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return local + directory + end + locator + narrow


def two_pickles(entries: dict[str, bytes]) -> bytes:
    """Two folders, each with a pickle of its own."""
    named = {f"a/{name}": data for name, data in entries.items()}
    return build(named | {"b/data.pkl": entries["data.pkl"]}, folder="")


def patch(archive: bytes, offset: int, value: bytes) -> bytes:
    """Overwrites a field of the first record of the directory, which is that of data.pkl."""
    start = archive.index(b"PK\x01\x02") + offset
    return archive[:start] + value + archive[start + len(value):]


def patch_end(archive: bytes, offset: int, value: bytes) -> bytes:
    """Overwrites a field of the end record."""
    start = archive.rindex(b"PK\x05\x06") + offset
    return archive[:start] + value + archive[start + len(value):]


def overlapping(archive: bytes) -> bytes:
    """Lets the first entry reach into the second."""
    size, = struct.unpack_from("<I", archive, archive.index(b"PK\x01\x02") + 20)
    return patch(archive, 20, struct.pack("<II", size + 40, size + 40))


class Raw:
    """Pickles as a call: what the classic attack looks like."""

    def __init__(self, module: str, name: str, *arguments: object) -> None:
        self.call = getattr(__import__(module), name), arguments

    def __reduce__(self):
        return self.call


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value: int) -> bytes:
    data = value.to_bytes(9, "little", signed=True)
    while len(data) > 1 and int.from_bytes(data[:-1], "little", signed=True) == value:
        data = data[:-1]
    return b"\x8a" + bytes([len(data)]) + data


def global_name(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def sequence(values: tuple | str) -> bytes:
    items = (text(value) if isinstance(value, str) else integer(value) for value in values)
    return b"(" + b"".join(items) + b"t"


def tensor_pickle(
    kind: str = "storage", storage_class: bytes = global_name("torch", "FloatStorage"), key: bytes = text("0"),
    count: int = 6, rebuild: str = "_rebuild_tensor_v2", offset: int = 0, shape: tuple | str = (2, 3),
    strides: tuple = (3, 1), last: bytes = b"", end: bytes | None = None,
) -> bytes:
    """The code of {"x": tensor}, every part of which may be wrong; with `end` the bare tensor and what follows."""
    storage = b"(" + text(kind) + storage_class + key + text("cpu") + integer(count) + b"tQ"
    hooks = global_name("collections", "OrderedDict") + b")R"
    arguments = storage + integer(offset) + sequence(shape) + sequence(strides) + b"\x89" + hooks + last
    code = global_name("torch._utils", rebuild) + b"(" + arguments + b"tR"
    return code + end if end is not None else b"}" + text("x") + code + b"s."
