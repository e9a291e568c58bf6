"""The page to drop views on: who may ask, what is taken, and the whole of it in a browser."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import k3dn
from pipelines.app.config import AppConfig
from pipelines.app.desk import Desk
from pipelines.app.server import Server
from pipelines.deblur.config import DeblurConfig
from pipelines.deblur.run import run as deblur
from tests.page_in_a_browser import barriers
from tests.pipelines.deblur.pictures import exif, scene

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
REPOSITORY = Path(__file__).parents[3]
LARGEST = 200_000


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    options = {"width": 2, "disparity_channels": 4, "psf_blocks": 1}
    path = tmp_path_factory.mktemp("weights") / "mean.safetensors"
    k3dn.save_weights(path, k3dn.build_model("nano", options), name="nano", options=options)
    return str(path)


@pytest.fixture
def server(tmp_path: Path, weights: str) -> Iterator[Server]:
    """A server on a free port, whose answers are the mean of the views."""
    desk = Desk(AppConfig(model=weights, precision="fp32"), tmp_path / "desk")
    with Server(0, desk, "a-token", LARGEST) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join()
        desk.close()


@pytest.fixture
def views(tmp_path: Path) -> tuple[Path, Path]:
    for name, shift in (("IMG_1_L.jpg", 0), ("IMG_1_R.jpg", 1)):
        picture = Image.fromarray(scene(shift, 3, np.uint8, (96, 128)))
        picture.save(tmp_path / name, quality=95, exif=exif(6))
    return tmp_path / "IMG_1_L.jpg", tmp_path / "IMG_1_R.jpg"


def ask(
    server: Server, path: str, data: bytes | None = None, method: str = "GET", **query: str
) -> tuple[int, bytes]:
    """Status and body; the token as the page gives it unless the query has its own."""
    token = query.pop("token", server.token)
    host = query.pop("host", None)
    text = urllib.parse.urlencode({**query, "token": token})
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.server_address[1]}{path}?{text}", data, method=method
    )
    if host:
        request.add_header("Host", host)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def give(server: Server, *views: Path) -> None:
    for side, path in zip(("left", "right"), views, strict=True):
        assert ask(server, f"/view/{side}", path.read_bytes(), "PUT", name=path.name)[0] == 200


def finished(server: Server) -> dict[str, Any]:
    """The state when the job has ended."""
    thread = server.desk._thread
    assert thread is not None
    thread.join(timeout=60)
    state: dict[str, Any] = json.loads(ask(server, "/state")[1])
    assert not state["busy"]
    return state


def test_an_answer_is_that_of_deblur(
    server: Server, views: tuple[Path, Path], tmp_path: Path, weights: str
) -> None:
    give(server, *views)
    status, body = ask(server, "/sharpen", b"", "POST")
    state = finished(server)
    assert (status, json.loads(body)["job"], state["job"]) == (200, 1, 1)
    assert (state["error"], state["name"], state["share"]) == ("", "IMG_1.jpg", 1.0)
    assert "folder" not in " ".join(state["notices"]), "where it works concerns nobody"
    assert b'class="compare"' in ask(server, "/figure", job="1")[1]
    out = tmp_path / "out.jpg"
    left, right = map(str, views)
    config = DeblurConfig(left=left, right=right, output=str(out), model=weights, precision="fp32")
    deblur(config)
    assert ask(server, "/picture", job="1")[1] == out.read_bytes()
    assert server.desk.made == 1
    assert ask(server, "/sharpen", b"", "POST", exchanged="1")[0] == 200
    assert "by their names the views are exchanged" in " ".join(finished(server)["notices"])


@pytest.mark.parametrize("path", ["/", "/state", "/figure", "/picture", "/view/left", "/sharpen"])
def test_nobody_else_gets_in(server: Server, path: str) -> None:
    method = {"/view/left": "PUT", "/sharpen": "POST"}.get(path, "GET")
    data = None if method == "GET" else b"x"
    for stranger in ({"token": ""}, {"token": "another"}, {"host": "evil.example"}):
        status, body = ask(server, path, data, method, name="a.png", **stranger)
        assert status == 403 and b"compare" not in body
    assert server.server_address[0] == "127.0.0.1"
    assert not list(server.desk._folder.glob("**/*"))


def test_what_is_not_taken(server: Server, views: tuple[Path, Path], tmp_path: Path) -> None:
    status, body = ask(server, "/view/left", b"x" * (LARGEST + 1), "PUT", name="a.png")
    assert status == 413 and b"are taken" in body
    for name in ("a.gif", "a.exe", "", "IMG_1.CR2"):
        status, body = ask(server, "/view/left", b"x", "PUT", name=name)
        assert status == 422 and b"is not read" in body
    assert ask(server, "/sharpen", b"", "POST") == (422, b'{"error": "give both views"}')
    assert ask(server, "/picture", job="1")[0] == 404 and ask(server, "/etc/passwd")[0] == 404
    give(server, *views)
    for name in ("../../../evil.png", "/tmp/evil.png", "..\\evil.png", ".hidden.png"):
        assert ask(server, "/view/left", b"no picture", "PUT", name=name)[0] == 200
    inside = list(tmp_path.rglob("*.png"))
    assert [path.parent.parent for path in inside] == [server.desk._folder]
    assert ask(server, "/sharpen", b"", "POST")[0] == 200
    error = finished(server)["error"]
    assert error.startswith("hidden.png: not an image") and str(tmp_path) not in error
    give(server, *views)  # a mistake is no end
    assert ask(server, "/sharpen", b"", "POST")[0] == 200 and finished(server)["error"] == ""


@pytest.mark.parametrize("length", ["9" * 19, "9" * 5000], ids=["19 digits", "5000 digits"])
def test_an_absurd_length_is_answered(server: Server, length: str) -> None:
    """Python reads no number of 5000 digits."""
    path = f"/view/left?name=a.png&token={server.token}"
    head = f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.server_address[1]}\r\n"
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=60) as peer:
        peer.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
        assert peer.makefile("rb").readline().startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("PUT /view/left?name=a.gif&token={}", 422),
        ("PUT /view/left?name=a.png&token=another", 403),
        ("GET /state?token={}", 200),
        ("POST /nothing?token={}", 404),
    ],
)
def test_what_nobody_read_is_no_request(server: Server, line: str, status: int) -> None:
    """A body that holds a request, behind a request whose body is not taken."""
    host = f"Host: 127.0.0.1:{server.server_address[1]}\r\n"
    inner = f"GET /state?token={server.token} HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
    head = f"{line.format(server.token)} HTTP/1.1\r\n{host}Content-Length: {len(inner)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=60) as peer:
        peer.sendall(f"{head}{inner}".encode())
        answer = peer.makefile("rb").read()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.count(b"HTTP/1.1") == 1 and b"Connection: close" in answer


def test_two_files_for_one_side_at_once(server: Server, views: tuple[Path, Path]) -> None:
    """The one that is whole last stays, and the other breaks nothing."""
    first, second = (path.read_bytes() for path in views)
    desk = server.desk

    def slow() -> Iterator[bytes]:
        yield first[:100]
        desk.take("left", "b_L.jpg", iter([second]))
        yield first[100:]

    desk.take("left", "a_L.jpg", slow())
    desk.take("right", "a_R.jpg", iter([second]))
    assert desk._views["left"].path.read_bytes() == first
    assert {path.name for path in desk._folder.rglob("*.jpg")} == {"a_L.jpg", "a_R.jpg"}

    def broken() -> Iterator[bytes]:
        yield first[:100]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        desk.take("left", "c_L.jpg", broken())
    desk.take("left", "a_L.jpg", iter([first]))
    assert {path.name for path in desk._folder.rglob("*.jpg")} == {"a_L.jpg", "a_R.jpg"}
    desk.start()
    assert finished(server)["error"] == ""


def test_two_pages_get_each_their_own(server: Server, views: tuple[Path, Path]) -> None:
    """The link of an older answer leads to no other picture, and views are not mixed."""

    def given(side: str, name: str) -> str:
        data = views[side == "right"].read_bytes()
        status, body = ask(server, f"/view/{side}", data, "PUT", name=name)
        assert status == 200
        return str(json.loads(body)["view"])

    first = {side: given(side, f"IMG_1_{side[0]}.jpg") for side in ("left", "right")}
    assert ask(server, "/sharpen", b"", "POST", **first)[0] == 200
    assert finished(server)["name"] == "IMG_1.jpg"
    assert ask(server, "/picture", job="1")[0] == 200
    second = {side: given(side, f"IMG_2_{side[0]}.jpg") for side in ("left", "right")}
    status, body = ask(server, "/sharpen", b"", "POST", **first)
    assert status == 409 and b"another page has given other views" in body
    assert ask(server, "/picture", job="1")[0] == 200, "what was made is still there"
    assert ask(server, "/sharpen", b"", "POST", **second)[0] == 200
    assert finished(server)["job"] == 2
    for job in ("1", "", "x", "9" * 5000):
        assert ask(server, "/picture", job=job)[0] == 404
        assert ask(server, "/figure", job=job) == (200, b"")
    assert ask(server, "/picture", job="2")[0] == 200


@pytest.mark.parametrize("letter", ["a", "\u00fc", "\U0001f4f7"])
def test_a_long_name_is_cut(server: Server, views: tuple[Path, Path], letter: str) -> None:
    for side, path in zip(("left", "right"), views, strict=True):
        name = f"{letter * 300}_{side[0].upper()}.jpg"
        status, body = ask(server, f"/view/{side}", path.read_bytes(), "PUT", name=name)
        assert status == 200, body
    assert ask(server, "/sharpen", b"", "POST")[0] == 200
    state = finished(server)
    assert state["error"] == "" and state["name"].endswith(f"{letter}.jpg")


def test_one_at_a_time(
    server: Server, views: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()
    restore = k3dn.Restorer.__call__

    def held(self: k3dn.Restorer, *more: Any, **settings: Any) -> Any:
        begun.set()
        assert go.wait(timeout=60)
        return restore(self, *more, **settings)

    monkeypatch.setattr(k3dn.Restorer, "__call__", held)
    give(server, *views)
    assert ask(server, "/sharpen", b"", "POST")[0] == 200
    assert begun.wait(timeout=60)
    assert json.loads(ask(server, "/state")[1])["busy"]
    assert ask(server, "/sharpen", b"", "POST")[0] == 409
    assert ask(server, "/view/left", b"x", "PUT", name="a.png")[0] == 409
    go.set()
    assert finished(server)["error"] == ""


@pytest.mark.slow
def test_the_command_serves_until_it_is_stopped(weights: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines", "app", f"model={weights}", "open=false"]
    process = subprocess.Popen(
        [*command, f"root={tmp_path}", "largest=2MB"],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        url = next(line.split()[1] for line in lines if line.startswith("app: http"))
        with urllib.request.urlopen(url) as answer:
            page = answer.read().decode()
        assert "Content-Security-Policy" in page and 'data-largest="2000000"' in page
    finally:
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and out.startswith("closed; 0 sharpened")


@pytest.fixture
def page(server: Server) -> Iterator[Any]:
    """The page in chromium; fails on a script error and on a request to anybody else."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the page is not looked at")
    troubles: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        opened = browser.new_page(viewport={"width": 390, "height": 800})
        opened.on("pageerror", lambda error: troubles.append(str(error)))
        own = server.url.partition("?")[0]
        opened.on(
            "request",
            lambda request: (
                None if request.url.startswith((own, "data:")) else troubles.append(request.url)
            ),
        )
        opened.goto(server.url)
        yield opened
        browser.close()
    assert troubles == []


@pytest.mark.browser
def test_by_keyboard_from_two_files_to_the_saved_one(
    server: Server, views: tuple[Path, Path], page: Any, tmp_path: Path
) -> None:
    note, large = tmp_path / "note.txt", tmp_path / "large.png"
    note.write_text("no picture")
    large.write_bytes(b"0" * (LARGEST + 1))
    for path, words in ((note, "note.txt is not read: .png, "), (large, "is larger than 0.2 MB")):
        page.set_input_files("#left", str(path))
        assert words in page.inner_text("#said.wrong")
    assert page.is_disabled("#go")
    assert barriers(page) == []
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390, "nothing lies beside a phone's screen"
    for side, path in zip(("left", "right"), views, strict=True):
        page.set_input_files(f"#{side}", str(path))
    assert page.inner_text('.drop[data-side="left"] .file') == "IMG_1_L.jpg"
    page.focus("#left")
    for focused in ("right", "go"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == focused
    page.keyboard.press("Enter")
    page.wait_for_selector("#result:not([hidden])")
    assert page.inner_text("#said") == "Done"
    assert barriers(page) == []
    assert page.evaluate("document.activeElement.id") == "save"
    page.keyboard.press("Tab")
    before = page.evaluate("document.querySelector('.stage').style.getPropertyValue('--split')")
    page.keyboard.press("ArrowLeft")
    after = page.evaluate("document.querySelector('.stage').style.getPropertyValue('--split')")
    assert (before, after) == ("50%", "49.5%")
    page.focus("#save")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "IMG_1.jpg"
    download.value.save_as(tmp_path / "saved.jpg")
    output = server.desk.output_of(server.desk.state.job)
    assert output is not None and (tmp_path / "saved.jpg").read_bytes() == output.read_bytes()
    broken = tmp_path / "b_R.png"
    broken.write_text("no picture")
    page.set_input_files("#right", str(broken))
    page.click("#go")
    page.wait_for_selector("#said.wrong")
    assert "b_R.png: not an image" in page.inner_text("#said")
    assert not page.is_disabled("#go") and page.is_hidden("#result")
