"""Settings that weights for pictures are trained with, in whatever way: docs/quality.md."""

GRAD_CLIP = 0.5
EMA = 0.999
RECOLOUR = 0.2
SAME_VIEWS = 0.08
NOISE = 0.03
