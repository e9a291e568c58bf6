"""How much faster training reads patches than a PyTorch DataLoader over the PNG files would.

    OMP_NUM_THREADS=1 K3DN_SAMPLES=... python -m tests.benchmarks.reading --patch 256

Pairs of the samples, mirrored to 1680 x 1120 px of 16 bit, once as a version and once as PNG files.
Both sides give stacks of left, right and target. The DataLoader decodes whole pictures with OpenCV
and cuts them; ours is the reader of a training run without its cache, so that every sample is read.
Processor time of this process and its children, in turn.
"""

import argparse
import hashlib
import io
import json
import os
import resource
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from pipelines.dataset.images import Pixels, as_16_bit, decode_image, encode_image
from pipelines.dataset.record import Pair
from pipelines.dataset.shard import ShardWriter
from pipelines.dataset.version import MANIFEST, SCHEMA_VERSION, set_latest
from pipelines.storage import locate
from pipelines.training import reader
from pipelines.training.config import TrainConfig
from pipelines.training.plan import plan_run

HEIGHT, WIDTH = 1120, 1680
ROLES = ("left", "right", "target")


def pictures(count: int) -> Iterator[tuple[Pixels, Pixels, Pixels]]:
    """Yield left, right and target of pairs of the samples, mirrored up to one size."""
    folder = Path(os.environ["K3DN_SAMPLES"]) / "dpd-blur-mini"
    for left in sorted(folder.glob("*_l/source/*"))[:count]:
        split, stem = left.parts[-3][:-2], left.stem.removesuffix("_L")
        files = (
            left,
            folder / f"{split}_r/source/{stem}_R{left.suffix}",
            folder / f"{split}_c/target/{stem}{left.suffix}",
        )
        yield tuple(_enlarged(decode_image(f.read_bytes(), where=f.name)) for f in files)  # type: ignore[misc]


def _enlarged(picture: Pixels) -> Pixels:
    rows, columns = HEIGHT - picture.shape[0], WIDTH - picture.shape[1]
    whole: Any = np.pad(as_16_bit(picture), ((0, rows), (0, columns), (0, 0)), mode="reflect")
    return np.ascontiguousarray(whole)


def write(root: Path, count: int) -> int:
    """Write the version ``reading@v1``, and the PNG files beside it; return how many pairs."""
    stream, pairs = io.BytesIO(), 0
    (root / "png").mkdir()
    with ShardWriter(stream) as writer:
        for pairs, (left, right, target) in enumerate(pictures(count), 1):
            name = f"pair{pairs}"
            for role, picture in zip(ROLES, (left, right, target), strict=True):
                (root / f"png/{name}_{role}.png").write_bytes(encode_image(picture))
            writer.write(
                Pair(
                    pair_id=name,
                    scene_id=name,
                    dataset="reading",
                    split="train",
                    left=left,
                    right=right,
                    target=target,
                )
            )
    data, shard = stream.getvalue(), "split=train/00000.parquet"
    location = locate(str(root)).child("reading", "v1")
    location.child(shard).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    entry = {"name": shard, "split": "train", "rows": pairs, "bytes": len(data), "sha256": digest}
    rows = {"train": pairs, "val": 0, "test": 0}
    manifest = {"schema": SCHEMA_VERSION, "digest": digest, "rows": rows, "shards": [entry]}
    location.child(MANIFEST).write_bytes(json.dumps(manifest | {"files": []}).encode())
    set_latest(locate(str(root)), "reading", "v1")
    return pairs


class PngPatches(Dataset[torch.Tensor]):
    """Patches of the PNG files, cut at random places."""

    def __init__(self, folder: Path, patch: int, samples: int) -> None:
        self._names = sorted(file.name[:-9] for file in folder.glob("*_left.png"))
        self._folder, self._patch, self._samples = folder, patch, samples

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, index: int) -> torch.Tensor:
        rng = np.random.default_rng(index)
        name = self._names[index % len(self._names)]
        top, left = (int(rng.integers(0, n - self._patch + 1)) for n in (HEIGHT, WIDTH))
        area = slice(top, top + self._patch), slice(left, left + self._patch)
        found = []
        for role in ROLES:
            whole = cv2.imread(str(self._folder / f"{name}_{role}.png"), cv2.IMREAD_UNCHANGED)
            assert whole is not None
            found.append(np.ascontiguousarray(whole[area][..., ::-1]))
        return torch.from_numpy(np.stack(found).astype(np.int32))


def _processor_s() -> float:
    of = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usages = [resource.getrusage(who) for who in of]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _timed(work: Callable[[], None], samples: int) -> float:
    """Milliseconds of processor time a sample."""
    before = _processor_s()
    work()
    return (_processor_s() - before) / samples * 1000


def main() -> None:
    """Print the medians and the median of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patch", type=int, default=256)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=8)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pairs = write(root, asked.pairs)
        config = replace(
            TrainConfig(root=folder, datasets=["reading"]), patch=asked.patch, batch_size=4, steps=1
        )
        reader.CACHE_BYTES = 0  # every sample is read
        ours = reader.SampleReader(plan_run(config), 0, 1)
        loader = DataLoader(PngPatches(root / "png", asked.patch, asked.samples), batch_size=4)
        steps = asked.samples // 4

        def by_loader() -> None:
            for _ in loader:
                pass

        def by_reader() -> None:
            for step in range(steps):
                ours({"step": np.array([step])})

        by_reader()  # the footer is read once
        found = [
            (_timed(by_loader, asked.samples), _timed(by_reader, asked.samples))
            for _ in range(asked.turns)
        ]
    png, strips = (statistics.median(column) for column in zip(*found, strict=True))
    ratio = statistics.median(one / other for one, other in found)
    print(f"{pairs} pairs of {WIDTH} x {HEIGHT}, 16 bit, patches of {asked.patch} px")
    print(f"DataLoader over PNG {png:.1f} ms, reader {strips:.2f} ms a sample: {ratio:.1f} times")


if __name__ == "__main__":
    main()
