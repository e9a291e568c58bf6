"""The step ``ingest``: a folder of real dual-pixel pairs becomes a dataset version."""

from collections import Counter
from dataclasses import dataclass
from typing import cast

import numpy as np

from pipelines.config import SHARED_KEYS, as_dict
from pipelines.dataset.images import Pixels, bit_depth_of, decode_as_sensor
from pipelines.dataset.names import escaped
from pipelines.dataset.record import SPLITS, Pair, Provenance, Source
from pipelines.errors import UserError
from pipelines.ingest.config import IngestConfig
from pipelines.ingest.layouts import discover
from pipelines.ingest.layouts.files import Discovery, PairFiles
from pipelines.ingest.source_files import SourceFiles, checked_source, open_source
from pipelines.making.logged import log_version
from pipelines.making.plan import LEFT_OUT, make_plan
from pipelines.making.provenance import code_fingerprint, processor_kind
from pipelines.making.publish import VersionResult, publish
from pipelines.making.shards import BadInput, fault_of_input, reason_of
from pipelines.progress import say
from pipelines.storage import locate

_ROLES = ("left", "right", "target", "combined", "target_right")
_CODE = ("pipelines.dataset", "pictures")
# Exif's Orientation to the counter-clockwise turn that takes what a viewer shows to what the sensor
# saw, whose parallax is horizontal.
_TURNED = {1: 0, 3: 180, 6: 90, 8: 270}


@dataclass(frozen=True, kw_only=True, slots=True)
class RealPairs:
    """Reads real pairs from their files."""

    source: SourceFiles
    dataset: str
    layout: str

    def __call__(self, unit: PairFiles) -> Pair:
        """Read, decode and check one pair. Raises BadInput."""
        sources: list[Source] = []
        pictures: dict[str, Pixels] = {}
        turns: dict[str, int] = {}
        bad: BadInput | None = None
        for role, path in _files(unit):
            try:
                data = self.source.read(path)
            except OSError as error:
                if not fault_of_input(error):
                    raise
                sources.append(Source(role=role, file=path, sha256=""))
                bad = bad or BadInput(reason_of(error), path=path, stage="read")
                continue
            sources.append(checked_source(role, path, data))
            try:
                pictures[role], turns[role] = decode_as_sensor(data, where=path)
            except ValueError as error:
                reason = str(error).removeprefix(f"{path}: ")
                bad = bad or BadInput(reason, path=path, stage="decode")
        try:
            if bad is not None:
                raise bad
            if len(set(turns.values())) > 1:
                named = ", ".join(f"{role} {turn}" for role, turn in turns.items())
                raise BadInput(
                    f"pictures of one pair are turned differently (Orientation: {named})",
                    path=unit.left[0],
                    stage="check",
                )
            if np.array_equal(pictures["left"], pictures["right"]):
                raise BadInput(
                    "left and right are the same picture", path=unit.right[0], stage="check"
                )
            if (second := pictures.get("target_right")) is not None:
                pictures["target"] = _mean(pictures["target"], second)
            return Pair(
                pair_id=unit.pair_id,
                scene_id=unit.scene_id,
                dataset=self.dataset,
                split=unit.split,
                left=pictures["left"],
                right=pictures["right"],
                target=pictures.get("target"),
                combined=pictures.get("combined"),
                provenance=Provenance(
                    sources=tuple(sources),
                    layout=self.layout,
                    turned_degrees=_TURNED[turns["left"]],
                ),
            )
        except BadInput as error:
            error.sources = tuple(sources)
            raise
        except ValueError as error:
            raise BadInput(str(error), path=unit.left[0], stage="check", sources=sources) from error

    def processor(self) -> str:
        """Pictures are copied, not computed; the manifest names the machine all the same."""
        return processor_kind()

    def sources(self, unit: PairFiles) -> tuple[Source, ...]:
        """Return the files of the pair with their checksums, '' for one that cannot be read."""
        return tuple(self.source.source(role, path) for role, path in _files(unit))


def run(config: IngestConfig) -> VersionResult:
    """Make the dataset version and log it to MLflow. Raises UserError."""
    result = make(config)
    log_version(config, result)
    return result


def make(config: IngestConfig) -> VersionResult:
    """Make the dataset version, or find it there. Raises UserError."""
    root = locate(config.root)
    source, files, layout, found = _discovered(config)
    left_out = [reject for reject in found.rejects if reject.stage == LEFT_OUT]
    if left_out:
        say(f"{config.dataset}: {len(left_out)} files are not inputs: {left_out[0].reason}, ...")
    code = code_fingerprint(_CODE)
    plan = make_plan(
        dataset=config.dataset,
        version=config.version,
        units=found.pairs,
        rejects=found.rejects,
        content_config={"layout": layout},
        pairs_per_shard=config.pairs_per_shard,
    )
    settings = {k: v for k, v in as_dict(config).items() if k not in SHARED_KEYS}
    return publish(
        plan,
        root,
        RealPairs(source=source, dataset=config.dataset, layout=layout),
        config=settings | {"layout": layout, "source": source.url},
        code=code,
        max_rejected=config.max_rejected,
        move_latest=config.set_latest,
        ray_address=config.ray_address,
        read_inputs=source.is_cheap(files),
    )


def look(config: IngestConfig) -> list[str]:
    """Return what the names say and three examples, for the dry run; a mistake is a line, too."""
    try:
        source, files, layout, found = _discovered(config)
    except UserError as error:
        return [f"stop: {error}"]
    rejects = [reject for reject in found.rejects if reject.stage != LEFT_OUT]
    counts = Counter(pair.split for pair in found.pairs)
    splits = ", ".join(f"{counts[split]} {split}" for split in SPLITS if counts[split])
    with_target = sum(pair.target is not None for pair in found.pairs)
    lines = [
        f"layout {layout}: {splits or 'no'} pairs, {with_target} with a target, of {len(files)} "
        f"files; {len(rejects)} inputs rejected, {len(found.rejects) - len(rejects)} left out"
    ]
    for split, offsets in found.offsets.items():
        shares = ", ".join(f"{offset:+d} ({count})" for offset, count in sorted(offsets.items()))
        lines.append(f"{split}: target number minus source number: {shares}")
    for reason, count in Counter(reject.reason for reject in found.rejects).most_common(5):
        path = next(reject.path for reject in found.rejects if reject.reason == reason)
        lines.append(f"rejected or left out, {count}: {reason}, e.g. {escaped(path)}")
    step = max(1, len(found.pairs) // 3)
    for pair in found.pairs[::step][:3]:
        named = [f"{role} {escaped(path)} ({_form(source, path)})" for role, path in _files(pair)]
        lines.append(f"e.g. {pair.split} {pair.pair_id}: {', '.join(named)}")
    return lines


def _form(source: SourceFiles, path: str) -> str:
    try:
        picture, orientation = decode_as_sensor(source.read(path), where=path)
    except (OSError, ValueError) as error:
        return escaped(str(error).removeprefix(f"{path}: "))
    height, width = picture.shape[:2]
    turned = "" if orientation == 1 else f", Orientation {orientation}"
    return f"{width} x {height}, {bit_depth_of(picture)} bit{turned}"


def _discovered(
    config: IngestConfig,
) -> tuple[SourceFiles, dict[str, int], str, Discovery]:
    source = open_source(config.source)
    files = source.walk()
    layout, found = discover(
        files,
        layout=config.layout,
        source=source.url,
        offsets=config.offsets,
        fractions={"val_fraction": config.val_fraction, "test_fraction": config.test_fraction},
        patterns=config.patterns(),
    )
    return source, files, layout, found


def _mean(a: Pixels, b: Pixels) -> Pixels:
    """Return the mean of two views, rounded half up. Raises ValueError where they do not fit."""
    if a.shape != b.shape or a.dtype != b.dtype:
        raise ValueError("the two views of the target have other sizes or depths")
    return cast(Pixels, ((a.astype(np.uint32) + b + 1) // 2).astype(a.dtype))


def _files(unit: PairFiles) -> list[tuple[str, str]]:
    return [(role, entry[0]) for role in _ROLES if (entry := getattr(unit, role)) is not None]
