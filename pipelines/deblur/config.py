"""Configuration of ``k3dn deblur``. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Literal

from pipelines.config import StepConfig
from pipelines.picture_keys import ANY_BOX, DEFAULT_MEMORY, check_tiles, parse_memory_mib


@dataclass(frozen=True, kw_only=True, slots=True)
class DeblurConfig(StepConfig):
    """``k3dn deblur``: sharpen one dual-pixel pair, many, or one picture."""

    left: str
    """Left view (PNG, TIFF, JPEG, WebP); or a folder of pairs, a pattern such as 'shots/*_L.tif',
    in quotes, or a dataset, NAME or NAME@VERSION, over the cluster."""
    right: str | None = None
    """Right view, same size and depth; or the folder or pattern of the right ones. None: found by
    the left ones' names, or none for a model of single pictures."""
    output: str = "deblurred"
    """Where the sharp picture goes; without a suffix, of the left one's kind; a folder takes it
    under the left one's name. Many: the folder."""
    overwrite: bool = False
    """Write pictures anew that are there already. false: a pair is refused, of many the rest is
    made. An input is never written over."""
    show: bool = False
    """Write a page with before and after beside the output, and open it where there is a screen."""
    model: str = ANY_BOX
    """box: the weights that came along, tiny on a GPU and for small pictures, else nano; box:NAME,
    models:/NAME@ALIAS, models:/NAME/VERSION, or a .safetensors file."""
    factory: str | None = None
    """package.module:factory of a .safetensors file that is not for K3DN: code that may run."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 changes the picture by about a step of 255 at most; auto takes it where it is faster."""
    devices: tuple[str, ...] = ()
    """Where pictures are made, such as cuda:0,cuda:1; a folder's are shared out. None named: all
    GPUs there are, else the processor."""
    passes: int = 1
    """2 and 4 restore a picture mirrored and upside down, too, and take the mean: 0.1 to 0.2 dB
    better in so many times the time."""
    memory: str | None = None
    """What the whole process may take, such as 2GB; pictures are cut into tiles to fit. None: 1 GiB
    for tiles, beside pictures and model. A network that resizes (form=paper) takes them whole."""
    tile_px: int | None = None
    """Side of the tiles in px. None: as large as the memory allows."""
    halo_px: int = 96
    """Surroundings that each tile sees, in px."""

    def __post_init__(self) -> None:
        if self.passes not in (1, 2, 4):
            raise ValueError(f"passes must be 1, 2 or 4, got {self.passes}")
        check_tiles(self.tile_px, self.halo_px)
        parse_memory_mib(self.memory or DEFAULT_MEMORY)
