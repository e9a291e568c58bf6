"""``k3dn demo``: the whole pipeline in small, from data to a page to look at."""

from dataclasses import dataclass

from pipelines.cluster import ray_cluster
from pipelines.demo.config import DemoConfig
from pipelines.demo.data import DemoData, make_data, samples_folder
from pipelines.demo.show import Shown, show
from pipelines.errors import GateRefused
from pipelines.evaluation import evaluate, promote
from pipelines.evaluation.config import EvaluateConfig, GateRules, PromoteConfig
from pipelines.evaluation.evaluate import EvaluationResult
from pipelines.next_steps import command
from pipelines.progress import say
from pipelines.ray_job import refuse_lost_path
from pipelines.scores import OVERALL, TableRow
from pipelines.storage import locate
from pipelines.training import train
from pipelines.training.config import TrainConfig
from pipelines.training.train import TrainResult

MODEL = "k3dn-demo"
"""Its own name in the registry: a demo must not become the champion of a shared ``k3dn``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoResult:
    """What the demo made."""

    page: str
    """The page, one HTML file."""
    rows: tuple[TableRow, ...]
    """The table of metrics on held-out pairs."""
    decision: str
    """What the promotion gate said."""
    model: str
    """The model that deblurred the real pairs: the champion, or the refused version itself."""
    run: str
    """Name of the training run."""
    pictures: tuple[str, ...]
    """Real pairs, deblurred; empty without samples."""
    root: str

    def describe(self) -> str:
        """Return the gains in words and where the page lies."""
        before = {row.dataset: row for row in self.rows[::2]}
        lines = [
            f"{after.dataset}: {before[after.dataset].psnr:.2f} dB to {after.psnr:.2f} dB "
            f"({after.psnr - before[after.dataset].psnr:+.2f}) on {after.pairs} held-out pairs"
            for after in self.rows[1::2]
            if after.dataset != OVERALL
        ]
        return "\n".join([*lines, self.decision, f"look at {self.page}"])

    def next_steps(self) -> list[str]:
        """Return what one may run next."""
        return [
            command("deblur", "LEFT.png", "RIGHT.png", model=self.model),
            command("datasets"),
            command("models", name=MODEL),
        ]


def run(config: DemoConfig) -> DemoResult:
    """Make data, train, evaluate, promote, deblur, and write the page.

    Every step finds what an earlier run made, so a demo that was stopped goes on. Raises
    UserError for what the user can mend.
    """
    if config.page:
        refuse_lost_path("page", config.page)
    samples_folder(config)  # a wrong one is told at once, not after Ray has started
    with ray_cluster(config.ray_address):
        say("demo 1/5: data")
        data = make_data(config)
        say("demo 2/5: training")
        trained = train.run(_training(config, data))
        say("demo 3/5: evaluation")
        evaluated = evaluate.run(
            EvaluateConfig(
                **config.place(),
                model=[f"models:/{MODEL}/{trained.model_version}"],
                datasets=data.test(),
                pictures=0,  # the demo has a page of its own
            )
        )
        say("demo 4/5: promotion")
        decision, model = _promote(config, data, trained)
        say("demo 5/5: pictures and page")
        shown = show(config, data, trained, evaluated, decision, model=model)
    return _result(config, trained, evaluated, decision, model, shown)


def _training(config: DemoConfig, data: DemoData) -> TrainConfig:
    return TrainConfig(
        **config.place(),
        datasets=data.training(config.real_repeat),
        start_from=config.start_from,
        steps=config.steps,
        batch_size=config.batch_size,
        patch=config.patch,
        lr=config.lr,
        lambda_1=config.lambda_1,
        reblur_every=config.reblur_every,
        grad_clip=0.5,  # the usual norm is 0.1; a rare steep step must not count more
        seed=config.seed,
        val_every=-(-config.steps // 4),
        max_val_pairs=12,
        register=MODEL,
    )


def _promote(config: DemoConfig, data: DemoData, trained: TrainResult) -> tuple[str, str]:
    """Ask the gate: what it said, and the reference of this run's model from then on.

    A refusal is a result of the demo, not its end.
    """
    try:
        promoted = promote.run(
            PromoteConfig(
                **config.place(),
                name=MODEL,
                candidate=str(trained.model_version),
                datasets=data.test(),
                gate=GateRules(min_scenes=2),  # its sets are small: it shows the gate at work
            )
        )
    except GateRefused as refusal:
        return str(refusal), f"models:/{MODEL}/{trained.model_version}"
    verb = "is now" if promoted.changed else "is already"
    decision = f"v{promoted.champion} of {MODEL} {verb} champion: {promoted.reason}"
    return decision, f"models:/{MODEL}@champion"


def _result(
    config: DemoConfig,
    trained: TrainResult,
    evaluated: EvaluationResult,
    decision: str,
    model: str,
    shown: Shown,
) -> DemoResult:
    return DemoResult(
        page=shown.page,
        rows=evaluated.rows,
        decision=decision,
        model=model,
        run=trained.run,
        pictures=shown.pictures,
        root=locate(config.root).url,
    )
