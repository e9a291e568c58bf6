"""Where a value comes from, how it is read, and what is said of a wrong one."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config import StepConfig, config_digest, describe_keys
from pipelines.config_loader import Loaded, load_config
from pipelines.errors import UserError
from pipelines.steps import STEPS
from pipelines.synthesis.config import RegenerateConfig, SynthConfig
from pipelines.training.live.config import LiveConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner(StepConfig):
    """A step that another one holds."""

    steps: int = 10
    """How many."""
    network: dict[str, Any] = field(default_factory=dict)
    """Options."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer(StepConfig):
    """A step with a field of every kind."""

    EXTRA_KEYS: ClassVar[str] = "options"

    version: str = "v1"
    """Text."""
    count: int = 1
    """A number."""
    rate: float = 0.5
    """A real number."""
    enabled: bool = False
    """A switch."""
    limit: int | None = None
    """A number or none."""
    names: list[str] = field(default_factory=lambda: ["a"])
    """A list of text."""
    sizes: list[int] = field(default_factory=list)
    """A list of numbers."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """One of two."""
    options: dict[str, Any] = field(default_factory=dict)
    """Free options."""
    inner: Inner = field(default_factory=Inner)
    """Another step."""
    maybe: Inner | None = None
    """Another step or none."""

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count must not be negative, got {self.count}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Strict(StepConfig):
    """A step that takes no other keys."""

    learning_rate: float = 0.1
    """A rate."""
    inner: Inner = field(default_factory=Inner)
    """Another step."""


def load(*overrides: str, file: Path | None = None, of: type[Any] = Outer) -> Loaded[Any]:
    pairs = [(key, value) for key, _, value in (text.partition("=") for text in overrides)]
    return load_config(of, "outer", file=file, overrides=pairs, sections=["outer", "inner"])


def write(folder: Path, text: str) -> Path:
    file = folder / "k3dn.yaml"
    file.write_text(text)
    return file


def test_the_command_line_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = write(tmp_path, "outer:\n  count: 2\n  rate: 1e-4\n")
    loaded = load("count=3", file=file)
    assert (loaded.config.count, loaded.config.rate, loaded.config.version) == (3, 1e-4, "v1")
    assert loaded.origins["count"] == "the command line"
    assert loaded.origins["rate"] == f"{file}:3"
    assert "version" not in loaded.origins


@given(
    number=st.integers(0, 10**9),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    enabled=st.booleans(),
    limit=st.none() | st.integers(),
    sizes=st.lists(st.integers(), max_size=4),
)
def test_text_is_read_back_as_what_was_written(
    number: int, rate: float, enabled: bool, limit: int | None, sizes: list[int]
) -> None:
    texts = {
        "count": str(number),
        "rate": repr(rate),
        "enabled": str(enabled).lower(),
        "limit": "none" if limit is None else str(limit),
        "sizes": ",".join(map(str, sizes)),
    }
    config = load(*(f"{key}={text}" for key, text in texts.items())).config
    assert config.count == number and config.rate == rate and config.enabled is enabled
    assert config.limit == limit and config.sizes == sizes


@given(text=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8))
def test_a_file_and_the_command_line_read_the_same_text_alike(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """No 1.10 that becomes 1.1, no yes that becomes True under a key that holds text."""
    file = write(tmp_path_factory.mktemp("config"), f"outer:\n  version: {text}\n")
    assert load(file=file).config.version == load(f"version={text}").config.version == text


def test_text_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    file = write(tmp_path, "outer:\n  version: 1.10\n  names: [1.0, 'none', 007]\n")
    config = load(file=file).config
    assert (config.version, config.names) == ("1.10", ["1.0", "none", "007"])


def test_keys_below_a_key() -> None:
    config = load("options.form=paper", "options.scale=1e-2", "inner.network.deep.er=3").config
    assert config.options == {"form": "paper", "scale": 0.01}
    assert config.inner.network == {"deep": {"er": 3}}


def test_other_keys_go_where_the_step_says() -> None:
    assert load("form=paper").config.options == {"form": "paper"}


def test_the_name_of_the_step_may_stand_before_the_key() -> None:
    assert load("outer.count=4").config.count == 4


def test_a_step_inside_a_step_starts_from_its_own_section(tmp_path: Path) -> None:
    file = write(tmp_path, "inner:\n  steps: 7\nouter:\n  count: 2\n")
    assert load(file=file).config.inner.steps == 7
    file = write(tmp_path, "inner:\n  steps: 7\nouter:\n  inner:\n    steps: 8\n")
    assert load(file=file).config.inner.steps == 8
    assert load("inner.steps=9", file=file).config.inner.steps == 9


def test_root_holds_for_every_step_and_is_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path, "root: here\ntracking_uri: http://127.0.0.1:1\n")
    config = load(file=file).config
    assert config.root == config.inner.root == str(tmp_path / "here")
    assert config.inner.tracking_uri == "http://127.0.0.1:1"
    assert config.maybe is None
    assert load("root=s3://bucket/x", file=file).config.inner.root == "s3://bucket/x"
    assert load("inner.root=/other").config.inner.root == "/other"


def test_a_relative_root_is_refused_inside_a_ray_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(UserError, match="absolute"):
        load()
    assert load("root=/data").config.root == "/data"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["learning_rat=1"], ["learning_rat", "the command line", "'learning_rate'"]),
        (["inner.stesp=1"], ["inner.stesp", "'inner.steps'"]),
        (["inner=3"], ["inner", "group of keys"]),
        (["learning_rate.x=1"], ["learning_rate", "no keys below"]),
        (["learning_rate=fast"], ["learning_rate", "number", "fast"]),
        (["zzz=1"], ["zzz", "learning_rate"]),
    ],
)
def test_a_wrong_override_is_named(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load(*overrides, of=Strict)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("outer:\n  learning_rate: 1\n  learnin_rate: 2\n", [":3", "'learning_rate'"]),
        ("outre:\n  learning_rate: 1\n", [":1", "'outre'", "'outer'"]),
        ("outer:\n  learning_rate: 1\n  learning_rate: 2\n", [":3", "line 2"]),
        ("outer:\n  learning_rate: [1\n", ["not valid YAML"]),
        ("outer: 3\n", [":1", "keys"]),
        ("- outer\n", ["section"]),
        ("outer:\n  learning_rate: quick\n", [":2", "quick"]),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path: Path, text: str, words: list[str]) -> None:
    file = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load(file=file, of=Strict)
    message = str(caught.value)
    assert str(file) in message and "\n" not in message
    for word in words:
        assert word in message


def test_what_a_step_refuses_is_said_in_its_own_words() -> None:
    with pytest.raises(UserError, match="count must not be negative, got -3"):
        load("count=-3")
    with pytest.raises(UserError, match="precision"):
        load("precision=fp8")


def test_a_preset_stands_above_defaults_and_below_what_is_given(tmp_path: Path) -> None:
    file = write(tmp_path, "synth:\n  preset: k3dn\n  bit_depth: 8\n")
    given = [("pairs", "12"), ("size", "256x256")]
    loaded = load_config(SynthConfig, "synth", file=file, overrides=given, sections=list(STEPS))
    config = loaded.config
    assert (config.bit_depth, config.pairs, config.size) == (8, 12, "256x256")
    assert (config.dataset, config.max_coc_px, config.gain) == ("k3dn", 16.0, 0.05)
    assert loaded.origins["max_coc_px"] == "preset k3dn"
    assert loaded.origins["bit_depth"].endswith(":3")
    inside = [("synth.preset", "rdpd"), ("synth.source", "frames")]
    nested = load_config(RegenerateConfig, "regenerate", overrides=inside).config.synth
    assert nested is not None
    assert (nested.renderer, nested.kernels, nested.pairs) == ("gather", ["rdpd"], 11120)


def test_a_command_without_a_preset_takes_pairs_as_real_cameras_do() -> None:
    plain = SynthConfig()
    loaded = load_config(SynthConfig, "synth", overrides=[("gain", "0.02")])
    named = load_config(
        SynthConfig,
        "synth",
        overrides=[("preset", "camera"), ("gain", "0.02"), ("dataset", "synth"), ("pairs", "200")],
    )
    assert loaded.config == named.config
    assert (loaded.config.kernels, loaded.origins["kernels"]) == (["aperture"], "preset camera")
    assert "preset" not in loaded.origins
    assert {key.name: key.default for key in describe_keys(SynthConfig)}["kernels"] == "aperture"
    none = [("preset", "none")]
    assert load_config(SynthConfig, "synth", overrides=none).config == replace(
        plain, root=loaded.config.root
    )
    inside = [("synth.pairs", "3")]
    nested = load_config(RegenerateConfig, "regenerate", overrides=inside).config.synth
    assert nested is not None and nested.preset == "camera"
    with pytest.raises(UserError, match="max_coc_px out, or give preset=none"):
        load_config(SynthConfig, "synth", overrides=[("max_coc_px", "13")])


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load(file=write(tmp_path, "# nothing\n")).config == load().config


@pytest.mark.parametrize("step", list(STEPS))
def test_defaults_of_every_step_survive_a_round_trip_through_a_file(
    step: str, tmp_path: Path
) -> None:
    """What --dry-run shows as a default may be written into a file as it stands."""
    keys = describe_keys(STEPS[step].config_class())
    flat = {
        key.name: key.default
        for key in keys
        if key.default not in ("required", "{}") and not key.name.startswith("synth.")
    }
    required = {
        key.name: "x,y" if key.type == "list of text" else "x"
        for key in keys
        if key.default == "required"
    }
    file = tmp_path / "k3dn.yaml"
    file.write_text(yaml.safe_dump({step: flat | required}))
    config_class = STEPS[step].config_class()
    loaded = load_config(config_class, step, file=file, sections=list(STEPS)).config
    plain = load_config(
        config_class, step, overrides=list(required.items()), sections=list(STEPS)
    ).config
    assert loaded == plain


def test_the_digest_follows_the_values_and_not_the_place() -> None:
    assert config_digest(Outer()) == config_digest(Outer(root="elsewhere"))
    assert config_digest(Outer()) != config_digest(Outer(count=2))


def test_defaults_that_docs_name_are_those_of_the_keys() -> None:
    text = Path(__file__).parents[2].joinpath("docs/synthesis.md").read_text(encoding="utf-8")
    named = re.findall(r"\(`(\w+)=([\d.]+)`, [\d.]+ to [\d.]+\)", text)
    assert ("recolour", "0.5") in named
    for key, value in named:
        assert getattr(SynthConfig(), key) == float(value)
        assert getattr(LiveConfig(), key) == float(value)
