"""``k3dn convert``: weights of the authors' public network as a weights file of ours."""

import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipelines.errors import UserError
from pipelines.next_steps import command
from pipelines.ray_job import refuse_lost_path
from pipelines.registry.config import ConvertConfig
from pipelines.registry.loading import local_copy
from pipelines.storage import locate

_SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True)
class ConvertResult:
    """A checkpoint became a weights file."""

    model: str
    """Which variant it is."""
    single_picture: bool
    """Whether it restores one picture in place of a pair."""
    srp: bool
    """Whether it has SRP blocks: without them it is the authors' first stage."""
    parameters: int
    """Numbers in the file, of which the spectra of kernels do not count in a network's size."""
    output: str
    """Where the weights lie."""

    def describe(self) -> str:
        """Return what was found and where the weights lie."""
        sees = "one picture" if self.single_picture else "a pair"
        blocks = "with SRP blocks" if self.srp else "without SRP blocks"
        size = f"{self.parameters / 1e6:.2f} M numbers"
        return f"{self.model}, form=paper, for {sees}, {blocks}: {size}\n{self.output}"

    def next_steps(self) -> list[str]:
        """Return what one may run next."""
        views = {"left": "PICTURE"} if self.single_picture else {"left": "LEFT", "right": "RIGHT"}
        return [
            command("deblur", **views, model=self.output),
            command("evaluate", model=self.output),
        ]


def run(config: ConvertConfig) -> ConvertResult:
    """Read, recognise, rename, write.

    Raises UserError for a file that is not there, is not a checkpoint of the authors' network or
    holds anything but tensors, and for an output that is there already.
    """
    import k3dn
    from k3dn.convert import convert_checkpoint

    refuse_lost_path("output", config.output)
    target = locate(config.output)
    if PurePosixPath(target.name).suffix != _SUFFIX:
        raise UserError(f"{config.output}: the weights are a safetensors file, name it {_SUFFIX}")
    if target.exists() and not config.overwrite:
        raise _present(config.output)
    source = locate(config.checkpoint)
    path = source.local_path()
    if not (path.is_file() if path is not None else source.exists()):
        raise UserError(f"there is no checkpoint at {config.checkpoint}; give the path of a file")
    with local_copy(source) as path:
        try:
            found = convert_checkpoint(path)
        except ValueError as error:
            raise UserError(str(error).replace(str(path), config.checkpoint)) from error
    with tempfile.TemporaryDirectory(prefix="k3dn-convert-") as folder:
        written = Path(folder, target.name)
        try:
            k3dn.save_weights(written, found.model, name=found.name, options=found.options)
        except ValueError as error:  # values that no trained network has
            raise UserError(f"{config.checkpoint}: {error}") from error
        if config.overwrite:
            target.write_bytes(written.read_bytes())
        elif not target.put_if_absent(written.read_bytes()):
            raise _present(config.output)
    return ConvertResult(
        model=found.name,
        single_picture=found.config.single_picture,
        srp=found.config.srp,
        parameters=sum(parameter.numel() for parameter in found.model.parameters()),
        output=target.url,
    )


def _present(output: str) -> UserError:
    return UserError(f"{output} exists; give another name, or overwrite=true")
