"""A model card as Markdown: what is known of a model, and what is not."""

import json
from collections.abc import Iterable

from k3dn.box import Entry, Facts, Figure
from k3dn.factory import names_factory
from pipelines.cards.facts import Known

KEPT_DB = 45.0
"""Pictures that shall come back as they are, and do so with less PSNR, are shown as failures."""


def card_text(known: Known, title: str) -> str:
    """The card of a model, called ``title``."""
    facts = known.entry.facts
    parts = [
        f"# Model card: {title}",
        facts.summary or "Nobody has said what these weights are good for.",
        _table(("", ""), _identity(known)),
        "## Trained on",
        _data(facts),
        "## Configuration",
        _configuration(known),
        "## Figures",
        _figures(facts),
        "## Where it fails",
        _list([*facts.failures, *_losses(facts.figures)]) or "No failure is recorded.",
        "## What is not known",
        _list(_unknown(known)) or "Nothing that this card asks for.",
    ]
    if facts.recipe:
        parts += ["## How to train such weights", f"```sh\n{facts.recipe.strip()}\n```"]
    parts += _notices(facts)
    return "\n\n".join(parts) + "\n"


def _identity(known: Known) -> list[tuple[str, str]]:
    entry, facts = known.entry, known.entry.facts
    rows = [
        ("Network", _network(entry)),
        ("File", f"{known.bytes / 2**20:.2f} MiB, {entry.stored}, sha256 `{entry.sha256}`"),
        ("Licence of the weights", _said(facts.licence)),
        ("Steps", _said(facts.steps)),
        ("Seeds", ", ".join(map(str, facts.seeds)) or _said(None)),
        ("Time in steps", "not known" if facts.hours is None else f"{facts.hours:.2f} h"),
        ("Device", _said(facts.device)),
        ("Energy", "not known" if facts.energy_kwh is None else f"{facts.energy_kwh:g} kWh"),
    ]
    if known.version is not None:
        version = known.version
        rows += [
            ("Registered", f"{version.uri}, {version.created}"),
            ("Aliases", ", ".join(version.aliases) or "none"),
            ("Gate", version.tags.get("k3dn.gate", "has not decided")),
        ]
    return rows


def _network(entry: Entry) -> str:
    if names_factory(entry.model):
        return f"`{entry.model}`, not K3DN, {entry.parameters:,} numbers in its file"
    return f"K3DN `{entry.model}`, {entry.parameters:,} numbers in training"


def _data(facts: Facts) -> str:
    rows = [
        (
            data.name,
            _said(data.pairs),
            _said(data.made),
            data.licence or ("see its notice below" if data.notice else _said(None)),
        )
        for data in facts.data
    ]
    return _table(("set", "pairs", "made of", "licence"), rows) if rows else "Not known."


def _configuration(known: Known) -> str:
    options = json.dumps(known.options, indent=1)
    network = f"Network:\n\n```json\n{options}\n```"
    configuration = known.entry.facts.configuration
    if configuration is None:
        return f"{network}\n\nTraining: not known."
    rows = [(f"`{key}`", str(value)) for key, value in configuration.items()]
    return f"{network}\n\nTraining:\n\n{_table(('key', 'value'), rows)}"


def _figures(facts: Facts) -> str:
    if not facts.figures:
        return "None are recorded; `k3dn evaluate` measures on pairs of one's own."
    rows = [
        (
            figure.data,
            figure.side or ("not recorded" if figure.measure == "gain" else ""),
            figure.measure,
            str(figure.pictures),
            f"{figure.mean_db:+.2f}",
            "too few"
            if figure.low_db is None
            else f"{figure.low_db:+.2f} to {figure.high_db:+.2f}",
            f"{figure.worst_db:+.2f} ({figure.worst})",
        )
        for figure in facts.figures
    ]
    heads = ("set", "side of focus", "measure", "pictures", "mean dB", "95 % interval", "worst dB")
    text = (
        "Gain: PSNR over the mean of the two views. Unchanged: PSNR against the input of pictures "
        "that shall come back as they are. The interval is that of the mean over pictures."
    )
    parts = [_table(heads, rows), text]
    if facts.remarks:
        parts.append(_list(facts.remarks))
    if facts.measured_by:
        parts.append(f"Measured by:\n\n```sh\n{facts.measured_by.strip()}\n```")
    return "\n\n".join(parts)


def _interval(figure: Figure) -> str:
    if figure.low_db is None or figure.high_db is None:
        return "too few"
    return f"{figure.low_db:+.2f} to {figure.high_db:+.2f}"


def _losses(figures: Iterable[Figure]) -> list[str]:
    found = []
    for figure in figures:
        on = f"{figure.data}{f', {figure.side}' if figure.side else ''}"
        if figure.measure == "gain" and figure.worst_db < 0:
            found.append(f"{on}: {figure.worst} comes out worse, {figure.worst_db:+.2f} dB.")
        if figure.measure == "unchanged" and figure.worst_db < KEPT_DB:
            found.append(f"{on}: {figure.worst} is changed, {figure.worst_db:.2f} dB.")
    return found


def _unknown(known: Known) -> list[str]:
    facts = known.entry.facts
    asked = {
        "what the weights are good for": facts.summary,
        "their licence": facts.licence,
        "how many steps they were trained": facts.steps,
        "the seeds": facts.seeds,
        "how long the training took": facts.hours,
        "on what it ran": facts.device,
        "the energy that it took": facts.energy_kwh,
        "the configuration of the training": facts.configuration,
        "what they were trained on": facts.data,
        "figures on held-out pictures": facts.figures,
        "where they fail: nobody has looked": facts.failures,
    }
    found = [words for words, value in asked.items() if value in (None, ())]
    found += [
        f"the licence of {data.name}"
        for data in facts.data
        if data.licence is None and data.notice is None
    ]
    if any(figure.side is None and figure.measure == "gain" for figure in facts.figures):
        found.append("on which side of the focus the pictures of some figures are blurred")
    if any(0 < figure.pictures < 10 for figure in facts.figures):
        found.append("what the means are on more pictures: some are over fewer than ten")
    return found


def _notices(facts: Facts) -> list[str]:
    """The notices of all data, each once."""
    texts = list(dict.fromkeys(data.notice for data in facts.data if data.notice))
    blocks = [f"````text\n{text}\n````" for text in texts]
    return ["## Notices of the data", *blocks] if blocks else []


def _said(value: object) -> str:
    return "not known" if value is None else str(value)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(" ".join(c.split()).replace("|", "\\|") for c in cells) + " |"

    return "\n".join([line(heads), "|---" * len(heads) + "|", *map(line, rows)])
