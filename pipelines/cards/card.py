"""``k3dn card``: write a model card for a registered version, a weights file or the box."""

from dataclasses import dataclass

from pipelines.cards.card_text import card_text
from pipelines.cards.config import CardConfig
from pipelines.cards.facts import known_of
from pipelines.errors import UserError
from pipelines.next_steps import command
from pipelines.ray_job import refuse_lost_path
from pipelines.storage import locate


@dataclass(frozen=True, slots=True)
class CardResult:
    """A card was written."""

    model: str
    figures: int
    """Rows of figures on it."""
    output: str
    """Where the card lies."""

    def describe(self) -> str:
        """Return of what the card is and where it lies."""
        return f"card of {self.model}, {self.figures} figures\n{self.output}"

    def next_steps(self) -> list[str]:
        """Return what one may run next."""
        return [] if self.figures else [command("evaluate", model=self.model)]


def run(config: CardConfig) -> CardResult:
    """Gather and write.

    Raises UserError for a model that is not there or is none of a K3DN, and for a card that is
    there already.
    """
    refuse_lost_path("output", config.output)
    target = locate(config.output)
    if target.exists() and not config.overwrite:
        raise _present(config.output)
    known = known_of(config.model, config)
    label = known.version.uri if known.version else known.reference.rpartition("/")[2]
    text = card_text(known, label).encode()
    if config.overwrite:
        target.write_bytes(text)
    elif not target.put_if_absent(text):
        raise _present(config.output)
    return CardResult(known.reference, len(known.entry.facts.figures), target.url)


def _present(output: str) -> UserError:
    return UserError(f"{output} exists; give another name, or overwrite=true")
