"""The form in which a network is served: an MLflow model from code.

MLflow copies this file and the network's own package into the model, and runs this file when
the model is loaded. It imports nothing of the pipelines: mlflow, torch, numpy and safetensors
are all that a serving machine needs.

Input: {"left", "right"}, each float32 ``(H, W, 3)`` sRGB in [0, 1], any size from 16 x 16 px.
A network of single pictures takes the same picture twice.
Output: the sharp picture, float32 ``(H, W, 3)``. Parameters: precision, memory_mib,
halo_px, tile_px (0: as large as the memory allows).
"""

import warnings
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

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
            return deblur(self.network, model_input["left"], model_input["right"], **settings)


set_model(DualPixelDeblurring())
