"""The form in which a network is served: an MLflow model from code.

MLflow copies this file and the network's own package into the model, and runs this file when
the model is loaded. It imports nothing of the pipelines: mlflow, torch, numpy and safetensors
are all that a serving machine needs, and OpenCV for encoded pictures.

Input: {"left", "right"}, of any size from 16 x 16 px, in one of these forms, and the answer in
the same:

- arrays ``(H, W, 3)`` of uint8, uint16, or floats in [0, 1], sRGB;
- other integers, as JSON has them, with the parameter ``bits``: 8 or 16;
- a picture encoded as PNG, TIFF or JPEG, as bytes or as base64 text; the answer is a PNG of the
  same depth.

A network of single pictures takes the same picture twice, or ``left`` alone. Parameters: bits,
precision, memory_mib, halo_px, tile_px (0: as large as the memory allows).
"""

import base64
import binascii
import warnings
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

_DEPTHS = {8: np.uint8, 16: np.uint16}


def taken(view: Any, name: str, bits: int) -> tuple[np.ndarray, str]:
    """Return a view as ``k3dn.deblur`` takes it, and the form of the answer.

    name: what an error calls it. Raises ValueError for what is not a picture of a known form.
    """
    if isinstance(view, np.ndarray) and view.ndim == 0:
        view = view.item()
    if isinstance(view, str):
        try:
            return _decoded(base64.b64decode(view, validate=True), name), "base64"
        except binascii.Error as error:
            raise ValueError(f"{name}: text must be a picture in base64 ({error})") from error
    if isinstance(view, bytes):
        return _decoded(view, name), "bytes"
    array = np.asarray(view)
    if array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ValueError(f"{name} must be (H, W, 3), got {array.shape}")
    if array.dtype in (np.uint8, np.uint16):
        return array, array.dtype.name
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(array.min()), float(array.max())
        if not (low >= 0.0 and high <= 1.0):  # NaN is neither
            raise ValueError(
                f"{name}: floats must lie in [0, 1], got {low:g} to {high:g}; give 8 or 16 bit "
                "values as integers"
            )
        return array.astype(np.float32), array.dtype.name
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold integers or floats, got {array.dtype}")
    if bits not in _DEPTHS:
        raise ValueError(
            f"{name}: integers of {array.dtype} may be 8 or 16 bit; give the parameter bits=8 or "
            "bits=16, or an array of uint8 or uint16"
        )
    if array.min() < 0 or array.max() >= 2**bits:
        raise ValueError(
            f"{name}: values must lie in 0 to {2**bits - 1} with bits={bits}, got {array.min()} "
            f"to {array.max()}"
        )
    return array.astype(_DEPTHS[bits]), array.dtype.name


def given_back(image: np.ndarray, form: str) -> Any:
    """Return a restored picture in the form that ``taken`` found."""
    if form not in ("bytes", "base64"):
        return image.astype(form)
    import cv2

    _, data = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))
    return data.tobytes() if form == "bytes" else base64.b64encode(data.tobytes()).decode()


def views_of(model_input: Any) -> tuple[Any, Any]:
    """Return what was sent as the two views, the right one None where there is none.

    Raises ValueError for anything but one pair by name: lists, tables, other names.
    """
    known = {"left", "right"}
    if not isinstance(model_input, dict) or not {"left"} <= set(model_input) <= known:
        named = type(model_input).__name__
        if isinstance(model_input, dict):
            named = ", ".join(sorted(map(str, model_input))) or "nothing"
        raise ValueError(f"inputs must be one pair, {{'left': ..., 'right': ...}}, got {named}")
    return model_input["left"], model_input.get("right")


def _decoded(data: bytes, name: str) -> np.ndarray:
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error as error:  # a size that no picture has, in a few bytes
        raise ValueError(f"{name}: a picture larger than OpenCV reads") from error
    if image is None:
        raise ValueError(f"{name}: {len(data)} bytes that are not PNG, TIFF or JPEG")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{name} must be an RGB picture of 8 or 16 bit, got {image.shape} of {image.dtype}"
        )
    return np.ascontiguousarray(image[..., ::-1])


# MLflow reads hints on ``predict`` as a schema for lists of inputs, so it has none; MLflow would
# warn about that whenever the model is saved or loaded. It sets a filter of its own before it
# does, so the warning is caught, not filtered.
with warnings.catch_warnings(record=True):

    class DualPixelDeblurring(PythonModel):
        """Weights and code of one registered version."""

        def load_context(self, context: Any) -> None:
            import torch

            from k3dn import load_weights

            device = "cuda" if torch.cuda.is_available() else "cpu"
            # The version's own code, which came with it; a name in the weights alone runs nothing.
            factory = (context.model_config or {}).get("factory")
            self.network = load_weights(context.artifacts["weights"], factory).to(device)

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            from k3dn import deblur

            # By MLflow's schema numbers come as its own types, and 0 stands for none given.
            settings: dict[str, Any] = {
                key: value if isinstance(value, str) else int(value)
                for key, value in (params or {}).items()
            }
            settings["tile_px"] = settings.get("tile_px") or None
            bits = settings.pop("bits", 0)
            try:
                left, right = views_of(model_input)
                left, form = taken(left, "left", bits)
                if right is not None:
                    right, other = taken(right, "right", bits)
                    if other != form:
                        raise ValueError(f"the views must have one form, got {form} and {other}")
                return given_back(deblur(self.network, left, right, **settings), form)
            except ValueError as error:  # what MLflow's server tells who asked, with status 400
                raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error


set_model(DualPixelDeblurring())
