"""``k3dn ablate``: train the rows of a table over seeds, measure them, write the table.

Each training and each measurement is kept under its own name: an ablation that was killed, or one
that asks for more seeds, goes on with what is missing.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.ablation.config import AblateConfig
from pipelines.ablation.over_seeds import by_seed, mean_score
from pipelines.ablation.rows import Row, rows_of, training_of
from pipelines.dataset.version import open_version
from pipelines.errors import UserError
from pipelines.evaluation.config import MeasureConfig
from pipelines.evaluation.evaluate import marks_of
from pipelines.evaluation.figures import figures_of_page
from pipelines.evaluation.measure import measure, to_parquet
from pipelines.evaluation.page import PageContent, evaluation_page
from pipelines.evaluation.summary import MethodFigures, as_plain, figures_of
from pipelines.evaluation.tables import latex, markdown, text_table
from pipelines.mlflow_store import resolve_tracking_uri
from pipelines.next_steps import command
from pipelines.picture_keys import parse_size
from pipelines.progress import say
from pipelines.registry.loading import SettledModel, settle
from pipelines.scores import PairScore
from pipelines.storage import locate
from pipelines.training import train
from pipelines.training.bare import train_here
from pipelines.training.config import TrainConfig

ABLATIONS = "_ablations"


@dataclass(frozen=True, slots=True)
class SeedsOfRow:
    """What the seeds of one row came to on one dataset."""

    row: str
    dataset: str
    psnr: tuple[float, ...]
    """Of each seed, dB."""


@dataclass(frozen=True, slots=True)
class TrainedRow:
    """The networks of one row."""

    row: str
    weights: tuple[str, ...]
    """A file a seed."""


@dataclass(frozen=True, slots=True)
class AblationResult:
    """A table of networks that were trained alike but for one thing."""

    table: str
    steps: int
    figures: tuple[MethodFigures, ...]
    """Per dataset the input and every row, with intervals by scene over the mean of the seeds."""
    seeds: tuple[SeedsOfRow, ...]
    costs: Mapping[str, tuple[int, int] | None]
    """Parameters and multiply-adds of each row."""
    trained: tuple[TrainedRow, ...]
    marks: tuple[str, ...]
    """What a reader of the figures must know."""
    output: str
    """Folder with the page, tables, result.json and pairs.parquet."""

    def describe(self) -> str:
        """Return the table, what each seed came to, and where the rest lies."""
        lines = [f"after {self.steps} steps each", "", text_table(self.figures), ""]
        lines += [f"note: {mark}" for mark in self.marks]
        return "\n".join([*lines, f"page, tables and scores of each pair: {self.output}"])

    def next_steps(self) -> list[str]:
        """Return what one may run next."""
        return [command("evaluate", model=self.trained[0].weights[0])]


def run(config: AblateConfig) -> AblationResult:
    """Train, measure, write. Raises UserError for what the user can mend."""
    try:
        rows = rows_of(config)
    except ValueError as error:
        raise UserError(str(error)) from error
    config = _pinned(config)
    measuring = _measuring(config)
    tracking_uri = resolve_tracking_uri(config)
    scores: dict[str, list[tuple[PairScore, ...]]] = {}
    trained: list[TrainedRow] = []
    models: dict[str, SettledModel] = {}
    for number, row in enumerate(rows, 1):
        files = []
        for seed in range(config.seeds):
            say(f"{row.label} ({number} of {len(rows)}), seed {seed + 1} of {config.seeds}")
            files.append(_trained(config, training_of(config, row, seed)))
            model = dataclasses.replace(
                settle(files[-1], tracking_uri), label=f"{row.label}, seed {seed + 1}"
            )
            scores.setdefault(row.label, []).append(measure(measuring, model, tracking_uri).scores)
            models.setdefault(row.label, model)
        trained.append(TrainedRow(row.label, tuple(files)))
    means = {label: mean_score(of_seeds) for label, of_seeds in scores.items()}
    figures = figures_of(means)
    seeds = tuple(
        SeedsOfRow(label, dataset, by_seed(of_seeds, dataset))
        for dataset in dict.fromkeys(row.dataset for row in figures)
        for label, of_seeds in scores.items()
    )
    costs = {row.label: _cost(config, row) for row in rows}
    marks = (*_of_seeds(seeds), *marks_of(measuring, models, figures, tracking_uri))
    content = PageContent(
        methods=tuple(means),
        split=config.split,
        rows=figures,
        costs=costs,
        cost_size=config.cost_size,
        marks=marks,
        shown=(),
        registered=config.register,
    )
    folder = locate(config.root).child(ABLATIONS, f"table-{config.table}-{_key(trained, config)}")
    folder.child("pairs.parquet").write_bytes(to_parquet(dict(means)))
    folder.child("table.md").write_bytes(markdown(figures).encode())
    folder.child("table.tex").write_bytes(latex(figures).encode())
    page = evaluation_page(content)
    folder.child("index.html").write_bytes(page.encode())
    for name, data in figures_of_page(page, content):
        folder.child("figures", name).write_bytes(data)
    result = AblationResult(
        table=config.table,
        steps=config.steps,
        figures=figures,
        seeds=seeds,
        costs=costs,
        trained=tuple(trained),
        marks=marks,
        output=folder.url,
    )
    folder.child("result.json").write_bytes(
        json.dumps(as_plain(dataclasses.asdict(result)), indent=1).encode()
    )
    return result


def _pinned(config: AblateConfig) -> AblateConfig:
    """Its datasets as name@version: one that is published meanwhile changes no later row."""
    root, names = locate(config.root), []
    for reference in config.datasets:
        name, star, repeat = reference.partition("*")
        names.append(open_version(root, name).reference + star + repeat)
    return dataclasses.replace(config, datasets=names)


def _measuring(config: AblateConfig) -> MeasureConfig:
    names = [field.name for field in dataclasses.fields(MeasureConfig)]
    values = {name: getattr(config, name) for name in names}
    values["datasets"] = [reference.partition("*")[0] for reference in config.datasets]
    return MeasureConfig(**values)


def _trained(config: AblateConfig, training: TrainConfig) -> str:
    """Train, or find it trained; return the URL of the weights."""
    if config.bare:
        return train_here(training, threads=config.train.threads_per_worker).url
    return train.run(training).weights


def _cost(config: AblateConfig, row: Row) -> tuple[int, int]:
    import k3dn
    from k3dn.summary import summarize

    training = training_of(config, row, 0)
    network = k3dn.build_model(training.model, training.network)
    summary = summarize(network, *parse_size(config.cost_size))
    return summary.parameters, summary.macs


def _of_seeds(seeds: Sequence[SeedsOfRow]) -> list[str]:
    """What an interval by scene does not say: how far trainings alike lie from each other."""
    return [
        f"{row.row} on {row.dataset}, by seed: "
        + ", ".join(f"{value:.2f}" for value in row.psnr)
        + " dB; intervals are by scene and know nothing of other seeds"
        for row in seeds
        if len(row.psnr) > 1
    ]


def _key(trained: Sequence[TrainedRow], config: AblateConfig) -> str:
    """The same rows measured on the same pairs lie in one folder."""
    runs = [[row.row, [file.rsplit("/", 2)[-2] for file in row.weights]] for row in trained]
    asked = [runs, config.datasets, config.split, config.max_pairs, config.register]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]
