"""``k3dn register``: weights from the box or a file become a version of a registered model."""

import json
from dataclasses import dataclass

from pipelines.errors import UserError
from pipelines.mlflow_store import ensure_store, resolve_tracking_uri
from pipelines.next_steps import command
from pipelines.registry.config import RegisterConfig
from pipelines.registry.decision import Decision
from pipelines.registry.decisions import DecisionLog
from pipelines.registry.loading import load_network, local_weights, settle
from pipelines.registry.registry import register
from pipelines.storage import locate


@dataclass(frozen=True, slots=True)
class RegisterResult:
    """Weights are a version of a registered model."""

    model: str
    """Which weights."""
    name: str
    version: str
    champion: bool
    """Whether this version is the champion."""
    output: str
    """The version's reference."""

    def describe(self) -> str:
        """Return what the version is and how it is called."""
        role = "champion, by word and not by measurement" if self.champion else "a version"
        return f"{self.model} is v{self.version} of {self.name}, {role}\n{self.output}"

    def next_steps(self) -> list[str]:
        """Return what one may run next."""
        steps = [command("evaluate", model=self.output)]
        return steps if self.champion else [*steps, command("promote", name=self.name)]


def run(config: RegisterConfig) -> RegisterResult:
    """Check the weights, register them, and on demand make them the first champion.

    Repeated with the same weights it finds the version that there is. Raises UserError for weights
    that are not there or are none of a K3DN, and with ``champion`` where there is a champion.
    """
    if config.model.startswith("models:/"):
        raise UserError(f"{config.model} is registered already; name box:NAME or a weights file")
    from safetensors import safe_open

    tracking_uri = resolve_tracking_uri(config)
    label = settle(config.model, tracking_uri).label
    load_network(config.model, tracking_uri)  # what is not weights must not become a version
    ensure_store(tracking_uri)
    with local_weights(config.model) as path:
        with safe_open(str(path), framework="np") as file:
            said = file.metadata()
        version = register(
            path,
            name=config.name,
            run_id=None,
            tracking_uri=tracking_uri,
            model=said["model"],
            options=json.loads(said["options"]),
            tags={"k3dn.source": label},
        )
    champion = _first_champion(config, version, label, tracking_uri) if config.champion else False
    uri = f"models:/{config.name}/{version}"
    return RegisterResult(label, config.name, version, champion, uri)


def _first_champion(config: RegisterConfig, version: str, label: str, tracking_uri: str) -> bool:
    """Decide for the version where there is no champion; the gate decides all further ones."""
    log = DecisionLog(locate(config.root), config.name, tracking_uri)
    while True:
        decisions, champion = log.champion()
        if champion == version:
            return True
        if champion is not None:
            raise UserError(
                f"v{champion} of {config.name} is champion already; {label} is registered as "
                f"v{version}: k3dn promote name={config.name} candidate={version}"
            )
        decision = Decision(
            number=len(decisions) + 1,
            kind="promoted",
            candidate=version,
            champion_before=None,
            champion_after=version,
            reason=f"the first champion, {label}, by word and not by measurement",
        )
        if log.append(decision):
            log.settle()
            return True
