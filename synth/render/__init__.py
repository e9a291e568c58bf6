"""Renderers: from a sharp picture and its blur radii to the two dual-pixel views."""

from synth.render.gather import render_gather
from synth.render.interface import Psf, Renderer
from synth.render.layered import render_layered
from synth.render.layers import cut_layers
from synth.render.scatter import CentredWindow, PublishedWindow, render_scatter

__all__ = [
    "CentredWindow",
    "Psf",
    "PublishedWindow",
    "Renderer",
    "cut_layers",
    "render_gather",
    "render_layered",
    "render_scatter",
]
