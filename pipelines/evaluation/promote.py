"""``k3dn promote``: who is champion, decided by the rules of the gate."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.config import without_password
from pipelines.dataset.version import open_version
from pipelines.errors import GateRefused, UserError
from pipelines.evaluation.config import GateRules, PromoteConfig
from pipelines.evaluation.gate import RuleResult, Verdict, format_rules, judge
from pipelines.evaluation.leakage import Leakage, find_leakage
from pipelines.evaluation.measure import kept_scores, measure, on_masks, pinned, plan
from pipelines.evaluation.transfer import carry_over, foreseen
from pipelines.mlflow_store import is_missing, resolve_tracking_uri
from pipelines.next_steps import command
from pipelines.progress import say
from pipelines.registry.decision import Decision, champions
from pipelines.registry.decisions import DecisionLog, decisions_of
from pipelines.registry.loading import settle
from pipelines.registry.registry import (
    CHALLENGER,
    CHAMPION,
    ModelVersion,
    alias_target,
    is_there,
    open_store,
    reference_of,
    resolve,
)
from pipelines.scores import PairScore, TableRow, format_table, table
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
    """The candidate's table; empty where nothing changed."""
    rules: tuple[RuleResult, ...]
    """How each rule came out; empty where nothing changed."""
    output: str
    """The champion's reference."""
    copied_from: str | None = None
    """The version of another registry that the candidate is a copy of."""

    def describe(self) -> str:
        """Return what was decided and why."""
        lines = [format_table(self.rows), "", format_rules(self.rules), ""] if self.rows else []
        verb = "is now" if self.changed else "is already"
        copy = f", a copy of {self.copied_from}," if self.copied_from else ""
        lines.append(f"v{self.champion} of {self.name}{copy} {verb} champion: {self.reason}")
        if self.changed and self.previous:
            lines.append(f"before it was v{self.previous}")
        return "\n".join([*lines, f"use it as {self.output}"])

    def next_steps(self) -> list[str]:
        """Return what one may run next."""
        steps = [command("deblur", "LEFT.png", "RIGHT.png", model=self.output)]
        return [*steps, command("rollback", name=self.name)] if self.previous else steps


def run(config: PromoteConfig) -> PromotionResult:
    """Measure the candidate and the champion on the same pairs, and decide.

    With ``from`` the candidate is copied first, and what follows is done where it is copied to.

    Raises GateRefused where the candidate does not meet the rules; that is a decision too and
    recorded. Raises UserError for a model or dataset that is not there.
    """
    if config.from_ is not None:
        transfer = foreseen(config)
        decided = run(carry_over(transfer))
        return dataclasses.replace(
            decided,
            copied_from=f"{transfer.version.uri} in {without_password(transfer.source_uri)}",
        )
    tracking_uri = open_store(config)
    candidate = _candidate(config, tracking_uri)
    log = DecisionLog(
        locate(config.root), config.name, tracking_uri, accept_alias=config.accept_alias
    )
    measured: dict[str, tuple[PairScore, ...]] = {}
    leakage: Leakage | None = None

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
        if leakage is None:
            config = _pinned(config)
            settled = settle(candidate.uri, tracking_uri)
            for line in on_masks(config, plan(config, settled)):
                say(line)
            leakage = find_leakage(config, settled, tracking_uri)
        rival = champion or _last_champion(config.name, decisions, tracking_uri)
        verdict = judge(
            scores_of(candidate.version),
            scores_of(rival) if rival is not None else None,
            config.gate,
            required=config.required(),
            leaks=leakage.seen,
            unknown=leakage.unknown,
        )
        decision = Decision(
            number=len(decisions) + 1,
            kind="promoted" if verdict.promote else "refused",
            candidate=candidate.version,
            champion_before=champion,
            champion_after=candidate.version if verdict.promote else champion,
            reason=verdict.reason,
            figures=dict(verdict.figures),
            rules=[rule.as_json() for rule in verdict.rules],
            datasets=_datasets(config),
        )
        if _is_repeated(decision, decisions):
            break
        # Measuring takes minutes: an alias that was moved by hand since then is an error here.
        unchanged = log.champion() == (decisions, champion)
        if unchanged and log.append(decision):
            log.settle()
            break
        say("somebody else decided meanwhile; looking again")
    if not verdict.promote:
        for line in format_rules(verdict.rules).splitlines():
            say(line)
        raise GateRefused(
            f"v{candidate.version} of {config.name} does not become champion: {verdict.reason}"
        )
    return PromotionResult(
        name=config.name,
        champion=candidate.version,
        previous=champion,
        changed=True,
        reason=verdict.reason,
        rows=table(scores_of(candidate.version), f"{config.name} v{candidate.version}"),
        rules=verdict.rules,
        output=f"models:/{config.name}@champion",
    )


def look(config: PromoteConfig) -> list[str]:
    """Return the table of rules for a dry run, with the figures that are kept; changes nothing."""
    rules = [f"{name}: {limit}" for name, limit in _limits(config).items()]
    if config.from_ is not None:
        try:
            transfer = foreseen(config)
        except UserError as error:
            return ["the rules", *rules, f"nothing to copy: {error}"]
        source, target = map(without_password, (transfer.source_uri, transfer.target_uri))
        where = f"from {source} to {target}"
        copied = f"{transfer.version.uri} would be copied {where}, measured and decided about there"
        return [copied, "the rules", *rules]
    try:
        verdict = _foreseen(config)
    except UserError as error:
        return ["the rules", *rules, f"no figures yet: {error}"]
    outcome = "would be promoted" if verdict.promote else "would be refused"
    lines = format_rules(verdict.rules).splitlines()
    return ["the rules", *rules, "by the scores that are kept", *lines, outcome]


def _foreseen(config: PromoteConfig) -> Verdict:
    """What the gate would say by scores that are kept; UserError where some are missing."""
    if is_missing(resolve_tracking_uri(config)):
        raise UserError("there is no MLflow store")
    tracking_uri = open_store(config)
    candidate = _candidate(config, tracking_uri)
    champion = alias_target(config.name, CHAMPION, tracking_uri)
    decisions = decisions_of(locate(config.root), config.name)
    config = _pinned(config)

    def scores_of(version: str) -> tuple[PairScore, ...]:
        model = settle(f"models:/{config.name}/{version}", tracking_uri)
        kept = kept_scores(config, model)
        if kept is None:
            raise UserError(f"v{version} is not measured on these pairs; 'k3dn promote' does")
        return kept

    if champion == candidate.version:
        raise UserError(f"v{champion} is champion already")
    _check_not_rolled_back(candidate, decisions, config)
    rival = champion or _last_champion(config.name, decisions, tracking_uri)
    leakage = find_leakage(config, settle(candidate.uri, tracking_uri), tracking_uri, keep=False)
    return judge(
        scores_of(candidate.version),
        scores_of(rival) if rival is not None else None,
        config.gate,
        required=config.required(),
        leaks=leakage.seen,
        unknown=leakage.unknown,
    )


def _limits(config: PromoteConfig) -> Mapping[str, str]:
    limits = {}
    for field in dataclasses.fields(GateRules):
        value = getattr(config.gate, field.name)
        limits[field.name] = "none" if value is None else str(value)
    return limits | {"required": ", ".join(config.required())}


def _candidate(config: PromoteConfig, tracking_uri: str) -> ModelVersion:
    return resolve(reference_of(config.name, config.candidate or CHALLENGER), tracking_uri)


def _pinned(config: PromoteConfig) -> PromoteConfig:
    """The step with each dataset as it is now, those that are required too."""
    root = locate(config.root)
    required = [open_version(root, name).reference for name in config.required()]
    whole = dataclasses.replace(config, gate=dataclasses.replace(config.gate, required=[]))
    rules = dataclasses.replace(config.gate, required=required)
    return dataclasses.replace(pinned(whole), gate=rules)


def _datasets(config: PromoteConfig) -> list[list[str]]:
    root = locate(config.root)
    found = [open_version(root, name) for name in config.datasets]
    return [[version.reference, version.digest] for version in found]


def _last_champion(name: str, decisions: list[Decision], tracking_uri: str) -> str | None:
    """Who to compare with where the champion was deleted: the last one that is still there."""
    past = reversed(champions(decisions))
    return next((version for version in past if is_there(name, version, tracking_uri)), None)


def _check_not_rolled_back(
    candidate: ModelVersion, decisions: Sequence[Decision], config: PromoteConfig
) -> None:
    """A version that somebody took back must not return by the next scheduled run."""
    for decision in decisions:
        back = decision.kind == "rolled back" and decision.candidate == candidate.version
        if back and not config.again:
            raise UserError(
                f"v{candidate.version} of {candidate.name} was rolled back "
                f"({decision.time}); promote another version, or this one with again=true"
            )


def _is_repeated(decision: Decision, decisions: Sequence[Decision]) -> bool:
    """Tell whether this refusal, on the same grounds, is in the log already."""

    def grounds(made: Decision) -> str:
        asked = (made.kind, made.candidate, made.champion_before, made.reason, made.rules)
        return json.dumps(asked, sort_keys=True)

    return decision.kind == "refused" and grounds(decision) in map(grounds, decisions)


def _unchanged(version: ModelVersion, decisions: list[Decision]) -> PromotionResult:
    made = next((d for d in reversed(decisions) if d.champion_after == version.version), None)
    past = champions(decisions)
    return PromotionResult(
        name=version.name,
        champion=version.version,
        previous=past[-2] if len(past) > 1 else None,
        changed=False,
        reason=made.reason if made else "set by hand",
        rows=(),
        rules=(),
        output=f"models:/{version.name}@champion",
    )
