"""Promotion, refusal, rollback; several real processes that decide at once; real kills."""

import dataclasses
import json
import math
import multiprocessing
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

import k3dn
from pipelines.errors import GateRefused, UserError
from pipelines.evaluation import measure, promote
from pipelines.evaluation.config import GateRules, PromoteConfig
from pipelines.evaluation.gate import Verdict
from pipelines.mlflow_store import ensure_experiment
from pipelines.registry import decisions as decisions_module
from pipelines.registry import rollback
from pipelines.registry.config import RollbackConfig
from pipelines.registry.decision import Decision, champions
from pipelines.registry.decision_records import KEY_TAG
from pipelines.registry.decisions import LOG_TAG, DecisionLog
from pipelines.registry.loading import settle
from pipelines.registry.registry import CHAMPION, alias_target, client_of, register, resolve
from pipelines.scores import PairScore, Quality
from pipelines.storage import locate
from tests.pipelines.training.versions import make_pair, write_version

Candidate = Callable[[PromoteConfig, float], str]


@pytest.fixture(scope="module")
def processes() -> BaseContext:
    """Real processes, forked from one that has done the imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow.pyfunc", "k3dn", "pipelines.evaluation.promote"])
    return context


@pytest.fixture
def configure(root: str, tracking_uri: str) -> Callable[..., PromoteConfig]:
    """Make a configuration for a model name."""

    def make(name: str, **keys: object) -> PromoteConfig:
        shared = {"root": root, "tracking_uri": tracking_uri, "datasets": ["bright"]}
        keys.setdefault("gate", GateRules(min_scenes=2))
        return PromoteConfig(name=name, **shared, **keys)  # type: ignore[arg-type]

    return make


@pytest.fixture
def candidate(register_offset, tracking_uri: str) -> Candidate:  # type: ignore[no-untyped-def]
    """Register ``offset`` and keep its scores, which follow from its number.

    What is decided here is who wins; ``test_evaluate`` shows that measuring gives such scores.
    """

    def make(config: PromoteConfig, number: float) -> str:
        version: str = register_offset(config.name, number)
        model = settle(f"models:/{config.name}/{version}", tracking_uri)
        (held,) = measure.plan(config, model)

        def quality(error: float) -> Quality:
            return Quality(psnr=-20 * math.log10(error), ssim=0.5, mae=error, rmse=error)

        scores = tuple(
            PairScore("bright@v1", f"pair-{i}", quality(0.2), quality(abs(0.2 - number)))
            for i in range(2)
        )
        measure.keep(config, model, held, scores, 1)
        return version

    return make


def champion_of(config: PromoteConfig) -> str | None:
    return alias_target(config.name, CHAMPION, str(config.tracking_uri))


def decisions_of(config: PromoteConfig) -> list[Decision]:
    return DecisionLog(locate(config.root), config.name, str(config.tracking_uri)).read()


@pytest.mark.slow
def test_a_model_that_answers_with_infinities_neither_wins_nor_stays(
    configure,  # type: ignore[no-untyped-def]
    candidate: Candidate,
    networks: Path,
    offset_code: str,
    tracking_uri: str,
    tmp_path: Path,
) -> None:
    code = offset_code.replace("- self.number", "* self.number * self.number")
    (networks / "endless_network.py").write_text(code)
    network, options = "endless_network:offset", {"number": 1e30}  # squared, infinite in float32
    path = tmp_path / "endless.safetensors"
    k3dn.save_weights(path, k3dn.build_model(network, options), name=network, options=options)
    version = register(
        path, name="endless", run_id=None, tracking_uri=tracking_uri, model=network, options=options
    )
    ours = configure("endless")
    model = settle(f"models:/endless/{version}", tracking_uri)
    (held,) = measure.plan(ours, model)
    evaluator = measure.Evaluator(ours, model, tracking_uri, use_gpu=False)
    for index in range(held.pairs):
        evaluator.score(held, index)
    evaluator._process.close()
    with pytest.raises(GateRefused, match="not finite on 2 of 2 pairs"):
        promote.run(ours)
    client_of(tracking_uri).set_registered_model_alias("endless", CHAMPION, version)
    candidate(ours, 0.15)
    decided = promote.run(configure("endless", accept_alias=True))
    assert (decided.champion, decided.previous) == ("2", "1")
    assert "champion" in {rule.rule for rule in decided.rules}


def test_a_model_lives_through_promotion_refusal_and_rollback(
    configure,
    candidate: Candidate,
    tracking_uri: str,  # type: ignore[no-untyped-def]
) -> None:
    """The whole life of three versions. An offset of 0.2 is perfect; 0.15 is better than 0.1."""
    ours = configure("life")
    back_config = RollbackConfig(name="life", root=ours.root, tracking_uri=tracking_uri)
    candidate(ours, 0.1)
    first = promote.run(ours)
    assert (first.champion, first.previous, first.changed) == ("1", None, True)
    assert [row.method for row in first.rows] == ["input (mean of the views)", "life v1"]

    again = promote.run(ours)
    assert (again.champion, again.changed) == ("1", False)

    candidate(ours, 0.15)
    second = promote.run(ours)
    assert (second.champion, second.previous) == ("2", "1")
    assert champion_of(ours) == "2"
    tags = resolve("models:/life/2", tracking_uri).tags
    assert tags["k3dn.gate"].startswith("promoted by decision 2")
    expected = 20 * math.log10(0.1 / 0.05)
    (_, decision) = decisions_of(ours)
    assert decision.figures["bright@v1/champion_gain"] == pytest.approx(expected)
    assert {rule["rule"] for rule in decision.rules} >= {"gain over champion", "SSIM", "leakage"}
    runs = decision_runs("life", tracking_uri)
    assert len(runs) == 2
    assert runs[2].data.metrics["bright/v1/champion_gain"] == pytest.approx(expected)
    assert "| met | gain over champion | bright@v1 |" in runs[2].data.tags["mlflow.note.content"]

    candidate(ours, 0.12)
    with pytest.raises(GateRefused, match=r"v3 of life .* against the champion"):
        promote.run(ours)
    assert champion_of(ours) == "2"
    assert resolve("models:/life/3", tracking_uri).tags["k3dn.gate"].startswith("refused")

    back = rollback.run(back_config)
    assert (back.champion, back.previous) == ("1", "2")
    assert champion_of(ours) == "1"
    kept = resolve("models:/life/2", tracking_uri).tags
    assert kept["k3dn.decision.000002"].startswith("promoted")  # not lost by the rollback
    assert kept["k3dn.decision.000004"].startswith("rolled back")
    with pytest.raises(UserError, match="nothing to go back to"):
        rollback.run(back_config)
    with pytest.raises(UserError, match="was rolled back"):
        promote.run(configure("life", candidate="2"))
    assert promote.run(configure("life", candidate="2", again=True)).champion == "2"
    kinds = [decision.kind for decision in decisions_of(ours)]
    assert kinds == ["promoted", "promoted", "refused", "rolled back", "promoted"]


def test_the_first_champion_must_beat_its_input(configure, candidate: Candidate) -> None:  # type: ignore[no-untyped-def]
    ours = configure("worse")
    candidate(ours, -0.1)
    with pytest.raises(GateRefused, match="against the blurred input"):
        promote.run(ours)
    assert champion_of(ours) is None


@pytest.mark.usefixtures("ray_cluster")
def test_versions_with_different_code_are_told_apart_in_one_gate_run(
    configure,
    networks: Path,
    offset_code: str,
    tracking_uri: str,
    tmp_path: Path,  # type: ignore[no-untyped-def]
) -> None:
    """Same weights, same module name: only the code differs, and the gate sees by how much."""
    source = networks / "two_codes.py"
    template = offset_code + "\ndef make():\n    return offset(0.3)\n"
    weights = tmp_path / "w.safetensors"
    for divisor in (3, 2):
        source.write_text(template.replace("self.number\n", f"self.number / {divisor}\n"))
        if not weights.exists():
            k3dn.save_weights(weights, k3dn.build_model("two_codes:make"), name="two_codes:make")
        register(
            weights,
            name="codes",
            run_id=None,
            tracking_uri=tracking_uri,
            model="two_codes:make",
        )
    client_of(tracking_uri).set_registered_model_alias("codes", CHAMPION, "1")
    ours = configure("codes")
    assert promote.run(ours).champion == "2"
    (decision,) = decisions_of(ours)
    expected = 20 * math.log10((0.2 - 0.3 / 3) / (0.2 - 0.3 / 2))
    assert decision.figures["bright@v1/champion_gain"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
def test_of_racing_gates_one_wins_and_none_is_lost(
    configure,
    candidate: Candidate,
    processes: BaseContext,  # type: ignore[no-untyped-def]
) -> None:
    """Five processes at once, the best candidate twice: the decisions have no gap and no fork."""
    ours = configure("race")
    versions = [candidate(ours, number) for number in (0.05, 0.1, 0.15, 0.18)]
    with ProcessPoolExecutor(5, mp_context=processes) as pool:
        runs: list[Future[promote.PromotionResult]] = [
            pool.submit(promote.run, configure("race", candidate=version))
            for version in [*versions, versions[-1]]
        ]
        outcomes = [run.exception() or run.result() for run in runs]
    refused = [outcome for outcome in outcomes if isinstance(outcome, GateRefused)]
    results = [o for o in outcomes if isinstance(o, promote.PromotionResult)]
    assert len(refused) + len(results) == 5, outcomes
    decisions = decisions_of(ours)
    assert [d.number for d in decisions] == [1, 2, 3, 4]
    assert sorted(d.candidate for d in decisions) == versions
    before = [None, *(d.champion_after for d in decisions[:-1])]
    assert [d.champion_before for d in decisions] == before
    assert champion_of(ours) == versions[-1]
    assert sum(r.changed for r in results) == sum(d.kind == "promoted" for d in decisions)
    assert [r.changed for r in results if r.champion == versions[-1]].count(True) == 1
    assert len({d.by for d in decisions}) > 1


@pytest.mark.slow
def test_a_gate_killed_after_its_decision_is_finished_by_the_next(
    configure,
    candidate: Candidate,
    processes: BaseContext,  # type: ignore[no-untyped-def]
) -> None:
    """SIGKILL as soon as the decision lies in storage, whatever MLflow knows of it by then."""
    ours = configure("killed")
    version = candidate(ours, 0.1)
    decision = Path(ours.root, "_locks", "models", "killed", "decision-000001.json")
    gate = processes.Process(target=promote.run, args=(ours,))  # type: ignore[attr-defined]
    gate.start()
    while not decision.exists():
        assert gate.is_alive() or decision.exists()
    gate.kill()
    gate.join()
    assert promote.run(ours).champion == version
    assert champion_of(ours) == version
    assert len(decisions_of(ours)) == 1


def test_a_decision_that_never_reached_the_alias_is_applied(
    configure,
    candidate: Candidate,
    tracking_uri: str,  # type: ignore[no-untyped-def]
) -> None:
    ours = configure("halfway")
    candidate(ours, 0.1)
    promote.run(ours)
    candidate(ours, 0.15)
    log = DecisionLog(locate(ours.root), "halfway", tracking_uri)
    left_behind = Decision(
        number=2,
        kind="promoted",
        candidate="2",
        champion_before="1",
        champion_after="2",
        reason="its process died here",
    )
    assert log.append(left_behind)
    assert not log.append(dataclasses.replace(left_behind, reason="too late"))
    assert champion_of(ours) == "1"
    assert not promote.run(ours).changed
    assert champion_of(ours) == "2"


@pytest.mark.slow
def test_a_decision_whose_champion_was_deleted_since_is_no_dead_end(
    configure,  # type: ignore[no-untyped-def]
    candidate: Candidate,
    tracking_uri: str,
) -> None:
    """Its process died before the alias was set, and then somebody deleted the version."""
    ours = configure("deadend")
    for number in (0.1, 0.15):
        candidate(ours, number)
    promote.run(configure("deadend", candidate="1"))
    log = DecisionLog(locate(ours.root), "deadend", tracking_uri)
    assert log.append(Decision(2, "promoted", "2", "1", "2", "its process died here"))
    client_of(tracking_uri).delete_model_version("deadend", "2")
    candidate(ours, 0.18)
    result = promote.run(ours)
    assert (result.champion, champion_of(ours)) == ("3", "3")
    kinds = [d.kind for d in decisions_of(ours)]
    assert kinds == ["promoted", "promoted", "deleted", "promoted"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is setting the alias: one look is enough."""
    monkeypatch.setattr(decisions_module, "PATIENCE_S", 0.0)


def test_an_alias_that_another_process_is_mending_is_waited_for(
    configure,  # type: ignore[no-untyped-def]
    candidate: Candidate,
    tracking_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between two decisions, a slow process sets the older outcome and then the newer one."""
    ours = configure("mending")
    for number in (0.1, 0.15):
        candidate(ours, number)
    promote.run(configure("mending", candidate="1"))
    promote.run(ours)
    client = client_of(tracking_uri)
    client.set_registered_model_alias("mending", CHAMPION, "1")
    monkeypatch.setattr(
        decisions_module.time,
        "sleep",
        lambda _: client.set_registered_model_alias("mending", CHAMPION, "2"),
    )
    assert promote.run(ours).champion == "2"
    assert len(decisions_of(ours)) == 2


@pytest.mark.usefixtures("impatient")
def test_an_alias_moved_by_hand_is_neither_overwritten_nor_ignored(
    configure,
    candidate: Candidate,
    tracking_uri: str,  # type: ignore[no-untyped-def]
) -> None:
    ours = configure("byhand")
    candidate(ours, 0.15)
    promote.run(ours)
    candidate(ours, 0.1)
    client_of(tracking_uri).set_registered_model_alias("byhand", CHAMPION, "2")
    candidate(ours, 0.12)
    with pytest.raises(UserError, match=r"moved by hand to v2 .* accept_alias"):
        promote.run(ours)
    assert champion_of(ours) == "2"
    result = promote.run(configure("byhand", accept_alias=True))
    assert (result.champion, result.previous) == ("3", "2")
    assert [d.kind for d in decisions_of(ours)] == ["promoted", "moved by hand", "promoted"]


@pytest.mark.usefixtures("impatient")
def test_an_alias_moved_while_measuring_is_not_overwritten(
    configure,  # type: ignore[no-untyped-def]
    candidate: Candidate,
    tracking_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = configure("meanwhile")
    client = client_of(tracking_uri)
    for number in (0.1, 0.12, 0.15):
        candidate(ours, number)
    promote.run(configure("meanwhile", candidate="1"))
    judged = promote.judge

    def moved_by_then(*scores: object, **limits: object) -> Verdict:
        client.set_registered_model_alias("meanwhile", CHAMPION, "2")
        return judged(*scores, **limits)  # type: ignore[arg-type]

    monkeypatch.setattr(promote, "judge", moved_by_then)  # a person's hand, at that moment
    with pytest.raises(UserError, match="moved by hand to v2"):
        promote.run(ours)
    assert champion_of(ours) == "2"
    assert len(decisions_of(ours)) == 1
    result = promote.run(configure("meanwhile", accept_alias=True))
    assert (result.champion, result.previous) == ("3", "2")


def test_a_refusal_repeated_is_the_same_refusal(configure, candidate: Candidate) -> None:  # type: ignore[no-untyped-def]
    ours = configure("repeated")
    candidate(ours, 0.15)
    promote.run(ours)
    candidate(ours, 0.1)
    refusals = []
    for _ in range(2):
        with pytest.raises(GateRefused) as caught:
            promote.run(ours)
        refusals.append(str(caught.value))
    assert refusals[0] == refusals[1]
    assert [d.kind for d in decisions_of(ours)] == ["promoted", "refused"]
    with pytest.raises(GateRefused):
        promote.run(configure("repeated", gate=GateRules(min_scenes=2, min_gain_db=1.0)))
    candidate(ours, 0.18)
    assert promote.run(ours).champion == "3"


def test_a_refusal_leaves_the_alias_alone(
    configure,  # type: ignore[no-untyped-def]
    candidate: Candidate,
    tracking_uri: str,
) -> None:
    """The alias is moved between the decision and its settling, which no check can see."""
    ours = configure("refusal")
    for number in (0.15, 0.1):
        candidate(ours, number)
    promote.run(configure("refusal", candidate="1"))
    log = DecisionLog(locate(ours.root), "refusal", tracking_uri)
    assert log.append(Decision(2, "refused", "2", "1", "1", "too weak"))
    client_of(tracking_uri).set_registered_model_alias("refusal", CHAMPION, "2")
    log.settle()
    assert champion_of(ours) == "2"


def test_another_root_cannot_decide_past_this_one(
    configure,
    candidate: Candidate,
    tracking_uri: str,
    tmp_path: Path,  # type: ignore[no-untyped-def]
) -> None:
    ours = configure("home")
    candidate(ours, 0.1)
    promote.run(ours)
    with pytest.raises(UserError, match="not under this root"):
        DecisionLog(locate(str(tmp_path)), "home", tracking_uri, accept_alias=True)


def test_a_lost_log_is_noticed_and_can_be_accepted(
    configure,  # type: ignore[no-untyped-def]
    candidate: Candidate,
    tracking_uri: str,
) -> None:
    """A root that was moved, or another machine's: nothing of the lost log is replayed."""
    ours = configure("lost")
    candidate(ours, 0.1)
    promote.run(ours)
    shutil.rmtree(Path(ours.root, "_locks", "models", "lost"))
    candidate(ours, 0.15)
    client_of(tracking_uri).set_registered_model_tag("lost", LOG_TAG, "/nowhere/lost")
    with pytest.raises(UserError, match=r"which is not there; .* accept_alias"):
        promote.run(ours)
    result = promote.run(configure("lost", accept_alias=True))
    assert (result.champion, result.previous) == ("2", "1")
    assert champion_of(ours) == "2"


def test_rollbacks_go_back_step_by_step() -> None:
    """Oracle: a stack that promotions push to and rollbacks pop from."""

    def decision(kind: str, before: str | None, after: str | None) -> Decision:
        return Decision(0, kind, after or "", before, after, "")  # type: ignore[arg-type]

    history = [
        decision("promoted", None, "1"),
        decision("promoted", "1", "2"),
        decision("refused", "2", "2"),
        decision("promoted", "2", "4"),
    ]
    assert champions([]) == []
    assert champions(history[:1]) == ["1"]
    assert champions(history) == ["1", "2", "4"]
    history.append(decision("rolled back", "4", "2"))
    assert champions(history) == ["1", "2"]
    history.append(decision("rolled back", "2", "1"))
    assert champions(history) == ["1"]
    history = [
        decision("promoted", None, "1"),
        decision("promoted", "1", "2"),
        decision("moved by hand", "2", None),  # the alias was deleted
        decision("promoted", None, "3"),
    ]
    assert champions(history) == ["1", "2", "3"]
    history.append(decision("rolled back", "3", "1"))  # v2 was not there any more
    assert champions(history) == ["1"]
    adopted = [decision("promoted", "7", "8")]  # v7 was champion before there was a log
    assert champions(adopted) == ["7", "8"]


def decision_runs(name: str, tracking_uri: str) -> dict[int, Any]:
    """The runs of decisions about a model, by number."""
    client = client_of(tracking_uri)
    found = client.search_runs(
        [ensure_experiment(tracking_uri)],
        f"tags.`k3dn.step` = 'decision' and tags.`k3dn.model` = '{name}'",
    )
    return {int(run.data.tags["k3dn.decision_key"].split("/")[1]): run for run in found}


@pytest.mark.slow
def test_a_deleted_champion_is_skipped_by_rollback_and_by_the_gate(
    configure,
    candidate: Candidate,
    tracking_uri: str,  # type: ignore[no-untyped-def]
) -> None:
    """Deleted by hand: the next candidate is compared with the last champion that is left."""
    ours = configure("gone")
    for number in (0.1, 0.13, 0.15):
        candidate(ours, number)
        promote.run(ours)
    client = client_of(tracking_uri)
    client.delete_model_version("gone", "3")
    candidate(ours, 0.12)  # worse than v2, which is left
    with pytest.raises(GateRefused, match="against the champion"):
        promote.run(ours)
    assert [d.kind for d in decisions_of(ours)][3:] == ["deleted", "refused"]
    assert champion_of(ours) is None
    back_config = RollbackConfig(name="gone", root=ours.root, tracking_uri=tracking_uri)
    client.delete_model_version("gone", "2")
    back = rollback.run(back_config)
    assert (back.champion, back.previous, champion_of(ours)) == ("1", None, "1")
    candidate(ours, 0.16)
    assert promote.run(ours).previous == "1"


def test_records_that_a_killed_gate_left_out_are_written_by_the_next(
    configure,
    candidate: Candidate,
    tracking_uri: str,  # type: ignore[no-untyped-def]
) -> None:
    ours = configure("mended")
    candidate(ours, 0.1)
    log = DecisionLog(locate(ours.root), "mended", tracking_uri)
    assert log.append(Decision(1, "promoted", "1", None, "1", "its process died here"))
    assert not promote.run(ours).changed
    assert resolve("models:/mended/1", tracking_uri).tags["k3dn.gate"].endswith("died here")
    (run,) = decision_runs("mended", tracking_uri).values()
    client = client_of(tracking_uri)
    names = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert names == {"decision.md", "decision.json"}
    promote.run(ours)
    assert len(decision_runs("mended", tracking_uri)) == 1


def test_a_decision_has_one_run_however_many_began_one(
    configure,
    candidate: Candidate,
    tracking_uri: str,  # type: ignore[no-untyped-def]
) -> None:
    """Left half done by two gates that were killed; the third finishes one."""
    ours = configure("begun")
    candidate(ours, 0.1)
    log = DecisionLog(locate(ours.root), "begun", tracking_uri)
    decision = Decision(1, "promoted", "1", None, "1", "its process died here")
    assert log.append(decision)
    client = client_of(tracking_uri)
    key = f"begun/1/{decision.time}/{decision.by}"
    tags = {"k3dn.step": "decision", "k3dn.model": "begun", KEY_TAG: key}
    experiment = ensure_experiment(tracking_uri)
    late, early = (client.create_run(experiment, start_time=t, tags=tags) for t in (2000, 1000))
    assert not promote.run(ours).changed
    asked = "tags.`k3dn.model` = 'begun'"
    (run,) = client.search_runs([experiment], asked)
    assert (run.info.run_id, run.info.status) == (early.info.run_id, "FINISHED")
    assert client.get_run(late.info.run_id).info.lifecycle_stage == "deleted"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"decision.json"}


class Killed(BaseException):
    """In place of SIGKILL, at a place in the code."""


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_gate_killed_with_an_older_outcome_set_is_no_hand(
    configure,  # type: ignore[no-untyped-def]
    candidate: Candidate,
    tracking_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Overtaken between its look at the log and the alias, and killed before it looks again."""
    ours = configure("overtaken")
    for number in (0.1, 0.15):
        candidate(ours, number)
    set_alias = DecisionLog._set_alias

    def overtaken(log: DecisionLog, client: MlflowClient, version: str | None) -> None:
        monkeypatch.setattr(DecisionLog, "_set_alias", set_alias)
        assert promote.run(configure("overtaken", candidate="2")).previous == "1"
        set_alias(log, client, version)
        raise Killed

    monkeypatch.setattr(DecisionLog, "_set_alias", overtaken)
    with pytest.raises(Killed):
        promote.run(configure("overtaken", candidate="1"))
    assert champion_of(ours) == "1"
    assert not promote.run(ours).changed
    assert champion_of(ours) == "2"
    client_of(tracking_uri).set_registered_model_alias("overtaken", CHAMPION, "1")
    with pytest.raises(UserError, match="moved by hand to v1"):  # nothing is left of it
        promote.run(ours)


def test_a_dry_run_shows_every_rule_and_decides_nothing(
    configure,
    candidate: Candidate,
    tracking_uri: str,
    tmp_path: Path,  # type: ignore[no-untyped-def]
) -> None:
    empty = PromoteConfig(root=str(tmp_path / "none"))
    shown = promote.look(empty)
    assert "min_scenes: 10" in shown and "no figures yet" in shown[-1]
    assert list(tmp_path.iterdir()) == []
    ours = configure("dry")
    candidate(ours, 0.1)
    promote.run(ours)
    candidate(ours, 0.05)
    shown = promote.look(ours)
    assert shown[-1] == "would be refused"
    assert any(line.startswith("FAILED") and "gain over champion" in line for line in shown)
    assert len(decisions_of(ours)) == 1 and champion_of(ours) == "1"


def test_a_dry_run_foresees_what_the_gate_would_say(
    configure,  # type: ignore[no-untyped-def]
    candidate: Candidate,
    tracking_uri: str,
) -> None:
    """Of a version that was rolled back, and where the champion was deleted."""
    ours = configure("foreseen")
    for number in (0.1, 0.15):
        candidate(ours, number)
        promote.run(ours)
    rollback.run(RollbackConfig(name="foreseen", root=ours.root, tracking_uri=tracking_uri))
    assert "v2 of foreseen was rolled back" in promote.look(ours)[-1]
    again = dataclasses.replace(ours, again=True)
    assert promote.look(again)[-1] == "would be promoted"
    promote.run(again)
    client_of(tracking_uri).delete_model_version("foreseen", "2")
    candidate(ours, 0.05)  # better than its input, worse than v1, which is left
    shown = promote.look(ours)
    assert shown[-1] == "would be refused"
    assert any(line.startswith("FAILED") and "gain over champion" in line for line in shown)


def test_a_dataset_published_while_the_gate_measures_changes_nothing(
    configure,  # type: ignore[no-untyped-def]
    candidate: Candidate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = str(tmp_path)
    write_version(root, "bright", "v1", [make_pair("bright", "test", i) for i in range(2)])
    ours = dataclasses.replace(configure("published"), root=root)
    candidate(ours, 0.1)
    measured = promote.measure

    def meanwhile(*what: Any) -> Any:
        found = measured(*what)
        write_version(root, "bright", "v2", [make_pair("bright", "test", i) for i in range(3)])
        return found

    monkeypatch.setattr(promote, "measure", meanwhile)
    promote.run(ours)
    (decision,) = decisions_of(ours)
    assert decision.datasets[0][0] == "bright@v1"
    gains = [rule for rule in decision.rules if rule["rule"] == "gain over input"]
    assert [rule["subject"] for rule in gains] == ["bright@v1"]


def test_a_decision_is_json_that_people_can_read(tmp_path: Path, tracking_uri: str) -> None:
    client_of(tracking_uri).create_registered_model("plain")
    log = DecisionLog(locate(str(tmp_path)), "plain", tracking_uri)
    made = Decision(1, "refused", "5", "4", "4", "too weak", {"psnr": 20.5})
    assert log.append(made)
    (path,) = (tmp_path / "_locks" / "models" / "plain").iterdir()
    assert json.loads(path.read_text())["figures"] == {"psnr": 20.5}
    assert log.read() == [made]
    assert made.by.endswith(str(os.getpid()))
