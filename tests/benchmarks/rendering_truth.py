"""How far renders of procedural scenes are from the truth: rays through their exact surfaces.

    python -m tests.benchmarks.rendering_truth [--scenes 12] [--size 96x128] [--max-coc-px 5]

A renderer gets the flat picture and its depth; the rays get every surface whole, with its matte and
what others hide of it. Errors are root mean squares of the left view in linear light, without the
borders, over scenes textured with scikit-image's photographs; Butterworth kernels of 64 points.
"""

import argparse

import numpy as np
import torch

import synth
from synth.render import render_gather, render_layered
from synth.render.batch_kernels import PairKernels
from synth.render.batched import render_batch
from synth.sources.procedural import flatten, procedural_surfaces
from synth.sources.textures import skimage_textures
from tests.synth.rays import points_of, psf_of_points, trace_rays, whole_layers


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--size", default="96x128")
    parser.add_argument("--max-coc-px", type=float, default=5.0)
    arguments = parser.parse_args()
    height, width = (int(side) for side in arguments.size.split("x"))
    most = arguments.max_coc_px
    border = int(np.ceil(most)) + 1
    inner = np.s_[border:-border, border:-border]
    points = points_of("butterworth")
    psf, textures = psf_of_points(points), list(skimage_textures().values())
    cameras = synth.CameraRanges(extreme_coc_px=(0.6 * most, most))
    errors = []
    for seed in range(arguments.scenes):
        rng = synth.generator(seed, "truth")
        surfaces = list(procedural_surfaces(rng, size=(height, width), textures=textures))
        scene = flatten(surfaces, scene_id="truth")
        camera = cameras.sample(synth.generator(seed, "camera"), scene.depth_m)
        truth = trace_rays(points, 1, whole_layers(surfaces, camera))[inner]
        image, coc_px = synth.srgb_to_linear(scene.image), camera.coc_px(scene.depth_m)
        light = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None]
        views = render_batch(light, torch.from_numpy(coc_px)[None], PairKernels([psf]))
        renders = (
            render_layered(image, coc_px, psf),
            views[0].permute(0, 2, 3, 1).numpy(),
            render_layered(image, coc_px, psf, mixed_edges=False),
            render_layered(image, coc_px, psf, composite="sum"),
            render_gather(image, coc_px, psf),
        )
        errors.append([np.sqrt(np.mean((left[inner] - truth) ** 2)) for left, _ in renders])
    print("| renderer | error, mean over scenes | least | most |\n|---|---|---|---|")
    names = (
        "layered",
        "batched",
        "layered, pixels on edges whole",
        "layered, composite=sum",
        "gather",
    )
    for name, values in zip(names, np.transpose(errors), strict=True):
        print(f"| {name} | {values.mean():.4f} | {values.min():.4f} | {values.max():.4f} |")


if __name__ == "__main__":
    main()
