"""A safetensors file of anybody's: its header is checked before anything is allocated.

Our own reader and not the library's, so that what was checked is what is read: one open file,
no mapping, and nothing but the standard library's JSON looks at the header.
"""

import json
import math
import os
import stat
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

MAX_HEADER_BYTES = 2 * 2**20
"""Some 20 000 tensors; ``large`` takes 40 kB."""

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True, slots=True)
class Stored:
    """What the header says of one tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int
    """Where its data begin, bytes from the start of the file."""
    length: int
    """Bytes of its data."""


class TensorFile:
    """An open safetensors file; a context manager.

    Raises ValueError, without the path, where the file cannot be opened or its header is not that
    of a whole safetensors file: tensors must fill the data without gap or overlap, as the format
    has it.
    """

    metadata: dict[str, str]
    tensors: dict[str, Stored]

    def __init__(self, path: str | Path) -> None:
        try:
            # To open a pipe would be to wait for its writer.
            if not stat.S_ISREG(Path(path).stat().st_mode):
                raise ValueError("it is a folder or a device, not a file")
            self._file = FileIO(path)
        except OSError as error:
            raise ValueError((error.strerror or type(error).__name__).lower()) from error
        try:
            self.metadata, self.tensors = _read_header(self._file)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def read(self, name: str) -> Tensor:
        """One tensor as it is stored, in memory of its own. Raises ValueError at a short file."""
        stored = self.tensors[name]
        data = torch.empty(stored.length, dtype=torch.uint8)
        left: memoryview[int] = data.numpy().data
        self._file.seek(stored.offset)
        while len(left):
            count = self._file.readinto(left)
            if not count:
                raise ValueError(f"it ended in the middle of {name!r}")
            left = left[count:]
        if stored.dtype is torch.bool:
            return data.ne(0).reshape(stored.shape)  # other bytes are no bool in memory
        return data.view(stored.dtype).reshape(stored.shape)


def parse_json(text: str) -> object:
    """``json.loads``, less what JSON leaves open. Raises ValueError.

    Refused are keys that stand twice, numbers that are not finite, and nesting without end.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite
        )
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} stands twice")
        found[name] = value
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    return value


def _read_header(file: FileIO) -> tuple[dict[str, str], dict[str, Stored]]:
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8) or b"", "little")
    if size < 8 or 8 + length > size:
        raise ValueError(
            f"it has {size} bytes, which is less than its header; it was cut, copy it again"
        )
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header has {length} bytes, at most {MAX_HEADER_BYTES} are read")
    text = (file.read(length) or b"").decode()
    header = parse_json(text) if text.startswith("{") else None
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(type(v) is str for v in metadata.values()):
        raise ValueError("its metadata are not text by names")
    begin, data_bytes = 8 + length, size - 8 - length
    tensors = {name: _stored(name, entry, begin, data_bytes) for name, entry in header.items()}
    end = begin
    for name, tensor in sorted(tensors.items(), key=lambda t: (t[1].offset, t[1].length)):
        if tensor.offset != end:
            raise ValueError(f"the data of {name!r} do not begin where others end")
        end += tensor.length
    if end != size:
        raise ValueError(f"its header describes {end} bytes, it has {size}")
    return metadata, tensors


def _stored(name: str, entry: object, begin: int, data_bytes: int) -> Stored:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name!r} is described by other things than dtype, shape, data_offsets")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    dtype = DTYPES.get(kind) if isinstance(kind, str) else None
    if dtype is None:
        raise ValueError(f"{name!r} has type {kind!r}; known are {', '.join(DTYPES)}")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError(f"{name!r} has other things than sizes in shape or data_offsets")
    if len(shape) > 16 or len(offsets) != 2:
        raise ValueError(f"{name!r} has a wrong number of numbers in shape or data_offsets")
    if max(offsets) > data_bytes:
        raise ValueError(f"the data of {name!r} end behind the file; it was cut, copy it again")
    # No length beyond the file's: the product of such ones would be no size at all.
    length = math.prod(shape) * dtype.itemsize if max(shape, default=1) <= data_bytes else -1
    if offsets[1] - offsets[0] != length:
        raise ValueError(
            f"{name!r} of type {kind} and shape {shape} does not fit its data_offsets {offsets}"
        )
    return Stored(dtype, tuple(shape), begin + offsets[0], length)
