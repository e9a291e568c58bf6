"""What the page shows, as plain data. Pictures are ``(H, W, 3)`` sRGB arrays.

A picture is uint8, uint16, or floating point in [0, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from pipelines.scores import TableRow

Picture = NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Comparison:
    """One pair, before and after, to compare with a slider."""

    title: str
    """What the picture is, e.g. its pair_id."""
    input: Picture
    """The blurred picture: the mean of the views."""
    output: Picture
    """What the network made of the two views."""
    target: Picture | None = None
    """The sharp ground truth; None where there is none."""
    input_psnr: float | None = None
    """dB against the target."""
    output_psnr: float | None = None
    """dB against the target."""
    note: str = ""
    """A line under the picture: camera, blur radius, origin, licence."""
    zoom: bool = False
    """Whether the page holds it larger, with buttons to zoom in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingCurve:
    """Points (step, value) in the order of the steps; either list may be empty."""

    loss: Sequence[tuple[int, float]] = ()
    """Training loss."""
    val_psnr: Sequence[tuple[int, float]] = ()
    """PSNR on validation pairs, dB."""
    input_psnr: float | None = None
    """PSNR of the blurred validation pictures, dB: the line to beat."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Findings:
    """What the network found in one picture, as ``k3dn.explain`` returns it."""

    picture: Picture
    """The blurred picture that it was found in."""
    kernels: NDArray[Any] | None = None
    """``(N, k, k)``, k odd, signed."""
    kernels_deblur: bool | None = None
    """Whether the kernels deblur; else they blur. None where there are none."""
    kernel_weights: NDArray[Any] | None = None
    """``(h, w, N)``: how much each kernel counts at each place."""
    in_focus: NDArray[Any] | None = None
    """``(H, W)`` in [0, 1]; 1 is in focus."""
    coc_px: NDArray[Any] | None = None
    """``(H, W)`` estimated signed blur radius in px, positive nearer than focus."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BlurRadius:
    """The blur radius that the network estimated in one picture, beside the true one."""

    title: str
    """What the picture is, e.g. its pair_id."""
    picture: Picture
    """The blurred picture: the mean of the views."""
    estimated_px: NDArray[Any]
    """``(H, W)`` signed, positive nearer than focus."""
    true_px: NDArray[Any]
    """``(H, W)`` likewise."""


@dataclass(frozen=True, slots=True)
class Place:
    """Something that was written, and where it lies."""

    what: str
    where: str
    """Path or URL."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command line to run next."""

    line: str
    why: str
    """What it does, in a few words."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PageData:
    """Everything on the page. A section without data is left out."""

    title: str = "Dual-pixel deblurring on your own machine"
    lead: str = ""
    """One or two sentences under the title."""
    facts: Sequence[tuple[str, str]] = ()
    """Short pairs for the head of the page, e.g. ("Network", "nano, 0.24 M parameters")."""
    notes: Sequence[str] = ()
    """What a reader must know, e.g. what was left out and where one gets it."""
    held_out: Sequence[Comparison] = ()
    """Synthetic pairs that share no scene with training."""
    real: Sequence[Comparison] = ()
    """Pairs of a real camera that were in no training set."""
    own: Sequence[Comparison] = ()
    """The reader's own pictures."""
    metrics: Sequence[TableRow] = ()
    """As ``evaluate`` gives them: per dataset the blurred input first, then models."""
    curve: TrainingCurve = field(default_factory=TrainingCurve)
    radii: Sequence[BlurRadius] = ()
    """Held-out synthetic pairs, whose blur radius is known."""
    findings: Findings | None = None
    places: Sequence[Place] = ()
    next_steps: Sequence[Command] = ()
