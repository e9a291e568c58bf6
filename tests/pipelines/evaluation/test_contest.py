"""Gates at once over a real MLflow server, and some of them killed: one champion at every look.

``tests/benchmarks/promotions.py`` does it with ten gates and twenty kills.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.evaluation import promote
from pipelines.evaluation.config import GateRules, PromoteConfig
from tests.mlflow_servers import DATABASES, database, mlflow_server
from tests.pipelines.evaluation.contest import add_versions, check, hold
from tests.pipelines.training.versions import make_pair, write_version

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", DATABASES)
def test_gates_at_once_that_are_killed_leave_one_champion(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = str(tmp_path / "root")
    write_version(root, "bright", "v1", [make_pair("bright", "test", i) for i in range(2)])
    with (
        database(kind, tmp_path) as backend,
        mlflow_server(tmp_path, artifacts=str(tmp_path / "artifacts"), backend=backend) as uri,
    ):
        config = PromoteConfig(
            root=root, tracking_uri=uri, datasets=["bright"], gate=GateRules(min_scenes=2),
            name="contest",
        )  # fmt: skip
        versions = add_versions(config, [0.1, 0.08, 0.06, 0.04])
        capfd.readouterr()
        assert promote.run(replace(config, candidate=versions[0])).changed
        assert capfd.readouterr().out == ""  # which is for results
        outcome = hold(config, versions[1:], kills=3, seed=0, apart_s=1.0)
        decisions = check(config, versions[-1], outcome)
    assert outcome.kills and outcome.looks > 10
    assert {d.candidate for d in decisions} >= {versions[0], versions[-1]}
