"""The sizes of the network, and the readings of the paper that are options."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class K3DNConfig:
    """Sizes and switches of K3DN. ``VARIANTS`` holds the named ones."""

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
    """Side of the grid on which kernels are inverted, even and larger than kernel_size."""
    attention_window: int = 9
    """s: side of the window of the local attention in px, odd (Eq. 11)."""
    value_kernel: int = 3
    """Side of the convolution that turns attention scores into values (Eq. 15, 16), 1 or 3."""
    disparity_width: int = 32
    """Channels of a view's features in the disparity estimator."""
    disparity_channels: int = 256
    """C_d: length of a disparity feature vector r^i."""
    disparity_shifts: int = 2
    """The cost volume looks this many features (of 8 px) to either side."""
    mirror_exact: bool = True
    """Swapping and mirroring the views mirrors the disparity features exactly (two passes)."""
    psf: bool = True
    """Use the PSF blocks; off, encoder features go to the decoder unchanged (Table 4)."""
    srp: bool = True
    """Use the SRP blocks; off, features are concatenated (Table 4)."""
    mean_residual: bool = True
    """Add the mean of the two views to the output, so that training starts at the input."""

    def __post_init__(self) -> None:
        for name in ("width", "disparity_width", "disparity_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("residual_blocks", "psf_blocks", "srp_residual_blocks", "disparity_shifts"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("kernel_size", "attention_window", "value_kernel"):
            if getattr(self, name) % 2 != 1:
                raise ValueError(f"{name} must be odd, got {getattr(self, name)}")
        if self.spectrum_size % 2 or self.spectrum_size <= self.kernel_size:
            raise ValueError(
                f"spectrum_size must be even and larger than kernel_size {self.kernel_size}, "
                f"got {self.spectrum_size}"
            )

    @property
    def num_kernels(self) -> int:
        """N = C_f: with the sparse kernel set of Sec. 3.2, one kernel a bottleneck channel."""
        return 4 * self.width


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


def variant(name: str, options: dict[str, object]) -> K3DNConfig:
    """The configuration of a named variant with some of its fields replaced."""
    return replace(VARIANTS[name], **options)  # type: ignore[arg-type]
