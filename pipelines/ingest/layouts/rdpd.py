"""RDPD's synthetic video: ``{train,val,test}_{l,r,c}/{source,target}/seq_<n>/<frame>.png``.

A sequence is one scene. Its val is a copy of its test: what stands in both stays in the test.
"""

from pipelines.ingest.layouts import dpd_blur
from pipelines.ingest.layouts.files import Layout, Place


def place(folders: tuple[str, ...], stem: str) -> Place | None:
    """Return the place of a frame."""
    if len(folders) < 3 or not folders[-1].lower().startswith("seq"):
        return None
    found = dpd_blur.place(folders[:-1], stem)
    if found is None:
        return None
    sequence = folders[-1]
    return Place(
        role=found.role,
        key=f"{sequence}/{found.key}",
        split=found.split,
        tree=found.tree,
        scene=sequence,
    )


LAYOUT = Layout(
    name="rdpd",
    form="train_l/source/seq_001/0001.png, train_r/..., train_c/target/seq_001/0001.png",
    place=place,
)
