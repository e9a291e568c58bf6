"""What is measured, by name: one row each."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipelines.compare.apertures import FAMILIES
from pipelines.compare.noise import BRIGHTNESS


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity that two datasets are compared by."""

    name: str
    """Its key in the result."""
    group: str
    """The section of the page that it stands in."""
    title: str
    unit: str
    about: str
    """What it is and where it is measured, in a sentence."""
    a_patch: bool = False
    """A value for each patch, not for each pair."""


_BLUR, _KERNELS = "Blur", "Kernels"
_LIGHT, _NOISE, _TARGET, _COLOUR = "Light of the views", "Noise", "Target", "Colour and gradients"
GROUPS = (_BLUR, _KERNELS, _LIGHT, _NOISE, _TARGET, _COLOUR)

FAMILY_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "butterworth": "Butterworth",
        "ramp": "disc with a ramp",
        "translating_disk": "translating disk",
        "half_disc": "half disc",
        "integral": "integral window",
    }
)

_ROWS = (
    Quantity(
        "radius_px",
        _BLUR,
        "Blur radius",
        "px",
        "Of the disc that blurs target to combined picture.",
        True,
    ),
    Quantity(
        "radius_share",
        _BLUR,
        "Blur radius of the width",
        "%",
        "The same as a share of the picture's width.",
        True,
    ),
    Quantity(
        "signed_radius_share",
        _BLUR,
        "Signed radius of the width",
        "%",
        "Positive nearer than focus, by the sign of the disparity; radii from 1 px on.",
        True,
    ),
    Quantity(
        "disparity_px",
        _BLUR,
        "Disparity",
        "px",
        "x_L − x_R, between the centroids of the two views.",
        True,
    ),
    Quantity(
        "vertical_px",
        _BLUR,
        "Vertical disparity",
        "px",
        "y_L − y_R; an ideal sensor has none.",
        True,
    ),
    Quantity(
        "target_shift_px",
        _BLUR,
        "Target beside the views",
        "px",
        "Distance between target and combined picture.",
        True,
    ),
    Quantity(
        "disparity_over_radius",
        _KERNELS,
        "Disparity over radius",
        "",
        "|s| / r of patches whose fit is clean, radii from 2 px on.",
        True,
    ),
    Quantity(
        "rim",
        _KERNELS,
        "Light at the rim",
        "",
        "0 for an even disc, 1 for one that is dark in the middle; clean fits.",
        True,
    ),
    Quantity(
        "fit_best",
        _KERNELS,
        "Residual of the best family",
        "%",
        "Of the contrast of the views, by the best of the simple families; clean fits.",
        True,
    ),
    *(
        Quantity(
            f"fit_{name}",
            _KERNELS,
            f"Residual: {FAMILY_TITLES[name]}",
            "×",
            "As a multiple of what the best of the simple families leaves; clean fits.",
            True,
        )
        for name in FAMILIES
    ),
    Quantity(
        "view_ratio",
        _LIGHT,
        "Left view over right",
        "%",
        "By how much the left view has more light.",
    ),
    Quantity(
        "shading",
        _LIGHT,
        "Left-right shading",
        "%",
        "By how much left over right rises across the picture.",
    ),
    Quantity(
        "target_exposure",
        _LIGHT,
        "Target over views",
        "%",
        "By how much the target has more light.",
    ),
    *(
        Quantity(
            f"noise_{number}",
            _NOISE,
            f"Noise at {low:g} to {high:g}",
            "% of white",
            "Standard deviation in flat places of the views, linear light, green.",
        )
        for number, (low, high) in enumerate(BRIGHTNESS)
    ),
    Quantity(
        "edge_width_px",
        _TARGET,
        "Width of edges",
        "px",
        "10 to 90% of the target's strongest upright edges, median.",
    ),
    Quantity(
        "detail",
        _TARGET,
        "Finest detail",
        "",
        "Power of the target's steps over one pixel as a share of those over two.",
    ),
    Quantity("brightness", _COLOUR, "Brightness", "", "Mean sRGB value of the target."),
    Quantity(
        "contrast", _COLOUR, "Contrast", "", "Standard deviation of the target's sRGB values."
    ),
    Quantity(
        "saturation",
        _COLOUR,
        "Saturation",
        "",
        "1 − least / greatest channel, mean over what is not dark.",
    ),
    Quantity("red_over_blue", _COLOUR, "Red over blue", "stops", "Of the target's mean light."),
    Quantity(
        "gradient", _COLOUR, "Gradient", "", "Mean step of the target to the next pixel, sRGB."
    ),
    Quantity(
        "gradient_tail",
        _COLOUR,
        "Tail of the gradients",
        "log kurtosis",
        "How much of the target is flat with few edges.",
    ),
)

QUANTITIES: Mapping[str, Quantity] = MappingProxyType({row.name: row for row in _ROWS})
