"""The gate's rule: does a candidate win, on the same held-out pairs? Pure arithmetic.

Differences are paired: each pair is compared with itself, which takes the spread between easy
and hard pictures out of the comparison.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.models.scores import PairScore


@dataclass(frozen=True, slots=True)
class Gain:
    """Paired difference of PSNR over the same pairs, in dB."""

    mean_db: float
    standard_error_db: float
    """Of the mean; NaN for a single pair."""
    won: int
    """Pairs on which the candidate is better."""
    pairs: int

    def __str__(self) -> str:
        """Return e.g. ``+0.31 dB (standard error 0.05, better on 37 of 40 pairs)``."""
        spread = ""
        if math.isfinite(self.standard_error_db):
            spread = f"standard error {self.standard_error_db:.2f}, "
        return f"{self.mean_db:+.2f} dB ({spread}better on {self.won} of {self.pairs} pairs)"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate decides, and on what grounds."""

    promote: bool
    reason: str
    """One clause."""
    psnr: float
    """The candidate's mean PSNR in dB."""
    over_input: Gain
    over_champion: Gain | None
    """None where there is no champion yet."""


def judge(
    candidate: Sequence[PairScore],
    champion: Sequence[PairScore] | None,
    *,
    min_gain_db: float,
    min_input_gain_db: float,
) -> Verdict:
    """Decide whether a candidate becomes champion.

    It must exceed the blurred input's mean PSNR by more than ``min_input_gain_db`` and the
    champion's (where there is one) by more than ``min_gain_db``. Raises ValueError when the two
    were not measured on the same pairs.
    """
    over_input = _gain([s.output.psnr for s in candidate], [s.input.psnr for s in candidate])
    over_champion = None
    if champion is not None:
        theirs = {(s.dataset, s.pair_id): s.output.psnr for s in champion}
        ours = {(s.dataset, s.pair_id): s.output.psnr for s in candidate}
        if theirs.keys() != ours.keys():
            raise ValueError("candidate and champion were measured on different pairs")
        over_champion = _gain(list(ours.values()), [theirs[key] for key in ours])
    beats_input = over_input.mean_db > min_input_gain_db
    beats_champion = over_champion is None or over_champion.mean_db > min_gain_db
    if not beats_input:
        reason = f"{over_input} against the blurred input, more than {min_input_gain_db:g} needed"
    elif not beats_champion:
        reason = f"{over_champion} against the champion, more than {min_gain_db:g} needed"
    elif over_champion is None:
        reason = f"the first champion: {over_input} against the blurred input"
    else:
        reason = f"{over_champion} against the champion"
    return Verdict(
        promote=beats_input and beats_champion,
        reason=reason,
        psnr=math.fsum(s.output.psnr for s in candidate) / len(candidate),
        over_input=over_input,
        over_champion=over_champion,
    )


def _gain(ours: Sequence[float], theirs: Sequence[float]) -> Gain:
    if not ours:
        raise ValueError("no pairs to compare on")
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    count = len(differences)
    mean = math.fsum(differences) / count
    if count > 1:
        variance = math.fsum((d - mean) ** 2 for d in differences) / (count - 1)
        error = math.sqrt(variance / count)
    else:
        error = math.nan
    return Gain(mean, error, sum(d > 0 for d in differences), count)
