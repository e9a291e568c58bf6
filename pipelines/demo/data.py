"""The demo's data: which datasets it makes, and from what."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.config import config_digest
from pipelines.demo.config import DemoConfig
from pipelines.errors import UserError
from pipelines.ingest import ingest
from pipelines.ingest.config import IngestConfig
from pipelines.picture_keys import parse_size
from pipelines.progress import say
from pipelines.synthesis import synthesize
from pipelines.synthesis.config import SynthConfig

REAL_SET = "dpd-blur-mini"
NO_SAMPLES = (
    "no real dual-pixel pairs are at hand, so the demo leaves them out: set K3DN_SAMPLES to a "
    "folder with dpd-blur-mini/, or get the DPD-blur set from its authors' repository "
    "(Abuolaim and Brown, ECCV 2020) and run 'k3dn ingest --source FOLDER'"
)


@dataclass(frozen=True, slots=True)
class DemoData:
    """References to the demo's dataset versions, name@version."""

    procedural: str
    """Procedural scenes: training and held-out."""
    held_out_scene: str
    """The real RGB-D scene of scikit-image, all of it held out."""
    rgbd: str | None
    """RGB-D scenes of the samples."""
    real: str | None
    """Real dual-pixel pairs of the samples."""
    real_folder: Path | None
    """Where the real pairs came from."""

    def training(self, real_repeat: int) -> list[str]:
        """What to train on."""
        real = [f"{self.real}*{real_repeat}"] if self.real else []
        return [self.procedural, *([self.rgbd] if self.rgbd else []), *real]

    def synthetic_test(self) -> list[str]:
        """Synthetic sets with held-out pairs."""
        return [self.procedural, *([self.rgbd] if self.rgbd else []), self.held_out_scene]

    def test(self) -> list[str]:
        """Every set with held-out pairs."""
        return [*self.synthetic_test(), *([self.real] if self.real else [])]


def make_data(config: DemoConfig, samples: Path | None) -> DemoData:
    """Make what is not there yet. samples: a folder that `samples_of` has found, or none."""
    base = SynthConfig(
        **config.place(),
        pairs=config.procedural_pairs,
        size=config.size,
        max_coc_px=config.max_coc_px,
        seed=config.seed,
    )
    textures = str(samples / "sharp") if samples else "skimage"
    procedural = _synthesize(replace(base, dataset="demo-procedural", textures=textures))
    held_out_scene = _synthesize(
        replace(
            base,
            dataset="demo-motorcycle",
            source="motorcycle",
            pairs=4,
            size=_larger(config.size),
            val_fraction=0.0,
            test_fraction=1.0,
        )
    )
    if samples is None:
        say(NO_SAMPLES)
        return DemoData(procedural, held_out_scene, None, None, None)
    rgbd = _synthesize(
        replace(base, dataset="demo-rgbd", source=str(samples / "rgbd"), pairs=config.rgbd_pairs)
    )
    real_folder = samples / REAL_SET
    ingested = ingest.run(
        IngestConfig(
            **config.place(),
            source=str(real_folder),
            dataset=REAL_SET,
        )
    )
    real = f"{REAL_SET}@{ingested.version}"
    return DemoData(procedural, held_out_scene, rgbd, real, real_folder)


def _larger(size: str) -> str:
    """The size of the held-out scene's pairs beside others of ``size``: a wide scene, of 500 x 741
    px in all."""
    height, width = parse_size(size)
    return f"{min(384, height * 3 // 2)}x{min(576, width * 9 // 4)}"


def _synthesize(config: SynthConfig) -> str:
    """Make a version named after its settings, so that other settings make another."""
    digest = config_digest(config, without=("root", "tracking_uri", "ray_address", "version"))
    made = synthesize.run(replace(config, version=f"demo-{digest[:8]}"))
    return f"{made.dataset}@{made.version}"


def samples_of(config: DemoConfig) -> Path | None:
    """Return the folder of samples. Raises UserError for one that is not what it should be."""
    named = config.samples or os.environ.get("K3DN_SAMPLES")
    if not named:
        return None
    folder = Path(named).resolve()
    missing = [name for name in (REAL_SET, "rgbd", "sharp") if not (folder / name).is_dir()]
    if missing:
        where = "samples" if config.samples else "K3DN_SAMPLES"
        raise UserError(
            f"{where}: {folder} has no folder {missing[0]}; name a folder with {REAL_SET}/, rgbd/ "
            "and sharp/, or leave it unset to run on what comes with the packages"
        )
    return folder
