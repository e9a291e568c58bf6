"""The child of ``ModelProcess``: load one model, answer until the parent is gone.

``python -m pipelines.models.model_server PIPE REFERENCE TRACKING_URI FACTORY``. Must not import
``k3dn`` before the model is loaded: a registered version brings its own.
"""

import json
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipelines.environment import prepare_environment
from pipelines.models.model_process import Picture, get_picture, put_pictures

Predict = Callable[[Picture, Picture | None, dict[str, Any]], Picture]


def load(reference: str, tracking_uri: str, factory: str | None) -> Predict:
    """Return the prediction function of a registered version or of a weights file."""
    if not reference.startswith("models:/"):
        return _load_weights_file(reference, factory)
    prepare_environment()
    import mlflow

    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    # The model itself, behind MLflow's schema, which takes floats alone.
    loaded = mlflow.pyfunc.load_model(reference)
    model: Any = loaded.unwrap_python_model()
    known = [parameter.name for parameter in loaded.metadata.get_params_schema() or []]

    def predict(left: Picture, right: Picture | None, settings: dict[str, Any]) -> Picture:
        understood = settings_of(settings, known)
        restored: Picture = model.predict(None, {"left": left, "right": right}, understood)
        return restored

    return predict


def settings_of(settings: dict[str, Any], known: list[str]) -> dict[str, Any]:
    """Keep what a version of the model knows; raises ValueError for what it cannot do.

    A version from before there was a choice of precision computes in float32.
    """
    wanted = {k: v for k, v in settings.items() if (k, v) != ("precision", "fp32") or k in known}
    unknown = [f"{key}={value}" for key, value in wanted.items() if key not in known]
    if unknown:
        raise ValueError(f"this version does not know {', '.join(unknown)}; leave it out")
    return wanted


def _load_weights_file(path: str, factory: str | None) -> Predict:
    import torch

    import k3dn

    try:
        network = k3dn.load_weights(path, factory)
    except ValueError as error:
        sys.exit(str(error))  # the last line, which is the one that the parent reads
    network.to("cuda" if torch.cuda.is_available() else "cpu")

    def predict(left: Picture, right: Picture | None, settings: dict[str, Any]) -> Picture:
        restored: Any = k3dn.deblur(network, left, right, **settings)
        return restored

    return predict


def serve(pipe: "Connection[Any, Any]", predict: Predict) -> None:
    """Answer one request after another until the other end closes."""
    while True:
        try:
            request = json.loads(pipe.recv_bytes())
        except (EOFError, ConnectionError):
            return
        folder = Path(request.pop("folder"))
        left, right = get_picture(folder, "left"), get_picture(folder, "right")
        problem = ""
        try:
            assert left is not None
            put_pictures(folder, {"image": predict(left, right, request)})
        except Exception as error:  # whatever a model raises is the parent's to report
            problem = (str(error).strip() or type(error).__name__).splitlines()[0]
        pipe.send_bytes(problem.encode())


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])), load(sys.argv[2], sys.argv[3], sys.argv[4] or None))
