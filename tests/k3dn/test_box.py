"""The weights in the box: whole, checked, found by name, and used where nobody names a network."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import k3dn
from k3dn import box, tiling
from k3dn.box import shelf
from k3dn.box.entry import Data, Entry, Facts, Figure, entry_text, parse_entry, parse_facts
from k3dn.network.config import variant

REPOSITORY = Path(__file__).parents[2]
PACKED = sorted(path.stem for path in shelf.FOLDER.glob("*.json"))
OPTIONS = {"width": 2, "disparity_channels": 4, "psf_blocks": 1}
MOST_BYTES = 15_000_000


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, which is not there yet."""
    folder = tmp_path / "user" / "weights"
    monkeypatch.setenv(shelf.VARIABLE, str(folder))
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's folder, to be damaged."""
    folder = tmp_path / "package"
    shutil.copytree(shelf.FOLDER, folder)
    monkeypatch.setattr(shelf, "FOLDER", folder)
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    torch.manual_seed(0)
    k3dn.save_weights(path, k3dn.build_model("nano", OPTIONS), name="nano", options=OPTIONS)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def views(height: int = 48, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    left, right = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    return left, right


def test_nano_is_in_the_box_and_the_box_is_small() -> None:
    assert "nano" in PACKED
    files = [path for path in shelf.FOLDER.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES


@pytest.mark.parametrize("name", PACKED)
def test_what_is_in_the_box_is_whole_and_loads(name: str) -> None:
    entry = box.entry(name)
    path = shelf.FOLDER / entry.file
    assert sha256(path) == entry.sha256
    model: Any = box.load(f"box:{name}")
    assert model.config == variant(entry.model, {}), "weights for another network than its name"
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert not model.training
    assert sum(value.numel() for value in model.parameters()) == entry.parameters
    assert entry.facts.summary and entry.facts.steps and entry.facts.data and entry.facts.figures
    assert entry.facts.licence
    for data in entry.facts.data:
        assert data.licence or data.notice, f"nobody knows whose pictures {data.name} are"
    assert entry.sha256 in (shelf.FOLDER / f"{name}.md").read_text()


def test_a_damaged_file_is_told_and_not_loaded(package: Path) -> None:
    path = package / box.entry("nano").file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # the last number of a tensor: nothing but the digest tells
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"box:nano: .* is damaged: .*; reinstall") as caught:
        box.load("nano")
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(ValueError, match=r"box:nano: .*: no such file or directory; reinstall"):
        box.load("nano")


@pytest.mark.parametrize("name", ["nan", "box:huge", "../nano", "/etc/passwd", "", "nano.json"])
def test_a_name_that_there_is_not_names_what_there_is(name: str, user: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no box:.* in the box \(it has: .*box:nano"):
        box.load(name)


def changed(**values: object) -> str:
    raw = json.loads((shelf.FOLDER / "nano.json").read_text())
    return json.dumps({k: v for k, v in {**raw, **values}.items() if v is not ...})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "must be a JSON object"),
        ("{", "Expecting"),
        (changed(extra=1), "unknown key 'extra'"),
        (changed(sha256=...), "lacks 'sha256'"),
        (changed(sha256="0" * 63), "sha256 must be 64"),
        (changed(file="../x.safetensors"), "plain name"),
        (changed(file="/x.safetensors"), "plain name"),
        (changed(name="Nano"), "not a valid name for weights"),
        (changed(parameters=True), "entry.parameters is True"),
        (changed(facts={"steps": 1.5}), "entry.facts.steps is 1.5"),
        (changed(facts={"hours": "6"}), "entry.facts.hours is '6'"),
        (changed(facts={"figures": [{"data": "x"}]}), "lacks 'pictures'"),
        (changed(facts={"data": [{"name": "x", "pairs": "9"}]}), "pairs is '9'"),
        ('{"name": "nano", "name": "nano"}', "appears twice"),
        (changed(parameters=float("nan")), "not a finite number"),
    ],
)
def test_an_entry_that_is_none_is_refused_in_a_line(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse_entry(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


texts, numbers = st.text(max_size=8), st.floats(-99, 99)
figures = st.builds(
    Figure,
    data=texts,
    side=st.none() | texts,
    measure=st.sampled_from(["gain", "unchanged"]),
    pictures=st.integers(1, 9),
    mean_db=numbers,
    low_db=st.none() | numbers,
    high_db=st.none() | numbers,
    worst_db=numbers,
    worst=texts,
)
facts = st.builds(
    Facts,
    summary=st.none() | texts,
    steps=st.none() | st.integers(1, 9),
    seeds=st.lists(st.integers(0, 9), max_size=2).map(tuple),
    hours=st.none() | numbers,
    configuration=st.none()
    | st.dictionaries(texts, texts | numbers | st.booleans() | st.integers(), max_size=3),
    data=st.lists(st.builds(Data, name=texts, pairs=st.none() | st.integers()), max_size=2).map(
        tuple
    ),
    figures=st.lists(figures, max_size=2).map(tuple),
    failures=st.lists(texts, max_size=2).map(tuple),
)


@settings(max_examples=12)
@given(facts)
def test_an_entry_comes_back_as_it_was_written(known: Facts) -> None:
    written = Entry(
        name="x",
        file="x.safetensors",
        sha256="0" * 64,
        model="nano",
        parameters=1,
        stored="float16",
        facts=known,
    )
    assert parse_entry(entry_text(written)) == written


def test_facts_are_checked_like_an_entry() -> None:
    assert parse_facts({"seeds": [0, 1], "hours": 2}).hours == 2.0
    with pytest.raises(ValueError, match="facts has an unknown key 'stepps'"):
        parse_facts({"stepps": 1})


def test_an_installed_file_is_found_by_name(user: Path, file: Path) -> None:
    entry = box.install(
        file, name="mine", sha256=sha256(file), facts=Facts(summary="for a test", steps=3)
    )
    assert box.names() == [*PACKED, "mine"]
    assert box.entries()["mine"] == box.entry("box:mine") == entry
    assert (entry.model, entry.stored, entry.facts.steps) == ("nano", "float32", 3)
    found, expected = box.load("mine").state_dict(), k3dn.load_weights(file).state_dict()
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    before = sorted(user.iterdir())
    box.install(file, name="mine", sha256=sha256(file))
    assert sorted(user.iterdir()) == before


def test_nothing_is_installed_that_is_not_what_it_should_be(
    user: Path, file: Path, tmp_path: Path
) -> None:
    code = tmp_path / "code.safetensors"
    k3dn.save_weights(code, k3dn.build_model("nano", OPTIONS), name="os:system")
    text = tmp_path / "text.safetensors"
    text.write_text("no weights")

    def refused(words: str, source: Path = file, name: str = "mine", digest: str = "") -> None:
        with pytest.raises(ValueError, match=words) as caught:
            box.install(source, name=name, sha256=digest or sha256(source))
        assert "\n" not in str(caught.value)
        assert not user.exists() or list(user.iterdir()) == []

    refused(f"has sha256 {sha256(file)}, not {'0' * 64}.*nothing was installed", digest="0" * 64)
    refused("sha256 must be 64 hexadecimal digits, got 'abc'", digest="abc")
    refused("box:nano comes with the package", name="nano")
    refused("not a valid name for weights", name="../mine")
    refused("whose code does not run", source=code)
    refused("text.safetensors: it is not a safetensors file", source=text)
    refused(
        "nowhere.safetensors: no such file",
        source=tmp_path / "nowhere.safetensors",
        digest="1" * 64,
    )


def test_weights_of_a_name_are_replaced_on_demand_alone(
    user: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.install(file, name="mine", sha256=sha256(file))
    other = tmp_path / "other.safetensors"
    torch.manual_seed(1)
    k3dn.save_weights(other, k3dn.build_model("nano", OPTIONS), name="nano", options=OPTIONS)
    with pytest.raises(ValueError, match=r"box:mine is installed with other weights.*overwrite"):
        box.install(other, name="mine", sha256=sha256(other))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # between the weights and the entry
        patch.setattr(shelf, "entry_text", killed)
        with pytest.raises(KeyboardInterrupt):
            box.install(other, name="mine", sha256=sha256(other), overwrite=True)
    assert box.path_of("mine").read_bytes() == file.read_bytes()
    box.install(other, name="mine", sha256=sha256(other), overwrite=True)
    assert box.path_of("mine").read_bytes() == other.read_bytes()
    assert len(list(user.glob("*.safetensors"))) == 1


def test_the_package_comes_before_what_a_user_installed(
    user: Path, file: Path, package: Path
) -> None:
    """A name that a later version of the package brings means the package's weights."""
    box.install(file, name="large", sha256=sha256(file))
    entry = json.loads((package / "nano.json").read_text())
    (package / "large.json").write_text(json.dumps(entry | {"name": "large"}))
    assert box.path_of("large").parent == package
    assert [entry.file for name, entry in box.entries().items() if name == "large"] == [
        entry["file"]
    ]


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "~/.local/share/k3dn/weights"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/k3dn/weights"),
        ("darwin", {}, "~/Library/Application Support/k3dn/weights"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/k3dn/weights"),
        ("linux", {"K3DN_WEIGHTS": "~/mine"}, "~/mine"),
    ],
)
def test_where_the_users_folder_is(
    platform: str, environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("K3DN_WEIGHTS", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert box.user_folder() == Path(expected).expanduser()


@pytest.mark.parametrize(
    ("height", "width", "device", "expected"),
    [
        (1000, 1000, "cpu", "tiny"),
        (1000, 1001, "cpu", "nano"),
        (4000, 6000, "cuda", "tiny"),
    ],
)
def test_tiny_is_taken_where_it_takes_seconds(
    height: int,
    width: int,
    device: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("k3dn.box.choice.FOLDER", tmp_path)
    assert box.choose(height, width, torch.device(device)) == "nano"  # none there
    (tmp_path / "tiny.json").touch()
    assert box.choose(height, width, torch.device(device)) == expected


def test_deblur_without_a_network_takes_the_box() -> None:
    left, right = views()
    height, width = left.shape[:2]
    name = box.choose(height, width, box.best_device())
    expected = tiling.deblur(box.load(name).to(box.best_device()), left, right, precision="fp32")
    assert not np.array_equal(expected, left)
    calls: list[Callable[[], Any]] = [
        lambda: k3dn.deblur(left, right, precision="fp32"),
        lambda: k3dn.deblur(left=left, right=right, precision="fp32"),
        lambda: k3dn.deblur(left, right=right, precision="fp32"),
        lambda: k3dn.deblur(left, right, weights=name, precision="fp32"),
        lambda: k3dn.deblur(left, right, weights=f"box:{name}", precision="fp32"),
    ]
    for call in calls:
        assert np.array_equal(call(), expected)
    told: list[tuple[int, int]] = []
    k3dn.deblur(left, right, tile_px=32, progress=lambda *done: told.append(done))
    assert told[-1] == (4, 4)


def test_new_weights_of_a_name_are_not_the_old_network(
    user: Path, file: Path, tmp_path: Path
) -> None:
    left, right = views(32, 32)
    box.install(file, name="mine", sha256=sha256(file))
    first = k3dn.deblur(left, right, weights="mine", precision="fp32")
    model: Any = k3dn.load_weights(file)
    torch.nn.init.constant_(model.decoder.to_image.bias, 0.25)
    k3dn.save_weights(tmp_path / "b", model, name="nano", options=OPTIONS)
    box.install(tmp_path / "b", name="mine", sha256=sha256(tmp_path / "b"), overwrite=True)
    second = k3dn.deblur(left, right, weights="mine", precision="fp32")
    assert (second.astype(int) - first).mean() > 30


def test_wrong_use_of_deblur_is_told() -> None:
    left, right = views(32, 32)
    network = box.load("nano")
    deblur: Any = k3dn.deblur
    with pytest.raises(ValueError, match="a left and a right view, got 1 pictures"):
        deblur(left)
    with pytest.raises(ValueError, match="a left and a right view, got 0 pictures"):
        deblur()
    with pytest.raises(ValueError, match=r"views must be \(H, W, 3\), got \(32, 32\)"):
        deblur(left[..., 0], right[..., 0])
    with pytest.raises(ValueError, match="one size and type"):
        deblur(left, right[:16])
    for words in (("left.png", "right.png"), (network, "left.png", "right.png")):
        with pytest.raises(ValueError, match=r"numpy arrays \(H, W, 3\), got str; names of files"):
            deblur(*words)
    with pytest.raises(ValueError, match="got Tensor"):
        deblur(left, torch.from_numpy(right))
    with pytest.raises(ValueError, match="no weights beside it"):
        deblur(network, left, right, weights="nano")
    with pytest.raises(ValueError, match="no weights beside it"):
        deblur(network)
    with pytest.raises(ValueError, match="there is no box:nanno"):
        deblur(left, right, weights="nanno")
    with pytest.raises(ValueError, match="there is none for left=; give"):
        deblur(right, left=left)  # exchanged in silence, if it were taken
    with pytest.raises(ValueError, match="there is none for left=; give"):
        deblur(network, right, left=left)
    with pytest.raises(ValueError, match="got 3 pictures"):
        deblur(network, left, right, left)
    with pytest.raises(ValueError, match="numpy arrays"):
        deblur(network, None, right)


def test_a_network_of_ones_own_by_position_and_by_name() -> None:
    left, right = views(32, 32)
    network = box.load("nano")
    expected = tiling.deblur(network, left, right, precision="fp32")
    calls: list[Callable[[], Any]] = [
        lambda: k3dn.deblur(network, left, right=right, precision="fp32"),
        lambda: k3dn.deblur(model=network, left=left, right=right, precision="fp32"),
    ]
    for call in calls:
        assert np.array_equal(call(), expected)
    options = {"width": 2, "disparity_channels": 4, "single_picture": True}
    single = k3dn.build_model("nano", options)
    for one in (k3dn.deblur(single, left), k3dn.deblur(single, left, None)):
        assert np.array_equal(one, left), "untrained: it changes nothing"


ALONE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pipelines", "ray", "mlflow", "cv2", "PIL", "pydantic"):
            raise ImportError(f"{name} is not installed with the network alone")

sys.meta_path.insert(0, Refuse())
import numpy, k3dn
left, right = numpy.random.default_rng(0).integers(0, 65536, (2, 32, 40, 3)).astype("uint16")
sharp = k3dn.deblur(left, right)
compiler = {"sympy", "torch.fx.experimental.symbolic_shapes", "torch._dynamo"} & set(sys.modules)
assert not compiler, f"torch's compiler takes as long as torch itself: {compiler}"
assert sharp.shape == left.shape and sharp.dtype == left.dtype and (sharp != left).any()
"""


@pytest.mark.slow
def test_torch_numpy_and_safetensors_are_all_that_it_needs() -> None:
    command = [sys.executable, "-c", ALONE]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
