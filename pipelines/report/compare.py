"""Before, after and ground truth of one pair, with a slider between two of them."""

import html

from pipelines.report.page_data import Comparison
from pipelines.report.pictures import fit, jpeg, telling_window

_MAX_PX = 1120
ZOOM_PX = 1792
"""Longer side of a picture that one can zoom into."""
_ZOOMS = (1, 2, 4)
_NAMES = {"input": "Blurred", "output": "Sharpened", "target": "Ground truth"}
_VERSUS = {"input": "blurred", "output": "sharpened", "target": "truth"}
_MODES = (("input", "output"), ("output", "target"), ("input", "target"))


def compare(pair: Comparison) -> str:
    """Return the figure of one pair; ValueError where its pictures do not fit each other."""
    max_px = ZOOM_PX if pair.zoom else _MAX_PX
    layers = {"input": fit(pair.input, max_px), "output": fit(pair.output, max_px)}
    if pair.target is not None:
        layers["target"] = fit(pair.target, max_px)
    height, width = layers["input"].shape[:2]
    if any(layer.shape != layers["input"].shape for layer in layers.values()):
        raise ValueError(f"{pair.title}: its pictures differ in size")
    side = min(max(24, min(height, width) // 5), height, width)
    y, x = telling_window(
        layers["input"], layers["output"], layers.get("target", layers["output"]), side
    )
    images = "".join(
        f'<img data-layer="{name}" src="{jpeg(layer)}" alt="{_NAMES[name]}: '
        f'{html.escape(pair.title)}" width="{width}" height="{height}" '
        'draggable="false">'
        for name, layer in layers.items()
    )
    window = (
        f'<span class="window" style="left:{x / width:.2%};top:{y / height:.2%};'
        f'width:{side / width:.2%};height:{side / height:.2%}"></span>'
    )
    title = html.escape(pair.title)
    slider = (
        '<input type="range" min="0" max="100" step="0.5" value="50" '
        f'aria-label="Compare {title}: how much of the left picture shows">'
    )
    crops = "".join(
        f'<div class="crop"><img src="{jpeg(layer[y : y + side, x : x + side])}" '
        f'alt="{_NAMES[name]}, detail" width="{side}" height="{side}"><span>{_NAMES[name]}</span>'
        "</div>"
        for name, layer in layers.items()
    )
    return (
        f'<figure class="compare" data-pair="{title}" '
        f'style="--columns:minmax(0,{width / height:.4f}fr) minmax(0,{1 / len(layers):.4f}fr);'
        f'--crops:{len(layers)}">'
        f'<div class="stage" data-left="input" data-right="output" '
        f'style="aspect-ratio:{width}/{height}">{images}{window}'
        '<span class="tag tag-left">Blurred</span><span class="tag tag-right">Sharpened</span>'
        f'<span class="handle" aria-hidden="true"></span>{slider}</div>'
        f'<div class="crops">{crops}</div>'
        f"<figcaption>{_caption(pair)}{_modes(pair)}{_zooms(pair)}</figcaption></figure>"
    )


def gain(before: float, after: float) -> str:
    """Return a gain in dB with its sign and a class that says which way it goes."""
    change = round(after - before, 2)
    kind = "better" if change > 0 else "worse" if change < 0 else "same"
    sign = "+" if change > 0 else "−" if change < 0 else "±"
    return f'<span class="gain {kind}">{sign}{abs(change):.2f} dB</span>'


def _caption(pair: Comparison) -> str:
    parts = [f"<strong>{html.escape(pair.title)}</strong>"]
    if pair.input_psnr is not None and pair.output_psnr is not None:
        parts.append(
            f'<span class="psnr">{pair.input_psnr:.2f} → {pair.output_psnr:.2f} dB</span>'
            + gain(pair.input_psnr, pair.output_psnr)
        )
    if pair.note:
        parts.append(f'<span class="note">{html.escape(pair.note)}</span>')
    return f'<div class="caption">{" ".join(parts)}</div>'


def _modes(pair: Comparison) -> str:
    if pair.target is None:
        return ""
    buttons = "".join(
        f'<button type="button" data-left="{left}" data-right="{right}" '
        f'aria-pressed="{"true" if number == 0 else "false"}">{_VERSUS[left].capitalize()} '
        f'<i aria-hidden="true">|</i> {_VERSUS[right]}</button>'
        for number, (left, right) in enumerate(_MODES)
    )
    return f'<div class="modes" role="group" aria-label="What to compare">{buttons}</div>'


def _zooms(pair: Comparison) -> str:
    if not pair.zoom:
        return ""
    buttons = "".join(
        f'<button type="button" data-zoom="{zoom}" '
        f'aria-pressed="{"true" if zoom == 1 else "false"}">{zoom}×</button>'
        for zoom in _ZOOMS
    )
    return f'<div class="modes zooms" role="group" aria-label="Zoom">{buttons}</div>'
