"""Two worked examples of each step, which its help begins with."""

from collections.abc import Mapping
from types import MappingProxyType

EXAMPLES: Mapping[str, tuple[tuple[str, str], tuple[str, str]]] = MappingProxyType(
    {
        "demo": (
            ("k3dn demo", "everything in small, with a page at the end"),
            ("k3dn demo steps=2000 root=/data/demo", "train longer, elsewhere"),
        ),
        "doctor": (
            ("k3dn doctor", "check this machine"),
            ("k3dn doctor root=s3://bucket/k3dn", "check the storage as well"),
        ),
        "ingest": (
            ("k3dn ingest dd_dp_dataset", "a published set, unpacked"),
            (
                "k3dn ingest shots left='l/*.png' right='r/*.png' target='t/*.png' dataset=mine",
                "pictures of your own, in folders of your own",
            ),
        ),
        "synth": (
            ("k3dn synth pairs=2000", "pairs of made-up scenes, as real cameras take them"),
            ("k3dn synth source=RGBD dataset=rooms", "pairs of RGB-D scenes of your own"),
        ),
        "regenerate": (
            ("k3dn regenerate synth.pairs=2000", "store the settings and make the next version"),
            ("k3dn regenerate", "the next version, with the settings that are stored"),
        ),
        "datasets": (
            ("k3dn datasets", "list all versions"),
            ("k3dn datasets synth@v1 verify=true", "show one and check every file"),
        ),
        "compare": (
            ("k3dn compare dpd-blur,synth", "a page with both over each other"),
            ("k3dn compare dpd-blur@v1,synth@v2 pairs=200", "more pairs of each"),
        ),
        "export": (
            ("k3dn export synth pictures", "all pairs as PNG files"),
            ("k3dn export synth@v1 pictures splits=test", "the test split alone"),
        ),
        "train": (
            ("k3dn train datasets='synth,dpd-blur*8' name=first", "real pairs count eightfold"),
            (
                "k3dn train model=tiny start_from=box:tiny steps=20000 precision=bf16",
                "go on from the weights in the box, on a GPU",
            ),
        ),
        "tune": (
            ("k3dn tune trials=8", "search lambda_1 and the number of kernels"),
            ("k3dn tune space.lr='1e-4..1e-2 log' sampler=tpe trials=20", "another key, by TPE"),
        ),
        "recipe": (
            ("k3dn recipe effort=0.1 bare=true", "try everything out on this machine"),
            ("k3dn recipe model=tiny photographs=PHOTOS scenes=RGBD", "weights for your pictures"),
        ),
        "evaluate": (
            ("k3dn evaluate datasets=synth,dpd-blur", "measure the newest model"),
            ("k3dn evaluate model=box:nano split=val", "measure the weights in the box"),
        ),
        "ablate": (
            ("k3dn ablate table=4 steps=500", "PSF blocks, SRP blocks and reblurring left out"),
            ("k3dn ablate table=sizes seeds=5 train.lr=1e-3", "the variants, five of each"),
        ),
        "promote": (
            ("k3dn promote datasets=synth,dpd-blur", "let the gate decide on the newest model"),
            (
                "k3dn promote from=/data/staging to=/data/production",
                "copy the champion of another registry, and decide there",
            ),
        ),
        "rollback": (
            ("k3dn rollback", "give the champion's place back"),
            ("k3dn rollback name=pictures", "of another registered model"),
        ),
        "models": (
            ("k3dn models", "list what there is"),
            ("k3dn models version=3", "show one version"),
        ),
        "register": (
            ("k3dn register box:nano champion=true", "begin with the weights in the box"),
            ("k3dn register mine.safetensors name=pictures", "weights of your own"),
        ),
        "weights": (
            ("k3dn weights", "list the weights in the box"),
            ("k3dn weights install mine.safetensors", "add a file to it"),
        ),
        "card": (
            ("k3dn card models:/k3dn@champion output=card.md", "of the champion"),
            ("k3dn card mine.safetensors output=card.md", "of a weights file"),
        ),
        "deblur": (
            ("k3dn deblur left.png right.png -o sharp.png", "by the weights in the box"),
            (
                "k3dn deblur left.png right.png model=models:/k3dn@champion memory=4GB",
                "by the champion, with more memory and fewer tiles",
            ),
        ),
        "app": (
            ("k3dn app", "a page to drop two views on"),
            (
                "k3dn app port=8620 memory=4GB --open false",
                "at a known port, for a browser of yours",
            ),
        ),
        "split": (
            ("k3dn split IMG_0001.CR2", "a Dual Pixel RAW file, views beside it"),
            ("k3dn split 'DCIM/*.CR3' -o views", "all of a card, into a folder"),
        ),
        "export-model": (
            ("k3dn export-model output=k3dn.onnx", "the champion, as ONNX"),
            ("k3dn export-model model=box:nano output=nano.pt2", "for torch.export"),
        ),
        "convert": (
            ("k3dn convert best.pt authors.safetensors", "the authors' checkpoint"),
            ("k3dn convert best.pt authors.safetensors --dry-run", "see what it would do"),
        ),
        "summary": (
            ("k3dn summary tiny", "count a network"),
            ("k3dn summary nano size=1152x1792 width=16", "with other options, on a large picture"),
        ),
    }
)

GROUPS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "train": {
            "Common": ("datasets", "model", "name", "steps", "batch_size", "lr", "start_from"),
            "Data": ("patch", "exchange_views", "recolour", "same_views", "noise", "seed"),
            "Network": ("network", "train_only", "precision"),
            "Optimisation": (
                *("warmup_steps", "schedule", "step_at", "step_factor", "weight_decay"),
                *("grad_clip", "ema", "lambda_1", "deblur_loss", "reblur_loss", "reblur_every"),
                *("disparity_loss", "accumulate", "compile", "channels_last"),
            ),
            "Cluster": (
                *("num_workers", "min_workers", "use_gpu", "gpus_per_worker", "cpus_per_worker"),
                *("threads_per_worker", "placement"),
                *("readers_per_worker", "cpus_per_reader", "reader_label"),
                *("max_failures", "patience_s"),
                "stop_grace_s",
            ),
            "Records": (
                *("log_every", "checkpoint_every", "keep"),
                *("val_every", "max_val_pairs", "register"),
            ),
        },
        "synth": {
            "Common": ("preset", "source", "pairs", "size", "dataset", "version", "seed"),
            "Scenes": (
                *("textures", "mirror", "recolour", "scene_of", "depth_unit"),
                *("val_fraction", "test_fraction"),
            ),
            "Blur": (
                *("kernels", "kernel_weights", "max_coc_px", "min_coc_px", "renderer"),
                *("composite", "light", "radial_distortion"),
            ),
            "Sensor": ("gain", "shot_noise", "read_noise", "bit_depth"),
            "Records": ("pairs_per_shard", "max_rejected", "set_latest", "device"),
        },
        "recipe": {
            "Common": ("name", "model", "photographs", "scenes", "effort"),
            "Data": ("datasets", "pairs", "size", "frame_width", "blur", "seed"),
            "Machine": ("bare", "threads", "precision"),
            "Records": ("checkpoint_every", "val_every", "max_val_pairs"),
        },
    }
)
"""Headings of a step's keys, the commonly used ones first. A key that stands under none is shown
behind them; a step that is not here has few enough to be shown together."""
