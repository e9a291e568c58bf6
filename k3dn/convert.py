"""Weights of the authors' public network, renamed to ours (``form: paper``).

Theirs come as a checkpoint of torch: a dictionary of tensors by name, perhaps inside another one
and behind prefixes. Read here are tensors alone; nothing that such a file says is run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from k3dn.network.config import VARIANTS, K3DNConfig, variant
from k3dn.network.model import K3DN

_NESTED = ("state_dict", "model", "params")
_PREFIX = "module."
_AUTHORS_SIZES = ("tiny", "lightweight", "large")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_FILTER = ".main.0.weight"
_LONGEST_NAME = 200
"""Theirs have up to 40 characters; messages repeat them."""


@dataclass(frozen=True)
class Converted:
    """A network of ours with the authors' weights, and what ``save_weights`` wants to know."""

    name: str
    """``tiny``, ``lightweight`` or ``large``."""
    options: dict[str, object]
    config: K3DNConfig
    model: nn.Module
    """In evaluation mode."""


def convert_checkpoint(path: str | Path) -> Converted:
    """Read a checkpoint in the authors' naming and build our network with its weights.

    Sizes tell the variant, and names whether it has SRP blocks and takes one picture or a pair.
    Raises ValueError, in one line, for a file that is not such a checkpoint, a network of another
    size, a tensor that is missing, superfluous, of another shape or not finite.
    """
    tensors = read_checkpoint(path)
    try:
        name, options = recognise(tensors)
        config = variant(name, options)
        model = K3DN(config)
        model.load_state_dict(rename(tensors, config))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Converted(name, options, config, model.eval())


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a torch checkpoint by name, without nesting and prefixes.

    Raises ValueError, in one line, where there are none or where the file holds anything that would
    have to be run.
    """
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a torch checkpoint: {_short(error)}") from error
    # Text is taken for pickles, and what a damaged one says may fail in any of torch's steps.
    except Exception as error:
        raise ValueError(
            f"{path} is damaged or holds more than tensors, and what else it holds is not run; "
            "give a file that torch.save(model.state_dict(), ...) wrote"
        ) from error
    for _ in _NESTED:
        inner = [found[key] for key in _NESTED if isinstance(found, dict) and key in found]
        found = inner[0] if inner and isinstance(inner[0], dict) else found
    is_named = isinstance(found, dict) and all(isinstance(name, str) for name in found)
    if not is_named or not found or not all(isinstance(t, Tensor) for t in found.values()):
        raise ValueError(
            f"{path} holds no dictionary of tensors by name, neither itself nor under "
            f"{', '.join(_NESTED)}"
        )
    odd = [name for name in found if len(name) > _LONGEST_NAME or not name.isprintable()]
    if odd:
        raise ValueError(
            f"{path} holds a tensor whose name no network of the authors has, "
            f"{odd[0][:_LONGEST_NAME]!r}; give a file that torch.save(model.state_dict(), ...) "
            "wrote"
        )
    while all(name.startswith(_PREFIX) for name in found):
        found = {name.removeprefix(_PREFIX): tensor for name, tensor in found.items()}
    return dict(found)


def recognise(tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, object]]:
    """The variant that tensors in the authors' naming are of, and its options.

    Raises ValueError that says what was found where there is no such variant.
    """
    first = tensors.get("feat_extract.0" + _FILTER)
    if first is None or first.ndim != 4:
        raise ValueError(
            f"no weights of the authors' network: feat_extract.0{_FILTER} is missing, the first "
            f"of its {len(tensors)} tensors is {next(iter(tensors))!r}"
        )
    if any(name.endswith(".conv1.weight_left") for name in tensors):
        raise ValueError(
            "saved behind set_inference_mode(), which keeps half of each kernel and no spectrum; "
            "save it before"
        )
    srp = any(name.startswith("srp.") for name in tensors)
    found = {
        "width": first.shape[0],
        "residual_blocks": _count(tensors, "Encoder.0.layers"),
        "psf_blocks": _count(tensors, "deblur"),
        "srp_residual_blocks": _count(tensors, "srp.0.conv_o.1.layers"),
    }
    for name in _AUTHORS_SIZES:
        sizes = asdict(VARIANTS[name])
        if all(found[key] == sizes[key] for key in found if srp or key != "srp_residual_blocks"):
            single = first.shape[1] == 3
            return name, {"form": "paper", "srp": srp, "single_picture": single}
    sizes_found = ", ".join(f"{key} {value}" for key, value in found.items())
    raise ValueError(f"a network with {sizes_found}; known are {', '.join(_AUTHORS_SIZES)}")


def rename(tensors: Mapping[str, Tensor], config: K3DNConfig) -> dict[str, Tensor]:
    """Our state dictionary made of the authors' tensors; each is used exactly once.

    Raises ValueError for the first tensor that is missing, superfluous, of another shape or type,
    or not finite.
    """
    with torch.device("meta"):
        wanted = K3DN(config).state_dict()
    remaining = dict(tensors)
    renamed: dict[str, Tensor] = {}
    for theirs, ours in _names(config):
        tensor = remaining.pop(theirs, None)
        if tensor is None:
            raise ValueError(f"{theirs} is missing")
        shape = _their_shape(theirs, tuple(wanted[ours].shape))
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{theirs} must be {shape}, got {tuple(tensor.shape)}")
        is_float = wanted[ours].is_floating_point()
        types = _FLOATS if is_float else (wanted[ours].dtype,)
        if tensor.dtype not in types or tensor.layout is not torch.strided:
            kind = "floating point numbers" if is_float else "whole numbers"
            found = f"{tensor.dtype}, {tensor.layout}"
            raise ValueError(f"{theirs} must be a plain tensor of {kind}, got {found}")
        if not torch.isfinite(tensor.to(wanted[ours].dtype)).all():
            raise ValueError(f"{theirs} has NaN, or infinite values in {wanted[ours].dtype}")
        renamed[ours] = _to_ours(theirs, tensor).reshape(wanted[ours].shape)
    if remaining:
        raise ValueError(
            f"{next(iter(remaining))} does not belong to any network of the authors' form"
        )
    assert renamed.keys() == wanted.keys()
    return renamed


def _to_ours(theirs: str, tensor: Tensor) -> Tensor:
    """What is held otherwise."""
    if theirs.endswith(
        "modulation.weight"
    ):  # their layer divides by the root of its inputs as it runs
        return tensor / tensor.shape[1] ** 0.5
    if theirs.endswith("inter.to_w"):  # it meets the kernel as an image of a point, upside down
        return tensor.flip(-2)
    if theirs.endswith("conv2.p") and not _is_permutation(tensor):
        raise ValueError(f"{theirs} must be a permutation matrix")
    if theirs.endswith("conv2.sign_s") and not (tensor.abs() == 1).all():
        raise ValueError(f"{theirs} must be 1 or -1 everywhere")
    return tensor


def _their_shape(theirs: str, ours: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of theirs for a tensor that has the shape ``ours`` here."""
    if theirs.endswith(("inter.to_w", "conv1.weight")):  # (1, C, 1, ...)
        return (1, ours[0], 1, *ours[1:])
    linear = ("fc.0.weight", "inter.to_r.weight", "inter.out.weight", "modulation.weight")
    return ours[:2] if theirs.endswith(linear) else ours


def _is_permutation(matrix: Tensor) -> bool:
    ones = matrix == 1
    each_once = (ones.sum(0) == 1).all() and (ones.sum(1) == 1).all()
    return bool(each_once and ((matrix == 0) | ones).all())


def _names(config: K3DNConfig) -> Iterator[tuple[str, str]]:
    """Each name of theirs with ours."""
    stages = ("to_half", "to_quarter", "to_eighth")
    for index, stage in enumerate(stages):
        yield f"feat_extract.{index}{_FILTER}", f"encoder.{stage}.down.weight"
        yield from _residual(f"Encoder.{index}", f"encoder.{stage}.refine", config.residual_blocks)
    yield from _disparity(config)
    for index in range(config.psf_blocks):
        yield from _psf_block(index)
    for index, stage in enumerate(("to_quarter", "to_half", "to_full")):
        ours = f"decoder.{stage}"
        yield f"feat_extract.{index + 3}{_FILTER}", f"{ours}.up.weight"
        yield from _residual(f"Decoder.{index}", f"{ours}.refine", config.residual_blocks)
        if config.srp:
            yield from _srp_block(f"srp.{index}", f"{ours}.srp", config.srp_residual_blocks)
    yield f"out{_FILTER}", "decoder.to_image.weight"


def _residual(theirs: str, ours: str, blocks: int) -> Iterator[tuple[str, str]]:
    for block in range(blocks):
        for index, layer in enumerate(("first", "second")):
            their_layer = f"{theirs}.layers.{block}.main.{index}{_FILTER}"
            yield their_layer, f"{ours}.{block}.{layer}.weight"


def _disparity(config: K3DNConfig) -> Iterator[tuple[str, str]]:
    if config.single_picture:
        for index in range(11):
            yield from _normalised(f"disp.model.{index}", f"disparity.features.{index + 1}")
    else:
        for index, layer in enumerate(("start.0", "start.1", "layer1.0", "layer1.1")):
            yield from _normalised(f"disp.feature.{layer}", f"disparity.features.{index + 1}")
        for theirs, ours in (("branch1", "coarse"), ("branch3", "fine")):
            branch = f"disp.feature.{theirs}.1"
            yield from _normalised(branch, f"disparity.{ours}.squeeze", layers=("0", "1"))
        yield from _normalised("disp.feature.end.0", "disparity.fuse.0")
        yield "disp.feature.end.1.conv.weight", "disparity.fuse.1.weight"
        matching = ("start.0", "start.1", "start.2", "conv1a.0", "conv1a.1")
        for index, layer in enumerate(matching):
            yield from _normalised(f"disp.matching.{layer}", f"disparity.match.{index}")
    yield from _with_bias("disp.fc.0", "disparity.project.linear")


def _normalised(
    theirs: str, ours: str, *, layers: tuple[str, str] = ("conv", "bn")
) -> Iterator[tuple[str, str]]:
    """A convolution and its batch normalisation."""
    yield f"{theirs}.{layers[0]}.weight", f"{ours}.0.weight"
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        yield f"{theirs}.{layers[1]}.{name}", f"{ours}.1.{name}"


def _psf_block(index: int) -> Iterator[tuple[str, str]]:
    theirs, block, query = f"deblur.{index}", f"psf_blocks.{index}", f"kernel_queries.{index}"
    yield f"{theirs}.conv1.weight", f"{block}.kernel_set.spectrum"
    for their_name, name in (
        ("p", "permutation"),
        ("sign_s", "diagonal_sign"),
        ("log_s", "log_diagonal"),
        ("lower", "lower"),
        ("upper", "upper"),
    ):
        yield f"{theirs}.conv2.{their_name}", f"{block}.mixing.{name}"
    yield f"{theirs}.inter.to_w", f"{query}.key_weights"
    yield from _with_bias(f"{theirs}.inter.to_r", f"{query}.from_disparity")
    yield from _with_bias(f"{theirs}.inter.out", f"{query}.to_disparity")
    yield from _with_bias(f"{theirs}.conv2.modulation", f"{query}.to_weights")


def _srp_block(theirs: str, ours: str, blocks: int) -> Iterator[tuple[str, str]]:
    for their_name, name in (("conv_q", "query"), ("conv_k", "key"), ("conv_v", "values")):
        yield from _with_bias(f"{theirs}.{their_name}", f"{ours}.{name}")
    yield from _with_bias(f"{theirs}.conv_o.0", f"{ours}.feed_forward.0")
    yield from _residual(f"{theirs}.conv_o.1", f"{ours}.feed_forward.1", blocks)
    yield from _with_bias(f"{theirs}.conv_o.2", f"{ours}.feed_forward.2")


def _with_bias(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for name in ("weight", "bias"):
        yield f"{theirs}.{name}", f"{ours}.{name}"


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered parts stand below a name."""
    rest = (name.removeprefix(f"{prefix}.") for name in tensors if name.startswith(f"{prefix}."))
    return len({part.partition(".")[0] for part in rest})


def _short(error: BaseException) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].strip()[:200]
