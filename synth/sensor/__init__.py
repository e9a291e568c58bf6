"""From the light behind a lens to stored pictures, in torch; JPEG by Pillow as well."""

from synth.sensor.highlights import expand_highlights
from synth.sensor.jpeg import jpeg_levels, through_jpeg
from synth.sensor.mosaic import Demosaicing, Phase, demosaic, mosaic
from synth.sensor.readout import Exposure, Noise, Sensor, read_out
from synth.sensor.shading import draw_shading, shading
from synth.sensor.tone import encode, srgb_to_linear

__all__ = [
    "Demosaicing",
    "Exposure",
    "Noise",
    "Phase",
    "Sensor",
    "demosaic",
    "draw_shading",
    "encode",
    "expand_highlights",
    "jpeg_levels",
    "mosaic",
    "read_out",
    "shading",
    "srgb_to_linear",
    "through_jpeg",
]
