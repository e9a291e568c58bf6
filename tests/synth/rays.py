"""Rays through the places of an aperture: the truth that renderers are held against."""

import itertools

import numpy as np

from synth.psf import PSF_FAMILIES


def trace_rays(points, sign, layers):
    """Light of every pixel as a mean over rays: through each place of the aperture, front to back.

    layers: nearest first, (coc, matte, premultiplied picture), whole, with what is hidden in them;
    coc is one number, or one for each pixel that changes slowly. sign: 1 for the left view, -1 for
    the right one, which sees the aperture mirrored.
    """
    height, width = layers[0][1].shape
    total = np.zeros((height, width, 3))
    rows, columns = np.mgrid[:height, :width].astype(float)
    for x, y, weight in zip(*points, strict=True):
        passing = np.ones((height, width))
        for coc, matte, light in layers:
            place = rows - y * np.abs(coc), columns - sign * x * coc
            if np.ndim(coc):  # the radius where the ray comes from, not where it goes
                coc = interpolate(coc[..., None], *place)[..., 0]
                place = rows - y * np.abs(coc), columns - sign * x * coc
            total += weight * (passing[..., None] * interpolate(light, *place))
            passing = passing * (1.0 - interpolate(matte[..., None], *place)[..., 0])
    return total / points[2].sum()


def interpolate(planes, rows, columns):
    """Bilinear values at places between pixels, mirrored borders."""
    pad = 12
    planes = np.pad(planes, ((pad, pad), (pad, pad), (0, 0)), mode="symmetric")
    rows, columns = rows + pad, columns + pad
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    result = 0.0
    for down, across in itertools.product((0, 1), (0, 1)):
        share = np.abs(1 - down - (rows - top)) * np.abs(1 - across - (columns - left))
        result = result + share[..., None] * planes[top + down, left + across]
    return result


def points_of(name, side=8):
    """Places of a family's aperture, and the light through them: side x side points."""
    family = PSF_FAMILIES[name]
    aperture = family.aperture(family.parameters())
    blocks = aperture.light.reshape(side, -1, side, aperture.light.shape[1] // side)
    axis = (np.arange(side) - (side - 1) / 2) * (2 * aperture.extent / side)
    x, y = np.meshgrid(axis, axis)
    return x.ravel(), y.ravel(), blocks.sum(axis=(1, 3)).ravel()


def psf_of_points(points):
    """Kernels of the same few points that the rays go through: each split over four pixels."""

    def psf(coc_px):
        x, y, weight = points
        x_px, y_px = x * coc_px, y * abs(coc_px)
        half = int(np.ceil(max(np.abs(x_px).max(), np.abs(y_px).max())))
        pixels = np.arange(-half, half + 1.0)[:, None]
        columns = np.maximum(0, 1 - np.abs(x_px - pixels))
        rows = np.maximum(0, 1 - np.abs(y_px - pixels))
        kernel = (rows * weight) @ columns.T / weight.sum()
        return kernel, kernel[:, ::-1]

    return psf


def over_the_picture(values, surface, size, mode="constant"):
    """What is given of a surface, continued over a picture of (H, W): by zeros, or its edge."""
    around = [(p.start, n - p.stop) for p, n in zip(surface.window, size, strict=True)]
    return np.pad(values, around + [(0, 0)] * (values.ndim - 2), mode=mode)


def whole_layers(surfaces, camera):
    """Layers for `trace_rays` from a scene's surfaces, which come back to front."""
    size = surfaces[0].matte.shape
    layers = []
    for surface in reversed(surfaces):
        matte = over_the_picture(surface.matte, surface, size)
        light = over_the_picture(np.clip(surface.light, 0.0, 1.0), surface, size)
        coc = over_the_picture(camera.coc_px(surface.depth_m), surface, size, mode="edge")
        layers.append((coc, matte, matte[..., None] * light))
    return layers
