"""What a served model takes and answers, through MLflow's own server code."""

import base64
import json
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

import k3dn
from pipelines.registry.registry import logged_model_id, mlflow_store, register
from pipelines.registry.servable import taken, views_of


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return k3dn.build_model("nano", {"width": 4})


@pytest.fixture(scope="module")
def served(
    network: torch.nn.Module, tracking_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A registered version as MLflow loads it."""
    import mlflow

    options = {"width": 4}
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    k3dn.save_weights(path, network, name="nano", options=options)
    register(
        path,
        name="kinds",
        run_id=None,
        tracking_uri=tracking_uri,
        model="nano",
        options=options,
    )
    with mlflow_store(tracking_uri):
        return mlflow.pyfunc.load_model("models:/kinds/1")


@pytest.fixture(scope="module")
def views() -> np.ndarray:
    """Two views, 16 bit."""
    return np.random.default_rng(0).integers(0, 65536, (2, 24, 33, 3), dtype=np.uint16)


def png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))[1].tobytes()


def read(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]


def test_the_answer_has_the_form_of_the_question(
    served: Any, network: torch.nn.Module, views: np.ndarray
) -> None:
    eight = (views >> 8).astype(np.uint8)
    for left, right in (views, eight):
        expected = k3dn.deblur(network, left, right)
        given = served.predict({"left": left, "right": right})
        assert given.dtype == left.dtype
        np.testing.assert_array_equal(given, expected)
        encoded = served.predict({"left": png(left), "right": png(right)})
        np.testing.assert_array_equal(read(encoded), expected)
    left, right = views / 65535.0
    given = served.predict({"left": left, "right": right})
    assert given.dtype == np.float64
    single = [view.astype(np.float32) for view in (left, right)]
    np.testing.assert_allclose(given, k3dn.deblur(network, *single), atol=1e-6)


def test_over_http_a_pair_is_as_large_as_its_pngs(
    served: Any, network: torch.nn.Module, views: np.ndarray
) -> None:
    """MLflow's scoring server, from the body of a request to that of the answer."""
    from mlflow.pyfunc.scoring_server import invocations

    def ask(body: dict[str, Any]) -> Any:
        data = json.dumps(body)
        return invocations(data, "application/json", served, None)

    left, right = (views >> 8).astype(np.uint8)
    expected = k3dn.deblur(network, left, right)
    text = {n: base64.b64encode(png(v)).decode() for n, v in (("left", left), ("right", right))}
    answer = ask({"inputs": text})
    assert answer.status == 200
    picture = base64.b64decode(json.loads(answer.response)["predictions"])
    np.testing.assert_array_equal(read(picture), expected)
    assert len(json.dumps({"inputs": text})) < 1.5 * (left.size + right.size)

    numbers = {"left": left.tolist(), "right": right.tolist()}
    answer = ask({"inputs": numbers, "params": {"bits": 8}})
    restored = np.array(json.loads(answer.response)["predictions"])
    np.testing.assert_array_equal(restored, expected)
    assert restored.mean() < 200  # 0 to 255 read as [0, 1] was white once
    with pytest.raises(Exception, match="give the parameter bits=8 or"):
        ask({"inputs": numbers})


def huge_png() -> bytes:
    """A hundred bytes that say they are a picture of 100 000 x 100 000 px."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    size = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + end


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"right": b""}, "got right"),
        ({"left": b"", "rihgt": b""}, "got left, rihgt"),
        ([{"left": b"", "right": b""}], "got list"),
        (pd.DataFrame({"left": ["a", "b"], "right": ["a", "b"]}), "got DataFrame"),
    ],
)
def test_anything_but_one_pair_by_name_is_refused(sent: Any, words: str) -> None:
    """A view under a wrong name was left out once, and the other was restored alone."""
    with pytest.raises(ValueError, match=words):
        views_of(sent)


@pytest.mark.parametrize(
    ("view", "bits", "words"),
    [
        (np.full((16, 16, 3), 255.0), 0, r"floats must lie in \[0, 1\], got 255 to 255"),
        (np.full((16, 16, 3), np.nan), 0, "floats must lie in"),
        (np.full((16, 16, 3), -0.1, np.float32), 0, "floats must lie in"),
        (np.full((16, 16, 3), 255), 0, "bits=8 or"),
        (np.full((16, 16, 3), 256), 8, "0 to 255 with bits=8"),
        (np.full((16, 16, 3), -1), 16, "0 to 65535 with bits=16"),
        (np.full((16, 16, 3), True), 8, "integers or floats"),
        (np.zeros((16, 16)), 0, r"must be \(H, W, 3\)"),
        (np.zeros((0, 16, 3)), 0, r"must be \(H, W, 3\)"),
        (huge_png(), 0, "larger than OpenCV reads"),
        (b"no picture", 0, "not PNG, TIFF or JPEG"),
        (b"", 0, "not PNG, TIFF or JPEG"),
        ("not base64!", 0, "picture in base64"),
    ],
)
def test_what_is_no_picture_of_a_known_form_is_refused(view: Any, bits: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        taken(view, "left", bits)


def test_a_version_says_nothing_of_the_machine_that_made_it(
    served: Any, tracking_uri: str, tmp_path: Path
) -> None:
    import mlflow

    model_id = logged_model_id("kinds", "1", tracking_uri)
    with mlflow_store(tracking_uri):
        local = mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=str(tmp_path))
    text = Path(local, "MLmodel").read_text()
    assert "artifacts/weights.safetensors" in text
    named = [line for line in text.splitlines() if tempfile.gettempdir() in line]
    assert named == []
    home = [line for line in text.splitlines() if str(Path(k3dn.__file__).parents[1]) in line]
    assert home == []
    # what infra/docker/serve.Dockerfile copies and installs
    needs = Path(local, "requirements.txt").read_text().split()
    assert {need.partition("==")[0] for need in needs} == {
        *("mlflow", "numpy", "opencv-python-headless", "safetensors", "torch"),
    }
    assert all("==" in need for need in needs)


def test_a_version_has_an_example_that_its_server_takes(
    served: Any, network: torch.nn.Module, tracking_uri: str, tmp_path: Path
) -> None:
    """Small; as MLflow shows it, and as the body of a request."""
    import mlflow
    from mlflow.models import Model
    from mlflow.pyfunc.scoring_server import invocations

    model_id = logged_model_id("kinds", "1", tracking_uri)
    with mlflow_store(tracking_uri):
        local = mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=str(tmp_path))
    described = Model.load(local)
    example = described.load_input_example(local)
    assert isinstance(example, dict) and set(example) == {"left", "right"}
    views = [read(base64.b64decode(example[name])) for name in ("left", "right")]
    assert views[0].shape == (32, 32, 3) and (views[0] != views[1]).any()
    answer = invocations(described.get_serving_input(local), "application/json", served, None)
    picture = read(base64.b64decode(json.loads(answer.response)["predictions"]))
    np.testing.assert_array_equal(picture, k3dn.deblur(network, *views))
    known = {parameter.name for parameter in described.get_params_schema() or []}
    assert known == {"bits", "precision", "memory_mib", "halo_px", "tile_px"}
