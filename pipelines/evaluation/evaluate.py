"""``k3dn evaluate``: measure models on held-out pairs, beside the blurred input."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from pipelines.errors import UserError
from pipelines.evaluation.config import INPUT_MODEL, EvaluateConfig, MeasureConfig
from pipelines.evaluation.explained import Explained, explained
from pipelines.evaluation.figures import figures_of_page
from pipelines.evaluation.labels import on_labels, read_labels, with_labels
from pipelines.evaluation.leakage import find_leakage
from pipelines.evaluation.measure import (
    Measured,
    measure,
    on_masks,
    pairs_of,
    pinned,
    plan,
    to_parquet,
)
from pipelines.evaluation.page import PageContent, evaluation_page
from pipelines.evaluation.pictures import Shown, chosen, restored
from pipelines.evaluation.records import log_evaluation
from pipelines.evaluation.summary import MethodFigures, as_plain, figures_of
from pipelines.evaluation.tables import Costs, cost_cells, latex, markdown, text_table
from pipelines.mlflow_store import resolve_tracking_uri
from pipelines.next_steps import command
from pipelines.picture_keys import parse_size
from pipelines.progress import say
from pipelines.registry.loading import SettledModel, settle
from pipelines.registry.model_process import ModelProcess
from pipelines.registry.registry import open_store
from pipelines.scores import TableRow, table
from pipelines.storage import Location, locate

FEW_SCENES = 10
_COSTS = (" parameters", " multiply-adds", " a megapixel", " at most", "")


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What ``k3dn evaluate`` found."""

    models: tuple[str, ...]
    """Labels, in the order given."""
    references: tuple[str, ...]
    split: str
    rows: tuple[TableRow, ...]
    """Per dataset the input and the first model, as ``scores.table`` gives them."""
    figures: tuple[MethodFigures, ...]
    """Per dataset the input and every model, with intervals and paired differences."""
    costs: Mapping[str, tuple[int, int] | None]
    """Parameters and multiply-adds of each model; None where they are not countable."""
    marks: tuple[str, ...]
    """What a reader of the figures must know."""
    skipped: int
    """Pairs without a target, which cannot be measured."""
    run_ids: tuple[str, ...]
    """The MLflow runs with these figures; none where they could not be written."""
    output: str
    """Folder with the page, tables, result.json and pairs.parquet."""

    def describe(self) -> str:
        """Return the table, what to know of it, and where the rest lies."""
        lines = [f"on the {self.split} pairs", "", text_table(self.figures), ""]
        for method in self.models:
            cells = zip(cost_cells(method, self.figures, self.costs), _COSTS, strict=True)
            found = [f"{cell}{what}" for cell, what in cells if cell != "—"]
            lines.append(f"{method}: " + ", ".join(found))
        if self.skipped:
            lines.append(f"{self.skipped} pairs have no target and were left out")
        lines += [f"note: {mark}" for mark in self.marks]
        return "\n".join([*lines, f"page, tables and scores of each pair: {self.output}"])

    def next_steps(self) -> list[str]:
        """Return what one may run next."""
        for reference in self.references:
            if reference.startswith("models:/"):
                name, _, version = reference.removeprefix("models:/").partition("/")
                return [f"{command('promote', name=name, candidate=version)} --dry-run"]
        return []


def run(config: EvaluateConfig) -> EvaluationResult:
    """Measure every model on the same pairs, and write page, tables, figures and records.

    Raises UserError for a model or dataset that is not there.
    """
    asks_registry = any(model.startswith("models:/") for model in config.model)
    tracking_uri = open_store(config) if asks_registry else resolve_tracking_uri(config)
    models = _settled(config, tracking_uri)
    config = pinned(config)
    labels, remarks = _labels(config, next(iter(models.values())))
    measured = {label: measure(config, model, tracking_uri) for label, model in models.items()}
    scores = {label: found.scores for label, found in measured.items()}
    figures = figures_of({name: with_labels(found, labels) for name, found in scores.items()})
    first = next(iter(models))
    folder = _folder(config, models)
    costs, shown, found = _look_closer(config, models, measured, tracking_uri)
    marks = (*marks_of(config, models, figures, tracking_uri), *remarks)
    folder.child("pairs.parquet").write_bytes(to_parquet(dict(scores)))
    folder.child("table.md").write_bytes(markdown(figures).encode())
    folder.child("table.tex").write_bytes(latex(figures).encode())
    if config.pictures:
        content = PageContent(
            methods=tuple(models),
            split=config.split,
            rows=figures,
            costs=costs,
            cost_size=config.cost_size,
            marks=marks,
            shown=tuple(shown),
            explained=found,
            registered=config.register,
        )
        page = evaluation_page(content)
        folder.child("index.html").write_bytes(page.encode())
        for name, data in figures_of_page(page, content):
            folder.child("figures", name).write_bytes(data)
    result = EvaluationResult(
        models=tuple(models),
        references=tuple(model.reference for model in models.values()),
        split=config.split,
        rows=table(scores[first], first),
        figures=figures,
        costs=costs,
        marks=marks,
        skipped=measured[first].skipped,
        run_ids=(),
        output=folder.url,
    )
    folder.child("result.json").write_bytes(_json(result))  # which goes along
    whole = [row for row in figures if row.dataset in {one.dataset for one in scores[first]}]
    run_ids = log_evaluation(config, models, whole, costs, folder, shown, tracking_uri)
    result = dataclasses.replace(result, run_ids=run_ids)
    folder.child("result.json").write_bytes(_json(result))
    return result


def _settled(config: EvaluateConfig, tracking_uri: str) -> dict[str, SettledModel]:
    """The models by label; the input, which is always shown, is none of them."""
    found: dict[str, SettledModel] = {}
    for reference in config.model:
        if reference == INPUT_MODEL:
            continue
        is_file = not reference.startswith(("models:/", "box:")) and ".safetensors" in reference
        model = settle(reference, tracking_uri, config.factory if is_file else None)
        if model.factory == reference:
            model = _with_weights(model, tracking_uri)
        if any(other.identity == model.identity for other in found.values()):
            say(f"{reference} is one of the others by another name; it is measured once")
            continue
        label = model.label if model.label not in found else f"{model.label} {len(found) + 1}"
        found[label] = model
    if config.factory is not None and all(m.factory != config.factory for m in found.values()):
        raise UserError(
            f"factory={config.factory} would change nothing: no model is a .safetensors file; "
            "leave it out"
        )
    if not found:
        raise UserError("model names the input alone, which is always shown; name a model too")
    return found


def _with_weights(model: SettledModel, tracking_uri: str) -> SettledModel:
    """What a factory builds is known by the weights that it brings, too: scores are kept."""
    with ModelProcess(
        model.reference, tracking_uri, factory=model.factory, use_gpu=False
    ) as process:
        weights = process.weights_sha256()
    return replace(model, identity=f"{model.identity}-{weights}")


def _labels(config: EvaluateConfig, model: SettledModel) -> tuple[dict[str, str], list[str]]:
    """The labels by pair_id, and what a reader must know of them."""
    if config.labels is None:
        return {}, []
    labels = read_labels(config.labels)
    pairs = pairs_of(config, plan(config, model))
    return labels, on_labels(labels, pairs, config.labels)


def _folder(config: EvaluateConfig, models: Mapping[str, SettledModel]) -> Location:
    """Where the report lies: the same for the same models on the same pairs."""
    kept = [held.folder.name for model in models.values() for held in plan(config, model)]
    parts = json.dumps([list(models), kept, config.pictures, config.cost_size, config.labels])
    return locate(config.root).child("_reports", hashlib.sha256(parts.encode()).hexdigest()[:12])


def _look_closer(
    config: EvaluateConfig,
    models: Mapping[str, SettledModel],
    measured: Mapping[str, Measured],
    tracking_uri: str,
) -> tuple[Costs, list[Shown], Explained | None]:
    """Count each model's cost, restore the pictures that the page shows, and look into one."""
    scores = {label: found.scores for label, found in measured.items()}
    picks = chosen(next(iter(scores.values())), config.pictures) if config.pictures else []
    with ExitStack() as stack:
        processes = {}
        for label, model in models.items():
            process = ModelProcess(
                model.reference,
                tracking_uri,
                factory=model.factory,
                use_gpu=config.use_gpu is not False,
            )
            processes[label] = (model, stack.enter_context(process))
        size = parse_size(config.cost_size)
        costs = {label: process.count(*size) for label, (_, process) in processes.items()}
        shown = restored(config, picks, processes, scores)
    of_first = [score for _, score in picks if score.dataset == picks[0][1].dataset]
    return costs, shown, explained(config, of_first[-1], models, tracking_uri) if picks else None


def marks_of(
    config: MeasureConfig,
    models: Mapping[str, SettledModel],
    figures: Sequence[MethodFigures],
    tracking_uri: str,
) -> tuple[str, ...]:
    """Return what a reader of the figures must know: leakage, training pairs, few scenes, masks."""
    found = []
    if config.split == "train":
        found.append("these are pairs to train on: the figures say nothing of pictures to come")
    for label, model in models.items():
        leakage = find_leakage(config, model, tracking_uri)
        found += [
            f"{label} was trained on {what} of {dataset}: its figures there are too good"
            for dataset, what in leakage.seen.items()
        ]
        if leakage.unknown:
            found.append(f"{label}: {leakage.unknown}")
    for dataset in dict.fromkeys(row.dataset for row in figures):
        scenes = next(row.psnr.scenes for row in figures if row.dataset == dataset)
        if scenes < FEW_SCENES:
            what = "scene" if scenes == 1 else "scenes"
            found.append(f"{dataset} has {scenes} {what}: too few to tell small differences")
    return (*found, *on_masks(config, plan(config, next(iter(models.values())))))


def _json(result: EvaluationResult) -> bytes:
    values = dataclasses.asdict(result)
    del values["output"]  # it lies there
    return json.dumps(as_plain(values), indent=1).encode()
