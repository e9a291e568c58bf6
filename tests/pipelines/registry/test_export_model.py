"""``k3dn export-model``: real files, read by the programs that they are for."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import k3dn
from pipelines.errors import UserError
from pipelines.registry import export_model
from pipelines.registry.config import ExportModelConfig

pytestmark = pytest.mark.slow  # torch.export and torch.compile take their time

NARROW = {
    "width": 2,
    "disparity_channels": 4,
    "disparity_width": 2,
    "attention_window": 3,
    "psf_blocks": 1,
    "srp": False,
}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of a narrow network whose answer is none of its inputs."""
    model = k3dn.build_model("nano", NARROW)
    assert isinstance(model, k3dn.K3DN)
    torch.nn.init.normal_(model.decoder.to_image.weight, std=0.05)
    path = tmp_path / "weights.safetensors"
    k3dn.save_weights(path, model, name="nano", options=NARROW)
    return path


def config(tmp_path: Path, weights: Path | str, output: str, **keys: object) -> ExportModelConfig:
    values = {"root": str(tmp_path), "output": str(tmp_path / output), "model": str(weights)}
    return ExportModelConfig(**(values | keys))  # type: ignore[arg-type]


def test_an_onnx_file_answers_as_the_network_and_says_what_it_is(
    tmp_path: Path, weights: Path
) -> None:
    result = export_model.run(config(tmp_path, weights, "deep/net.onnx"))
    assert result.difference is not None and 0 < result.difference < 1e-4
    proto = onnx.load(result.output)
    onnx.checker.check_model(proto)
    said = {entry.key: entry.value for entry in proto.metadata_props}
    assert said["model"] == "nano" and json.loads(said["options"])["width"] == 2
    assert said["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert said["inputs"] == "left,right" and said["multiples_px"] == "1x1"
    views = np.random.default_rng(0).random((2, 37, 61, 3)).astype(np.float32)
    session = onnxruntime.InferenceSession(result.output)
    assert [node.shape for node in (*session.get_inputs(), *session.get_outputs())] == [
        ["batch", 3, "height", "width"]
    ] * 3
    left, right = (view.transpose(2, 0, 1)[None] for view in views)
    (image,) = session.run(["image"], {"left": left, "right": right})
    expected = k3dn.deblur(k3dn.load_weights(weights), *views, precision="fp32")
    np.testing.assert_allclose(image[0].transpose(1, 2, 0).clip(0, 1), expected, atol=1e-4)


def test_a_pt2_file_of_a_registered_version(tmp_path: Path, register_offset, tracking_uri) -> None:
    version = register_offset("exported", 0.25)
    reference = f"models:/exported/{version}"
    keys = {"tracking_uri": tracking_uri}
    with pytest.raises(UserError, match="give factory=offset_network:offset"):
        export_model.run(config(tmp_path, reference, "net.pt2", **keys))
    keys["factory"] = "offset_network:offset"
    made = export_model.run(config(tmp_path, reference, "net.pt2", **keys))
    assert made.model == "offset_network:offset" and "multiple of 16 px" in made.sizes
    files = {export_model.METADATA_FILE: ""}
    module = torch.export.load(made.output, extra_files=files).module()
    assert json.loads(files[export_model.METADATA_FILE])["options"] == '{"number": 0.25}'
    views = torch.rand(2, 1, 3, 32, 64)
    torch.testing.assert_close(module(*views), views.mean(0) - 0.25)


def test_a_file_that_is_there_is_replaced_only_on_demand(tmp_path: Path, weights: Path) -> None:
    there = tmp_path / "net.pt2"
    there.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"net\.pt2 exists; .*overwrite=true"):
        export_model.run(config(tmp_path, weights, "net.pt2"))
    assert there.read_bytes() == b"mine"
    export_model.run(config(tmp_path, weights, "net.pt2", overwrite=True, size="32x48"))
    assert torch.export.load(there).module()(*torch.rand(2, 1, 3, 32, 48)).shape[-2:] == (32, 48)


@pytest.mark.parametrize(
    ("output", "words"),
    [("weights.safetensors/net.pt2", "not a directory; name a file in"), ("a.pt2", "is a folder")],
)
def test_a_place_that_takes_no_file_is_found_before_the_work(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, output: str, words: str
) -> None:
    (tmp_path / "a.pt2").mkdir()
    monkeypatch.setattr(export_model, "load_network", None)
    with pytest.raises(UserError, match=words):
        export_model.run(config(tmp_path, weights, output, overwrite=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt2", "weights.safetensors"]


CHANGING_CODE = """
import torch

class Changing(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0
        self.gain = torch.nn.Parameter(torch.ones(()))

    def forward(self, left, right):
        self.calls += 1
        return self.gain * left + 1e-3 * self.calls
"""


def test_a_file_that_is_off_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network adds a thousandth more with each call; its graph always adds the first one."""
    (tmp_path / "changing_network.py").write_text(CHANGING_CODE)
    monkeypatch.syspath_prepend(tmp_path)
    name, path = "changing_network:Changing", tmp_path / "changing.safetensors"
    model = k3dn.build_model(name)
    k3dn.save_weights(path, model, name=name)
    with pytest.raises(UserError, match=r"off by .*nothing was written"):
        export_model.run(config(tmp_path, path, "net.pt2", factory=name))
    assert not (tmp_path / "net.pt2").exists()


@pytest.mark.parametrize(
    ("output", "keys", "words"),
    [
        ("net.pth", {}, r"net\.pth: give a name that ends in \.onnx, or in \.pt2"),
        ("net.pt2", {"model": "absent.safetensors"}, "no model at 'absent.safetensors'"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, weights: Path, output: str, keys: dict[str, str], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        export_model.run(config(tmp_path, weights, output, **keys))
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]
