"""Write a network into an MLflow store in the form in which it is served."""

import base64
import importlib.metadata
import json
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.registry.source_code import StagedCode

if TYPE_CHECKING:
    from mlflow import MlflowClient

WEIGHTS_FILE = "weights.safetensors"
_EXAMPLE_PX = 32
_SERVABLE = Path(__file__).with_name("servable.py")


def log_servable(
    client: "MlflowClient",
    weights: Path,
    model: str,
    code: StagedCode,
    run_id: str | None,
    experiment_id: str,
    folder: Path,
) -> str:
    """Write the servable model into the store and return its id.

    model: what the weights are for, as ``k3dn.build_model`` takes it.

    By the client: ``mlflow.pyfunc.log_model`` would take the active run of this process, and
    making ours the active one would end a run that the trainer still writes to.
    """
    import mlflow
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    logged = client.create_logged_model(experiment_id, name="network", source_run_id=run_id)
    staged = shutil.copyfile(weights, folder / WEIGHTS_FILE)
    local = folder / "model"
    # It warns that it cannot infer a signature (ours is written by hand), past any filter.
    with warnings.catch_warnings(record=True):
        mlflow.pyfunc.save_model(
            path=str(local),
            mlflow_model=Model(
                artifact_path="network",  # not where this store lies
                model_uuid=logged.model_id,
                run_id=run_id,
                model_id=logged.model_id,
            ),
            python_model=str(_SERVABLE),
            artifacts={"weights": str(staged)},
            model_config={"factory": model} if ":" in model else None,
            code_paths=list(code.paths),
            signature=_signature(),
            pip_requirements=[*_requirements(), *code.requirements],
        )
    _forget_this_machine(local / "MLmodel", (staged, _SERVABLE))
    _add_example(local)
    client.log_model_artifacts(logged.model_id, str(local))
    client.finalize_logged_model(logged.model_id, "READY")
    if run_id:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return str(logged.model_id)


def _signature() -> Any:
    """Parameters alone.

    A schema of tensors has one type of number and no encoded pictures, and MLflow would refuse all
    else before the model sees it: ``servable.taken`` checks what comes in.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec

    return ModelSignature(
        params=ParamSchema(
            [
                ParamSpec("bits", "long", 0),
                ParamSpec("precision", "string", "auto"),
                ParamSpec("memory_mib", "long", 1024),
                ParamSpec("halo_px", "long", 96),
                ParamSpec("tile_px", "long", 0),
            ]
        ),
    )


def _forget_this_machine(description: Path, files: tuple[Path, ...]) -> None:
    """MLflow notes where files came from, of which it needs the names alone."""
    text = description.read_text(encoding="utf-8")
    for file in files:
        text = text.replace(str(file), file.name)
    description.write_text(text, encoding="utf-8")


def _add_example(folder: Path) -> None:
    """Add a small pair as MLflow's input example, and as the body of a request to its server.

    MLflow's own way would run the network to check it, with no choice of the device.
    """
    import cv2
    import yaml

    step, across = np.mgrid[0:_EXAMPLE_PX, 0:_EXAMPLE_PX]
    edge = np.where(across + step // 4 < _EXAMPLE_PX // 2, 64, 192).astype(np.uint8)
    views = {"left": np.roll(edge, 1, axis=1), "right": np.roll(edge, -1, axis=1)}
    example = {}
    for name, view in views.items():
        blurred = cv2.GaussianBlur(cv2.cvtColor(view, cv2.COLOR_GRAY2BGR), (5, 5), 0)
        example[name] = base64.b64encode(cv2.imencode(".png", blurred)[1].tobytes()).decode()
    (folder / "input_example.json").write_text(json.dumps(example), encoding="utf-8")
    body = json.dumps({"inputs": example})
    (folder / "serving_input_example.json").write_text(body, encoding="utf-8")
    description = folder / "MLmodel"
    content = yaml.safe_load(description.read_text(encoding="utf-8"))
    content["saved_input_example_info"] = {
        "artifact_path": "input_example.json",
        "serving_input_path": "serving_input_example.json",
        "type": "json_object",
    }
    description.write_text(yaml.safe_dump(content), encoding="utf-8")


def _requirements() -> list[str]:
    """Exact versions without local labels such as +cpu, which no index serves."""
    names = own_requirements()
    return [f"{n}=={importlib.metadata.version(n).partition('+')[0]}" for n in names]


def own_requirements() -> tuple[str, ...]:
    """The packages that every served version needs."""
    return ("mlflow", "numpy", "opencv-python-headless", "safetensors", "torch")
