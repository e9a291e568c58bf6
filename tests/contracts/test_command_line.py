"""The command line as users and their scripts know it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli import parse_overrides, run_command_line
from pipelines.config import SHARED_KEYS, describe_keys
from pipelines.errors import UserError
from pipelines.steps import STEPS

REPOSITORY = Path(__file__).parents[2]
# A word that is taken away or renamed here breaks somebody's script: do it knowingly.
COMMANDS = [
    "demo",
    "doctor",
    "ingest",
    "synth",
    "regenerate",
    "datasets",
    "compare",
    "export",
    "train",
    "tune",
    "recipe",
    "ablate",
    "evaluate",
    "promote",
    "rollback",
    "models",
    "register",
    "weights",
    "card",
    "deblur",
    "app",
    "split",
    "export-model",
    "convert",
    "summary",
]
FLAGS = {"--config", "-c", "--json", "--dry-run", "--verbose", "-v", "--help", "-h"}
REQUIRED = {
    "ingest": ["source=pictures"],
    "deblur": ["left=l.png", "right=r.png"],
    "split": ["source=IMG_1.CR2"],
    "compare": ["datasets=real,synth"],
    "export": ["dataset=synth", "to=pictures"],
    "convert": ["checkpoint=best.pt"],
}


def _flags_of(command: str) -> set[str]:
    from typer.main import get_command

    from pipelines.cli import app

    group = get_command(app)
    root = group.make_context("k3dn", [], resilient_parsing=True)
    step = group.commands[command]  # type: ignore[attr-defined]
    context = step.make_context(command, [], parent=root, resilient_parsing=True)
    return {flag for option in step.get_params(context) for flag in option.opts}


def test_commands_are_pinned() -> None:
    assert list(STEPS) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_are_pinned(command: str) -> None:
    """All else is a key of the configuration, so the surface does not creep."""
    assert _flags_of(command) == FLAGS


def test_help_lists_every_command_and_imports_no_step() -> None:
    code = (
        "import sys; from pipelines.cli import run_command_line\n"
        "code = run_command_line(['--help'])\n"
        "heavy = {'torch', 'ray', 'mlflow', 'numpy', 'pyarrow', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    for command in COMMANDS:
        assert f" {command} " in result.stdout
    assert "KEY" in result.stdout or "key=value" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_step_says_what_each_key_means(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line([command, "--help"]) == 0
    shown = capsys.readouterr().out
    for key in describe_keys(STEPS[command].config_class()):
        assert key.doc, f"{command}: the field {key.name} has no line under it"
        head = key.name.partition(".")[0]
        assert f"{key.name}=" in shown or f"{head}.KEY=VALUE: every key of" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_dry_run_prints_the_configuration_and_the_plan(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = [command, f"root={tmp_path}/data", *REQUIRED.get(command, []), "--dry-run"]
    assert run_command_line([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["config"]["root"] == f"{tmp_path}/data"
    assert printed["origins"]["root"] == "the command line"
    assert printed["plan"]
    assert run_command_line(arguments) == 0
    assert printed["plan"][0] in " ".join(capsys.readouterr().out.split())
    assert list(tmp_path.iterdir()) == [], "a dry run writes nothing"


def test_every_step_has_the_shared_keys() -> None:
    for step in STEPS.values():
        names = [key.name for key in describe_keys(step.config_class())]
        assert set(SHARED_KEYS) <= set(names)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["lr=1e-4"], [("lr", "1e-4")]),
        (["--lr", "1e-4"], [("lr", "1e-4")]),
        (["--lr=1e-4"], [("lr", "1e-4")]),
        (["--set-latest"], [("set-latest", "true")]),
        (["--ema", "--steps", "5"], [("ema", "true"), ("steps", "5")]),
        (["network.form=paper"], [("network.form", "paper")]),
        (["source=s3://bucket/a=b"], [("source", "s3://bucket/a=b")]),
        (["name="], [("name", "")]),
        (["--shift", "-3"], [("shift", "-3")]),
    ],
)
def test_the_forms_of_an_override(arguments: list[str], expected: list[tuple[str, str]]) -> None:
    assert parse_overrides(arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["l.png", "r.png"], [("left", "l.png"), ("right", "r.png")]),
        (
            ["l.png", "r.png", "-o", "s.png"],
            [("left", "l.png"), ("right", "r.png"), ("output", "s.png")],
        ),
        (["--halo_px", "64", "l.png"], [("left", "l.png"), ("halo_px", "64")]),
        (["memory=1GB", "shots/a=1.png"], [("left", "shots/a=1.png"), ("memory", "1GB")]),
        (["left=l.png", "/x/r.png"], [("right", "/x/r.png"), ("left", "l.png")]),
    ],
)
def test_bare_words_are_the_keys_that_a_step_names(
    arguments: list[str], expected: list[tuple[str, str]]
) -> None:
    assert parse_overrides(arguments, STEPS["deblur"].words) == expected


@pytest.mark.parametrize("argument", ["-x", "=3", "--=3", "-o"])
def test_a_flag_is_no_bare_word(argument: str) -> None:
    with pytest.raises(UserError):
        parse_overrides([argument], ("left", "right"))


@pytest.mark.parametrize("argument", ["pictures", "/data/x", "=3", "--=3", "-x"])
def test_what_is_no_override_is_refused(argument: str) -> None:
    with pytest.raises(UserError):
        parse_overrides([argument])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], ["trian", "train"]),
        (["train", "lerning_rate=1", "--dry-run"], ["lerning_rate"]),
        (["train", "stesp=1", "--dry-run"], ["stesp", "did you mean 'steps'?"]),
        (["train", "steps=many", "--dry-run"], ["steps", "integer", "many"]),
        (["train", "steps=0", "--dry-run"], ["steps", "at least 1"]),
        (["ingest", "--dry-run"], ["source"]),
        (["train", "--config", "absent.yaml"], ["absent.yaml"]),
        (["deblur", "left.png", "right.png", "more.png"], ["more.png"]),
        (["train", "tiny"], ["tiny"]),
        (["weights", "instal", "x.safetensors"], ["action", "instal"]),
        (["weights", "install"], ["source", "k3dn weights install FILE"]),
        (["train", "--bogus=1"], ["bogus"]),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_exit_code_2(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    for word in words:
        assert word in printed.err


def test_without_arguments_it_helps(capsys: pytest.CaptureFixture[str]) -> None:
    run_command_line([])
    assert "demo" in capsys.readouterr().out
