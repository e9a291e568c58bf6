"""The sets of pairs that a recipe makes: as those that the weights in the box were trained on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pipelines.config import SHARED_KEYS
from pipelines.recipe.config import RecipeConfig
from pipelines.synthesis.config import CAMERA, PLACES, PROCEDURAL, OpticsConfig, SynthConfig
from pipelines.training.for_pictures import LENS

SIMPLE_SHARE = 0.72
"""Largest radius of the sets of simple kernels, over that of preset ``camera``."""
WIDE_FRAME = 1.6
"""Width of the wider frame, over the recipe's."""
WEAK_SHARES = (0.16, 0.28)
"""Least and greatest blur of the sets of weak blur, over the recipe's."""
WEAK_DISPARITY = (0.3, 0.55)


@dataclass(frozen=True, kw_only=True, slots=True)
class PairSet:
    """A kind of pairs."""

    name: str
    """Ends the name of its dataset."""
    of: Literal["photographs", "scenes"]
    """What it is made of."""
    share: float
    """Of the pairs that are made of that."""
    look: Literal["camera", "wide", "weak", "simple"]
    """Preset camera with all lenses seen; the same in a wider frame; with blur of a few pixels at
    most, and views that lie well apart; Butterworth and translating-disk kernels."""
    keys: Mapping[str, Any] = field(default_factory=dict)
    """Of ``k3dn synth``."""


SETS = (
    PairSet(name="scenes", of="scenes", share=0.35, look="camera"),
    PairSet(name="scenes-wide", of="scenes", share=0.2, look="wide"),
    PairSet(name="scenes-weak", of="scenes", share=0.2, look="weak"),
    PairSet(name="scenes-simple", of="scenes", share=0.25, look="simple"),
    PairSet(name="places", of="photographs", share=0.35, look="wide", keys={"source": PLACES}),
    PairSet(name="places-weak", of="photographs", share=0.25, look="weak", keys={"source": PLACES}),
    PairSet(
        name="collages", of="photographs", share=0.4, look="simple", keys={"source": PROCEDURAL}
    ),
)


def synth_configs(config: RecipeConfig) -> list[SynthConfig]:
    """Return what to make: a configuration of ``k3dn synth`` for each set, none where pairs=0."""
    if config.pairs == 0:
        return []
    return [
        _synth_config(config, made, seed=config.seed + number)
        for number, made in enumerate(SETS)
        if made.of == "photographs" or config.scenes is not None
    ]


def _synth_config(config: RecipeConfig, made: PairSet, *, seed: int) -> SynthConfig:
    least, greatest = config.blur
    keys: dict[str, Any] = {key: getattr(config, key) for key in SHARED_KEYS}
    keys |= {
        "dataset": f"{config.name}-{made.name}",
        "pairs": max(1, round(made.share * config.pairs)),
        "size": config.size,
        "seed": seed,
    }
    if made.of == "photographs":
        keys["textures"] = config.photographs
    else:
        keys["source"] = config.scenes
    keys |= made.keys
    if made.look == "simple":
        return SynthConfig(
            kernels=["butterworth", "translating_disk"],
            max_coc_px=SIMPLE_SHARE * greatest * config.frame_width,
            min_coc_px=SIMPLE_SHARE * least * config.frame_width,
            **keys,
        )
    lens: dict[str, Any] = {key: list(ends) for key, ends in LENS.items()}
    optics = OpticsConfig(frame_width=config.frame_width, blur=[least, greatest], **lens)
    if made.look == "wide":
        frame = round(WIDE_FRAME * config.frame_width)
        optics = replace(optics, frame_width=frame)
    elif made.look == "weak":
        weak = [share * of for share, of in zip(WEAK_SHARES, config.blur, strict=True)]
        optics = replace(optics, blur=weak, disparity=list(WEAK_DISPARITY))
    return SynthConfig.of_preset(CAMERA, optics=optics, **keys)
