"""Write a network into an MLflow store in the form in which it is served."""

import importlib.metadata
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.registry.source_code import StagedCode

if TYPE_CHECKING:
    from mlflow import MlflowClient

WEIGHTS_FILE = "weights.safetensors"
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


def _requirements() -> list[str]:
    """Exact versions without local labels such as +cpu, which no index serves."""
    names = ("mlflow", "numpy", "opencv-python-headless", "safetensors", "torch")
    return [f"{n}=={importlib.metadata.version(n).partition('+')[0]}" for n in names]
