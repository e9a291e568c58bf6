"""What a picture looks like as a whole: brightness, contrast, colour, gradients."""

import numpy as np

from pipelines.compare.light import Floats

_DARK = 0.1


def appearance(srgb: Floats, light: Floats) -> dict[str, float]:
    """Return brightness, contrast, saturation, red_over_blue, gradient, gradient_tail.

    srgb, light: (H, W, 3), one picture as it is stored and as linear light. Brightness is the mean
    and contrast the standard deviation of sRGB values; saturation the mean of 1 - least / greatest
    channel where it is not dark; red_over_blue in stops; gradient the mean size of the step to the
    next pixel, in sRGB; gradient_tail the kurtosis of those steps (3 if normal), as a log to 10.
    """
    grey = srgb.mean(2)
    greatest, least = srgb.max(2), srgb.min(2)
    coloured = greatest > _DARK
    step_x, step_y = np.diff(grey, axis=1)[:-1], np.diff(grey, axis=0)[:, :-1]
    red, blue = (float(light[..., channel].mean()) for channel in (0, 2))
    steps = np.concatenate([step_x.ravel(), step_y.ravel()]).astype(np.float64)
    power = float((steps**2).mean())
    return {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "saturation": (
            float((1.0 - least[coloured] / greatest[coloured]).mean())
            if coloured.any()
            else float("nan")
        ),
        "red_over_blue": float(np.log2(max(red, 1e-4) / max(blue, 1e-4))),
        "gradient": float(np.hypot(step_x, step_y).mean()),
        "gradient_tail": (
            float(np.log10((steps**4).mean() / power**2)) if power > 0.0 else float("nan")
        ),
    }
