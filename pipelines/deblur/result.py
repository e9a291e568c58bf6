"""What ``k3dn deblur`` made."""

from dataclasses import dataclass

from pipelines.progress import printable


@dataclass(frozen=True, kw_only=True, slots=True)
class Seconds:
    """What a picture took."""

    read: float
    look: float
    sharpen: float
    write: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharpened:
    """A picture that was written."""

    output: str
    """Where it lies."""
    model: str
    height: int
    width: int
    bit_depth: int
    notices: tuple[str, ...]
    """What was noticed about its views."""
    lost: tuple[str, ...]
    """What its file does not say that the left view's does."""
    seconds: Seconds


@dataclass(frozen=True, slots=True)
class Failed:
    """A picture that was not made."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeblurResult:
    """Pictures were sharpened."""

    pictures: tuple[Sharpened, ...]
    kept: tuple[str, ...] = ()
    """Outputs that were there already."""
    failed: tuple[Failed, ...] = ()
    folder: str | None = None
    """Where many pictures lie."""
    page: str | None = None
    begun_s: float | None = None
    """From the start of the process to the first picture's sharpening."""
    exit_code: int = 0
    """2 where a picture could not be made."""

    def describe(self) -> str:
        """Return what was made, what was not, and where it lies."""
        if self.folder is None:
            (one,) = self.pictures
            size = f"{one.width} x {one.height} px, {one.bit_depth} bit"
            lines = [f"sharpened by {one.model}: {size}"]
        else:
            models = sorted({picture.model for picture in self.pictures})
            by = f" by {', '.join(models)}" if models else ""
            lines = [f"sharpened {_pictures(len(self.pictures))}{by}"]
            if self.kept:
                lines.append(f"already there: {len(self.kept)} (--overwrite replaces them)")
            if self.failed:
                lines.append(f"{len(self.failed)} could not be made:")
                lines += [f"  {failed.name}: {failed.reason}" for failed in self.failed]
        if self.page is not None:
            lines.append(self.page)
        lines.append(self.folder or self.pictures[0].output)
        return "\n".join(map(printable, lines))

    def next_steps(self) -> list[str]:
        """Nothing follows from a picture."""
        return []


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"
