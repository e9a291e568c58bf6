"""Weights on disk: one safetensors file that says which network it is for.

A file is data, whoever it is from: nothing that it names is imported or called. A K3DN is built
of the file's options without memory, compared with the file, and only then filled.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from k3dn.factory import build_model, call_factory, names_factory
from k3dn.network.config import VARIANTS, K3DNConfig, variant
from k3dn.network.mixing import InvertibleMixing
from k3dn.network.model import K3DN, as_k3dn
from k3dn.strict_json import parse_json

FORMAT = "k3dn-weights-2"
_FORMER = "k3dn-weights-1"
"""Networks with the cost volume in steps of 8 px, whose query died in training."""

EARLIER: dict[str, bool | int] = {}
"""Options that came after the first files were written, with what networks did before they came.

A file holds all options of its time. One that it lacks takes its value from here, never the
default, which is what new networks do; a new field of ``K3DNConfig`` needs its row.
"""

_KEEP_SHAPE = (
    *("abs", "atanh", "clamp", "exp", "log", "neg", "sign", "tanh", "tril", "triu"),
    *("add", "div", "mul", "rmul", "sub", "truediv", "normal", "uniform"),
)
"""Functions of one tensor and numbers, whose result has the tensor's shape."""

_FACTORS: dict[object, int] = {torch.linalg.qr: 2, torch.linalg.lu: 3}
"""Into how many matrices of its shape a square one is taken apart."""

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)

_DRIFTED = "coc_drifted"
"""In a file's metadata where ``K3DN.coc_drifted`` holds; else left out."""

_CUT_OFF = ("HeaderTooSmall", "InvalidHeaderLength", "Incomplete", "too small", "incomplete")
"""Of safetensors' errors, what a file says that ends too early."""
_MAX_HEADER_BYTES = 2 * 2**20
"""Of a file, some 20 000 tensors; ``large`` takes 40 kB. The library would read 100 MB of JSON."""


def save_weights(
    path: str | Path,
    model: nn.Module,
    *,
    name: str,
    options: Mapping[str, object] | None = None,
) -> None:
    """Write a model's weights with what ``build_model`` needs to build it again.

    name, options: what ``build_model`` made it of. Of K3DN all options are written, so that a
    file means the same network when a default changes. Raises ValueError where the model is
    another one than they say, or holds what ``load_weights`` refuses.
    """
    from safetensors.torch import save

    model = getattr(model, "_orig_mod", model)  # behind torch.compile
    if not names_factory(name):
        config, network = variant(name, options or {}), as_k3dn(model)
        if network is None or config != network.config:
            raise ValueError(f"the model is not what {name!r} with options {options or {}} builds")
        options = asdict(config)
        for key, value in network.state_dict().items():
            if value.is_floating_point() and value.dtype not in _FLOATS:
                raise ValueError(f"{key!r} is {value.dtype}; save the model as model.float()")
    _check_values(model)
    # Clones: tensors that share memory, as tied weights do, are refused by the format.
    tensors = {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in model.state_dict().items()
    }
    written = json.dumps(dict(options or {}), allow_nan=False)
    metadata = {"format": FORMAT, "model": name, "options": written}
    own = as_k3dn(model)
    if own is not None and own.coc_drifted:
        metadata[_DRIFTED] = "true"
    Path(path).write_bytes(_in_order(save(tensors, metadata=metadata)))


def _in_order(file: bytes) -> bytes:
    """Put a file's metadata in order, which safetensors writes in another one each time: the same
    weights have the same digest."""
    length = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8, as the format asks
    return len(text).to_bytes(8, "little") + text + file[8 + length :]


def coc_drifted(path: str | Path) -> bool:
    """Whether a weights file says of its network that it is ``K3DN.coc_drifted``.

    Raises ValueError for what is not a safetensors file.
    """
    with _naming(path):
        return _says_drifted(_open(Path(path)))


@dataclass(frozen=True, slots=True)
class StoredNetwork:
    """What a weights file says of its network."""

    model: str
    """A variant of K3DN, or ``package.module:factory``."""
    options: dict[str, object]
    types: tuple[str, ...]
    """Types of the stored numbers, such as float16."""
    numbers: int
    """How many numbers the file holds."""


def stored_network(path: str | Path) -> StoredNetwork:
    """Read of a weights file which network it is for; no tensor is read.

    Raises ValueError where the file is not a weights file of ours.
    """
    with _naming(path):
        file = _open(Path(path))
        model, options = _network_of(file.metadata() or {})
        tensors = [file.get_slice(key) for key in file.keys()]  # noqa: SIM118
        types = {str(tensor.get_dtype()) for tensor in tensors}
        numbers = sum(math.prod(tensor.get_shape()) for tensor in tensors)
    return StoredNetwork(model, options, tuple(sorted(_TYPES.get(t, t) for t in types)), numbers)


_TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "BOOL": "bool"}
"""The format's names of types, and torch's."""


def load_weights(
    path: str | Path, factory: Callable[..., nn.Module] | str | None = None
) -> nn.Module:
    """Build the network that a weights file is for and load it, in evaluation mode.

    factory: for a file of somebody's network, the callable that builds it from the file's options,
    or its name ``package.module:factory``, which must be the one in the file. It is the
    caller's word that this code may run; without it no code named in a file ever does. A file for
    a variant of K3DN takes none.

    Parameters of a K3DN are float32, whether the file holds float32, float16 or bfloat16. Reading
    takes the memory of the network and of one tensor more. Raises ValueError, one line, where the
    file is not a whole weights file of ours, does not fit its network, or holds what no network
    has: NaN or infinity, a permutation that repeats a place.
    """
    with _naming(path):
        file = _open(Path(path))
        name, options = _network_of(file.metadata() or {})
        if names_factory(name):
            model = _build(name, options, factory)
            model.load_state_dict(_read(file, model))
        elif factory is not None:
            raise ValueError(f"it is for {name!r}, which takes no factory; leave factory out")
        else:
            model = _k3dn(name, options, file)
            model.load_state_dict(_read(file, model), assign=True)
            model.coc_drifted = _says_drifted(file)
        _check_values(model)
    return model.eval()


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Say of which file an error is, on one line that a hostile file cannot make long."""
    from safetensors import SafetensorError

    try:
        yield
    # RuntimeError of torch, where sizes or tensors do not fit.
    except (ValueError, RuntimeError, SafetensorError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        detail = lines[-1] if isinstance(error, RuntimeError) else " ".join(lines)
        if len(detail) > 400:
            detail = f"{detail[:300]} ... {detail[-90:]}"
        raise ValueError(f"{path}: {detail}") from error


def _open(path: Path) -> Any:
    """Open a safetensors file; the library checks its whole header before it gives out anything.

    Tensors fill the data without gap or overlap, as the format has it.
    """
    from safetensors import SafetensorError, safe_open

    try:
        # To open a pipe would be to wait for its writer.
        if not path.is_file() and path.exists():
            raise ValueError("it is a folder or a device, not a file")
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > _MAX_HEADER_BYTES:
            raise ValueError(
                f"it is not a safetensors file, or its header has {header_bytes} bytes; "
                f"at most {_MAX_HEADER_BYTES} are read"
            )
        return safe_open(path, framework="pt")
    except OSError as error:
        raise ValueError(f"cannot be read: {(error.strerror or str(error)).lower()}") from error
    except SafetensorError as error:
        cut = any(sign in str(error) for sign in _CUT_OFF)
        raise ValueError(
            f"it is not a complete safetensors file ({error}); it may have been cut off, copy it "
            "again"
            if cut
            else f"it is not a safetensors file ({error}); its header is damaged or was not "
            "written by safetensors, so name another file or write it again"
        ) from error


def _network_of(metadata: Mapping[str, str]) -> tuple[str, dict[str, object]]:
    """Which network a file is for: its name and its options."""
    found = metadata.get("format")
    if found == _FORMER:
        raise ValueError(
            "it is for the network before its disparity estimator was redesigned, which this "
            "version cannot build; train again, or use the version that wrote it"
        )
    if found != FORMAT:
        raise ValueError(
            f"it is not a weights file of this project: its format is {found!r}, "
            f"expected {FORMAT!r}"
        )
    for key in ("model", "options"):
        if key not in metadata:
            raise ValueError(f"it does not say which network it is for: it has no {key!r}")
    name = metadata["model"]
    if name not in VARIANTS and not names_factory(name):
        raise ValueError(
            f"it is for an unknown network {name!r}; known are {', '.join(VARIANTS)} and "
            "package.module:factory"
        )
    try:
        options = parse_json(metadata["options"])
    except ValueError as error:
        raise ValueError(f"its options are not JSON: {error}") from error
    if not isinstance(options, dict):
        raise ValueError(f"options must be a JSON object, got {metadata['options']}")
    return name, options


def _says_drifted(file: Any) -> bool:
    return (file.metadata() or {}).get(_DRIFTED) == "true"


def _build(
    name: str, options: dict[str, object], factory: Callable[..., nn.Module] | str | None
) -> nn.Module:
    """Build somebody's network by the caller's factory."""
    if factory is None:
        raise ValueError(
            f"it is for the network of {name!r}, whose code does not run because a file names it; "
            f"if you trust that code, give factory={name}"
        )
    if not isinstance(factory, str):
        return call_factory(factory, name, options)
    if factory != name:
        raise ValueError(f"it is for the network of {name!r}, not of {factory!r}")
    return build_model(factory, options)


def _k3dn(name: str, options: dict[str, object], file: Any) -> K3DN:
    """Build a K3DN without memory, and see that the file has its tensors and no others."""
    config = _config(options)
    with torch.device("meta"), _Unfilled():
        model = K3DN(config)
    shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    problem = _difference(model.state_dict(), shapes)
    if problem:
        raise ValueError(
            f"its tensors do not fit {name!r} with its options: {problem}; take the file as "
            "save_weights wrote it"
        )
    return model


class _Unfilled(TorchFunctionMode):
    """Leaves out what first weights are drawn and scaled by, where that keeps their shape.

    On the meta device only shapes count, and torch imports its compiler for the arithmetic there:
    1.4 s of a processor and 80 MB, thirty times what the building takes.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        name = getattr(func, "__name__", "").strip("_")
        if name in _KEEP_SHAPE and sum(isinstance(value, Tensor) for value in args) == 1:
            return args[0]
        if func in _FACTORS and args[0].shape[-1] == args[0].shape[-2]:
            return (args[0],) * _FACTORS[func]
        return (torch.empty if func is torch.randn else func)(*args, **kwargs)


def _config(options: dict[str, object]) -> K3DNConfig:
    known = [field.name for field in fields(K3DNConfig)]
    unknown = [key for key in options if key not in known]
    if unknown:
        raise ValueError(
            f"unknown network option {unknown[0]!r}; a newer version may know it, or it is misspelt"
        )
    options = {**EARLIER, **options}
    missing = [key for key in known if key not in options]
    if missing:
        raise ValueError(f"its options lack {', '.join(missing)}; save_weights writes all of them")
    return K3DNConfig(**options)  # type: ignore[arg-type]  # checks the types itself


def _difference(wanted: Mapping[str, Tensor], stored: Mapping[str, tuple[int, ...]]) -> str:
    missing, extra = sorted(wanted.keys() - stored.keys()), sorted(stored.keys() - wanted.keys())
    if missing:
        return f"it lacks {len(missing)} tensors, {missing[0]!r} first"
    if extra:
        return f"it has {len(extra)} tensors too many, {extra[0]!r} first"
    for key, tensor in wanted.items():
        if stored[key] != tensor.shape:
            return f"{key!r} is {list(stored[key])}, the network's is {list(tensor.shape)}"
    return ""


def _read(file: Any, model: nn.Module) -> dict[str, Tensor]:
    """The file's tensors in the types of the network's, in memory of their own."""
    types = {key: value.dtype for key, value in model.state_dict().items()}
    tensors = {}
    for key in file.keys():  # noqa: SIM118  # no mapping
        # Of the file's pages, which are read where somebody looks at them.
        stored: Tensor = file.get_tensor(key)
        wanted = types.get(key, stored.dtype)
        if stored.dtype != wanted and not (wanted.is_floating_point and stored.dtype in _FLOATS):
            also = ", float16 or bfloat16" if wanted is torch.float32 else ""
            raise ValueError(f"{key!r} is {stored.dtype}, the network takes {wanted}{also}")
        if stored.dtype is torch.bool:
            stored = stored.view(torch.uint8).ne(0)  # other bytes are no bool in memory
        tensors[key] = stored.to(wanted, copy=True)
    return tensors


def _check_values(model: nn.Module) -> None:
    """Raise ValueError for values that no trained network has, and that would spoil pictures."""
    own = isinstance(model, K3DN)  # somebody's buffers may well be masks of infinities
    for key, value in model.state_dict().items() if own else model.named_parameters():
        if not value.isfinite().all():
            raise ValueError(f"{key!r} holds NaN or infinity; take weights of another step or run")
    for name, module in model.named_modules():
        if isinstance(module, InvertibleMixing):
            matrix = module.permutation
            ones = matrix.eq(1)
            one_each = ones.sum(0).eq(1).all() and ones.sum(1).eq(1).all()
            if not one_each or not (ones | matrix.eq(0)).all():
                raise ValueError(f"'{name}.permutation' must have a single 1 a row and column")
            if not module.diagonal_sign.abs().eq(1).all():
                raise ValueError(f"'{name}.diagonal_sign' must be 1 or -1 everywhere")
        variance = module.running_var if own and isinstance(module, _BatchNorm) else None
        if variance is not None and variance.lt(0).any():
            raise ValueError(f"'{name}.running_var' must not be negative")
