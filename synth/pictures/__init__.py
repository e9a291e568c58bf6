"""Pictures and depth maps from bytes: one decoder for ingesting, synthesising and deblurring.

Needs numpy; the codecs are imported when a picture is decoded. Knows no other room.
"""

from synth.pictures.decode import decode
from synth.pictures.picture import MAX_PIXELS, Picture

__all__ = ["MAX_PIXELS", "Picture", "decode"]
