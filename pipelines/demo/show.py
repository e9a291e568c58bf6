"""The demo's page: pictures, figures and places of one demo."""

import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from k3dn import deblur as restore
from k3dn import explain, load_weights
from k3dn.summary import summarize
from pipelines.dataset.images import decode_image
from pipelines.dataset.record import Pair
from pipelines.dataset.version import open_version
from pipelines.deblur.config import DeblurConfig
from pipelines.deblur.jobs import Job
from pipelines.deblur.progress import Progress
from pipelines.deblur.restore import Sharpener
from pipelines.deblur.run import sharpen
from pipelines.demo.config import DemoConfig
from pipelines.demo.data import NO_SAMPLES, DemoData
from pipelines.evaluation.evaluate import EvaluationResult
from pipelines.next_steps import command
from pipelines.registry.loading import BOX
from pipelines.report.page import render_page
from pipelines.report.page_data import (
    BlurRadius,
    Command,
    Comparison,
    Findings,
    PageData,
    Place,
    TrainingCurve,
)
from pipelines.scores import mean_view, quality, to_unit
from pipelines.storage import locate
from pipelines.training.record import read_rows
from pipelines.training.train import TrainResult

REAL_NOTE = (
    "Canon EOS 5D Mark IV, DPD-blur (MIT, Copyright (c) 2020 Abdullah Abuolaim), half resolution, "
    "256 colours; in no training set"
)
SEEN_BEFORE = (
    "The weights in the box were trained on the samples' RGB-D scenes and photographs; the real "
    "pictures and the motorcycle scene are new to them."
)


@dataclass(frozen=True, slots=True)
class Shown:
    """Where the demo's pictures lie."""

    page: str
    pictures: tuple[str, ...]


def show(
    config: DemoConfig,
    data: DemoData,
    trained: TrainResult,
    evaluated: EvaluationResult,
    decision: str,
    *,
    model: str,
) -> Shown:
    """Deblur the real test pairs with ``model``, this run's, and write the page."""
    root = locate(config.root)
    network = _network(trained)
    pairs = _shown_pairs(config, data)
    real, pictures = _real(config, data, model)
    page = locate(config.page) if config.page else root.child("demo.html")
    parameters = summarize(network, 64, 64).parameters
    began = f"that began with {config.start_from} was" if config.start_from else "was"
    page_data = PageData(
        lead=(
            f"A K3DN network {began} trained on this machine, on synthetic dual-pixel pairs"
            + (" and a few real ones" if data.real else "")
            + ". Everything below was held out from this training."
        ),
        facts=(
            ("Network", f"nano, {parameters / 1e6:.2f} M parameters"),
            ("Begun with", config.start_from or "nothing"),
            ("Training", f"{trained.steps} steps of {config.batch_size} patches"),
            ("Seed", str(config.seed)),
            ("Gate", decision),
        ),
        notes=_notes(config, data),
        held_out=_held_out(pairs, network),
        real=real,
        metrics=evaluated.rows,
        curve=_curve(trained),
        radii=_radii(pairs, network),
        findings=_findings(config, data, network),
        places=(
            Place("datasets, runs and evaluations", root.url),
            Place("MLflow store", trained.tracking_uri),
            Place("weights of this run", trained.weights),
            Place("scores of each pair", f"{evaluated.output}/pairs.parquet"),
            *(Place("a real pair, deblurred", picture) for picture in pictures),
        ),
        next_steps=(
            Command(
                command("deblur", "LEFT.png", "RIGHT.png", model=model, root=root.url),
                "sharpen a pair of your own",
            ),
            Command(command("ingest", source="FOLDER"), "take in a set of real pairs"),
            Command(
                command("train", datasets=data.procedural, steps=20000, root=root.url),
                "train longer",
            ),
            Command(
                shlex.join(["mlflow", "ui", "--backend-store-uri", trained.tracking_uri]),
                "look at the runs",
            ),
        ),
    )
    page.write_bytes(render_page(page_data).encode())
    return Shown(page.url, pictures)


def _notes(config: DemoConfig, data: DemoData) -> tuple[str, ...]:
    if not data.real:
        return (NO_SAMPLES,)
    return (SEEN_BEFORE,) if (config.start_from or "").startswith(BOX) else ()


def _network(trained: TrainResult) -> nn.Module:
    with tempfile.TemporaryDirectory(prefix="k3dn-demo-") as folder:
        path = Path(folder, "weights.safetensors")
        path.write_bytes(locate(trained.weights).read_bytes())
        return load_weights(path)


def _shown_pairs(config: DemoConfig, data: DemoData) -> list[Pair]:
    """The first test pairs of the synthetic sets, in turn."""
    root = locate(config.root)
    versions = [open_version(root, reference) for reference in data.synthetic_test()]
    picks = [
        (version, index)
        for index in range(config.shown_pairs)
        for version in versions
        if index < version.rows("test")
    ]
    return [version.read_pair("test", index) for version, index in picks[: config.shown_pairs]]


def _held_out(pairs: Sequence[Pair], network: nn.Module) -> list[Comparison]:
    shown = []
    for pair in pairs:
        radius = (
            f"blur radius up to {np.abs(pair.coc).max():.1f} px" if pair.coc is not None else ""
        )
        output = restore(network, to_unit(pair.left), to_unit(pair.right))
        shown.append(_comparison(pair, np.asarray(output, np.float32), radius))
    return shown


def _radii(pairs: Sequence[Pair], network: nn.Module) -> list[BlurRadius]:
    """Estimated and true blur radii; none of a network that estimates none."""
    shown = []
    for pair in pairs:
        left, right = to_unit(pair.left), to_unit(pair.right)
        found = explain(network, left, right).coc_px
        if pair.coc is not None and found is not None:
            shown.append(
                BlurRadius(
                    title=pair.pair_id,
                    picture=mean_view(left, right),
                    estimated_px=found,
                    true_px=pair.coc.astype(np.float32),
                )
            )
    return shown


def _real(
    config: DemoConfig, data: DemoData, model: str
) -> tuple[list[Comparison], tuple[str, ...]]:
    """The real test pairs, each from its own files as `k3dn deblur` makes a folder of them: by one
    model, which takes seconds to load."""
    if data.real is None or data.real_folder is None:
        return [], ()
    root = locate(config.root)
    version = open_version(root, data.real)
    pairs = [version.read_pair("test", index) for index in range(version.rows("test"))]
    settings = DeblurConfig(**config.place(), left=str(data.real_folder), model=model)
    shown, pictures = [], []
    with Sharpener(settings) as sharpener, Progress(len(pairs)) as progress:
        for pair in pairs:
            files = {
                source.role: locate(str(data.real_folder / source.file))
                for source in pair.provenance.sources
            }
            output = root.child("demo", f"{pair.pair_id}-deblurred.png")
            job = Job(name=pair.pair_id, left=files["left"], right=files["right"], output=output)
            pictures.append(sharpen(job, sharpener, progress, None, overwrite=True).picture.output)
            progress.end(made=True)
            restored = decode_image(output.read_bytes(), where=output.url)
            shown.append(_comparison(pair, to_unit(restored), REAL_NOTE))
    return shown, tuple(pictures)


def _comparison(pair: Pair, output: np.ndarray, note: str) -> Comparison:
    blurred = mean_view(to_unit(pair.left), to_unit(pair.right))
    target = to_unit(pair.target) if pair.target is not None else None
    return Comparison(
        title=pair.pair_id,
        input=blurred,
        output=output,
        target=target,
        input_psnr=quality(blurred, target).psnr if target is not None else None,
        output_psnr=quality(output, target).psnr if target is not None else None,
        note=note,
    )


def _curve(trained: TrainResult) -> TrainingCurve:
    rows = read_rows(locate(trained.folder))
    inputs = [row["val_psnr_input"] for row in rows if "val_psnr_input" in row]
    return TrainingCurve(
        loss=[(row["step"], row["deblur"]) for row in rows if "deblur" in row],
        val_psnr=[(row["step"], row["val_psnr"]) for row in rows if "val_psnr" in row],
        input_psnr=inputs[-1] if inputs else None,
    )


def _findings(config: DemoConfig, data: DemoData, network: nn.Module) -> Findings:
    """What the network found in one held-out picture: a real one where there is one."""
    version = open_version(locate(config.root), data.real or data.held_out_scene)
    pair = version.read_pair("test", 0)
    left, right = to_unit(pair.left), to_unit(pair.right)
    found = explain(network, left, right)
    return Findings(
        picture=mean_view(left, right),
        kernels=found.kernels,
        kernels_deblur=found.kernels_deblur,
        kernel_weights=found.kernel_weights,
        in_focus=found.in_focus,
        coc_px=found.coc_px,
    )
