"""The child of ``ModelProcess``: load one model, answer until the parent is gone.

``python -m pipelines.registry.model_server PIPE REFERENCE TRACKING_URI FACTORY FOLDER``. Must not
import ``k3dn`` before the model is loaded: a registered version brings its own.
"""

import hashlib
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipelines.environment import prepare_environment
from pipelines.registry.model_process import Picture, get_picture, put_pictures

Predict = Callable[[Picture, Picture | None, dict[str, Any]], Picture]


@dataclass(frozen=True)
class Loaded:
    """A model that answers."""

    predict: Predict
    network: Any
    """The module; None where a version of another form does not show it."""


def load(reference: str, tracking_uri: str, factory: str | None, folder: str) -> Loaded:
    """Load a registered version, a weights file, or what a factory builds.

    folder: takes a copy of the version. MLflow writes beside what it loads, and who may read a
    store need not be allowed to write there.
    """
    if not reference.startswith("models:/"):
        return _load_here(reference, factory)
    prepare_environment()
    import mlflow

    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    # The model itself, behind MLflow's schema, which takes floats alone. Without MLflow's warnings,
    # which nobody would read here: to find packages of other versions takes it a second.
    loaded = mlflow.pyfunc.load_model(reference, suppress_warnings=True, dst_path=folder)
    model: Any = loaded.unwrap_python_model()
    known = [parameter.name for parameter in loaded.metadata.get_params_schema() or []]

    def predict(left: Picture, right: Picture | None, settings: dict[str, Any]) -> Picture:
        understood = settings_of(settings, known)
        restored: Picture = model.predict(None, {"left": left, "right": right}, understood)
        return restored

    return Loaded(predict, getattr(model, "network", None))


def settings_of(settings: dict[str, Any], known: list[str]) -> dict[str, Any]:
    """Keep what a version of the model knows; raises ValueError for what it cannot do.

    A version from before there was a choice of precision computes in float32.
    """
    wanted = {k: v for k, v in settings.items() if (k, v) != ("precision", "fp32") or k in known}
    unknown = [f"{key}={value}" for key, value in wanted.items() if key not in known]
    if unknown:
        raise ValueError(f"this version does not know {', '.join(unknown)}; leave it out")
    return wanted


def _load_here(reference: str, factory: str | None) -> Loaded:
    import torch

    import k3dn

    try:
        if reference == factory:  # no file: the factory brings its own weights
            network = k3dn.build_model(factory).eval()
        else:
            network = k3dn.load_weights(reference, factory)
    except ValueError as error:
        sys.exit(str(error))  # the last line, which is the one that the parent reads
    network.to("cuda" if torch.cuda.is_available() else "cpu")

    def predict(left: Picture, right: Picture | None, settings: dict[str, Any]) -> Picture:
        restored: Any = k3dn.deblur(network, left, right, **settings)
        return restored

    return Loaded(predict, network)


def serve(pipe: "Connection[Any, Any]", model: Loaded) -> None:
    """Answer one request after another until the other end closes."""
    while True:
        try:
            request = json.loads(pipe.recv_bytes())
        except (EOFError, ConnectionError):
            return
        try:
            if "count_at" in request:
                answer = _counted(model.network, *request["count_at"])
            elif "weights" in request:
                answer = {"sha256": _digest(model.network)}
            else:
                answer = _restored(model.predict, request)
        except Exception as error:  # whatever a model raises is the parent's to report
            answer = {"error": (str(error).strip() or type(error).__name__).splitlines()[0]}
        pipe.send_bytes(json.dumps(answer).encode())


def _restored(predict: Predict, request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request.pop("folder"))
    left, right = get_picture(folder, "left"), get_picture(folder, "right")
    assert left is not None
    start = time.perf_counter()
    image = predict(left, right, request)  # a NumPy array: the device has finished
    seconds = time.perf_counter() - start
    put_pictures(folder, {"image": image})
    device, peak_mib = _device_and_peak()
    return {"seconds": seconds, "peak_mib": peak_mib, "device": device}


def _device_and_peak() -> tuple[str, float]:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name(), torch.cuda.max_memory_allocated() / 2**20
    units = 2**20 if sys.platform == "darwin" else 2**10
    return "CPU", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units


def _counted(network: Any, height: int, width: int) -> dict[str, Any]:
    from k3dn.summary import summarize

    summary = summarize(network, height, width)
    return {"parameters": summary.parameters, "macs": summary.macs}


def _digest(network: Any) -> str:
    """The sha256 of all parameters and buffers, by name."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    _, pipe, *what, where = sys.argv
    serve(Connection(int(pipe)), load(what[0], what[1], what[2] or None, where))
