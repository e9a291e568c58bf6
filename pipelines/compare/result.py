"""What a comparison found."""

from dataclasses import dataclass

SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
"""At which shares quantiles are given."""


@dataclass(frozen=True, slots=True)
class SideFigures:
    """What there is to say of one dataset by itself."""

    reference: str
    """name@version."""
    pairs: int
    """Pairs measured."""
    skipped: int
    """Pairs drawn that have no target."""
    patches: int
    """Patches fitted."""
    clean: int
    """Those whose fit is clean: of these are the figures of kernels."""
    beyond: int
    """Those blurred beyond what is tried (16 px, at 1200 px of width or less)."""
    near: float | None
    """Share of the blurred patches (radius from 1 px on) that are nearer than focus."""
    left_over: dict[str, float]
    """By kernel family, the median of what its fit leaves of the views, white is 1."""
    radius_over_truth: list[float] | None
    """Quartiles of measured over stored radius, where the version has radii."""
    side_is_true: float | None
    """Share of these patches whose disparity has the stored radius's sign."""


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity in both datasets."""

    name: str
    title: str
    unit: str
    counts: tuple[int, int]
    """Values of each."""
    quantiles: tuple[list[float], list[float]]
    """Of each, at the shares of SHARES."""
    distance: float | None
    """0 (equal) to 1 (no overlap), see distance.py; None with too few values."""
    chance: float | None
    """What two draws from one set of pairs exceed one time in twenty."""


@dataclass(frozen=True, slots=True)
class CompareResult:
    """What ``k3dn compare`` found."""

    datasets: tuple[SideFigures, SideFigures]
    shares: tuple[float, ...]
    """At which quantiles are given."""
    rows: tuple[Row, ...]
    page: str
    output: str
    """Folder with index.html and result.json."""

    def describe(self) -> str:
        """Return the table and where the page lies."""
        first, second = self.datasets
        lines = [
            f"{side.reference}: {side.pairs} pairs, {side.patches} patches, {side.clean} clean"
            + (f", {side.skipped} pairs without a target left out" if side.skipped else "")
            for side in self.datasets
        ]
        cells = [("quartiles of", first.reference, second.reference, "apart", "by chance")]
        for row in self.rows:
            unit = f" ({row.unit})" if row.unit else ""
            one, other = (quartiles_text(values) for values in row.quantiles)
            cells.append(
                (row.title + unit, one, other, number_text(row.distance), number_text(row.chance))
            )
        widths = [max(len(line[column]) for line in cells) for column in range(5)]
        for line in cells:
            lines.append("  ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)))
        lines = [line.rstrip() for line in lines]
        return "\n".join([*lines, f"figures: {self.output}/result.json", f"page: {self.page}"])

    def next_steps(self) -> list[str]:
        """Return what one may run next."""
        return []


def quartiles_text(values: list[float]) -> str:
    """Return the three quartiles of quantiles at SHARES as text."""
    if not values:
        return "-"
    return " / ".join(f"{values[SHARES.index(share)]:.3g}" for share in (0.25, 0.5, 0.75))


def number_text(value: float | None) -> str:
    """Return a distance as text."""
    return "-" if value is None else f"{value:.2f}"
