"""``k3dn weights``: list the box, install a file into it, pack what comes with the package."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from k3dn import box, load_weights, save_weights, tiling
from k3dn.box.entry import Entry, check_name, check_sha256, entry_text
from k3dn.box.shelf import FOLDER, describe, install
from k3dn.weights import stored_network
from pipelines.cards.card_text import card_text
from pipelines.cards.config import WeightsConfig
from pipelines.cards.facts import Known, known_of, read_facts, with_more
from pipelines.cards.figures import read_benchmark
from pipelines.errors import UserError
from pipelines.mlflow_store import resolve_tracking_uri
from pipelines.next_steps import command
from pipelines.progress import say
from pipelines.registry.box_list import BoxRow, box_rows, format_box
from pipelines.registry.fetch import beside, fetched
from pipelines.registry.loading import open_weights
from pipelines.storage import Location, locate

_SUFFIX = ".safetensors"
_SHARE_OF_STEP = 0.5
"""Of a step of 255: what 16 bit may change of an answer for a file to be stored in them."""
_TRIAL_PX = 192


@dataclass(frozen=True, slots=True)
class WeightsResult:
    """What the box holds, after the action."""

    action: str
    done: str
    """What was done, in a line; empty for list."""
    box: tuple[BoxRow, ...]
    output: str
    """The folder that was written to, or the user's."""

    def describe(self) -> str:
        """Return what was done, what the box holds, and where files lie."""
        lines = [self.done] if self.done else [format_box(self.box)]
        return "\n".join([*lines, self.output])

    def next_steps(self) -> list[str]:
        """Return what one may run next."""
        return [command("deblur", "LEFT", "RIGHT", model=row.reference) for row in self.box[-1:]]


def run(config: WeightsConfig) -> WeightsResult:
    """List, install or pack.

    Raises UserError for a file that is not there, is not what its digest says or is none of a
    K3DN, for one without a digest, and for a name that is taken.
    """
    try:
        if config.action == "list":
            return WeightsResult("list", "", box_rows(), str(box.user_folder()))
        assert config.source is not None  # the configuration sees to it
        act = _install if config.action == "install" else _pack
        return act(config, config.source)
    except ValueError as error:  # of the box
        raise UserError(str(error)) from error


def _install(config: WeightsConfig, source: str) -> WeightsResult:
    found = beside(source) if config.sha256 is None else None
    digest = config.sha256.lower() if config.sha256 else found.sha256 if found else None
    if digest is None:
        raise UserError(
            f"{source} has no {Path(source).stem}.json or {Path(source).name}.sha256 beside it; "
            "give sha256=... from where you trust it"
        )
    check_sha256(digest)
    entry = found.entry if found else None
    name = config.name or (entry.name if entry else Path(source).stem.lower())
    check_name(name)
    try:
        with fetched(source) as path:
            made = install(
                path,
                name=name,
                sha256=digest,
                facts=entry.facts if entry else None,
                overwrite=config.overwrite,
            )
    except FileNotFoundError as error:
        raise UserError(f"there is nothing at {source}; check the address") from error
    except ValueError as error:
        raise UserError(str(error).replace(str(path), source)) from error
    done = f"installed {box.PREFIX}{name}, {made.model}, sha256 {made.sha256}"
    rows = tuple(row for row in box_rows() if row.reference == box.PREFIX + name)
    return WeightsResult("install", done, rows, str(box.user_folder()))


def _pack(config: WeightsConfig, source: str) -> WeightsResult:
    """Write weights, entry and card; the entry last, so that it never names a file half written."""
    if config.name is None:
        raise UserError("name must say what the weights are called in the box, such as name=nano")
    check_name(config.name)
    folder = locate(config.to) if config.to else Location(str(FOLDER))
    target = folder.child(f"{config.name}.json")
    if target.exists() and not config.overwrite:
        raise UserError(f"{target} exists; give another name, or overwrite=true")
    known = known_of(source, config)
    facts = known.entry.facts
    if config.facts:
        facts = with_more(facts, read_facts(locate(config.facts)))
    if config.figures:
        figures = read_benchmark(locate(config.figures), Path(source).stem)
        facts = replace(facts, figures=(*facts.figures, *figures))
    with tempfile.TemporaryDirectory(prefix="k3dn-pack-") as temporary:
        path = Path(temporary, config.name + _SUFFIX)
        with open_weights(known.reference, resolve_tracking_uri(config)) as weights:
            _store(weights, path, config.float16)
        entry = describe(path, name=config.name, file=path.name, facts=facts)
        card = card_text(_as_packed(known, entry, path), box.PREFIX + config.name)
        folder.child(f"{config.name}.md").write_bytes(card.encode())
        folder.child(path.name).write_bytes(path.read_bytes())
        target.write_bytes(entry_text(entry).encode())
    size = folder.child(path.name).size() / 2**20
    done = f"packed {config.name}: {entry.model}, {entry.stored}, {size:.2f} MiB"
    row = BoxRow(
        box.PREFIX + config.name,
        entry.model,
        entry.sha256,
        facts.steps,
        facts.summary or "no purpose was stated",
        folder.url,
    )
    return WeightsResult("pack", done, (row,), folder.url)


def _as_packed(known: Known, entry: Entry, path: Path) -> Known:
    return replace(
        known,
        reference=box.PREFIX + entry.name,
        entry=entry,
        bytes=path.stat().st_size,
        version=None,
    )


def _store(weights: Path, path: Path, float16: bool | None) -> None:
    """Write weights again, in 16 bit where that is wanted or changes nothing."""
    network = load_weights(weights)
    model, options = _named(weights)
    if float16 is not False:
        half = load_weights(weights).half()
        save_weights(path, half, name=model, options=options)
        change = largest_change(network, load_weights(path))
        say(f"16 bit change the answer on a trial pair by at most {change:.3f} steps of 255")
        if float16 or change < _SHARE_OF_STEP:
            return
    save_weights(path, network, name=model, options=options)


def _named(weights: Path) -> tuple[str, dict[str, object]]:
    stored = stored_network(weights)
    return stored.model, stored.options


def largest_change(network: nn.Module, other: nn.Module) -> float:
    """How far two networks' answers lie apart at most on a trial pair, in steps of 255.

    The pair is noise of all scales, shifted against itself by 3 px.
    """
    generator = torch.Generator().manual_seed(0)
    sizes = [3, 6, 12, 24, 48, 96, _TRIAL_PX]
    layers = [
        F.interpolate(
            torch.rand(1, 3, size, size, generator=generator), (_TRIAL_PX,) * 2, mode="bilinear"
        )
        for size in sizes
    ]
    picture = torch.stack(layers).mean(0)[0].movedim(0, -1).numpy()
    left, right = picture, np.roll(picture, 3, axis=1)
    answers = [tiling.deblur(n, left, right, precision="fp32") for n in (network, other)]
    return float(np.abs(answers[0] - answers[1]).max() * 255)
