"""A model in a process of its own.

Two versions of one module in one Python process share the code of whichever was imported first,
so a registered version is loaded where nothing else of ours has been: in a child that imports
MLflow, the version's own code, and nothing more. The child ends when its parent does.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import NotFiniteError, UserError
from pipelines.registry.loading import local_weights
from pipelines.scores import Cost

Picture = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
"""``(H, W, 3)`` sRGB, 8 or 16 bit, or float32 in [0, 1]. 16 bits take half of what floats take."""

NOT_FINITE = "the network returned NaN or infinite values"
"""How ``k3dn.deblur`` says so. By its words, as a registered version brings its own k3dn."""


class ModelProcess:
    """Predicts with one model, loaded in a child process; a context manager.

    reference: ``models:/NAME/VERSION``, path or URL of a .safetensors file, or, where it equals
    factory, nothing but what that builds.
    factory: what builds the network of a file that is not for K3DN, as the user named it.
    use_gpu: False hides the GPUs from the child; otherwise it takes one where there is one.
    """

    def __init__(
        self,
        reference: str,
        tracking_uri: str | None,
        *,
        factory: str | None = None,
        use_gpu: bool = True,
    ) -> None:
        self._reference = reference
        self.cost: Cost | None = None
        """Of the last picture; None before the first."""
        self._files = ExitStack()
        if not reference.startswith("models:/") and reference != factory:
            reference = str(self._files.enter_context(local_weights(reference)))
        self._log = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        folder = self._files.enter_context(tempfile.TemporaryDirectory(prefix="k3dn-model-"))
        ours, theirs = Pipe()
        search = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        environment = {**os.environ, "PYTHONPATH": search}
        if not use_gpu:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        command = [sys.executable, "-P", "-m", "pipelines.registry.model_server"]
        self._child = subprocess.Popen(
            [*command, str(theirs.fileno()), reference, tracking_uri or "", factory or "", folder],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=environment,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._pipe = ours

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def predict(
        self,
        left: Picture,
        right: Picture | None,
        settings: Mapping[str, int | str] | None = None,
    ) -> Picture:
        """Restore one pair as ``k3dn.deblur`` does, or a single picture where right is None.

        settings: keywords of the ``deblur`` that comes with the model.

        Raises UserError with the model's own words where it refuses the pair or fails,
        NotFiniteError where its answer is NaN or infinite somewhere.
        """
        # By files, mapped on both sides: a photograph in a pipe would be copied six times.
        with tempfile.TemporaryDirectory(prefix="k3dn-pictures-") as name:
            folder = Path(name)
            views = {"left": left} if right is None else {"left": left, "right": right}
            put_pictures(folder, views)
            answer = self._ask({"folder": name, **(settings or {})})
            if error := answer.pop("error", ""):
                kind = NotFiniteError if NOT_FINITE in error else UserError
                raise kind(f"{self._reference}: {error}")
            self.cost = Cost(**answer, megapixels=left.shape[0] * left.shape[1] / 1e6)
            restored = get_picture(folder, "image")
            assert restored is not None
            return cast(Picture, np.array(restored))

    def count(self, height: int, width: int) -> tuple[int, int] | None:
        """Parameters and multiply-adds at a size in px; None for a network that is not countable.

        Raises UserError where the model does not load.
        """
        answer = self._ask({"count_at": [height, width]})
        return None if "error" in answer else (answer["parameters"], answer["macs"])

    def weights_sha256(self) -> str:
        """Return a digest of what the network holds. Raises UserError where it does not load."""
        answer = self._ask({"weights": True})
        if error := answer.get("error"):
            raise UserError(f"{self._reference}: {error}")
        return str(answer["sha256"])

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            self._pipe.send_bytes(json.dumps(request).encode())
            answer: dict[str, Any] = json.loads(self._pipe.recv_bytes())
        except (EOFError, ConnectionError) as broken:
            raise UserError(
                f"{self._reference} does not load or run: {self._last_words()}"
            ) from broken
        return answer

    def close(self) -> None:
        """End the child, which holds nothing that needs saving."""
        self._pipe.close()
        self._child.kill()
        self._child.wait()
        self._files.close()

    def _last_words(self) -> str:
        status = self._child.wait()
        if status < 0:
            name = signal.Signals(-status).name
            return (
                f"its process was killed ({name}); where memory ran out, set tile_px or less memory"
            )
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else f"its process ended with status {status}"


def put_pictures(folder: Path, pictures: Mapping[str, Picture]) -> None:
    """Write pictures for the other process, which maps them into its memory."""
    for name, picture in pictures.items():
        np.save(folder / f"{name}.npy", picture, allow_pickle=False)


def get_picture(folder: Path, name: str) -> Picture | None:
    """Map a picture that the other process wrote; None where it wrote none of this name."""
    path = folder / f"{name}.npy"
    if not path.exists():
        return None
    picture: Picture = np.load(path, mmap_mode="r", allow_pickle=False)
    return picture
