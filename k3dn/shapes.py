"""Checks of what enters a public function: tensor shape, type and finiteness."""

import torch
from torch import Tensor


def check_views(left: Tensor, right: Tensor) -> None:
    """Check that two views are a batch of pictures of one size that a network can take.

    left, right: ``(B, 3, H, W)``, floating point, H and W at least 16 px.
    Raises ValueError that says what was expected and what came. Values are looked at, so that a
    GPU waits once a view. Under ``torch.compile`` they are not: a graph would end there; and nor
    are they in training on a GPU, which would wait in each step. NaN then shows in the answer, and
    in the loss.
    """
    for name, view in (("left", left), ("right", right)):
        check_picture(name, view)
    if left.dtype != right.dtype:
        raise ValueError(f"left and right must have one type, got {left.dtype} and {right.dtype}")
    if left.shape != right.shape:
        raise ValueError(
            f"left and right must have one shape, got {tuple(left.shape)} and {tuple(right.shape)}"
        )


def check_picture(name: str, picture: Tensor) -> None:
    """Check one batch of pictures, ``(B, 3, H, W)`` floating point; raises ValueError."""
    if not isinstance(picture, Tensor):
        raise ValueError(f"{name} must be a torch.Tensor, got a {type(picture).__name__}")
    if picture.ndim != 4 or picture.shape[1] != 3:
        raise ValueError(f"{name} must be (B, 3, H, W), got {tuple(picture.shape)}")
    if not picture.shape[0]:
        raise ValueError(f"{name} must hold at least one picture, got {tuple(picture.shape)}")
    if not picture.is_floating_point():
        raise ValueError(
            f"{name} must be floating point in [0, 1], got {picture.dtype}; "
            "divide 8-bit values by 255 and 16-bit values by 65535"
        )
    if min(picture.shape[-2:]) < 16:
        raise ValueError(f"{name} must be at least 16 x 16 px, got {tuple(picture.shape[-2:])}")
    # The sum tells, many times faster than a look at each value.
    if may_look_at(picture) and not torch.isfinite(picture.sum(dtype=torch.float32)):
        raise ValueError(f"{name} has NaN or infinite values")


def may_look_at(picture: Tensor) -> bool:
    """Whether a picture's values can be looked at, and at little cost."""
    # Neither a traced graph nor a meta tensor has values to look at.
    if torch.compiler.is_compiling() or picture.is_meta:
        return False
    return picture.device.type == "cpu" or not torch.is_grad_enabled()
