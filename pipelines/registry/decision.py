"""One decision about a registered model, and what several of them lead to."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Kind = Literal["promoted", "refused", "rolled back", "moved by hand", "deleted"]


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision about a registered model."""

    number: int
    kind: Kind
    candidate: str
    """The version that it is about."""
    champion_before: str | None
    champion_after: str | None
    reason: str
    figures: dict[str, Any] = field(default_factory=dict)
    rules: list[dict[str, Any]] = field(default_factory=list)
    """How each rule of the gate came out; empty where nothing was measured."""
    datasets: list[list[str]] = field(default_factory=list)
    """What was measured on: name@version and digest of each."""
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    by: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")


def champions(decisions: Sequence[Decision]) -> list[str]:
    """Return who was champion and was not taken back, oldest first; the last one is or was it last.

    Two rollbacks in a row go two champions back, not to and fro.
    """
    past: list[str] = []
    for decision in decisions:
        if not past and decision.champion_before is not None:
            past.append(decision.champion_before)
        after = decision.champion_after
        if decision.kind == "rolled back":
            while past and past[-1] != after:
                past.pop()
        if decision.kind != "refused" and after not in (None, *past[-1:]):
            past.append(str(after))
    return past


def decision_text(name: str, decision: Decision) -> str:
    """Return a decision in Markdown, with a table of its rules."""
    now = spoken(decision.champion_after)
    lines = [
        f"# Decision {decision.number} about {name}: v{decision.candidate} {decision.kind}",
        "",
        f"{decision.reason}.",
        "",
        f"Champion before: {spoken(decision.champion_before)}; after: {now}. {decision.time}.",
    ]
    if decision.rules:
        lines += ["", "| | rule | on | found |", "|---|---|---|---|"]
        for rule in decision.rules:
            cells = ("met" if rule["met"] else "**failed**", rule["rule"], rule["subject"])
            lines.append("| " + " | ".join((*cells, str(rule["says"]))) + " |")
    return "\n".join(lines) + "\n"


def spoken(version: str | None) -> str:
    """Return what a version, or that there is none, is called in a sentence."""
    return f"v{version}" if version else "none"
