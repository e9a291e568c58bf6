"""The help of a step: examples that are read, headings of keys that exist, the right width."""

import json
import shlex
from pathlib import Path

import pytest

from pipelines.cli import run_command_line
from pipelines.config import describe_keys
from pipelines.examples import EXAMPLES, GROUPS
from pipelines.steps import STEPS

LINES = [(step, line) for step, examples in EXAMPLES.items() for line, _ in examples]


def test_every_step_has_two_examples() -> None:
    assert EXAMPLES.keys() == STEPS.keys()
    assert all(len(examples) == 2 for examples in EXAMPLES.values())


@pytest.mark.parametrize(("step", "line"), LINES)
def test_an_example_is_read(
    step: str,
    line: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)
    assert words[:2] == ["k3dn", step]
    more = [word for word in ("--dry-run", "--json") if word not in words]
    assert run_command_line([*words[1:], *more]) == 0, line
    assert json.loads(capsys.readouterr().out)["plan"]


@pytest.mark.parametrize("step", list(GROUPS))
def test_a_heading_names_keys_that_there_are(step: str) -> None:
    named = [name for names in GROUPS[step].values() for name in names]
    known = {key.name for key in describe_keys(STEPS[step].config_class())}
    assert len(set(named)) == len(named) and set(named) <= known


@pytest.mark.parametrize("columns", [60, 160])
def test_keys_are_as_wide_as_the_terminal_and_common_ones_come_first(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run_command_line(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Examples:")
    keys = shown[shown.index("Keys, as key=value") :]
    widest = max(len(line.rstrip()) for line in keys.splitlines())
    assert columns - 12 <= widest <= columns
    for earlier, later in (("Common", "Cluster"), (" datasets=", " lr="), (" lr=", " ema=")):
        assert keys.index(earlier) < keys.index(later)


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (["ingest", "FOLDER"], "source", "FOLDER"),
        (["summary", "tiny"], "model", "tiny"),
        (["datasets", "synth@v1"], "name", "synth@v1"),
        (["compare", "a,b"], "datasets", ["a", "b"]),
        (["export", "synth", "pictures"], "to", "pictures"),
        (["convert", "best.pt", "a.safetensors"], "output", "a.safetensors"),
    ],
)
def test_words_stand_for_keys_where_that_is_natural(
    arguments: list[str], key: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line([*arguments, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"][key] == value
