"""The sizes of the network, and the readings of the paper that are options."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

LARGEST, MOST_BLOCKS = 2048, 100
"""No size and no number of blocks is larger: such a network is a mistake, or an attack."""


@dataclass(frozen=True, kw_only=True, slots=True)
class K3DNConfig:
    """Sizes and switches of K3DN. ``VARIANTS`` holds the named sizes, ``PAPER_FORM`` the
    switches of the authors' form. docs/readings.md says what each switch costs and gains."""

    width: int = 24
    """b: channels at half resolution; 2b and 4b follow. The kernel set has N = 4b kernels."""
    residual_blocks: int = 2
    """Residual blocks in a stage of the encoder and the decoder."""
    psf_blocks: int = 4
    """PSF blocks in series at 1/8 resolution (Eq. 10)."""
    srp_residual_blocks: int = 1
    """Residual blocks in the feed-forward part of an SRP block (Eq. 14)."""
    kernel_size: int = 9
    """H_k = W_k: side of a trained kernel in feature px, odd."""
    spectrum_size: int = 16
    """Side of the grid on which bounded kernels are inverted, even and larger than kernel_size."""
    attention_window: int = 9
    """s: side of the window of the local attention in px, odd (Eq. 11)."""
    value_kernel: int = 3
    """Side of the convolution that turns attention scores into values, odd (Eq. 15, 16)."""
    disparity_width: int = 32
    """Channels of a view's features in the disparity estimator."""
    disparity_channels: int = 256
    """C_d: length of a disparity feature vector r^i."""
    disparity_shifts: int = 4
    """Both views are compared this many features of 2 px to either side, one less of 4 px, two less
    of 8 px."""
    window_px: int = 16
    """Side in px of the window that one vector r^i governs: 16, 32, 64 ..."""
    dense_kernels: int = 0
    """N of the dense reading of Eq. 9, a mixture of whole kernels a window; 0: the sparse one."""

    psf: bool = True
    """Use the PSF blocks; off, encoder features go to the decoder unchanged (Table 4)."""
    skip_psf: bool = True
    """PSF blocks at 1/4 and 1/2 too, one each, on the features that skip to the decoder; off, at
    1/8 alone, as the authors."""
    srp: bool = True
    """Use the SRP blocks; off, features are concatenated (Table 4)."""
    single_picture: bool = False
    """Restore one picture: three channels enter, and a plain estimator takes the disparity's
    place. Of two views it sees the mean."""

    pad_to_grid: bool = True
    """Pad pictures to whole windows; off, they are resized and clipped to [0, 1], as the authors
    do."""
    shared_windows: bool = True
    """Kernels see what lies around a window; off, a window ends in zeros."""
    authors_disparity: bool = False
    """The authors' disparity estimator, or theirs for one picture: one-sided, batch-normalised,
    windows of 144 x 112 px. It has none of the next three switches, which must be off."""
    two_sided: bool = True
    """The cost volume looks to both sides; off, to the near one, as the authors' does."""
    local_norm: bool = True
    """The disparity estimator normalises each position; off, over the batch."""
    mirror_disparity: bool = True
    """Swapping and mirroring views mirrors the disparity features (two passes): exactly where the
    width is one of whole windows, else up to the windows' other cut."""
    mirror_whole: bool = False
    """The answer is the mean of those for the pair and for the mirrored pair (two passes)."""
    scaled_softmax: bool = True
    """Weights of Eq. 8 are bounded and have mean one; off, they sum to one."""
    refined_query: bool = False
    """Add r to the query of Eq. 8 and send it through one more layer, as the authors do."""
    coc_readout: bool = True
    """A linear readout of R estimates the signed blur radius, for ``disparity_loss`` and
    ``explain``; nothing in the picture depends on it. Without PSF blocks, and for single
    pictures, there is none."""
    extra_biases: bool = True
    """Sum(W_k . K) of Eq. 8, the residual blocks of SRP and the last convolution have a bias; off,
    none, as the authors'."""
    bounded_inverse: bool = True
    """Kernels and weights have inverses of bounded gain, mixing a bounded diagonal, and Eq. 8 looks
    at the blurring kernels; off, the authors' division, and Eq. 8 looks at the deblurring ones."""
    reversed_reblur: bool = True
    """Reblurring goes through the PSF blocks from last to first; off, from first to last, as the
    authors do."""
    gated_values: bool = True
    """Phi_v of Eq. 15 and 16 ends in a gate (0 to 2), and a leaky ReLU follows the values."""
    mean_residual: bool = True
    """Add the mean of the two views to the output, so that training starts at the input; off, the
    decoder's output is the picture, clipped to [-0.5, 1.5], as the authors'."""
    scaled_start: bool = True
    """First weights keep the scale of features through the layers; off, torch's own."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not field.type:
                wanted = "true or false" if field.type is bool else "a whole number"
                raise ValueError(f"{field.name} must be {wanted}, got {value!r}")
            limit = MOST_BLOCKS if field.name.endswith("_blocks") else LARGEST
            if value > limit:
                raise ValueError(f"{field.name} must be at most {limit}, got {value}")
        for name in ("width", "disparity_width", "disparity_channels", "disparity_shifts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("residual_blocks", "psf_blocks", "srp_residual_blocks", "dense_kernels"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("kernel_size", "attention_window", "value_kernel"):
            if getattr(self, name) < 1 or getattr(self, name) % 2 != 1:
                raise ValueError(f"{name} must be odd, got {getattr(self, name)}")
        if self.spectrum_size % 2 or self.spectrum_size <= self.kernel_size:
            raise ValueError(
                f"spectrum_size must be even and larger than kernel_size {self.kernel_size}, "
                f"got {self.spectrum_size}"
            )
        beside = [n for n in ("two_sided", "local_norm", "mirror_disparity") if getattr(self, n)]
        if self.authors_disparity and beside:
            raise ValueError(
                f"authors_disparity has nothing to do with {', '.join(beside)}: set "
                f"{' '.join(f'{name}=false' for name in beside)}"
            )
        smallest_px = min(self.vector_px)
        if not self.shared_windows and smallest_px < 64:
            raise ValueError(
                f"shared_windows=false needs window_px of at least 64, got {smallest_px}: a window "
                "would be smaller than a kernel"
            )
        if self.dense_kernels and smallest_px < 32:
            raise ValueError(
                f"dense_kernels needs window_px of at least 32, got {smallest_px}: each window has "
                "kernels of its own"
            )
        if self.dense_kernels and self.kernel_size > 27:
            raise ValueError(f"dense_kernels takes kernel_size up to 27, got {self.kernel_size}")
        if self.window_px < 16 or self.window_px & (self.window_px - 1):
            raise ValueError(f"window_px must be 16 or a larger power of 2, got {self.window_px}")

    @property
    def num_kernels(self) -> int:
        """N = C_f: with the sparse kernel set of Sec. 3.2, one kernel a bottleneck channel."""
        return self.dense_kernels or self.channels

    @property
    def channels(self) -> int:
        """C_f: channels at 1/8 of the resolution."""
        return 4 * self.width

    @property
    def reads_coc(self) -> bool:
        """Whether the network estimates the signed blur radius."""
        return self.coc_readout and self.psf and self.psf_blocks > 0 and not self.single_picture

    @property
    def picture_channels(self) -> int:
        """Channels that enter: those of a pair, or of one picture."""
        return 3 if self.single_picture else 6

    @property
    def vector_px(self) -> tuple[int, int]:
        """Height and width of the window that one vector r^i governs, in px."""
        if self.authors_disparity:
            return 144, 112
        return self.window_px, self.window_px

    @property
    def grid_px(self) -> tuple[int, int]:
        """What height and width of a picture are brought to a multiple of, in px."""
        down, across = self.vector_px
        return (2 * down, 2 * across) if down != across else (down, across)

    @property
    def smallest_px(self) -> tuple[int, int]:
        """Height and width that smaller pictures are brought to, multiples of the grid's."""
        down, across = self.grid_px
        # The authors' estimator takes means over 256 px.
        averages = self.authors_disparity and not self.single_picture
        return (down, 2 * across) if averages else (down, across)


VARIANTS: dict[str, K3DNConfig] = {
    "nano": K3DNConfig(
        width=8,
        residual_blocks=1,
        psf_blocks=2,
        attention_window=5,
        value_kernel=1,
        disparity_width=8,
        disparity_channels=64,
    ),
    "tiny": K3DNConfig(),
    "lightweight": K3DNConfig(width=32, srp_residual_blocks=2),
    "large": K3DNConfig(width=48, residual_blocks=4, psf_blocks=8, srp_residual_blocks=4),
}

Form = Literal["k3dn", "paper"]

PAPER_FORM: Mapping[str, bool] = {
    "pad_to_grid": False,
    "shared_windows": False,
    "authors_disparity": True,
    "two_sided": False,
    "local_norm": False,
    "mirror_disparity": False,
    "skip_psf": False,
    "scaled_softmax": False,
    "refined_query": True,
    "coc_readout": False,
    "extra_biases": False,
    "bounded_inverse": False,
    "reversed_reblur": False,
    "gated_values": False,
    "mean_residual": False,
    "scaled_start": False,
}
"""What the authors' form does otherwise: with these the answer is that of their network."""


def variant(name: str, options: Mapping[str, Any]) -> K3DNConfig:
    """The configuration of a named variant with some of its fields replaced.

    options: fields of K3DNConfig, and ``form``: ``k3dn`` or ``paper``, whose switches hold where
    the options do not say otherwise. Raises ValueError for an unknown name or option, with the
    nearest known one, for another form, and for a value out of range.
    """
    if name not in VARIANTS:
        raise ValueError(
            f"unknown model {name!r}{_nearest(name, VARIANTS)}; known are "
            f"{', '.join(VARIANTS)}, or package.module:factory"
        )
    known = ["form", *(field.name for field in fields(K3DNConfig))]
    for key in options:
        if key not in known:
            raise ValueError(
                f"unknown network option {key!r}{_nearest(key, known)}; "
                f"options of {name} are {', '.join(known)}"
            )
    options = dict(options)
    form = options.pop("form", "k3dn")
    if form not in ("k3dn", "paper"):
        raise ValueError(f"form must be k3dn or paper, got {form!r}")
    switches: dict[str, Any] = dict(PAPER_FORM) if form == "paper" else {}
    return replace(VARIANTS[name], **{**switches, **options})


def _nearest(word: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
