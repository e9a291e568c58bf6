"""One door for every network: a variant of K3DN, or anybody's module."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress

from torch import nn

from k3dn.network.config import variant
from k3dn.network.model import K3DN


def build_model(name: str, options: Mapping[str, object] | None = None) -> nn.Module:
    """Build the network that ``name`` says.

    name: a variant (``nano``, ``tiny``, ``lightweight``, ``large``) or ``package.module:factory``,
    a callable that takes the options as keywords and returns a module with
    ``forward(left, right) -> image``, all ``(B, 3, H, W)``, sRGB in [0, 1].
    options: fields of K3DNConfig and ``form`` (``k3dn`` or ``paper``), or the factory's keywords.
    Raises ValueError for an unknown name or option, with the nearest known one.

    A factory is imported and called, whatever it is: a name from somebody else is code from
    somebody else.
    """
    options = dict(options or {})
    if ":" in name:
        return _from_factory(name, options)
    return K3DN(variant(name, options))


def call_factory(
    factory: Callable[..., nn.Module], name: str, options: Mapping[str, object]
) -> nn.Module:
    """Build somebody's network by a factory that the caller has at hand.

    name: what messages call it. Raises ValueError where it does not take these options or returns
    something else than a module.
    """
    try:
        with suppress(ValueError):  # what is built in has no signature to look at
            inspect.signature(factory).bind(**options)
    except TypeError as error:
        raise ValueError(f"model {name!r} does not take these options: {error}") from error
    model = factory(**options)
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"model {name!r} returned a {type(model).__name__}, expected torch.nn.Module"
        )
    return model


def names_factory(name: str) -> bool:
    """Whether a name has the form ``package.module:factory``."""
    module, colon, factory = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), factory))


def _from_factory(name: str, options: dict[str, object]) -> nn.Module:
    module_name, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"cannot find the model {name!r}: {error}; give package.module:factory that Python "
            "can import (from this folder: PYTHONPATH=. before the command)"
        ) from error
    if not callable(factory):
        raise ValueError(f"model {name!r} is a {type(factory).__name__}, expected a callable")
    return call_factory(factory, name, options)
