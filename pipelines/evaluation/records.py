"""The figures of an evaluation in MLflow: a run for each model, and on the version itself."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.version import open_version
from pipelines.errors import UserError
from pipelines.evaluation.config import EvaluateConfig
from pipelines.evaluation.measure import plan
from pipelines.evaluation.pictures import Shown
from pipelines.evaluation.summary import MethodFigures
from pipelines.evaluation.tables import Costs, markdown, with_interval
from pipelines.mlflow_store import ensure_store, shared_url
from pipelines.progress import say
from pipelines.registry.loading import SettledModel
from pipelines.registry.registry import (
    client_of,
    experiment_of,
    logged_model_id,
    set_despite_race,
)
from pipelines.report.pictures import fit
from pipelines.scores import INPUT
from pipelines.storage import Location, locate
from pipelines.tracking import dataset_input, short_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient

_EVALUATED = "k3dn.evaluated"
_PICTURE_PX = 400
_MOST_WORDS = 5000
"""Characters of a description that all of MLflow's stores keep."""


def log_evaluation(
    config: EvaluateConfig,
    models: Mapping[str, SettledModel],
    figures: Sequence[MethodFigures],
    costs: Costs,
    folder: Location,
    shown: Sequence[Shown],
    tracking_uri: str,
) -> tuple[str, ...]:
    """Write the figures into MLflow, once; they are kept all the same where it is away.

    Returns the ids of the runs, in the order of the models.
    """
    from mlflow.exceptions import MlflowException

    try:
        ensure_store(tracking_uri)
        client = client_of(tracking_uri)
        return tuple(
            _log_one(client, config, label, model, figures, costs, folder, shown)
            for label, model in models.items()
        )
    except (MlflowException, UserError, OSError) as error:
        say(f"the figures are not in MLflow ({str(error).splitlines()[0]}); they are in {folder}")
        return ()


def _log_one(
    client: "MlflowClient",
    config: EvaluateConfig,
    label: str,
    model: SettledModel,
    figures: Sequence[MethodFigures],
    costs: Costs,
    folder: Location,
    shown: Sequence[Shown],
) -> str:
    from mlflow.entities import Metric, Param

    experiment = experiment_of(client, model.version.run_id if model.version else None)
    key = f"{folder.name}/{label}"
    asked = f"tags.`{_EVALUATED}` = '{key}' and attributes.status = 'FINISHED'"
    known = client.search_runs([experiment], asked, max_results=1)
    if known:
        return str(known[0].info.run_id)
    rows = [row for row in figures if row.method in (INPUT, label)]
    run = client.create_run(
        experiment,
        run_name=f"evaluate {label}",
        tags={
            "k3dn.step": "evaluate",
            _EVALUATED: key,
            "k3dn.model_identity": model.identity,
            "mlflow.note.content": markdown(rows),
        },
    )
    run_id = str(run.info.run_id)
    values = dict(_metrics(rows))
    if counted := costs.get(label):
        values |= {"parameters": float(counted[0]), "multiply_adds": float(counted[1])}
    now = run.info.start_time
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, now, 0) for name, value in values.items()],
        params=[Param(name, str(value)[:500]) for name, value in _settings(config, model).items()],
    )
    root = locate(config.root)
    versions = [open_version(root, name) for name in config.datasets]
    inputs = [
        dataset_input(v.reference, v.digest, shared_url(v.location), "eval") for v in versions
    ]
    client.log_inputs(run_id, inputs)
    client.log_text(run_id, markdown(rows), "table.md")
    for name in ("index.html", "result.json"):
        if folder.child(name).exists():
            text = folder.child(name).read_bytes().decode()
            client.log_text(run_id, _without_places(text) if name == "result.json" else text, name)
    pictures = dict(_pictures(shown, label))
    for path, (_, data) in pictures.items():
        client.log_image(run_id, data, artifact_file=path)
    if model.version is not None:
        _on_version(client, config, model, run_id, rows, values, now)
        about = _about(config, rows, run_id, {p: words for p, (words, _) in pictures.items()})
        client.update_model_version(model.version.name, model.version.version, about)
    client.set_terminated(run_id)
    return run_id


def _without_places(result: str) -> str:
    """A result as others may read it: without folders of the machine that measured."""
    found = json.loads(result)
    found.pop("output", None)
    found["references"] = [
        reference for reference in found["references"] if reference.startswith(("models:/", "box:"))
    ]
    return json.dumps(found, indent=1)


def _on_version(
    client: "MlflowClient",
    config: EvaluateConfig,
    model: SettledModel,
    run_id: str,
    rows: Sequence[MethodFigures],
    values: Mapping[str, float],
    now: int,
) -> None:
    """Figures on the version: tags that people read, metrics of the logged model, description."""
    from mlflow.entities import Metric

    assert model.version is not None
    name, number = model.version.name, model.version.version
    for row in rows:
        if row.method != INPUT:
            where = f"{row.dataset.replace('@', '/')}.{config.split}"
            text = (
                f"PSNR {with_interval(row.psnr, 2)} dB, "
                f"{with_interval(row.over_input, 2, sign=True)} over the input, "
                f"SSIM {row.ssim.mean:.4f}, {row.psnr.pictures} pictures of {row.psnr.scenes} "
                "scenes"
            )
            set_despite_race(
                client.set_model_version_tag, name, number, f"k3dn.evaluation.{where}", text
            )
    model_id = logged_model_id(name, number, client.tracking_uri)
    if model_id:
        digests = {held.reference: held.digest for held in plan(config, model)}
        metrics = []
        for key, value in values.items():
            measured = "@".join(key.split("/")[:2])  # name/version/figure
            of: dict[str, Any] = {}
            if measured in digests:
                digest = short_digest(digests[measured])
                of = {"dataset_name": measured, "dataset_digest": digest}
            metrics.append(Metric(key, value, now, 0, model_id=model_id, run_id=run_id, **of))
        client.log_batch(run_id, metrics=metrics)


def _about(
    config: EvaluateConfig,
    rows: Sequence[MethodFigures],
    run_id: str,
    pictures: Mapping[str, str],
) -> str:
    """The description of a version: figures, and pictures as MLflow's server shows them."""
    parts = [
        f"Measured on the {config.split} pairs; in brackets 95 % intervals by scene.",
        markdown(rows),
        *(
            f"{words}: input, restored, truth\n\n"
            f"![{words}](get-artifact?{urlencode({'path': path, 'run_uuid': run_id})})"
            for path, words in pictures.items()
        ),
    ]
    text = ""
    for part in parts:  # whole parts alone: MLflow keeps so many characters
        if len(text) + len(part) + 2 <= _MOST_WORDS:
            text += f"{part}\n\n"
    return text


def _pictures(
    shown: Sequence[Shown], label: str
) -> Iterator[tuple[str, tuple[str, NDArray[np.uint8]]]]:
    """The input, a model's answer and the truth beside each other, of each pair on the page."""
    for number, pair in enumerate(shown):
        parts = [fit(part, _PICTURE_PX) for part in (pair.input, pair.outputs[label], pair.target)]
        words = f"{pair.dataset}, {pair.place}, {pair.psnr[label] - pair.input_psnr:+.2f} dB"
        yield f"pictures/{number:02d}.png", (words, np.concatenate(parts, axis=1))


def _metrics(rows: Sequence[MethodFigures]) -> Iterator[tuple[str, float]]:
    for row in rows:
        side = "input" if row.method == INPUT else "output"
        where = f"{row.dataset.replace('@', '/')}/{side}"
        values: dict[str, Any] = {
            "psnr": row.psnr.mean,
            "psnr_low": row.psnr.low,
            "psnr_high": row.psnr.high,
            "ssim": row.ssim.mean,
            "mae": row.mae.mean,
            "rmse_rel": row.rmse_rel,
        }
        if row.over_input is not None:
            gain = row.over_input
            values |= {"gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high}
        for kind, gain in row.by_kind.items():
            values[f"gain_{kind.replace(' ', '_')}"] = gain.mean
        for name, value in values.items():
            if math.isfinite(value):
                yield f"{where}_{name}", value


def _settings(config: EvaluateConfig, model: SettledModel) -> dict[str, object]:
    reference = model.reference if model.reference.startswith(("models:/", "box:")) else model.label
    return {
        "model": reference,
        "datasets": ",".join(config.datasets),
        "split": config.split,
        "max_pairs": config.max_pairs,
        "register": config.register,
        "precision": config.precision,
        "tile_px": config.tile_px,
        "halo_px": config.halo_px,
    }
