"""Every ``k3dn`` line in infra/ is one that our command line takes, with the settings it gets."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.cli import parse_overrides
from pipelines.config_loader import load_config
from pipelines.errors import UserError
from pipelines.steps import STEPS
from tests.infra.manifests import BUILDS, INFRA, REPOSITORY, Object, build

_COMMAND = re.compile(r'(?:^|[\s/])k3dn ([a-z]+)((?: +(?:"[^"]*"|[^\s;&|>"`)]+))*)')
_SETTINGS_PATH = "/etc/k3dn/k3dn.yaml"


def _commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (step, arguments) of each k3dn command line in a text."""
    for step, rest in _COMMAND.findall(text.replace("\\\n", " ")):
        if step in STEPS:
            yield step, shlex.split(rest.split("#")[0].rstrip("'"))


def _manifest_commands(objects: list[Object]) -> Iterator[tuple[str, list[str]]]:
    for one in objects:
        if one["kind"] == "RayJob":
            yield from _commands(one["spec"]["entrypoint"])
        elif one["kind"] == "CronJob":
            pod = one["spec"]["jobTemplate"]["spec"]["template"]["spec"]
            yield from _commands(pod["containers"][0]["args"][0])


def _config_map(name: str) -> dict[str, str]:
    data: dict[str, str] = next(
        one["data"]
        for one in build("base")
        if one["kind"] == "ConfigMap" and one["metadata"]["name"] == name
    )
    return data


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """The configuration file that the pods see."""
    path = tmp_path / "k3dn.yaml"
    path.write_text(_config_map("k3dn-settings")["k3dn.yaml"])
    return path


def _load(step: str, arguments: list[str], file: Path | None) -> Any:
    return load_config(
        STEPS[step].config_class(),
        step,
        file=file,
        overrides=parse_overrides(arguments),
        sections=[*STEPS],
    ).config


def test_manifests_run_the_four_steps_and_the_readme_has_the_same_lines() -> None:
    steps = {step for name in BUILDS for step, _ in _manifest_commands(build(name))}
    assert steps == {"synth", "train", "tune", "regenerate"}
    in_readme = {step for step, _ in _commands((REPOSITORY / "README.md").read_text())}
    assert steps <= in_readme


@pytest.mark.parametrize("name", BUILDS)
def test_commands_of_the_manifests(name: str, settings: Path) -> None:
    commands = list(_manifest_commands(build(name)))
    assert commands
    for step, arguments in commands:
        config = _load(step, arguments, settings)
        assert config.root == "s3://k3dn/data"
        if name.startswith("overlays/gpu/"):
            assert getattr(config, "train", config).use_gpu is True


def test_every_section_of_the_settings_holds(settings: Path) -> None:
    for section in yaml.safe_load(settings.read_text()):
        if section in STEPS:
            _load(section, [], settings)


def test_pods_find_the_settings_by_the_environment() -> None:
    assert _config_map("k3dn-environment")["K3DN_CONFIG"] == _SETTINGS_PATH
    (job,) = build("jobs/train")
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        mounts = group["template"]["spec"]["containers"][0]["volumeMounts"]
        assert "/etc/k3dn" in [mount["mountPath"] for mount in mounts]


@pytest.mark.parametrize(
    "path",
    [
        INFRA / "README.md",
        INFRA / "compose" / "compose.yaml",
        INFRA / "schedule" / "crontab.example",
        INFRA / "schedule" / "k3dn-regenerate.service",
    ],
    ids=lambda path: path.name,
)
def test_commands_of_the_other_files(path: Path) -> None:
    commands = list(_commands(path.read_text()))
    assert commands
    for step, arguments in commands:
        known = [part for part in arguments if part not in ("--config", "k3dn.yaml")]
        _load(step, known, None)


@pytest.mark.parametrize("spoilt", ["k3dn train use_gpus=true", "k3dn tune trials=many"])
def test_a_misspelt_key_is_refused(spoilt: str, settings: Path) -> None:
    ((step, arguments),) = _commands(spoilt)
    with pytest.raises(UserError):
        _load(step, arguments, settings)


def test_a_misspelt_setting_is_refused(settings: Path) -> None:
    settings.write_text(settings.read_text().replace("  pairs:", "  pears:"))
    with pytest.raises(UserError, match="pairs"):
        _load("synth", [], settings)
