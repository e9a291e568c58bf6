"""The step ``ingest``: a folder of real dual-pixel pairs becomes a dataset version."""

from dataclasses import dataclass

import numpy as np

from pipelines.config import SHARED_KEYS, as_dict
from pipelines.dataset.config import IngestConfig
from pipelines.dataset.images import Pixels, decode_as_sensor
from pipelines.dataset.layouts import discover
from pipelines.dataset.layouts.files import PairFiles
from pipelines.dataset.logged import log_version
from pipelines.dataset.plan import LEFT_OUT, make_plan
from pipelines.dataset.provenance import code_fingerprint, processor_kind
from pipelines.dataset.publish import VersionResult, publish
from pipelines.dataset.record import Pair, Provenance, Source
from pipelines.dataset.shards import BadInput, fault_of_input, reason_of
from pipelines.dataset.source_files import SourceFiles, checked_source, open_source
from pipelines.progress import say
from pipelines.storage import locate

_ROLES = ("left", "right", "target", "combined")
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
    source, root = open_source(config.source), locate(config.root)
    files = source.walk()
    layout, found = discover(files, layout=config.layout, source=source.url, offsets=config.offsets)
    left_out = [reject for reject in found.rejects if reject.stage == LEFT_OUT]
    if left_out:
        say(f"{config.dataset}: {len(left_out)} files are no inputs: {left_out[0].reason}, ...")
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


def _files(unit: PairFiles) -> list[tuple[str, str]]:
    return [(role, entry[0]) for role in _ROLES if (entry := getattr(unit, role)) is not None]
