"""The page over HTTP: on loopback, for whoever has the token, with bounded uploads."""

import hmac
import json
import shutil
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pipelines.app.desk import Desk, Side
from pipelines.app.page import render
from pipelines.errors import BusyError, UserError

HOST = "127.0.0.1"
_CHUNK_BYTES = 1 << 20
_STILL_S = 60.0
"""A connection that says nothing for so long is closed."""
_MOST_DIGITS = 18
_SIDES: tuple[Side, ...] = ("left", "right")


class Server(ThreadingHTTPServer):
    """Serves one desk."""

    daemon_threads = True

    def __init__(self, port: int, desk: Desk, token: str, largest_bytes: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.desk, self.token, self.largest_bytes = desk, token, largest_bytes

    @property
    def url(self) -> str:
        """The page's address, with the token."""
        return f"http://{HOST}:{self.server_address[1]}/?token={self.token}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that hangs up."""


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = _STILL_S

    def do_GET(self) -> None:
        """The page, the state, before and after, the picture."""
        self._answer(
            {
                "/": self._page,
                "/state": self._state,
                "/figure": self._figure,
                "/picture": self._picture,
            }
        )

    def do_PUT(self) -> None:
        """A view."""
        self._answer({f"/view/{side}": partial(self._view, side) for side in _SIDES})

    def do_POST(self) -> None:
        """Begin."""
        self._answer({"/sharpen": self._sharpen})

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: they hold the token."""

    def _answer(self, places: Mapping[str, Callable[[], None]]) -> None:
        parts = urllib.parse.urlsplit(self.path)
        self._query = dict(urllib.parse.parse_qsl(parts.query))
        if self.command != "PUT" and self.headers.get("Content-Length", "0") != "0":
            self.close_connection = True  # nobody reads its body, which is no next request
        try:
            self._check()
            if parts.path not in places:
                raise _Refused(HTTPStatus.NOT_FOUND, "there is nothing here")
            places[parts.path]()
        except _Refused as refused:
            self._refuse(refused.status, str(refused))
        except BusyError as error:
            self._refuse(HTTPStatus.CONFLICT, str(error))
        except UserError as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except OSError as error:
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, f"cannot keep it: {error.strerror}")

    def _check(self) -> None:
        """Who asks: a page of another site, or a name that leads here, has no token or host."""
        port = self.server.server_address[1]
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            raise _Refused(HTTPStatus.FORBIDDEN, f"ask for {HOST}")
        given = self._query.get("token", "")
        if not hmac.compare_digest(given.encode(), self.server.token.encode()):
            raise _Refused(HTTPStatus.FORBIDDEN, "open the address that k3dn app printed")

    def _page(self) -> None:
        self._send(render(self.server.token, self.server.largest_bytes).encode(), "text/html")

    def _state(self) -> None:
        self._send(json.dumps(asdict(self.server.desk.state)).encode(), "application/json")

    def _figure(self) -> None:
        self._send(self.server.desk.figure_of(self._number("job")).encode(), "text/html")

    def _picture(self) -> None:
        path = self.server.desk.output_of(self._number("job"))
        if path is None:
            raise _Refused(
                HTTPStatus.NOT_FOUND,
                "there is no sharp picture of that job; another one may have been begun",
            )
        with path.open("rb") as file:
            name = urllib.parse.quote(path.name)
            self._head(
                HTTPStatus.OK,
                "application/octet-stream",
                path.stat().st_size,
                {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
            )
            shutil.copyfileobj(file, self.wfile, _CHUNK_BYTES)

    def _view(self, side: Side) -> None:
        length = self._length()
        if length > self.server.largest_bytes:
            size, limit = (count / 1e6 for count in (length, self.server.largest_bytes))
            raise _Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"it has {size:.3g} MB, and up to {limit:.3g} MB are taken (largest=)",
            )
        name = self._query.get("name", "")
        number = self.server.desk.take(side, name, self._chunks(length))
        self._send(json.dumps({"view": number}).encode(), "application/json")

    def _sharpen(self) -> None:
        given = {side: self._number(side) for side in _SIDES if side in self._query}
        job = self.server.desk.start("right" if self._query.get("exchanged") else "left", given)
        self._send(json.dumps({"job": job}).encode(), "application/json")

    def _number(self, key: str) -> int:
        """A number of the query; 0, which nothing has, for what is none."""
        given = self._query.get(key, "")
        return (
            int(given)
            if given.isascii() and given.isdecimal() and len(given) <= _MOST_DIGITS
            else 0
        )

    def _length(self) -> int:
        given = self.headers.get("Content-Length", "")
        if not (given.isascii() and given.isdecimal()) or "Transfer-Encoding" in self.headers:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "an upload must say its length")
        if len(given) > _MOST_DIGITS:  # Python reads no number of thousands of digits
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "no file is as large")
        return int(given)

    def _chunks(self, length: int) -> Iterator[bytes]:
        while length:
            chunk = self.rfile.read(min(length, _CHUNK_BYTES))
            if not chunk:
                raise ConnectionError("the upload ended early")
            length -= len(chunk)
            yield chunk

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self.close_connection = True  # what was uploaded may not have been read
        self._send(json.dumps({"error": text}).encode(), "application/json", status)

    def _send(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._head(status, f"{kind}; charset=utf-8", len(body), {})
        self.wfile.write(body)

    def _head(self, status: HTTPStatus, kind: str, length: int, more: dict[str, str]) -> None:
        self.send_response_only(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(length),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            **({"Connection": "close"} if self.close_connection else {}),
            **more,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
