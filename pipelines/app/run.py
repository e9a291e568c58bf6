"""``k3dn app``: serve the page until it is stopped."""

import secrets
import tempfile
import webbrowser
from dataclasses import dataclass
from pathlib import Path

from pipelines.app.config import AppConfig
from pipelines.app.desk import Desk
from pipelines.app.server import HOST, Server
from pipelines.deblur.show import has_screen
from pipelines.errors import UserError
from pipelines.failures import Terminated
from pipelines.picture_keys import parse_bytes
from pipelines.progress import say


@dataclass(frozen=True, kw_only=True, slots=True)
class AppResult:
    """The page was closed."""

    pictures: int
    """So many were sharpened."""

    def describe(self) -> str:
        """Return what was done."""
        return (
            f"closed; {self.pictures} sharpened. Uploads and answers that were not saved are gone"
        )

    def next_steps(self) -> list[str]:
        """Nothing follows."""
        return []


def run(config: AppConfig) -> AppResult:
    """Serve until Ctrl-C or SIGTERM. What is dropped lies in a temporary folder until then.

    Raises UserError where the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="k3dn-app-") as folder:
        desk = Desk(config, Path(folder))
        largest = parse_bytes(config.largest, "largest")
        try:
            server = Server(config.port, desk, secrets.token_urlsafe(24), largest)
        except OSError as error:
            raise UserError(
                f"port {config.port} on {HOST} cannot be opened ({error.strerror}); give another "
                "port=, or none"
            ) from error
        with server:
            say(f"app: {server.url}")
            say("app: for this machine alone; Ctrl-C ends it")
            if config.open and has_screen():
                webbrowser.open(server.url)
            try:
                server.serve_forever(poll_interval=0.2)
            except (KeyboardInterrupt, Terminated):
                pass
            finally:
                desk.close()
        return AppResult(pictures=desk.made)
