"""The weights in the box as ``k3dn models`` and ``k3dn weights`` list them."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.errors import UserError


@dataclass(frozen=True, slots=True)
class BoxRow:
    """Weights in the box."""

    reference: str
    """box:NAME, as ``model=`` takes it."""
    network: str
    """Variant of K3DN."""
    sha256: str
    steps: int | None
    summary: str
    """What they are good for, or that nobody said it."""
    folder: str
    """Where they lie."""


def box_rows() -> tuple[BoxRow, ...]:
    """All weights in the box, those of the package first. Raises UserError for a damaged entry."""
    from k3dn import box
    from k3dn.box.shelf import folder_of

    try:
        return tuple(
            BoxRow(
                reference=box.PREFIX + name,
                network=entry.model,
                sha256=entry.sha256,
                steps=entry.facts.steps,
                summary=entry.facts.summary or "no purpose was stated",
                folder=str(folder_of(name)),
            )
            for name, entry in box.entries().items()
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def format_box(rows: Sequence[BoxRow]) -> str:
    """One line an entry."""
    lines = []
    for row in rows:
        steps = f"{row.steps} steps" if row.steps is not None else "steps not known"
        lines.append(f"  {row.reference}  {row.network}  {steps}  {row.sha256[:12]}  {row.summary}")
    return "\n".join(lines) or "  nothing"
