"""Every command that a step prints to be run next is one: the command line itself reads it.

The root and the names have a space, a quote and a dollar sign in them, as folders may.
"""

import dataclasses
import json
import shlex
import types
import typing
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import run_command_line
from pipelines.config import StepConfig
from pipelines.next_steps import command, with_place
from pipelines.steps import STEPS

AWKWARD = "it's my $HOME"
VERSION = {"dataset": "synth", "version": "v1"}
NAMED = {"name": "k3dn", "output": "models:/k3dn/3"}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "train": [{"model_version": "3", "model": "k3dn"}, {"model_version": None}],
    "register": [{"champion": True}, {"champion": False, "name": "k3dn"}],
    "evaluate": [{"references": ["models:/k3dn/3", "input"]}, {"references": ["box:nano"]}],
    "promote": [{**NAMED, "previous": "2"}, {**NAMED, "previous": None}],
    "rollback": [{**NAMED, "previous": None}],
    "tune": [{"command": command("train", root=AWKWARD, lr=1e-3)}],
    "convert": [{"single_picture": True}, {"single_picture": False}],
    "datasets": [
        {"versions": []},
        {"versions": [VERSION], "detailed": True},
        {"versions": [VERSION], "detailed": False},
    ],
    "export-model": [{"output": f"/x/{AWKWARD}.onnx"}, {"output": f"/x/{AWKWARD}.pt2"}],
    "card": [{"figures": 0}, {"figures": 2}],
    "ingest": [VERSION],
    "synth": [VERSION],
    "regenerate": [VERSION],
    "doctor": [{"checks": ()}],
}
"""What decides which commands are printed; all else is filled in by its type."""


def result_class(step: str) -> type:
    function = STEPS[step].run_function()
    found = typing.get_type_hints(function)["return"]
    assert dataclasses.is_dataclass(found), f"{step}: its run() does not say what it returns"
    return typing.cast(type, found)


def filled(kind: Any) -> Any:
    """A value of a type: text is awkward, a dataclass has all of its fields filled."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return filled(arguments[0])
    if origin is typing.Literal:
        return arguments[0]
    if origin is tuple:
        return tuple(filled(a) for a in arguments if a is not Ellipsis)
    if origin is list or origin in (typing.Sequence,):
        return [filled(arguments[0])]
    if origin is dict:
        return {}
    if dataclasses.is_dataclass(kind):
        return made(typing.cast(type, kind), {})
    simple = {str: f"/x/{AWKWARD}", int: 1, float: 1.0, bool: False}
    return simple.get(kind)


def made(kind: type, given: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    values = {f.name: given.get(f.name, filled(hints[f.name])) for f in dataclasses.fields(kind)}
    known = {f.name for f in dataclasses.fields(kind) if f.init}
    return kind(**{name: value for name, value in values.items() if name in known})


def lines() -> list[tuple[str, str]]:
    found = []
    for step in STEPS:
        kind = result_class(step)
        for given in VARIANTS.get(step, [{}]):
            found += [(step, line) for line in made(kind, given).next_steps()]
    return found


def test_each_line_is_read_and_means_the_same_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root, store = str(tmp_path / AWKWARD), f"sqlite:///{tmp_path}/{AWKWARD}.db"
    config = StepConfig(root=root, tracking_uri=store)
    seen = set()
    for step, line in lines():
        words = shlex.split(with_place(line, config))
        if words[0] != "k3dn":
            assert words[:2] == ["python", "-c"]
            compile(words[2], step, "exec")
            assert repr(f"/x/{AWKWARD}")[1:-1] in words[2]
            continue
        capsys.readouterr()
        assert run_command_line([*words[1:], "--dry-run", "--json"]) == 0, line
        read = json.loads(capsys.readouterr().out)["config"]
        assert read["tracking_uri"] == store, line
        assert read["root"] == (root if step != "tune" else str(tmp_path / AWKWARD)), line
        seen.add(step)
    assert {"train", "synth", "evaluate", "register", "convert", "demo", "models"} <= seen
    assert list(tmp_path.iterdir()) == []


def test_a_default_place_is_left_out_and_a_named_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    default = StepConfig(root=str(tmp_path / "k3dn-data"))
    assert with_place("k3dn train", default) == "k3dn train"
    other = StepConfig(root="/a b")
    assert with_place("k3dn train", other) == "k3dn train 'root=/a b'"
    assert with_place("k3dn train --root /c", other) == "k3dn train --root /c"
    assert with_place("python -c 'x'", other) == "python -c 'x'"


def test_a_command_is_quoted() -> None:
    line = command("deblur", "my left.png", model="a'b", tile_px=4)
    assert shlex.split(line) == ["k3dn", "deblur", "my left.png", "model=a'b", "tile_px=4"]
