"""Copy a version from one registry into another, with what belongs to it.

The weights and the code are those that the version's digests name, before and after the way. What
is copied is found again by what it was copied from: a copy that was killed goes on, and one that
is repeated finds the version that there is.
"""

import hashlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipelines.config import without_password
from pipelines.errors import UserError
from pipelines.registry.packaging import WEIGHTS_FILE, own_requirements
from pipelines.registry.registry import (
    ModelVersion,
    client_of,
    create_version,
    experiment_of,
    logged_model_id,
    make_challenger_if_newest,
    mlflow_store,
)
from pipelines.registry.source_code import joined_digest, tree_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient

COPIED_TAG = "k3dn.copied_from"
_DESCRIPTION = "MLmodel"
_FOLDERS = re.compile(r"(?<![^\s,\[\]'\"=])(?:file:/*)?/(?:[^\s,/\]'\"]+/)*(?=[^\s,/\]'\"])")
"""What stands before the name of a file, in a parameter that names one or several."""
_PICTURE = re.compile(r"\n[^\n]*\n\n!\[.*?\]\(.*?\)")
_DECIDED_THERE = ("k3dn.gate", "k3dn.decision", "k3dn.evaluation")
"""Tags of a version that say what was found and decided in the registry that it comes from."""
_OF_THAT_PLACE = ("k3dn.folder", "k3dn.weights", "k3dn.run")
"""Tags of a run that name its folder, or by which the trainer finds it."""


def copy_version(
    version: ModelVersion, source_uri: str, target_uri: str, *, tags: Mapping[str, str]
) -> str:
    """Copy a version into the store ``target_uri`` under the same name; return its number there.

    It becomes challenger there where it is the newest. tags: further tags of the copy. A version of
    the same weights and code that is there is taken as it is. Raises UserError where the artifacts
    are not what the version's digests say, here or after the way.
    """
    source, target = client_of(source_uri), client_of(target_uri)
    number = _same_content(target, version)
    if number is None:
        with tempfile.TemporaryDirectory(prefix="k3dn-copy-") as name:
            folder = Path(name, "sent")
            _download(version.uri, source_uri, folder)
            check_content(folder, version)
            run_id = _copy_run(source, target, version)
            model_id = _copy_model(source, target, version, run_id, folder, Path(name, "arrived"))
        kept = {k: v for k, v in version.tags.items() if not k.startswith(_DECIDED_THERE)}
        number = create_version(
            target,
            version.name,
            model_id,
            run_id,
            {**kept, **tags, COPIED_TAG: f"{version.name} v{version.version}"},
        )
        said = source.get_model_version(version.name, version.version).description
        if said:
            said = _PICTURE.sub("", said)  # which lie with a run of that registry
            note = f"Copied from v{version.version} of another registry, which says of it:\n\n"
            target.update_model_version(version.name, number, note + said)
        number = _oldest_of_ours(target, version, number)
    else:
        _complete(target, version, number, tags)
    make_challenger_if_newest(target, version.name, number)
    return number


def check_content(folder: Path, version: ModelVersion) -> None:
    """Raise UserError unless weights and code in a folder are those that the version's tags say."""
    weights = folder / "artifacts" / WEIGHTS_FILE
    found = {"weights": hashlib.sha256(weights.read_bytes()).hexdigest()}
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").split()
    further = [line for line in lines if line.partition("==")[0] not in own_requirements()]
    found["code"] = joined_digest(tree_digest(folder / "code"), further)
    for part, digest in found.items():
        said = version.tags.get(f"k3dn.{part}_sha256")
        if said != digest:
            raise UserError(
                f"{version.uri}: its {part} have the digest {digest[:12]}, its tag says "
                f"{(said or 'nothing')[:12]}; it is damaged or was changed by hand, and not copied"
            )


def _same_content(client: "MlflowClient", version: ModelVersion) -> str | None:
    """The oldest version with the same weights and code; None where there is none."""
    digests = ("k3dn.weights_sha256", "k3dn.code_sha256")
    found = [
        int(other.version)
        for other in client.search_model_versions(f"name = '{version.name}'")
        if all(key in version.tags and other.tags.get(key) == version.tags[key] for key in digests)
    ]
    return str(min(found)) if found else None


def _complete(
    client: "MlflowClient", version: ModelVersion, number: str, tags: Mapping[str, str]
) -> None:
    """Say of a version of the same content what it lacks: what it was trained on."""
    there = client.get_model_version(version.name, number).tags
    for key, value in tags.items():
        if key not in there:
            client.set_model_version_tag(version.name, number, key, value)


def _oldest_of_ours(client: "MlflowClient", version: ModelVersion, number: str) -> str:
    """Of two that were copied at once the older one stays."""
    oldest = _same_content(client, version)
    if oldest is None or oldest == number:
        return number
    client.delete_model_version(version.name, number)
    return oldest


def _copy_run(source: "MlflowClient", target: "MlflowClient", version: ModelVersion) -> str | None:
    """Copy the training's parameters, last figures and datasets; its artifacts stay there."""
    from mlflow.entities import Metric, Param

    if version.run_id is None:
        return None
    theirs = source.get_run(version.run_id)
    experiment = experiment_of(target, None)
    found = target.search_runs([experiment], f"tags.`{COPIED_TAG}` = '{version.run_id}'")
    if found and found[0].info.status == "FINISHED":
        return str(found[0].info.run_id)
    kept = {
        key: value
        for key, value in theirs.data.tags.items()
        if key == "mlflow.note.content" or (key.startswith("k3dn.") and key not in _OF_THAT_PLACE)
    }
    ours = (
        found[0]
        if found
        else target.create_run(
            experiment,
            run_name=theirs.info.run_name,
            tags={**kept, COPIED_TAG: version.run_id},
        )
    )
    run_id = str(ours.info.run_id)
    params = [Param(key, _FOLDERS.sub("", value)) for key, value in theirs.data.params.items()]
    metrics = [Metric(m.key, m.value, m.timestamp, m.step) for m in theirs.data._metric_objs]
    for first in range(0, len(params), 100):  # the most that one call may carry
        target.log_batch(run_id, params=params[first : first + 100])
    for first in range(0, len(metrics), 1000):
        target.log_batch(run_id, metrics=metrics[first : first + 1000])
    inputs = theirs.inputs.dataset_inputs if theirs.inputs else []
    if inputs and not (ours.inputs and ours.inputs.dataset_inputs):
        target.log_inputs(run_id, inputs)
    target.set_terminated(run_id)
    return run_id


def _copy_model(
    source: "MlflowClient",
    target: "MlflowClient",
    version: ModelVersion,
    run_id: str | None,
    sent: Path,
    arrived: Path,
) -> str:
    """Write the artifacts into the target as a model of its own, read them back and compare."""
    origin = logged_model_id(version.name, version.version, source.tracking_uri) or version.uri
    experiment = experiment_of(target, run_id)
    found = target.search_logged_models(
        [experiment], filter_string=f"tags.`{COPIED_TAG}` = '{origin}'"
    )
    model = (
        found[0]
        if found
        else target.create_logged_model(
            experiment, name="network", source_run_id=run_id, tags={COPIED_TAG: origin}
        )
    )
    if model.status == "READY":
        return str(model.model_id)
    _name_anew(sent / _DESCRIPTION, str(model.model_id), run_id)
    target.log_model_artifacts(model.model_id, str(sent))
    _download(f"models:/{model.model_id}", target.tracking_uri, arrived)
    if tree_digest(arrived) != tree_digest(sent):
        raise UserError(
            f"{version.uri} did not arrive in {without_password(target.tracking_uri)} as it was "
            "sent; its storage may be damaged or full, the same command tries again"
        )
    target.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def _name_anew(description: Path, model_id: str, run_id: str | None) -> None:
    content: dict[str, Any] = yaml.safe_load(description.read_text(encoding="utf-8"))
    content |= {"model_id": model_id, "model_uuid": model_id, "run_id": run_id}
    description.write_text(yaml.safe_dump(content), encoding="utf-8")


def _download(uri: str, tracking_uri: str, folder: Path) -> None:
    import mlflow

    folder.mkdir()
    with mlflow_store(tracking_uri):
        local = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
    (local / "registered_model_meta").unlink(missing_ok=True)  # MLflow's note of the version
