"""A weights file that the user named by path or URL, with the digest that stands beside it."""

import http.client
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from k3dn.box import Entry
from k3dn.box.entry import parse_entry
from pipelines.errors import UserError
from pipelines.registry.loading import local_copy
from pipelines.storage import locate

MAX_BYTES = 2 << 30
"""Nothing larger is fetched: ``large`` takes 150 MB."""
_MAX_SIDECAR_BYTES = 4 << 20
_TIMEOUT_S = 60
_CHUNK_BYTES = 1 << 20
_SUFFIX = ".safetensors"


class Beside(NamedTuple):
    """What lies beside a weights file."""

    sha256: str | None
    entry: Entry | None


def is_web(url: str) -> bool:
    """Tell whether a URL is fetched over HTTP."""
    return url.startswith(("http://", "https://"))


@contextmanager
def fetched(url: str) -> Iterator[Path]:
    """Give a file as a local path for the length of the block.

    The only place of the program that opens a web address, and only one that the user typed.
    Raises UserError where there is no such file, it does not arrive whole, or it is too large.
    """
    if not is_web(url):
        location = locate(url)
        path = location.local_path()
        if not (path.is_file() if path is not None else location.exists()):
            raise UserError(f"there is no weights file at {url}; check the path")
        with local_copy(location) as local:
            yield local
        return
    with tempfile.TemporaryDirectory(prefix="k3dn-fetch-") as folder:
        path = Path(folder, "weights" + _SUFFIX)
        with path.open("wb") as file:
            for chunk in _chunks(url, MAX_BYTES):
                file.write(chunk)
        yield path


def beside(url: str) -> Beside:
    """The digest and the entry beside a weights file: ``NAME.json``, else ``FILE.sha256``.

    Raises UserError for a sidecar it cannot read, and for one over plain HTTP, where whoever
    changes the file changes it too.
    """
    text = _small(url.removesuffix(_SUFFIX) + ".json") if url.endswith(_SUFFIX) else None
    if text is not None:
        try:
            entry = parse_entry(text)
        except ValueError as error:
            raise UserError(f"{url.removesuffix(_SUFFIX)}.json is not an entry: {error}") from error
        return Beside(entry.sha256, entry)
    text = _small(f"{url}.sha256")
    if text is None:
        return Beside(None, None)
    words = text.split()
    if not words:
        raise UserError(f"{url}.sha256 is empty")
    return Beside(words[0].lower(), None)


def _small(url: str) -> str | None:
    """A small text, None where there is none."""
    if not is_web(url):
        location = locate(url)
        try:
            return location.read_bytes().decode() if location.exists() else None
        except ValueError as error:
            raise UserError(f"{url} is not text") from error
    if url.startswith("http://"):
        raise UserError(
            f"{url}: a digest over plain http proves nothing; give sha256=..., or an https address"
        )
    try:
        return b"".join(_chunks(url, _MAX_SIDECAR_BYTES)).decode()
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{url} is not text") from error


def _chunks(url: str, most: int) -> Iterator[bytes]:
    """The content at a web address. Raises UserError; FileNotFoundError where there is none."""
    came = 0
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            if url.startswith("https://") and not answer.geturl().startswith("https://"):
                raise UserError(f"{url} leads to plain http, {answer.geturl()}; it is not fetched")
            wanted = answer.headers.get("Content-Length")
            while chunk := answer.read(_CHUNK_BYTES):
                came += len(chunk)
                if came > most:
                    raise UserError(f"{url} is larger than {most >> 20} MiB; it is not fetched")
                yield chunk
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise FileNotFoundError(url) from error
        raise UserError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(f"{url} was not fetched: {reason}; check the address") from error
    if wanted is not None and came != int(wanted):
        raise UserError(f"{url} broke off after {came} of {wanted} bytes; try again")
