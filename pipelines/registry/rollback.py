"""``k3dn rollback``: give the champion's place back to who had it before."""

from dataclasses import dataclass

from pipelines.errors import UserError
from pipelines.next_steps import command
from pipelines.registry.config import RollbackConfig
from pipelines.registry.decision import Decision, champions
from pipelines.registry.decisions import DecisionLog
from pipelines.registry.registry import is_there, open_store, versions
from pipelines.storage import locate


@dataclass(frozen=True, slots=True)
class RollbackResult:
    """Who is champion again."""

    name: str
    champion: str
    """Version that is champion now."""
    previous: str | None
    """Version that was champion before; None where it was deleted."""
    reason: str
    output: str
    """The champion's reference."""

    def describe(self) -> str:
        """Return who is champion, and instead of whom."""
        lines = [f"v{self.champion} of {self.name} is champion again: {self.reason}"]
        return "\n".join([*lines, f"use it as {self.output}"])

    def next_steps(self) -> list[str]:
        """Return what one may run next."""
        return [command("deblur", "LEFT.png", "RIGHT.png", model=self.output)]


def run(config: RollbackConfig) -> RollbackResult:
    """Give the place back to the last champion before that is still in the registry.

    Raises UserError where there is none.
    """
    tracking_uri = open_store(config)
    versions(config.name, tracking_uri)  # says which models there are, where this is none
    log = DecisionLog(
        locate(config.root), config.name, tracking_uri, accept_alias=config.accept_alias
    )
    while True:
        decisions, champion = log.champion()
        past = champions(decisions)
        before = past[:-1] if champion is not None else past
        there = [v for v in reversed(before) if is_there(config.name, v, tracking_uri)]
        if not there:
            raise UserError(
                f"no earlier champion of {config.name!r} is left; there is nothing to go back to"
            )
        left = champion or past[-1]
        decision = Decision(
            number=len(decisions) + 1,
            kind="rolled back",
            candidate=left,
            champion_before=champion,
            champion_after=there[0],
            reason=f"rolled back from v{left}",
        )
        if log.append(decision):
            break
    log.settle()
    output = f"models:/{config.name}@champion"
    return RollbackResult(config.name, there[0], champion, decision.reason, output)
