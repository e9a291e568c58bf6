"""What the box says of weights: a JSON file beside each weights file, typed and checked."""

import json
import math
import re
import types
import typing
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from k3dn.strict_json import parse_json

Value = str | int | float | bool | None
"""What a key of a configuration may be; lists are written as text."""

T = TypeVar("T")

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FILE = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}\.safetensors")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_BYTES = 4 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """A set of pairs that a network was trained on."""

    name: str
    pairs: int | None = None
    made: str | None = None
    """How it was made or taken: sources, cameras, kernels."""
    licence: str | None = None
    notice: str | None = None
    """The notices that lie with the sources, whole: single pictures and their licences."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """What was measured on one set."""

    data: str
    side: str | None = None
    """Side of the focus, or how the views were given. None: not recorded."""
    measure: Literal["gain", "unchanged"] = "gain"
    """``gain``: PSNR over the mean of the views; ``unchanged``: PSNR against the input of pictures
    that shall come back as they are."""
    pictures: int
    mean_db: float
    low_db: float | None = None
    """The 95 % interval of the mean over pictures; None: too few of them."""
    high_db: float | None = None
    worst_db: float
    worst: str
    """Name of the picture that came out worst."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known of a training; what is not is None or empty."""

    summary: str | None = None
    """One sentence: what the weights are good for."""
    licence: str | None = None
    """Licence of the weights."""
    steps: int | None = None
    seeds: tuple[int, ...] = ()
    hours: float | None = None
    """In steps of the training, without validation."""
    device: str | None = None
    energy_kwh: float | None = None
    recipe: str | None = None
    """Commands that train such weights."""
    configuration: dict[str, Value] | None = None
    data: tuple[Data, ...] = ()
    figures: tuple[Figure, ...] = ()
    measured_by: str | None = None
    """Commands behind the figures."""
    remarks: tuple[str, ...] = ()
    """What one must know to read the figures, a sentence each."""
    failures: tuple[str, ...] = ()
    """Where it is known to fail, a sentence each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Weights in the box: which file, for which network, and what is known of them."""

    name: str
    file: str
    """Name of the weights file, which lies beside the entry."""
    sha256: str
    """Of the weights file, hex."""
    model: str
    """Variant of K3DN: nano, tiny, lightweight, large."""
    parameters: int
    stored: str
    """Type of the numbers in the file; in memory they are float32."""
    facts: Facts = Facts()

    def __post_init__(self) -> None:
        check_name(self.name)
        if not _FILE.fullmatch(self.file):
            raise ValueError(f"file must be a plain name ending in .safetensors, got {self.file!r}")
        check_sha256(self.sha256)


def check_name(name: str) -> None:
    """Raise ValueError unless ``name`` can be the name of an entry."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name[:80]!r} is not a valid name for weights: use small letters, digits, hyphens "
            "and underscores"
        )


def check_sha256(digest: str) -> None:
    """Raise ValueError unless ``digest`` is a sha256 in hex."""
    if not _SHA256.fullmatch(digest):
        raise ValueError(f"sha256 must be 64 hexadecimal digits, got {digest[:80]!r}")


def read_entry(path: Path) -> Entry:
    """Read an entry. Raises ValueError, one line, where the file is not a whole one."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ValueError(f"it is larger than {_MAX_BYTES >> 20} MiB")
        return parse_entry(data.decode())
    except OSError as error:
        raise ValueError(f"{path}: {(error.strerror or type(error).__name__).lower()}") from error
    except ValueError as error:  # of the encoding, too
        raise ValueError(f"{path} is not an entry of the box: {error}") from error


def parse_entry(text: str) -> Entry:
    """The entry that a JSON text holds. Raises ValueError for any key or type too many."""
    return _typed(Entry, parse_json(text), "entry")


def parse_facts(value: object) -> Facts:
    """Facts from plain dicts and lists. Raises ValueError for any key or type too many."""
    return _typed(Facts, value, "facts")


def entry_text(entry: Entry) -> str:
    """The JSON text of an entry; what is not known is left out."""
    return json.dumps(_known(asdict(entry)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _known(v) for key, v in value.items() if v is not None and v != ()}
    return [_known(item) for item in value] if isinstance(value, list | tuple) else value


def _typed(wanted: type[T], value: object, where: str) -> T:
    """``value``, of JSON, as a dataclass. Raises ValueError that names the key."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a JSON object, got {value!r:.80}")
    hints = typing.get_type_hints(wanted)
    for key in value:
        if key not in hints:
            raise ValueError(f"{where} has an unknown key {key!r:.80}")
    for field in fields(wanted):  # type: ignore[arg-type]
        if field.name not in value and field.default is MISSING:
            raise ValueError(f"{where} lacks {field.name!r}")
    return wanted(**{key: _value(hints[key], v, f"{where}.{key}") for key, v in value.items()})


def _value(wanted: Any, value: object, where: str) -> Any:
    if is_dataclass(wanted):
        return _typed(typing.cast(type, wanted), value, where)
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is types.UnionType or origin is typing.Union:
        for member in arguments:
            if _is_a(member, value):
                return _value(member, value, where)
    elif origin is tuple and isinstance(value, list):
        return tuple(_value(arguments[0], item, where) for item in value)
    elif origin is dict and isinstance(value, dict):
        return {key: _value(arguments[1], v, f"{where}.{key}") for key, v in value.items()}
    elif _is_a(wanted, value):
        return float(typing.cast(float, value)) if wanted is float else value
    raise ValueError(f"{where} is {value!r:.80}, which is of the wrong type")


def _is_a(wanted: Any, value: object) -> bool:
    origin = typing.get_origin(wanted)
    if origin is Literal:
        return isinstance(value, str) and value in typing.get_args(wanted)
    if origin in (dict, tuple):
        return isinstance(value, dict if origin is dict else list)
    if wanted is float:
        return type(value) in (int, float) and math.isfinite(typing.cast(float, value))
    return type(value) is wanted  # True is not an int
