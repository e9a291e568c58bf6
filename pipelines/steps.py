"""The steps of the command line: one row each.

A new step is a row here, a configuration class that imports nothing heavy, and a function
``run(config) -> Result``.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from pipelines.config import StepConfig, as_dict, value_text


class Result(Protocol):
    """What a step returns: a frozen dataclass of JSON-able fields with these two methods."""

    def describe(self) -> str:
        """Return the text for a human; it ends with where the output lies."""
        ...

    def next_steps(self) -> list[str]:
        """Return command lines that one may run next."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the pipeline."""

    name: str
    """The word on the command line and the section in a YAML file."""
    group: str
    """The heading in the help that it stands under."""
    config: str
    """Its configuration class as module:Class; the module imports neither Ray nor torch."""
    run: str
    """Its function as module:function; imported when the step runs."""
    help: str
    """One line."""
    does: tuple[str, ...] = ()
    """What it will do, a sentence a line; {key} stands for a value of its configuration."""
    words: tuple[str, ...] = ()
    """Keys that bare words on the command line mean, in this order: k3dn deblur LEFT RIGHT."""
    looks: str = ""
    """A function, module:function, that looks at the inputs for the dry run and says what is there,
    a line each."""

    def plan(self, config: StepConfig) -> list[str]:
        """Return what the step will do with this configuration, one sentence a line."""
        values = {key: value_text(value) for key, value in as_dict(config).items()}
        return [line.format_map(values) for line in self.does]

    def look(self, config: StepConfig) -> list[str]:
        """Return what a look at the inputs says; nothing is changed."""
        if not self.looks:
            return []
        lines: list[str] = _load(self.looks)(config)
        return lines

    def config_class(self) -> type[StepConfig]:
        """Import and return the configuration class."""
        loaded: type[StepConfig] = _load(self.config)
        return loaded

    def run_function(self) -> Callable[[Any], Result]:
        """Import and return the function; this imports what the step needs."""
        loaded: Callable[[Any], Result] = _load(self.run)
        return loaded


def _load(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


_DATA, _LEARN, _USE, _ABOUT = "Data", "Training", "Models", "Start here"

_ROWS = (
    Step(
        "demo",
        _ABOUT,
        "pipelines.demo.config:DemoConfig",
        "pipelines.demo.run:run",
        "Run the whole pipeline in small and write one page with the results.",
        (
            "make data, train, evaluate, promote and deblur in small, under {root}",
            "write one page with the results; steps that are done already are not run again",
        ),
    ),
    Step(
        "doctor",
        _ABOUT,
        "pipelines.doctor:DoctorConfig",
        "pipelines.doctor:run",
        "Say what this machine and cluster have, and what is missing.",
        ("look at this machine, Ray, MLflow and the storage at {root}; change nothing",),
    ),
    Step(
        "ingest",
        _DATA,
        "pipelines.ingest.config:IngestConfig",
        "pipelines.ingest.ingest:run",
        "Turn a folder of real dual-pixel pairs into a dataset version.",
        (
            "read dual-pixel pairs (layout {layout}) from {source}",
            "write {root}/{dataset}/{version}; shards that exist and match are kept",
        ),
        looks="pipelines.ingest.ingest:look",
        words=("source",),
    ),
    Step(
        "synth",
        _DATA,
        "pipelines.synthesis.config:SynthConfig",
        "pipelines.synthesis.synthesize:run",
        "Synthesise dual-pixel pairs from RGB-D scenes into a dataset version.",
        (
            "synthesise {pairs} pairs from {source}: kernels {kernels}, renderer {renderer}",
            "write {root}/{dataset}/{version}; shards that exist and match are kept",
        ),
    ),
    Step(
        "regenerate",
        _DATA,
        "pipelines.synthesis.config:RegenerateConfig",
        "pipelines.synthesis.regenerate:run",
        "Make the next synthetic version, verify it, then move 'latest' to it.",
        (
            "make the next version of {dataset} from its stored recipe, and verify it",
            "then move {root}/{dataset}/_latest.json to it",
        ),
    ),
    Step(
        "datasets",
        _DATA,
        "pipelines.dataset.config:DatasetsConfig",
        "pipelines.dataset.catalog:run",
        "List the datasets and their versions, show one, or compare two.",
        ("read the manifests under {root}; change nothing",),
        words=("name",),
    ),
    Step(
        "compare",
        _DATA,
        "pipelines.compare.config:CompareConfig",
        "pipelines.compare.run:run",
        "Measure how unlike the pictures of two dataset versions are.",
        (
            "measure blur, kernels, light, noise and colour of {pairs} pairs each of {datasets}",
            "write a page that shows both, and the figures",
        ),
        words=("datasets",),
    ),
    Step(
        "export",
        _DATA,
        "pipelines.dataset.config:ExportConfig",
        "pipelines.dataset.export:run",
        "Write the pairs of a dataset version as pictures.",
        ("write the {splits} pairs of {dataset} under {root} as PNG files into {to}",),
        words=("dataset", "to"),
    ),
    Step(
        "train",
        _LEARN,
        "pipelines.training.config:TrainConfig",
        "pipelines.training.train:run",
        "Train a network on dataset versions and register it.",
        (
            "train {model} for {steps} steps on {datasets}, num_workers={num_workers}",
            "keep checkpoints under {root}/_runs, go on from the newest one if there is one",
        ),
    ),
    Step(
        "tune",
        _LEARN,
        "tune.config:TuneConfig",
        "tune.search:run",
        "Search lambda_1 and the number of kernels, or other keys of the training step.",
        (
            "run {trials} trials of {steps} steps, drawn by {sampler}",
            "write the best one under {root}/_tune",
        ),
        looks="tune.plan:look",
    ),
    Step(
        "recipe",
        _LEARN,
        "pipelines.recipe.config:RecipeConfig",
        "pipelines.recipe.run:run",
        "Make weights from sharp photographs and RGB-D scenes, by one command.",
        (
            "make {pairs} pairs by preset camera of each of photographs={photographs} and "
            "scenes={scenes}",
            "train {model} on them in stages; keep the best weights under {root}/_recipes/{name}",
        ),
    ),
    Step(
        "ablate",
        _LEARN,
        "pipelines.ablation.config:AblateConfig",
        "pipelines.ablation.run:run",
        "Train networks with one part or size changed each, and put them into one table.",
        (
            "train each row of table {table} with {seeds} seeds for {steps} steps on {datasets}",
            "measure all on the {split} pairs; write page and tables under {root}/_ablations",
        ),
    ),
    Step(
        "evaluate",
        _USE,
        "pipelines.evaluation.config:EvaluateConfig",
        "pipelines.evaluation.evaluate:run",
        "Measure models on held-out pairs, beside the blurred input.",
        (
            "measure {model} on the {split} pairs of {datasets}",
            "write a page, tables and the figures under {root}/_reports, and figures to MLflow",
        ),
        words=("model",),
    ),
    Step(
        "promote",
        _USE,
        "pipelines.evaluation.config:PromoteConfig",
        "pipelines.evaluation.promote:run",
        "Make the challenger the champion if it meets the rules of the gate.",
        (
            "compare a version of {name} with the champion on the {split} pairs of {datasets}",
            "move the alias 'champion' only if it meets every rule, and record the decision",
        ),
        looks="pipelines.evaluation.promote:look",
    ),
    Step(
        "rollback",
        _USE,
        "pipelines.registry.config:RollbackConfig",
        "pipelines.registry.rollback:run",
        "Give the champion's place back to the version that had it before.",
        ("give the alias 'champion' of {name} back to the version before",),
    ),
    Step(
        "models",
        _USE,
        "pipelines.registry.config:ModelsConfig",
        "pipelines.registry.catalog:run",
        "List the weights in the box and the registered versions, or show one.",
        ("read the box and the registry of {name}; change nothing",),
    ),
    Step(
        "register",
        _USE,
        "pipelines.registry.config:RegisterConfig",
        "pipelines.registry.register:run",
        "Register weights from the box or a file as a version, the challenger.",
        ("register {model} as a version of {name}",),
        words=("model",),
    ),
    Step(
        "weights",
        _USE,
        "pipelines.cards.config:WeightsConfig",
        "pipelines.cards.weights:run",
        "List the weights in the box, or install a file, checked by its digest.",
        ("{action} weights, source {source}",),
        words=("action", "source"),
    ),
    Step(
        "card",
        _USE,
        "pipelines.cards.config:CardConfig",
        "pipelines.cards.card:run",
        "Write a model card: data, licences, configuration, figures, what is not known.",
        ("gather what is known of {model}", "write {output}"),
        words=("model",),
    ),
    Step(
        "deblur",
        _USE,
        "pipelines.deblur.config:DeblurConfig",
        "pipelines.deblur.run:run",
        "Sharpen a dual-pixel pair of pictures, a folder of them, a pattern, or a dataset.",
        (
            "sharpen {left} with model={model}",
            "write {output} with the left view's metadata; an input is never overwritten",
        ),
        words=("left", "right"),
    ),
    Step(
        "app",
        _USE,
        "pipelines.app.config:AppConfig",
        "pipelines.app.run:run",
        "Open a page to drop two views on, for this machine alone.",
        ("serve a page on 127.0.0.1 that sharpens pairs with model={model}, until it is stopped",),
    ),
    Step(
        "split",
        _USE,
        "pipelines.split.config:SplitConfig",
        "pipelines.split.run:run",
        "Take the two views out of Dual Pixel RAW files and Pixel captures.",
        (
            "split {source} into its two views, in linear raw",
            "write NAME_L.tif and NAME_R.tif, 16 bit, with its Exif; never over an input",
        ),
        words=("source",),
    ),
    Step(
        "export-model",
        _USE,
        "pipelines.registry.config:ExportModelConfig",
        "pipelines.registry.export_model:run",
        "Write a network as ONNX or torch.export, to run it without this project.",
        (
            "export {model}, run what was written and compare it with the network",
            "write {output} if they agree",
        ),
    ),
    Step(
        "convert",
        _USE,
        "pipelines.registry.config:ConvertConfig",
        "pipelines.registry.convert:run",
        "Turn a checkpoint of the authors' public network into a weights file.",
        (
            "read the tensors of {checkpoint}; nothing else that it may hold is run",
            "write them as weights of a network of form=paper to {output}",
        ),
        words=("checkpoint", "output"),
    ),
    Step(
        "summary",
        _USE,
        "pipelines.registry.config:SummaryConfig",
        "pipelines.registry.summary:run",
        "Print a network's layers, parameters and multiply-adds.",
        ("build {model} and count its work on a picture of {size}; change nothing",),
        words=("model",),
    ),
)

STEPS: Mapping[str, Step] = MappingProxyType({step.name: step for step in _ROWS})
