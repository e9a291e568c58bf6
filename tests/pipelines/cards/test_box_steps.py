"""The box on the command line: deblur in an empty folder, install, pack, register, one resolver."""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import torch

import k3dn
from k3dn import box
from k3dn.box import shelf
from k3dn.box.entry import parse_entry
from pipelines.cards import weights
from pipelines.cards.config import WeightsConfig
from pipelines.cli import run_command_line
from pipelines.deblur.config import DeblurConfig
from pipelines.deblur.run import run as deblur
from pipelines.errors import UserError
from pipelines.registry import catalog, register
from pipelines.registry.config import ExportModelConfig, ModelsConfig, RegisterConfig
from pipelines.registry.decisions import DecisionLog
from pipelines.registry.loading import load_network, settle
from pipelines.registry.model_process import ModelProcess
from pipelines.registry.registry import client_of, open_store, resolve
from pipelines.storage import locate

REPOSITORY = Path(__file__).parents[3]
OPTIONS = {"width": 2, "disparity_channels": 4, "psf_blocks": 1}

EMPTY_FOLDER = """
import sys
from pipelines.cli import run_command_line
code = run_command_line({arguments})
heavy = {{"ray", "mlflow", "pandas", "pyarrow"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy else code)
"""


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of weights, which is not there yet."""
    monkeypatch.setenv(shelf.VARIABLE, str(tmp_path / "user"))
    return tmp_path / "user"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "files" / "mine.safetensors"
    path.parent.mkdir()
    torch.manual_seed(0)
    k3dn.save_weights(path, k3dn.build_model("nano", OPTIONS), name="nano", options=OPTIONS)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_views(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    views = np.random.default_rng(0).integers(0, 256, (2, 40, 56, 3), dtype=np.uint8)
    for name, view in zip(("left.png", "right.png"), views, strict=True):
        assert cv2.imwrite(str(folder / name), view[..., ::-1])
    return views[0], views[1]


def in_empty_folder(folder: Path, *arguments: str) -> str:
    """Run a command where nothing is; it must not need, nor make, what a cluster needs."""
    done = subprocess.run(
        [sys.executable, "-c", EMPTY_FOLDER.format(arguments=list(arguments))],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.slow
def test_a_pair_in_an_empty_folder_needs_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    left, right = write_views(folder)
    printed = in_empty_folder(folder, "deblur", "left.png", "right.png", "-o", "sharp.png")
    assert "sharpened by box:" in printed
    assert sorted(path.name for path in folder.iterdir()) == ["left.png", "right.png", "sharp.png"]
    written = cv2.imread(str(folder / "sharp.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    change = written.astype(int) - np.asarray(k3dn.deblur(left, right)).astype(int)
    assert np.abs(change).max() <= 2  # bfloat16 with another number of threads
    assert np.abs(written.astype(int) - left).max() > 2


@pytest.mark.slow
def test_the_box_is_listed_where_there_is_no_store(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "box:nano" in in_empty_folder(folder, "models")
    assert list(folder.iterdir()) == []


def test_looking_makes_no_store(tmp_path: Path) -> None:
    config = ExportModelConfig(root=str(tmp_path / "data"))
    with pytest.raises(UserError, match="no registered model, there is no MLflow store at sqlite"):
        open_store(config)
    with pytest.raises(UserError, match="no registered model"):
        catalog.run(ModelsConfig(root=str(tmp_path / "data"), name="other"))
    assert not (tmp_path / "data").exists()


def test_an_original_is_not_overwritten(tmp_path: Path) -> None:
    write_views(tmp_path)
    before = (tmp_path / "left.png").read_bytes()
    (tmp_path / "link.png").symlink_to("left.png")
    for output in ("left.png", "link.png"):
        config = DeblurConfig(
            left=str(tmp_path / "left.png"),
            right=str(tmp_path / "right.png"),
            output=str(tmp_path / output),
        )
        with pytest.raises(UserError, match="is an input, which is never written over"):
            deblur(config)
    assert (tmp_path / "left.png").read_bytes() == before


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"model": "box:nanno"}, r"there is no box:nanno in the box \(it has: box:nano"),
        ({"model": "box:"}, "there is no box:"),
        ({"right": None}, "for a pair: give both views"),
        ({"factory": "a:b"}, "is for a weights file: name it, model=FILE"),
    ],
)
def test_a_wrong_word_for_the_box_is_told(tmp_path: Path, keys: dict[str, Any], words: str) -> None:
    write_views(tmp_path)
    pair = {"left": str(tmp_path / "left.png"), "right": str(tmp_path / "right.png")}
    if "right" in keys:  # by its name a left view would find its right one
        pair["left"] = str((tmp_path / "left.png").rename(tmp_path / "one.png"))
    output = tmp_path / "out.png"
    with pytest.raises(UserError, match=words) as caught:
        deblur(DeblurConfig(**{**pair, "output": str(output), **keys}))
    assert "\n" not in str(caught.value)
    assert not output.exists()


@pytest.mark.slow
def test_a_box_name_is_understood_where_a_weights_file_is(tmp_path: Path) -> None:
    """One resolver: the network, its identity, and a child process."""
    entry = box.entry("nano")
    settled = settle("box:nano", "unused")
    assert (settled.reference, settled.label) == ("box:nano", "box:nano")
    copy = tmp_path / "copy.safetensors"
    shutil.copyfile(shelf.FOLDER / entry.file, copy)
    assert settled.identity == settle(str(copy), "unused").identity
    expected = box.load("nano").state_dict()
    found = load_network("box:nano", "unused").state_dict()
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    left, right = write_views(tmp_path)
    with ModelProcess("box:nano", None, use_gpu=False) as process:
        answer = process.predict(left, right, {"precision": "fp32"})
    close = k3dn.deblur(box.load("nano"), left, right, precision="fp32").astype(int) - answer
    assert np.abs(close).max() <= 1


def test_the_box_gives_a_registered_model_its_first_champion(
    tmp_path: Path, tracking_uri: str
) -> None:
    root = str(tmp_path / "root")
    place = {"root": root, "tracking_uri": tracking_uri, "name": "from-box"}
    first = register.run(RegisterConfig(**place, model="box:nano"))
    assert not first.champion
    assert first.next_steps()[-1] == "k3dn promote name=from-box"
    version = resolve("models:/from-box@challenger", tracking_uri)
    assert version.version == first.version == "1"
    assert version.tags["k3dn.source"] == "box:nano"
    assert version.tags["k3dn.weights_sha256"] == box.entry("nano").sha256
    again = register.run(RegisterConfig(**place, model="box:nano", champion=True))
    assert (again.version, again.champion) == ("1", True)
    assert register.run(RegisterConfig(**place, model="box:nano", champion=True)) == again
    # What the gate compares with:
    decisions, champion = DecisionLog(locate(root), "from-box", tracking_uri).champion()
    assert champion == "1" and len(decisions) == 1
    assert "by word and not by measurement" in decisions[0].reason
    assert resolve("models:/from-box@champion", tracking_uri).version == "1"


def test_a_second_champion_is_the_gates_to_make(
    tmp_path: Path, tracking_uri: str, file: Path
) -> None:
    place = {"root": str(tmp_path / "root"), "tracking_uri": tracking_uri, "name": "second"}
    register.run(RegisterConfig(**place, champion=True))
    with pytest.raises(UserError, match=r"v1 of second is champion already.*candidate=2"):
        register.run(RegisterConfig(**place, model=str(file), champion=True))
    assert resolve("models:/second@champion", tracking_uri).version == "1"
    assert resolve("models:/second@challenger", tracking_uri).version == "2"


def test_what_is_no_weights_file_is_not_registered(tmp_path: Path, tracking_uri: str) -> None:
    path = tmp_path / "text.safetensors"
    path.write_bytes((shelf.FOLDER / "nano.safetensors").read_bytes()[:-1])
    place = {"root": str(tmp_path), "tracking_uri": tracking_uri, "name": "never"}
    for model, words in (
        (str(path), "it may have been cut"),
        ("models:/k3dn/1", "is registered already"),
        ("box:nanno", "there is no box:nanno"),
    ):
        with pytest.raises(UserError, match=words):
            register.run(RegisterConfig(**place, model=model))
    found = client_of(tracking_uri).search_registered_models("name = 'never'")
    assert not found


class _Shelf(BaseHTTPRequestHandler):
    """Serves the test's files; one of them breaks off in the middle."""

    folder: ClassVar[Path]
    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = self.folder / Path(self.path).name.replace("broken", "mine")
        if not path.exists():
            self.send_error(404)
            return
        data = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if "broken" in self.path else data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(file: Path) -> Iterator[str]:
    _Shelf.folder, _Shelf.asked = file.parent, []
    serving = ThreadingHTTPServer(("127.0.0.1", 0), _Shelf)
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    thread.join()
    serving.server_close()


def test_weights_come_from_an_address_that_the_user_types(
    server: str, file: Path, user: Path
) -> None:
    def refused(words: str, **keys: Any) -> None:
        with pytest.raises(UserError, match=words) as caught:
            weights.run(WeightsConfig(action="install", **keys))
        assert "\n" not in str(caught.value)
        assert not user.exists() or list(user.iterdir()) == []

    url, digest = f"{server}/mine.safetensors", sha256(file)
    refused("a digest over plain http proves nothing; give sha256=", source=url)
    assert _Shelf.asked == []
    wrong = "0" * 64
    refused(f"{url} has sha256 {digest}, not {wrong}", source=url, sha256=wrong)
    refused("there is nothing at", source=f"{server}/absent.safetensors", sha256=digest)
    refused("broke off after", source=f"{server}/broken.safetensors", sha256=digest)
    refused("was not fetched", source="http://127.0.0.1:1/mine.safetensors", sha256=digest)
    refused("comes with the package", source=url, sha256=digest, name="nano")
    refused("not a valid name for weights", source=url, sha256=digest, name="a/b")
    result = weights.run(WeightsConfig(action="install", source=url, sha256=digest.upper()))
    assert [row.reference for row in result.box] == ["box:mine"]
    assert box.path_of("mine").read_bytes() == file.read_bytes()


def test_a_file_is_installed_by_the_digest_beside_it(
    file: Path, user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["weights", "install", str(file)]) == 2
    assert "mine.json or mine.safetensors.sha256 beside it" in capsys.readouterr().err
    sidecar = file.with_name("mine.safetensors.sha256")
    sidecar.write_text("\n")
    assert run_command_line(["weights", "install", str(file)]) == 2
    assert "is empty" in capsys.readouterr().err
    sidecar.write_text(f"{'0' * 64}  mine.safetensors\n")
    assert run_command_line(["weights", "install", str(file)]) == 2
    assert not user.exists() or list(user.iterdir()) == []
    sidecar.write_text(f"{sha256(file)}  mine.safetensors\n")
    assert run_command_line(["weights", "install", str(file), "name=other"]) == 0
    capsys.readouterr()
    assert run_command_line(["weights"]) == 0
    listed = capsys.readouterr().out
    assert "box:nano" in listed and "box:other" in listed and "no purpose was stated" in listed
    assert run_command_line(["weights", "install", str(file.with_name("no.safetensors"))]) == 2
    assert run_command_line(["weights", "install"]) == 2
    assert "k3dn weights install FILE" in capsys.readouterr().err


def test_packed_weights_are_an_entry_that_installs_elsewhere(
    file: Path, tmp_path: Path, user: Path
) -> None:
    told = tmp_path / "facts.yaml"
    told.write_text("{summary: for a test, seeds: [3], data: [{name: a, licence: CC0}]}")
    measured = tmp_path / "real.json"
    measured.write_text(json.dumps({"any": {"pixel4 swapped": {"1": 2.0, "2": 1.0}}}))
    keys = {"action": "pack", "source": str(file), "name": "packed", "to": str(tmp_path / "box")}
    files = {"facts": str(told), "figures": str(measured)}
    weights.run(WeightsConfig(**keys, **files))  # type: ignore[arg-type]
    entry = parse_entry((tmp_path / "box" / "packed.json").read_text())
    assert (entry.facts.seeds, entry.facts.data[0].licence) == ((3,), "CC0")
    (figure,) = entry.facts.figures
    assert (figure.data, figure.side, figure.mean_db) == ("pixel4", "views exchanged", 1.5)
    packed = tmp_path / "box" / entry.file
    assert sha256(packed) == entry.sha256
    # An untrained network answers with its input, whatever its numbers: 16 bit change nothing.
    assert entry.stored == "float16" and packed.stat().st_size < file.stat().st_size
    original = k3dn.load_weights(file).half().float().state_dict()
    found = k3dn.load_weights(packed).state_dict()
    assert all(torch.equal(value, found[key]) for key, value in original.items())
    assert entry.sha256 in (tmp_path / "box" / "packed.md").read_text()
    with pytest.raises(UserError, match=r"packed.json exists.*overwrite=true"):
        weights.run(WeightsConfig(**keys))  # type: ignore[arg-type]
    weights.run(WeightsConfig(action="install", source=str(packed)))
    assert box.entry("packed").facts == entry.facts


def test_numbers_stay_in_32_bit_where_16_would_show(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = k3dn.build_model("nano", OPTIONS)
    torch.nn.init.constant_(model.decoder.to_image.bias, 1 / 3)
    change = weights.largest_change(model, k3dn.build_model("nano", OPTIONS))
    assert change == pytest.approx(255 / 3, abs=0.1)
    monkeypatch.setattr(weights, "largest_change", lambda *_: 0.51)
    for float16, stored in ((None, "float32"), (True, "float16")):
        config = WeightsConfig(
            action="pack", source=str(file), name="x", to=str(tmp_path / stored), float16=float16
        )
        weights.run(config)
        assert parse_entry((tmp_path / stored / "x.json").read_text()).stored == stored
