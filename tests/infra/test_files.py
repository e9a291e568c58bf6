"""Dockerfile, shell, YAML, systemd and crontab: each by the tool that reads it for a living."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from mlflow.models.cli import serve

from tests.infra.manifests import INFRA, REPOSITORY, build, run, tool

DOCKERFILE = INFRA / "docker" / "Dockerfile"
SCHEDULE = INFRA / "schedule"
YAML_RULES = """
extends: default
rules:
  line-length: {max: 100}
  document-start: disable
  braces: {max-spaces-inside: 1}
  comments: {min-spaces-from-content: 1}
"""


def _cron_script() -> str:
    (job,) = (one for one in build("base") if one["kind"] == "CronJob")
    template = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    script: str = template["containers"][0]["args"][0]
    return script


def _shell_blocks_of_the_readme() -> str:
    return "\n".join(re.findall(r"```sh\n(.*?)```", (INFRA / "README.md").read_text(), re.S))


def _dockerfile_problems(text: str) -> str:
    done = run(tool("hadolint"), "-", stdin=text)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _shell_problems(script: str) -> str:
    done = run(tool("shellcheck"), "--shell=sh", "-", stdin=script)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _yaml_problems(text: str) -> str:
    done = run(tool("yamllint"), "--strict", "-d", YAML_RULES, "-", stdin=text)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _crontab_problems(text: str) -> list[str]:
    """Check the five fields of each line, and its command as cron would hand it to sh."""
    bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
    problems, environment = [], ""
    for line in text.splitlines():
        if re.match(r"\w+=", line):
            environment += line + "\n"
        if not line or line.startswith("#") or re.match(r"\w+=", line):
            continue
        *fields, command = line.split(maxsplit=5)
        for field, (low, high) in zip(fields, bounds, strict=True):
            if field != "*" and not (field.isdigit() and low <= int(field) <= high):
                problems.append(f"field {field} is not within {low}-{high}")
        if re.search(r"(?<!\\)%", command):
            problems.append("an unescaped % ends the command")
        if _shell_problems(environment + command.replace(r"\%", "%")):
            problems.append("the command is no shell")
    return problems


@pytest.mark.parametrize("file", sorted(DOCKERFILE.parent.iterdir()), ids=lambda file: file.name)
def test_dockerfile(file: Path) -> None:
    assert _dockerfile_problems(file.read_text()) == ""


def test_a_served_version_needs_no_network_and_no_rights() -> None:
    """What is served lies in the image; the keys of the command are those of MLflow."""
    text = (DOCKERFILE.parent / "serve.Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", text, re.M) == ["1000:1000"]
    command = json.loads(re.search(r"^CMD (\[.*\])", text.replace("\\\n", ""), re.M)[1])  # type: ignore[index]
    keys = dict(zip(command[3::2], command[4::2], strict=True))
    assert keys["--model-uri"] == "/model" and ". /model" in text
    assert keys["--env-manager"] == "local"
    known = {option for parameter in serve.params for option in parameter.opts}
    assert set(keys) <= known


def test_dockerfile_check_can_fail() -> None:
    spoilt = re.sub(r"FROM python:\S+", "FROM python:latest", DOCKERFILE.read_text())
    assert "DL3007" in _dockerfile_problems(spoilt)


def test_dockerfile_has_both_targets_and_ends_as_an_ordinary_user() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE.read_text(), flags=re.M)
    targets = {stage.splitlines()[0].split(" AS ")[1]: stage for stage in stages[1:]}
    for name in ("cpu", "cuda"):
        assert re.findall(r"^USER (.*)$", targets[name], re.M) == ["1000:1000"]


def test_dockerfile_installs_extras_that_exist_and_a_python_we_support() -> None:
    text = DOCKERFILE.read_text()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = set(re.findall(r"--extra (\w+)", text))
    assert extras and extras <= set(project["optional-dependencies"])
    python = re.search(r"FROM python:(\d+)\.(\d+)", text)
    assert python is not None and python.groups() == ("3", "11")


def test_what_the_image_copies_exists_and_passes_the_dockerignore() -> None:
    allowed = set(re.findall(r"^!(\S+?)/?$", (REPOSITORY / ".dockerignore").read_text(), re.M))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wanted = {"pyproject.toml", "constraints.txt", "k3dn", "synth", "pipelines", "tune"}
    wanted |= {Path(name).name for name in (project["project"].get("readme"),) if name}
    assert wanted <= allowed
    assert [name for name in allowed if not (REPOSITORY / name).exists()] == []


@pytest.mark.parametrize(
    "path",
    sorted(INFRA.rglob("*.yaml")),
    ids=lambda path: str(path.relative_to(INFRA)),
)
def test_yaml(path: Path) -> None:
    assert _yaml_problems(path.read_text()) == ""


def test_yaml_check_can_fail() -> None:
    assert "duplication" in _yaml_problems("a: 1\na: 2\n")


def test_every_kustomization_builds() -> None:
    for path in sorted((INFRA / "kuberay").rglob("kustomization.yaml")):
        if yaml.safe_load(path.read_text())["kind"] == "Kustomization":
            build(str(path.parent.relative_to(INFRA / "kuberay")))


def test_a_kustomization_that_names_a_missing_file_does_not_build(tmp_path: Path) -> None:
    shutil.copytree(INFRA / "kuberay", tmp_path / "kuberay")
    (tmp_path / "kuberay" / "base" / "mlflow.yaml").unlink()
    with pytest.raises(ValueError, match=r"mlflow\.yaml"):
        build(str(tmp_path / "kuberay" / "base"))


def test_shell_of_the_cron_job_and_of_the_readme() -> None:
    assert _shell_problems(_cron_script()) == ""
    assert _shell_problems(_shell_blocks_of_the_readme()) == ""


def test_shell_check_can_fail() -> None:
    assert "SC2086" in _shell_problems(_cron_script().replace('"stamp=$stamp"', "stamp=$stamp"))


def test_crontab() -> None:
    assert _crontab_problems((SCHEDULE / "crontab.example").read_text()) == []


@pytest.mark.parametrize(
    ("good", "bad"), [("17 2 * * 0", "17 24 * * 0"), (r"\%F", "%F"), ("&&", "&& ) &&")]
)
def test_a_spoilt_crontab_is_refused(good: str, bad: str) -> None:
    assert _crontab_problems((SCHEDULE / "crontab.example").read_text().replace(good, bad)) != []


def _systemd_problems(folder: Path) -> str:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not on this machine")
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(folder / "k3dn-regenerate.timer")],
        capture_output=True,
        text=True,
        check=False,
    )
    return "\n".join(line for line in done.stderr.splitlines() if "k3dn-regenerate" in line)


def test_systemd_units() -> None:
    assert _systemd_problems(SCHEDULE) == ""


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [("timer", "OnCalendar=", "OnCalender="), ("service", "TimeoutStopSec=90s", "TimeoutStop=90s")],
)
def test_a_misspelt_unit_key_is_refused(tmp_path: Path, name: str, good: str, bad: str) -> None:
    for path in SCHEDULE.glob("k3dn-regenerate.*"):
        text = path.read_text()
        (tmp_path / path.name).write_text(
            text.replace(good, bad) if path.suffix == f".{name}" else text
        )
    assert bad.split("=")[0] in _systemd_problems(tmp_path)
