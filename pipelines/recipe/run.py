"""The step ``recipe``: pairs, stages of training, the best weights, and a record of how."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pipelines.config import settings_of
from pipelines.dataset.version import open_version
from pipelines.errors import UserError
from pipelines.making.provenance import code_fingerprint, processor_kind
from pipelines.next_steps import command
from pipelines.progress import say
from pipelines.recipe.config import RecipeConfig
from pipelines.recipe.pairs import synth_configs
from pipelines.recipe.stages import (
    WARMUP_STEPS,
    Stage,
    stages_of,
)
from pipelines.storage import Location, locate
from pipelines.synthesis import synthesize
from pipelines.training import train
from pipelines.training.bare import train_here
from pipelines.training.config import TrainConfig
from pipelines.training.for_pictures import (
    EMA,
    EXCHANGE_VIEWS,
    GRAD_CLIP,
    NOISE,
    RECOLOUR,
    SAME_VIEWS,
)
from pipelines.training.keeper import BEST, read_best
from pipelines.training.plan import RUNS

RECIPES = "_recipes"
RECORD = "recipe.json"
WEIGHTS = "weights.safetensors"
_CODE = ("k3dn", "synth", "pipelines")


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeResult:
    """Weights were made."""

    name: str
    model: str
    weights: str
    """Where they lie, safetensors."""
    record: str
    """Where it is written how they were made."""
    steps: int
    """Optimizer steps of all stages."""
    validation: dict[str, float]
    """Of these weights, the best of all stages."""
    root: str

    def describe(self) -> str:
        """Return the result in words."""
        lines = [f"{self.name}: {self.model} after {self.steps} steps"]
        if self.validation:
            gain = self.validation["val_psnr"] - self.validation["val_psnr_input"]
            lines.append(
                f"  validation {self.validation['val_psnr']:.2f} dB, {gain:+.2f} dB against the "
                "mean of the views"
            )
        lines.append(f"  how it was made: {self.record}")
        lines.append(f"  weights at {self.weights}")
        return "\n".join(lines)

    def next_steps(self) -> list[str]:
        """Return what to run next."""
        return [command("evaluate", model=self.weights)]


def run(config: RecipeConfig) -> RecipeResult:
    """Make pairs, train stage by stage, keep the best weights. Run again, it goes on.

    Raises UserError for what the user can mend.
    """
    root = locate(config.root)
    folder = root.child(RECIPES, config.name)
    datasets = [*_make_pairs(config), *config.datasets]
    _check_held_out(root, config, datasets)
    stages = stages_of(config.model, config.effort)
    runs: list[Location] = []
    done = []
    for number, stage in enumerate(stages, 1):
        say(
            f"recipe: stage {number} of {len(stages)}: {stage.steps} steps of {stage.batch_size} "
            f"patches of {stage.patch} px"
        )
        training = training_of(config, stage, number, datasets, runs[-1] if runs else None)
        started_s = time.time()
        if config.bare:
            train_here(training, threads=config.threads)
        else:
            train.run(training)
        runs.append(root.child(RUNS, str(training.name)))
        done.append(asdict(stage) | {"seconds": round(time.time() - started_s)})
    # Of all stages, whose validations are on the same pairs: the last need not be the best.
    best, best_run = max(((_best_of(run), run) for run in runs), key=lambda b: b[0]["val_psnr"])
    kept = folder.child(WEIGHTS)
    kept.write_bytes(best_run.child(BEST).read_bytes())
    record = {
        "config": settings_of(config),
        "stages": done,
        "datasets": [_described(root, reference) for reference in datasets],
        "best": best,
        "processor": processor_kind("cpu"),
        "code": code_fingerprint(_CODE),
    }
    folder.child(RECORD).write_bytes(json.dumps(record, indent=2).encode())
    return RecipeResult(
        name=config.name,
        model=config.model,
        weights=kept.url,
        record=folder.child(RECORD).url,
        steps=sum(stage.steps for stage in stages),
        validation={key: value for key, value in best.items() if key != "step"},
        root=config.root,
    )


def _make_pairs(config: RecipeConfig) -> list[str]:
    """Make the synthetic versions, or find them there; return their references."""
    made = (synthesize.make(of_set) for of_set in synth_configs(config))
    return [f"{version.dataset}@{version.version}" for version in made]


def _best_of(run: Location) -> dict[str, float]:
    best = read_best(run)
    assert best is not None  # there are held-out pairs, and each run ends with a validation
    return best


def _check_held_out(root: Location, config: RecipeConfig, datasets: Sequence[str]) -> None:
    if not any(open_version(root, r.partition("*")[0]).rows("val") for r in datasets):
        raise UserError(
            f"recipe {config.name}: no dataset has held-out pairs (split 'val') to choose the "
            "best weights by; add one that has, or make pairs"
        )


def training_of(
    config: RecipeConfig,
    stage: Stage,
    number: int,
    datasets: Sequence[str],
    before: Location | None,
) -> TrainConfig:
    """Return the training of a stage. before: the run whose best weights it begins with."""
    return TrainConfig(
        root=config.root,
        tracking_uri=config.tracking_uri,
        ray_address=config.ray_address,
        name=f"{config.name}-{number}",
        model=config.model,
        datasets=list(datasets),
        start_from=None if before is None else before.child(BEST).url,
        steps=stage.steps,
        patch=stage.patch,
        batch_size=stage.batch_size,
        lr=stage.lr,
        warmup_steps=min(WARMUP_STEPS, stage.steps // 10),
        grad_clip=GRAD_CLIP,
        ema=EMA,
        lambda_1=0.0,
        recolour=RECOLOUR,
        same_views=SAME_VIEWS,
        exchange_views=EXCHANGE_VIEWS,
        noise=NOISE,
        precision=config.precision,
        num_workers=1,
        threads_per_worker=config.threads,
        checkpoint_every=config.checkpoint_every,
        val_every=config.val_every,
        max_val_pairs=config.max_val_pairs,
        seed=config.seed,
        register=None,
    )


def _described(root: Location, reference: str) -> dict[str, object]:
    version = open_version(root, reference.partition("*")[0])
    return {"reference": reference, "digest": version.digest, "pairs": version.rows("train")}
