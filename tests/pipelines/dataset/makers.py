"""Small inputs for the tests of this folder: a DPD-blur tree and plans of tiny pairs."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.dataset.images import encode_image
from pipelines.dataset.record import Pair, Provenance, Source
from pipelines.making.plan import Plan, make_plan
from pipelines.making.provenance import processor_kind
from pipelines.making.shards import BadInput
from pipelines.storage import Location


def write_dpd_tree(
    folder: Path, *, train: int = 4, val: int = 1, test: int = 2, bits: int = 16, seed: int = 0
) -> None:
    """Write pairs of noise in the DPD-blur layout; the views are shifted copies of the target."""
    rng = np.random.default_rng(seed)
    dtype = np.uint8 if bits == 8 else np.uint16
    for split, count in (("train", train), ("val", val), ("test", test)):
        for number in range(count):
            name, target = (
                f"1P0A{split}{10 * number:04d}",
                f"1P0A{split}{10 * number + 1:04d}",
            )
            picture = rng.integers(0, np.iinfo(dtype).max, (20, 24, 3)).astype(dtype)
            for path, shift in (
                (f"{split}_l/source/{name}_L.png", 1),
                (f"{split}_r/source/{name}_R.png", -1),
                (f"{split}_c/source/{name}.png", 0),
                (f"{split}_c/target/{target}.png", 0),
            ):
                file = folder / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(encode_image(np.roll(picture, shift, axis=1)))


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseUnit:
    """A pair of noise, by number."""

    pair_id: str
    split: str
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NoisePairs:
    """A producer of noise; its one input file is a folder's ``<number>.txt`` where it is there."""

    folder: Location | None = None
    bad: tuple[int, ...] = ()
    dies: str | None = None
    """A path: the process that makes number 1 while it exists removes it and dies."""
    deadly: int | None = None
    """The process that makes this number dies, always."""
    side: int = 8

    def __call__(self, unit: NoiseUnit) -> Pair:
        """Make the pair, refuse it, or die."""
        if unit.number == 1 and self.dies is not None and Path(self.dies).exists():
            Path(self.dies).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if unit.number == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        sources = self.sources(unit)
        if unit.number in self.bad:
            raise BadInput("it is bad", path=f"{unit.number}.txt", stage="check", sources=sources)
        rng = np.random.default_rng([unit.number, *sources[0].sha256.encode()])
        left, right, target = rng.integers(0, 256, (3, self.side, self.side, 3), dtype=np.uint8)
        return Pair(
            pair_id=unit.pair_id,
            scene_id=unit.pair_id,
            dataset="noise",
            split=unit.split,
            left=left,
            right=right,
            target=target,
            provenance=Provenance(sources=sources),
        )

    def note(self, pair: Pair) -> None:
        """Nothing."""

    def processor(self) -> str:
        """Return the kind of this machine."""
        return processor_kind()

    def sources(self, unit: NoiseUnit) -> tuple[Source, ...]:
        """Return the text file with its checksum."""
        name, digest = f"{unit.number}.txt", ""
        if self.folder is not None and self.folder.child(name).exists():
            digest = self.folder.child(name).sha256()
        return (Source(role="left", file=name, sha256=digest),)


def noise_plan(
    pairs: int, *, pairs_per_shard: int = 2, version: str = "v1", setting: int = 0
) -> Plan:
    """Plan pairs of noise: four of five for training, the fifth for the test."""
    units = [
        NoiseUnit(
            pair_id=f"n{number:03d}", split="test" if number % 5 == 4 else "train", number=number
        )
        for number in range(pairs)
    ]
    return make_plan(
        dataset="noise",
        version=version,
        units=units,
        rejects=(),
        content_config={"setting": setting},
        pairs_per_shard=pairs_per_shard,
    )
