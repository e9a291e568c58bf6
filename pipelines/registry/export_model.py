"""``k3dn export-model``: a network as one file that runs without this project."""

import importlib.util
import json
import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pipelines.errors import UserError
from pipelines.picture_keys import parse_size
from pipelines.progress import say
from pipelines.ray_job import refuse_lost_path
from pipelines.registry.config import ExportModelConfig
from pipelines.registry.loading import load_network, open_weights, settle
from pipelines.registry.registry import open_store
from pipelines.storage import Location, locate

if TYPE_CHECKING:
    from torch import Tensor, nn

LARGEST_DIFFERENCE = 1e-4
"""A file that differs from the network by more, of a range of 1, is not kept."""
METADATA_FILE = "k3dn.json"
"""Name of the metadata inside a .pt2 file (``extra_files`` of ``torch.export.load``)."""
_SUFFIXES = (".onnx", ".pt2")
_Run = Callable[[Sequence["Tensor"]], "Tensor"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportModelResult:
    """A network was written as a file."""

    model: str
    inputs: tuple[str, ...]
    """Names of the pictures that go in."""
    sizes: str
    """Which sizes of pictures it takes, in words."""
    difference: float | None
    """Largest difference to the network on random pictures; None: there was nothing to run it."""
    bytes: int
    output: str
    """Where the file lies."""

    def describe(self) -> str:
        """Return what was made, how it was checked and where it lies."""
        checked = (
            "not checked, as there is no onnxruntime here: pip install onnxruntime"
            if self.difference is None
            else f"within {self.difference:.1e} of the network on random pictures"
        )
        return (
            f"{self.model}: {', '.join(self.inputs)} -> image, float32 (batch, 3, height, width), "
            f"sRGB in [0, 1]\n{self.sizes}\n{checked}\n{self.bytes / 2**20:.1f} MB: {self.output}"
        )

    def next_steps(self) -> list[str]:
        """Return a command that shows the metadata in the file."""
        if self.output.endswith(".onnx"):
            code = f"import onnx; print(onnx.load({self.output!r}).metadata_props)"
        else:
            code = (
                f"import torch; files = {{{METADATA_FILE!r}: ''}}; "
                f"torch.export.load({self.output!r}, extra_files=files); print(files)"
            )
        return [shlex.join(["python", "-c", code])]


def run(config: ExportModelConfig) -> ExportModelResult:
    """Export, run what was written, compare, and only then put it in its place.

    Raises UserError for a model that is not there or cannot be exported, for packages that are
    missing, for a file that is there already, and for one that gives other pictures than the model.
    """
    refuse_lost_path("output", config.output)
    target = locate(config.output)
    suffix = PurePosixPath(target.name).suffix.lower()
    _check_output(config, target, suffix)
    size = parse_size(config.size) if config.size else None
    registered = config.model.startswith("models:/")
    tracking_uri = open_store(config) if registered else ""
    # Unlike for a prediction, the code that a version brings with it is not the code that runs.
    factory = None if registered else config.factory
    reference = settle(config.model, tracking_uri, factory).reference
    network = load_network(reference, tracking_uri, config.factory)
    with open_weights(reference, tracking_uri) as weights:
        metadata = _metadata(weights, network, size)
    with tempfile.TemporaryDirectory(prefix="k3dn-export-") as folder:
        file = Path(folder, f"network{suffix}")
        try:
            _write(file, network, size, metadata)
        except ValueError as error:
            raise UserError(f"{config.model}: {error}") from error
        difference = _difference(file, network, size)
        data = file.read_bytes()
    if config.overwrite:
        target.write_bytes(data)
    elif not target.put_if_absent(data):
        raise _present(config.output)
    return ExportModelResult(
        model=metadata["model"],
        inputs=tuple(metadata["inputs"].split(",")),
        sizes=metadata["sizes"],
        difference=difference,
        bytes=len(data),
        output=target.url,
    )


def _check_output(config: ExportModelConfig, target: Location, suffix: str) -> None:
    if suffix not in _SUFFIXES:
        raise UserError(
            f"output={config.output}: give a name that ends in .onnx, or in .pt2 for torch.export"
        )
    target.check_writable()
    if target.exists() and not config.overwrite:
        raise _present(config.output)
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if suffix == ".onnx" and missing:
        raise UserError(
            f"ONNX needs {' and '.join(missing)}: pip install 'k3dn[export]', or give a .pt2"
        )


def _present(output: str) -> UserError:
    return UserError(f"{output} exists; give another name, or overwrite=true")


def _metadata(weights: Path, network: "nn.Module", size: tuple[int, int] | None) -> dict[str, str]:
    """What a file says of itself; texts, as ONNX wants them."""
    from safetensors import safe_open

    from k3dn.export import OUTPUT_NAME, input_names, size_step_px, smallest_size_px

    with safe_open(str(weights), framework="np") as file:
        said = file.metadata()
    (down, across), least = size_step_px(network), smallest_size_px(network)
    if size is not None:
        sizes = f"pictures of {size[0]} x {size[1]} px, batch 1"
    elif (down, across) == (1, 1):
        sizes = "pictures of any size from 16 x 16 px, any batch"
    else:
        sizes = (
            f"pictures whose height is a multiple of {down} px and width of {across} px, "
            f"from {least[0]} x {least[1]} px, any batch"
        )
    metadata = {
        "model": said["model"],
        "options": said["options"],
        "weights_sha256": Location(str(weights)).sha256(),
        "inputs": ",".join(input_names(network)),
        "output": OUTPUT_NAME,
        "layout": "float32 (batch, 3, height, width), red first",
        "range": "sRGB in [0, 1]; the output is not clipped",
        "sizes": sizes,
        "multiples_px": f"{down}x{across}" if size is None else f"{size[0]}x{size[1]}",
    }
    return metadata | {key: said[key] for key in ("license",) if key in said}


def _write(
    file: Path, network: "nn.Module", size: tuple[int, int] | None, metadata: dict[str, str]
) -> None:
    import torch

    from k3dn.export import export_onnx, export_program, input_names

    say("tracing the network")
    program = export_program(network, size=size)
    if file.suffix == ".pt2":
        torch.export.save(program, file, extra_files={METADATA_FILE: json.dumps(metadata)})
        return
    say("translating it to ONNX; this takes a minute or more")
    model = export_onnx(program, input_names(network))
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    file.write_bytes(model.SerializeToString())


def _difference(file: Path, network: "nn.Module", size: tuple[int, int] | None) -> float | None:
    """Largest difference to the network on random pictures; None where nothing can run the file.

    Raises UserError where it is too large.
    """
    import torch

    from k3dn.export import input_names

    run_file = _runner(file)
    if run_file is None:
        return None
    say("comparing the file with the network")
    worst = 0.0
    for shape in [(1, 3, *size)] if size else _shapes(network):
        views = [torch.rand(shape) for _ in input_names(network)]
        with torch.no_grad():
            expected = network(*views)
        difference = float((run_file(views) - expected).abs().max())
        if not difference <= LARGEST_DIFFERENCE:  # NaN is too large as well
            raise UserError(
                f"the exported network is off by {difference:.1e} at {shape[2]} x {shape[3]} px, "
                f"more than {LARGEST_DIFFERENCE:.0e}; nothing was written: report it with the "
                "output of 'k3dn doctor'"
            )
        worst = max(worst, difference)
    return worst


def _runner(file: Path) -> _Run | None:
    import torch

    if file.suffix == ".pt2":
        module = torch.export.load(file).module()
        return lambda views: module(*views)
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    return lambda views: torch.from_numpy(
        session.run(None, {name: view.numpy() for name, view in zip(names, views, strict=True)})[0]
    )


def _shapes(network: "nn.Module") -> list[tuple[int, int, int, int]]:
    """Two sizes and batches, neither of which is that of the tracing."""
    from k3dn.export import size_step_px, smallest_size_px

    down, across = size_step_px(network)
    if (down, across) == (1, 1):
        return [(1, 3, 45, 83), (2, 3, 96, 64)]
    height, width = smallest_size_px(network)
    return [(1, 3, height, width), (2, 3, height, width + across)]
