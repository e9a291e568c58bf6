"""``k3dn deblur`` on real files and ``k3dn summary``."""

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import k3dn
from pipelines.app.config import AppConfig
from pipelines.cli import run_command_line
from pipelines.deblur.config import DeblurConfig
from pipelines.deblur.restore import Libraries, Sharpener
from pipelines.deblur.run import run as deblur
from pipelines.errors import UserError
from pipelines.evaluation.config import EvaluateConfig, PromoteConfig
from pipelines.picture_keys import parse_memory_mib
from pipelines.registry import summary
from pipelines.registry.config import SummaryConfig
from pipelines.registry.loading import settle
from pipelines.registry.model_server import settings_of


@pytest.fixture
def halving(networks: Path, tmp_path: Path) -> str:
    """A weights file whose network subtracts 0.25 from the mean of the views."""
    path = tmp_path / "quarter.safetensors"
    model, options = "offset_network:offset", {"number": 0.25}
    k3dn.save_weights(path, k3dn.build_model(model, options), name=model, options=options)
    return str(path)


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A small network, untrained."""
    options = {"width": 2, "disparity_channels": 4, "psf_blocks": 1}
    path = tmp_path / "small.safetensors"
    k3dn.save_weights(path, k3dn.build_model("nano", options), name="nano", options=options)
    return str(path)


def write(path: Path, value: int, dtype: type, size: tuple[int, int] = (20, 24)) -> str:
    """Write a grey picture whose red channel differs."""
    picture = np.full((*size, 3), value, dtype)
    picture[..., 0] += 1  # red in RGB
    assert cv2.imwrite(str(path), picture[..., ::-1])
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [(np.uint8, 128, 64), (np.uint16, 40001, 40001 - 16384)],
)
def test_depth_size_and_channel_order_are_kept(
    tmp_path: Path, halving: str, dtype: type, value: int, expected: int
) -> None:
    """16 bit values that 8 bit cannot hold come through; red stays red."""
    (result,) = deblur(
        DeblurConfig(
            root=str(tmp_path),
            tracking_uri=f"sqlite:///{tmp_path}/m.db",
            left=write(tmp_path / "left.png", value, dtype),
            right=write(tmp_path / "right.png", value, dtype),
            output=str(tmp_path / "deep" / "out.png"),
            model=halving,
            factory="offset_network:offset",
        )
    ).pictures
    written = cv2.imread(result.output, cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert written.dtype == dtype and written.shape == (20, 24, 3)
    assert abs(int(written[0, 0, 1]) - expected) <= 1
    assert int(written[0, 0, 0]) - int(written[0, 0, 1]) == 1
    assert (result.height, result.width) == (20, 24)
    assert result.bit_depth == np.dtype(dtype).itemsize * 8


def test_one_picture_is_restored_by_a_model_for_it(tmp_path: Path) -> None:
    options = {"width": 2, "disparity_channels": 4, "single_picture": True}
    path = tmp_path / "single.safetensors"
    k3dn.save_weights(path, k3dn.build_model("nano", options), name="nano", options=options)
    picture = write(tmp_path / "picture.png", 40001, np.uint16)
    output = str(tmp_path / "out.png")
    deblur(DeblurConfig(root=str(tmp_path), left=picture, output=output, model=str(path)))
    untrained = cv2.imread(output, cv2.IMREAD_UNCHANGED)  # an untrained network changes nothing
    assert np.array_equal(untrained, cv2.imread(picture, cv2.IMREAD_UNCHANGED))


@pytest.mark.slow
def test_precision_and_memory_reach_the_network(tmp_path: Path) -> None:
    options = {"width": 4, "disparity_channels": 8}
    model = k3dn.build_model("nano", options)
    torch.nn.init.normal_(model.decoder.to_image.weight, std=0.05)  # type: ignore[union-attr, arg-type]
    path = tmp_path / "nano.safetensors"
    k3dn.save_weights(path, model, name="nano", options=options)
    views = np.random.default_rng(0).integers(0, 65536, (2, 200, 300, 3)).astype(np.uint16)
    for name, view in zip(("left.png", "right.png"), views, strict=True):
        assert cv2.imwrite(str(tmp_path / name), view[..., ::-1])

    def restored(**keys: str) -> np.ndarray:
        config = DeblurConfig(
            root=str(tmp_path),
            left=str(tmp_path / "left.png"),
            right=str(tmp_path / "right.png"),
            output=str(tmp_path / "out.png"),
            model=str(path),
            overwrite=True,
            **keys,  # type: ignore[arg-type]
        )
        (made,) = deblur(config).pictures
        return cv2.imread(made.output, cv2.IMREAD_UNCHANGED)[..., ::-1].astype(int)

    for precision in ("fp32", "bf16"):
        expected = k3dn.deblur(model, *views, precision=precision)  # type: ignore[arg-type]
        assert np.abs(restored(precision=precision) - expected).max() <= 2
    assert np.abs(restored(precision="fp32") - expected).max() > 20  # bf16 is another answer
    # The whole process, pictures and libraries as well.
    with pytest.raises(UserError, match=r"memory=128MiB is too little: .* take (\d+) MiB") as few:
        restored(memory="128MiB")
    taken = re.search(r"take (\d+) MiB", str(few.value))
    assert taken is not None
    with pytest.raises(UserError, match=r"too little: .* give about") as more:  # no tile's room
        restored(memory=f"{int(taken[1]) + 20}MiB")
    for refused in (few, more):
        advice = re.search(r"give about (\d+MiB)", str(refused.value))
        assert advice is not None
        restored(memory=advice[1])


def test_what_tiles_may_take_is_not_what_others_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    """Of many pictures, each gets as much as the first: whatever other threads hold meanwhile."""
    told: list[int] = []
    restore = k3dn.Restorer.__call__

    def listen(self: k3dn.Restorer, *views: Any, **settings: Any) -> Any:
        told.append(settings["memory_mib"])
        return restore(self, *views, **settings)

    monkeypatch.setattr(k3dn.Restorer, "__call__", listen)
    config = DeblurConfig(left="a", right="b", model=weights, memory="4GiB", precision="fp32")
    views = np.zeros((2, 64, 64, 3), np.uint8)
    libraries = Libraries()
    one, other = (Sharpener(config, at_once=2, libraries=libraries) for _ in range(2))
    one(*views)
    held = np.ones((256 << 20,), np.uint8)  # as tiles of another picture, and what is kept of them
    other(*views)
    one(*views)
    del held
    assert told[0] == told[1] == told[2]
    alone = Sharpener(config)
    alone(*views)
    assert told[3] > 1.8 * told[0], "which need not share it"
    larger = np.zeros((2, 2048, 2048, 3), np.uint8)
    monkeypatch.setattr(k3dn.Restorer, "__call__", lambda self, left, *_, **s: told.append(s))
    one(*larger)
    expected = 2 * (3 + 3 + 3 + 10) * 2048**2 / 2**20 / 2 / 1.6  # two at once, of four of 2048 px
    assert told[0] - told[4]["memory_mib"] == pytest.approx(expected, abs=2)  # type: ignore[index]


def test_no_memory_for_one_picture_is_no_end_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    for name in ("1_L", "1_R", "2_L", "2_R", "3_L", "3_R"):
        write(tmp_path / f"{name}.png", 9, np.uint8, (20, 24 + int(name[0])))
    restore = k3dn.Restorer.__call__

    def greedy(self: k3dn.Restorer, left: Any, *more: Any, **settings: Any) -> Any:
        if left.shape[1] == 25:
            torch.empty(1 << 50)  # torch's own words, of this machine
        if left.shape[1] == 26:
            raise MemoryError
        return restore(self, left, *more, **settings)

    monkeypatch.setattr(k3dn.Restorer, "__call__", greedy)
    result = deblur(DeblurConfig(left=str(tmp_path), output=str(tmp_path / "out"), model=weights))
    assert [Path(made.output).name for made in result.pictures] == ["3.png"]
    assert [one.name for one in result.failed] == ["1", "2"]
    assert all("there is too little memory for this picture" in one.reason for one in result.failed)


def test_the_page_explains_with_the_network_of_the_first_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter(["nano", "tiny"] * 2)
    monkeypatch.setattr("k3dn.box.choose", lambda *_: next(names))
    with Sharpener(DeblurConfig(left="a", right="b", precision="fp32")) as sharpener:
        assert sharpener.network() is None
        views = np.zeros((2, 32, 32, 3), np.uint8)
        sharpener(*views)
        first = sharpener.network()
        sharpener(*views)
        assert first is not None and sharpener.network() is first


def test_an_older_version_gets_what_it_knows() -> None:
    older, newer = ["tile_px", "halo_px"], ["tile_px", "halo_px", "precision", "memory_mib"]
    settings = {"halo_px": 32, "precision": "fp32"}
    assert settings_of(settings, newer) == settings
    assert settings_of(settings, older) == {"halo_px": 32}
    with pytest.raises(ValueError, match="does not know precision=bf16, memory_mib=500; leave"):
        settings_of({"precision": "bf16", "memory_mib": 500}, older)


def test_one_picture_is_too_little_for_a_model_of_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.safetensors"
    options = {"width": 2, "disparity_channels": 4}
    k3dn.save_weights(path, k3dn.build_model("nano", options), name="nano", options=options)
    picture = write(tmp_path / "picture.png", 9, np.uint8)
    config = DeblurConfig(
        root=str(tmp_path), left=picture, output=str(tmp_path / "out.png"), model=str(path)
    )
    with pytest.raises(UserError, match="needs the left and the right view"):
        deblur(config)
    assert not (tmp_path / "out.png").exists()


def test_mistakes_are_one_line_and_nothing_is_written(tmp_path: Path, halving: str) -> None:
    left = write(tmp_path / "left.png", 9, np.uint8)
    deep = write(tmp_path / "deep.png", 9, np.uint16)
    other = write(tmp_path / "other.png", 9, np.uint8, (20, 25))
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(left).read_bytes()[:60])
    output = tmp_path / "out.png"
    (tmp_path / "folder.png").mkdir()

    def attempt(words: str, **keys: str) -> None:
        arguments = {"left": left, "right": left, "output": str(output), "model": halving} | keys
        with pytest.raises(UserError, match=words) as caught:
            deblur(DeblurConfig(root=str(tmp_path), tracking_uri="sqlite://", **arguments))
        assert "\n" not in str(caught.value)

    attempt("there is no picture at", left=str(tmp_path / "nowhere.png"))
    attempt("is a folder", right=str(tmp_path))
    attempt("broken.png", right=str(broken))
    attempt("24 x 20 px, 8 bit.*25 x 20 px", right=other)
    attempt("16 bit", right=deep)
    attempt("cannot write .webm", output=str(tmp_path / "out.webm"))
    attempt("JPEG holds 8 bit", left=deep, right=deep, output=str(tmp_path / "out.jpg"))
    attempt("is a folder; name a file in it", output=str(tmp_path / "folder.png"))
    attempt("broken.png: not a directory; name", output=str(broken / "out.png"))
    attempt("no model at", model=str(tmp_path / "none.safetensors"))
    assert not output.exists()


@pytest.mark.parametrize("kind", ["code", "code and factory", "NaN", "cut"])
def test_an_evil_weights_file_is_one_line_and_runs_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    path, canary = tmp_path / "evil.safetensors", tmp_path / "canary"
    options = {"width": 2, "disparity_channels": 4}
    network = k3dn.build_model("nano", options)
    k3dn.save_weights(path, network, name="nano", options=options)
    if kind.startswith("code"):
        command = {"args": f"touch {canary}", "shell": True}
        k3dn.save_weights(path, network, name="subprocess:check_output", options=command)
    elif kind == "NaN":
        tensors = {**load_file(path), "decoder.to_image.bias": torch.full((3,), torch.nan)}
        with safe_open(path, "pt") as file:
            save_file(tensors, path, metadata=file.metadata())
    else:
        path.write_bytes(path.read_bytes()[:-1])
    view = write(tmp_path / "view.png", 9, np.uint8)
    output = tmp_path / "out.png"
    keys = {"left": view, "right": view, "output": output, "root": tmp_path, "model": path}
    if kind == "code and factory":
        keys["factory"] = "offset_network:offset"
    code = run_command_line(["deblur", *(f"{key}={value}" for key, value in keys.items())])
    printed = capfd.readouterr().err
    assert code == 2
    (line,) = [line for line in printed.splitlines() if line.startswith("k3dn ")]
    words = {
        "code": "whose code does not run",
        "NaN": "holds NaN",
        "cut": "may have been cut off, copy it again",
    }
    assert words.get(kind, "is for 'subprocess:check_output', not for factory=") in line
    assert str(path) in line and "Traceback" not in printed
    assert not canary.exists() and not output.exists()


def test_a_factory_is_for_files_alone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="brings its own code; factory=a:b is for weights files"):
        settle("models:/k3dn@champion", f"sqlite:///{tmp_path}/m.db", "a:b")


def test_summary_counts_every_parameter() -> None:
    config = SummaryConfig(model="nano", network={"width": 4}, size="64x96")
    result = summary.run(config)
    network = k3dn.build_model("nano", {"width": 4})
    spectra = ("log_gain", "phase")  # which become fixed kernels
    counted = [p.numel() for n, p in network.named_parameters() if not n.endswith(spectra)]
    assert result.parameters == sum(counted)
    tops = [row for row in result.rows if "." not in row.module]
    assert sum(row.parameters for row in tops) == result.parameters
    assert sum(row.macs for row in tops) == result.macs > 0
    assert f"{result.parameters:,}" in result.describe()
    with pytest.raises(UserError, match="did you mean 'width'"):
        summary.run(SummaryConfig(network={"widht": 4}))
    with pytest.raises(UserError, match="unknown model"):
        summary.run(SummaryConfig(model="nanno"))


def test_configurations_name_the_wrong_key() -> None:
    with pytest.raises(ValueError, match="size"):
        SummaryConfig(size="big")
    with pytest.raises(ValueError, match="split"):
        EvaluateConfig(split="all")
    with pytest.raises(ValueError, match="max_pairs"):
        PromoteConfig(max_pairs=0)
    with pytest.raises(ValueError, match="tile_px"):
        DeblurConfig(left="a", right="b", tile_px=8)
    with pytest.raises(ValueError, match="size must be HEIGHTxWIDTH"):
        SummaryConfig(size="\N{SUPERSCRIPT TWO}x32")
    for memory in ("2 apples", "1KB", "1MB", "0GB", f"{'9' * 330}GB"):
        with pytest.raises(ValueError, match=r"memory must be a size such as .*, got '"):
            DeblurConfig(left="a", right="b", memory=memory)
    with pytest.raises(ValueError, match="largest must be a size such as"):
        AppConfig(largest="1KB")


@pytest.mark.parametrize(
    ("text", "mib"), [("1GiB", 1024), ("800 MB", 762), ("1.5gib", 1536), ("2GB", 1907)]
)
def test_memory_is_read_in_the_usual_units(text: str, mib: int) -> None:
    assert parse_memory_mib(text) == mib
