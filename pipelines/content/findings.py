"""What is found about a pair by looking at its pictures."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or doubtful, with a pair."""

    kind: str
    """A word for what it is, e.g. ``exposure``."""
    text: str
    """One line, without the pair's name."""
    value: float | None = None
    """What was measured, where it is a number."""
    fault: bool = False
    """True where no pair can be made of it; False: a doubt."""
