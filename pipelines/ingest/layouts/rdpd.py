"""RDPD's synthetic video: ``{train,val,test}_{l,r,c}/{source,target}/seq_<n>/<frame>.png``.

A sequence is one scene. Its val is a copy of its test: what stands in both stays in the test.
"""

from pipelines.ingest.layouts import dpd_blur
from pipelines.ingest.layouts.files import Layout, Place, Stems


def folder(folders: tuple[str, ...]) -> Stems | None:
    """Return what places the frames of a sequence."""
    if len(folders) < 3 or not folders[-1].lower().startswith("seq"):
        return None
    sequence, frames = folders[-1], dpd_blur.folder(folders[:-1])
    if frames is None:
        return None

    def place(stem: str) -> Place | None:
        found = frames(stem)
        if found is None:
            return None
        return Place(found.role, f"{sequence}/{found.key}", found.split, found.tree, sequence)

    return place


LAYOUT = Layout(
    name="rdpd",
    form="train_l/source/seq_001/0001.png, train_r/..., train_c/target/seq_001/0001.png",
    folder=folder,
)
