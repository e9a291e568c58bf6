"""A network as a file that runs without this package: torch.export and ONNX.

The graph takes views ``(B, 3, H, W)``, float32, sRGB in [0, 1], and returns the picture of that
shape, not clipped, as the network itself does in evaluation mode. Values are not looked at: NaN in
a view becomes NaN in the picture.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from k3dn.frozen import freeze
from k3dn.inference import FOREIGN_GRID_PX
from k3dn.network.model import as_k3dn

SMALLEST_PX = 16
"""Of a picture's sides, where any size will do."""
OUTPUT_NAME = "image"


def input_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the pictures that an exported network takes: two views, or one picture."""
    network = as_k3dn(model)
    return ("picture",) if network and network.config.single_picture else ("left", "right")


def size_step_px(model: nn.Module) -> tuple[int, int]:
    """What height and width must be multiples of for a graph of free sizes; (1, 1): any will do.

    K3DN pads inside the graph and takes any size from 16 px. One that resizes
    (``pad_to_grid=false``) takes whole windows, and somebody else's network multiples of 16 px.
    """
    network = as_k3dn(model)
    if network is None:
        return FOREIGN_GRID_PX
    return (1, 1) if network.config.pad_to_grid else network.config.grid_px


def smallest_size_px(model: nn.Module) -> tuple[int, int]:
    """Height and width from which on a graph of free sizes takes pictures.

    Two steps each way: a graph knows a single one as another case. The authors' disparity estimator
    has a mean over 256 px in it, of which there are two from three steps across on.
    """
    network = as_k3dn(model)
    down, across = size_step_px(model)
    if network is not None and network.config.pad_to_grid:
        return SMALLEST_PX, SMALLEST_PX
    averages = network is not None and network.config.smallest_px != network.config.grid_px
    return 2 * down, (3 if averages else 2) * across


def export_program(model: nn.Module, *, size: tuple[int, int] | None = None) -> ExportedProgram:
    """Turn a network into a graph of torch's own operators, which ``torch.export.save`` writes.

    size: height and width in px of the only size that the graph takes, at batch 1. None: B, H and
    W are free, in steps of ``size_step_px``.
    The graph computes in float32 and is called with the views in the order of ``input_names``.
    Raises ValueError, with torch's words, for a network that has no such graph.
    """
    views = tuple(torch.rand(_example_shape(model, size)) for _ in input_names(model))
    symbols: Any = None
    if size is None:
        least = smallest_size_px(model)
        height, width = map(_symbol, ("height", "width"), size_step_px(model), least)
        symbols = tuple({0: Dim("batch"), 2: height, 3: width} for _ in views)
    frozen = freeze(model).float().cpu()
    for part in frozen.modules():
        # torch.onnx gives a 3-D convolution without bias one that onnxruntime refuses.
        if isinstance(part, nn.Conv3d) and part.bias is None:
            part.bias = nn.Parameter(torch.zeros(part.out_channels), requires_grad=False)
    try:
        with torch.no_grad(), _quiet():
            return torch.export.export(frozen, views, dynamic_shapes=symbols, strict=False)
    except Exception as error:  # whatever the code of a module or torch's tracing raises
        hint = "" if size else "; a graph of one size may be possible: give the size"
        raise ValueError(f"the network cannot be exported{hint}: {_words(error)}") from error


def export_onnx(program: ExportedProgram, names: tuple[str, ...]) -> Any:
    """Turn an exported program into an ``onnx.ModelProto``; needs the extra ``export``.

    names: of the inputs (``input_names``); the output is ``image``, free axes are ``batch``,
    ``height`` and ``width``. Raises ValueError, with
    torch's words, where ONNX has no operator for a part of it, and where a package is missing.
    """
    try:
        with _quiet():
            # Not optimised: what depends on parameters alone is folded already, a runtime fuses
            # nodes as it likes, and the optimiser takes twice as long as all the rest.
            made = torch.onnx.export(
                program,
                input_names=names,
                output_names=[OUTPUT_NAME],
                dynamo=True,
                optimize=False,
                verbose=False,
            )
    except ImportError as error:
        raise ValueError(
            f"ONNX needs packages that are missing ({error}): pip install 'k3dn[export]'"
        ) from error
    except Exception as error:
        raise ValueError(f"the network cannot be written as ONNX: {_words(error)}") from error
    assert made is not None
    model = made.model_proto
    for value in (*model.graph.input, *model.graph.output):
        for axis, length in enumerate(value.type.tensor_type.shape.dim):
            if length.dim_param:  # torch's names are s17, 16*s39
                length.dim_param = ("batch", "channels", "height", "width")[axis]
    return model


def _example_shape(model: nn.Module, size: tuple[int, int] | None) -> tuple[int, int, int, int]:
    if size is not None:
        return 1, 3, *size
    # All lengths differ and none is one: torch would take them for the same symbol, or for none.
    down, across = size_step_px(model)
    return (2, 3, 50, 71) if (down, across) == (1, 1) else (2, 3, 3 * down, 4 * across)


def _symbol(name: str, step: int, least: int) -> Any:
    return Dim(name, min=least) if step == 1 else step * Dim(name, min=least // step)


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' notices on their own deprecations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
