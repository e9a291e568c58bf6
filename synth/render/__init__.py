"""Renderers: from a sharp picture and its blur radii to the two dual-pixel views."""

from synth.render.gather import render_gather
from synth.render.interface import Psf, Renderer
from synth.render.layered import cut_layers, render_layered
from synth.render.scatter import CentredWindow, PublishedWindow, render_scatter

RENDERERS: dict[str, Renderer] = {
    "layered": render_layered,
    "gather": render_gather,
    "scatter": render_scatter,
}
"""Every renderer by its name in configuration files."""

__all__ = [
    "RENDERERS",
    "CentredWindow",
    "Psf",
    "PublishedWindow",
    "Renderer",
    "cut_layers",
    "render_gather",
    "render_layered",
    "render_scatter",
]
