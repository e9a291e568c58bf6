"""``k3dn promote`` and ``k3dn rollback``: who is champion, decided with figures."""

import dataclasses
import json
import math
from dataclasses import dataclass

from pipelines.errors import GateRefused, UserError
from pipelines.models.config import PromoteConfig, RollbackConfig
from pipelines.models.decisions import Decision, DecisionLog, previous_champion
from pipelines.models.gate import Gain, Verdict, judge
from pipelines.models.loading import settle
from pipelines.models.measure import measure
from pipelines.models.registry import ModelVersion, client_of, open_store, resolve, set_despite_race
from pipelines.models.scores import PairScore, TableRow, format_table, table
from pipelines.progress import say
from pipelines.storage import locate


@dataclass(frozen=True, slots=True)
class PromotionResult:
    """How a decision went."""

    name: str
    champion: str
    """Version that is champion now."""
    previous: str | None
    """Version that was champion before."""
    changed: bool
    """False when the candidate was champion already."""
    reason: str
    rows: tuple[TableRow, ...]
    """The candidate's table; empty for a rollback and where nothing changed."""
    output: str
    """The decision's object in storage, or the model's reference."""

    def describe(self) -> str:
        """Return what was decided, why, and where the decision lies."""
        lines = [format_table(self.rows), ""] if self.rows else []
        verb = "is now" if self.changed else "is already"
        lines.append(f"v{self.champion} of {self.name} {verb} champion: {self.reason}")
        if self.changed and self.previous:
            lines.append(f"before it was v{self.previous}")
        return "\n".join([*lines, f"use it as models:/{self.name}@champion"])

    def next_steps(self) -> list[str]:
        """Return what one may run next."""
        steps = [
            f"k3dn deblur --left LEFT.png --right RIGHT.png --model models:/{self.name}@champion"
        ]
        return [*steps, f"k3dn rollback --name {self.name}"] if self.previous else steps


def run(config: PromoteConfig) -> PromotionResult:
    """Measure the candidate and the champion on the same pairs, and decide.

    Raises GateRefused where the candidate does not win; that is a decision too and recorded.
    Raises UserError for a model or dataset that is not there.
    """
    tracking_uri = open_store(config)
    separator = "/" if config.candidate.isdigit() else "@"
    candidate = resolve(f"models:/{config.name}{separator}{config.candidate}", tracking_uri)
    log = DecisionLog(
        locate(config.root), config.name, tracking_uri, accept_alias=config.accept_alias
    )
    measured: dict[str, tuple[PairScore, ...]] = {}

    def scores_of(version: str) -> tuple[PairScore, ...]:
        if version not in measured:
            model = settle(f"models:/{config.name}/{version}", tracking_uri)
            measured[version] = measure(config, model, tracking_uri).scores
        return measured[version]

    while True:
        decisions, champion = log.champion()
        if champion == candidate.version:
            return _unchanged(candidate, decisions)
        _check_not_rolled_back(candidate, decisions, config)
        verdict = judge(
            scores_of(candidate.version),
            scores_of(champion) if champion is not None else None,
            min_gain_db=config.min_gain_db,
            min_input_gain_db=config.min_input_gain_db,
        )
        decision = Decision(
            number=len(decisions) + 1,
            kind="promoted" if verdict.promote else "refused",
            candidate=candidate.version,
            champion_before=champion,
            champion_after=candidate.version if verdict.promote else champion,
            reason=verdict.reason,
            figures=_figures(verdict, config),
        )
        if _is_repeated(decision, decisions):
            break
        # Measuring takes minutes: an alias that was moved by hand since then is an error here.
        unchanged = log.champion() == (decisions, champion)
        if unchanged and log.append(decision):
            log.settle()
            _tag(candidate, decision, tracking_uri)
            break
        say("somebody else decided meanwhile; looking again")
    if not verdict.promote:
        raise GateRefused(
            f"v{candidate.version} of {config.name} does not become champion: {verdict.reason}"
        )
    rows = table(scores_of(candidate.version), f"{config.name} v{candidate.version}")
    return _changed(config.name, decision, rows)


def rollback(config: RollbackConfig) -> PromotionResult:
    """Give the champion's place back; UserError where nobody had it before."""
    tracking_uri = open_store(config)
    client = client_of(tracking_uri)
    resolve(f"models:/{config.name}@champion", tracking_uri)
    log = DecisionLog(
        locate(config.root), config.name, tracking_uri, accept_alias=config.accept_alias
    )
    while True:
        decisions, champion = log.champion()
        earlier = previous_champion(decisions)
        if earlier is None or champion is None:
            raise UserError(
                f"no version of {config.name!r} was champion before; there is nothing to go back to"
            )
        version = resolve(f"models:/{config.name}/{earlier}", tracking_uri)
        decision = Decision(
            number=len(decisions) + 1,
            kind="rolled back",
            candidate=champion,
            champion_before=champion,
            champion_after=earlier,
            reason=f"rolled back from v{champion}",
        )
        if log.append(decision):
            break
    log.settle()
    spoken = f"rolled back by decision {decision.number}"
    set_despite_race(client.set_model_version_tag, config.name, champion, "k3dn.gate", spoken)
    return _changed(version.name, decision, ())


def _check_not_rolled_back(
    candidate: ModelVersion, decisions: list[Decision], config: PromoteConfig
) -> None:
    """A version that somebody took back must not return by the next scheduled run."""
    for decision in decisions:
        back = decision.kind == "rolled back" and decision.candidate == candidate.version
        if back and not config.again:
            raise UserError(
                f"v{candidate.version} of {candidate.name} was rolled back "
                f"({decision.time}); promote another version, or this one with again=true"
            )


def _is_repeated(decision: Decision, decisions: list[Decision]) -> bool:
    """Tell whether this refusal, on the same grounds, is in the log already."""

    def grounds(made: Decision) -> str:
        asked = (made.kind, made.candidate, made.champion_before, made.reason, made.figures)
        return json.dumps(asked, sort_keys=True)

    return decision.kind == "refused" and grounds(decision) in map(grounds, decisions)


def _changed(name: str, decision: Decision, rows: tuple[TableRow, ...]) -> PromotionResult:
    return PromotionResult(
        name=name,
        champion=str(decision.champion_after),
        previous=decision.champion_before,
        changed=True,
        reason=decision.reason,
        rows=rows,
        output=f"models:/{name}@champion",
    )


def _unchanged(version: ModelVersion, decisions: list[Decision]) -> PromotionResult:
    made = next((d for d in reversed(decisions) if d.champion_after == version.version), None)
    return PromotionResult(
        name=version.name,
        champion=version.version,
        previous=previous_champion(decisions),
        changed=False,
        reason=made.reason if made else "set by hand",
        rows=(),
        output=f"models:/{version.name}@champion",
    )


def _figures(verdict: Verdict, config: PromoteConfig) -> dict[str, object]:
    figures: dict[str, object] = {
        "psnr": verdict.psnr,
        "datasets": ",".join(config.datasets),
        "split": config.split,
        **_gain("input_gain", verdict.over_input),
    }
    if verdict.over_champion is not None:
        figures |= _gain("champion_gain", verdict.over_champion)
    return figures


def _gain(prefix: str, gain: Gain) -> dict[str, object]:
    values = dataclasses.asdict(gain)
    return {
        f"{prefix}_{key}": None if isinstance(value, float) and math.isnan(value) else value
        for key, value in values.items()
    }


def _tag(version: ModelVersion, decision: Decision, tracking_uri: str) -> None:
    """Write the decision with its figures onto the version, for who looks into MLflow."""
    client = client_of(tracking_uri)
    tags = {
        "k3dn.gate": f"{decision.kind} by decision {decision.number}: {decision.reason}",
        "k3dn.gate.time": decision.time,
        "k3dn.gate.champion_before": decision.champion_before or "none",
        **{f"k3dn.gate.{key}": str(value) for key, value in decision.figures.items()},
    }
    for key, value in tags.items():
        set_despite_race(client.set_model_version_tag, version.name, version.version, key, value)
