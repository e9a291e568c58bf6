"""The rows of an ablation: a name, and the training that makes it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from k3dn.network.config import variant
from pipelines.ablation.config import AblateConfig
from pipelines.training.config import FEATURES_PER_WIDTH, TrainConfig

_TABLE_4 = ((True, True, True), (True, True, False), (True, False, True), (False, True, False),
            (True, False, False))  # fmt: skip
"""PSF blocks, SRP blocks, reblurring: the rows of the paper's Table 4, in its order."""
_TABLE_5 = (0.5, 0.75, 1.0, 1.25, 1.5)
"""N over the variant's own: 64, 96, 128, 160 and 192 in the paper, whose own is 128."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    label: str
    model: str
    network: Mapping[str, Any] = field(default_factory=dict)
    """Options of the network that differ from those of ``train.network``."""
    reblur: bool = True
    """Train with the reblurring loss."""


def rows_of(config: AblateConfig) -> tuple[Row, ...]:
    """Return the rows of the configured table; the first one is what others are compared with.

    Raises ValueError for a variant that there is not.
    """
    if config.table == "sizes":
        for name in config.sizes:
            variant(name, {})
        return tuple(Row(name, name) for name in dict.fromkeys(config.sizes))
    network = variant(config.model, config.train.network)
    if config.table == "4":
        return tuple(_without(config.model, *parts) for parts in _TABLE_4)
    counts = config.kernels or [_multiple(network.num_kernels * share) for share in _TABLE_5]
    return tuple(
        Row(
            f"N = {count}",
            config.model,
            {"dense_kernels": count}
            if network.dense_kernels
            else {"width": count // FEATURES_PER_WIDTH},
        )
        for count in dict.fromkeys(counts)
    )


def training_of(config: AblateConfig, row: Row, seed: int) -> TrainConfig:
    """Return the training of a row with a seed. Its name is by its content, so that a row that
    two tables share is trained once."""
    return dataclasses.replace(
        config.train,
        **config.place(),
        name=None,
        datasets=list(config.datasets),
        model=row.model,
        network={**config.train.network, **row.network},
        lambda_1=config.train.lambda_1 if row.reblur else 0.0,
        steps=config.steps,
        seed=config.train.seed + seed,
        register=None,
    )


def _without(model: str, psf: bool, srp: bool, reblur: bool) -> Row:
    parts = {"PSF": psf, "SRP": srp, "reblur": reblur}
    label = " + ".join(name for name, on in parts.items() if on)
    options = {name: False for name, on in (("psf", psf), ("srp", srp)) if not on}
    return Row(label, model, options, reblur)


def _multiple(number: float) -> int:
    return max(FEATURES_PER_WIDTH, round(number / FEATURES_PER_WIDTH) * FEATURES_PER_WIDTH)
