"""Ten promotions at once over a real MLflow server, killed at random moments.

    python -m tests.benchmarks.promotions [kills=20] [gates=10] [seed=0] [apart_ms=300]

On SQLite, or on the PostgreSQL server that K3DN_POSTGRES names.

In rounds, each with ten new versions, until so many gates were killed. Prints a line a round and
the whole; fails where the log of decisions has a gap or a fork, where there was no champion at any
look after the first one was made, or one that no decision had promoted, or where MLflow's records
are not those of the log.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from pipelines.evaluation.config import GateRules, PromoteConfig
from tests.mlflow_servers import POSTGRES, database, mlflow_server
from tests.pipelines.evaluation.contest import Outcome, add_versions, check, hold
from tests.pipelines.training.versions import make_pair, write_version


def main(arguments: list[str]) -> None:
    """Print a line a round."""
    options = {"kills": 20, "gates": 10, "seed": 0, "apart_ms": 300}
    options |= {key: int(value) for key, value in (word.split("=") for word in arguments)}
    rounds: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="k3dn-promotions-") as name:
        folder = Path(name)
        pairs = [make_pair("bright", "test", i) for i in range(2)]
        write_version(str(folder), "bright", "v1", pairs)
        kind = "postgresql" if POSTGRES in os.environ else "sqlite"
        with (
            database(kind, folder) as backend,
            mlflow_server(folder, artifacts=str(folder / "artifacts"), backend=backend) as uri,
        ):
            config = PromoteConfig(
                root=name, tracking_uri=uri, datasets=["bright"], gate=GateRules(min_scenes=2)
            )
            begun_s = time.monotonic()
            while (killed := sum(one.kills for one in rounds)) < options["kills"]:
                number = len(rounds)
                errors = [
                    0.1 * 0.97 ** (number * options["gates"] + i + 1)
                    for i in range(options["gates"])
                ]
                versions = add_versions(config, errors)
                rounds.append(
                    hold(
                        config,
                        versions,
                        kills=options["kills"] - killed,
                        seed=options["seed"] + number,
                        apart_s=options["apart_ms"] / 1000,
                    )
                )
                decisions = check(config, versions[-1], rounds[-1])
                print(_says(rounds[-1]), flush=True)
    print(
        f"{options['gates']} gates at once, {len(rounds)} rounds, "
        f"{sum(r.kills for r in rounds)} kills "
        f"({sum(r.killed_with_decision for r in rounds)} behind a decision), {len(decisions)} "
        f"decisions without gap or fork, {sum(r.looks for r in rounds)} looks, one champion at "
        f"each, {time.monotonic() - begun_s:.0f} s"
    )


def _says(outcome: Outcome) -> str:
    return (
        f"{outcome.kills} kills, {outcome.killed_with_decision} behind a decision; {outcome.looks} "
        f"looks; champions v{', v'.join(outcome.champions)}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
