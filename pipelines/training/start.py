"""Where a run begins if not from random weights: a second stage of training, or fine-tuning.

The authors train in two stages: the network without SRP blocks, then those blocks alone.
``start_from`` names the first stage's weights, ``train_only`` the parts that still learn.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from torch import Tensor, nn

from k3dn import K3DN, load_weights
from k3dn.weights import coc_drifted
from pipelines.errors import UserError
from pipelines.registry.loading import model_of, open_weights
from pipelines.storage import Location
from pipelines.training.plan import START, RunPlan


def bring_start(plan: RunPlan, model: nn.Module, tracking_uri: str) -> None:
    """Copy the weights to begin with into the run's folder, once, and check that they fit.

    Raises UserError where there are none, or where they fit the network only in part and what is
    missing is not to be trained.
    """
    reference = plan.config.start_from
    if reference is None:
        return
    start = plan.folder.child(START)
    if start.exists():
        return
    with open_weights(reference, tracking_uri) as path:
        # Of somebody's network the user has named the code: it is the one to train.
        factory = plan.config.model if ":" in model_of(path, reference) else None
        try:
            network = load_weights(path, factory)
        except ValueError as error:
            raise UserError(f"start_from {reference}: {error}") from error
        _check_readings(model, network, plan.config.train_only, reference)
        _check_fit(model, network.state_dict(), plan.config.train_only, reference)
        start.put_if_absent(path.read_bytes())


def read_start(run: Location) -> dict[str, Tensor]:
    """Return the tensors that a run begins with, by name."""
    from safetensors.torch import load

    return load(run.child(START).read_bytes())


def start_has_drifted(run: Location) -> bool:
    """Whether a run begins with a network that is ``K3DN.coc_drifted``."""
    start = run.child(START)
    if not start.exists():
        return False
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(start.read_bytes())
        file.flush()
        return coc_drifted(file.name)


def freeze_statistics(model: nn.Module, train_only: Sequence[str]) -> None:
    """Keep what frozen parts gather in training, such as means over batches, as it is."""
    if not train_only:
        return
    for name, module in model.named_modules():
        if not any(_is_in(f"{name}.{inner}", train_only) for inner, _ in module.named_parameters()):
            module.eval()


def learning_parts(model: nn.Module, train_only: Sequence[str]) -> list[nn.Parameter]:
    """Freeze everything outside the named parts; return what learns.

    train_only: parts of parameter names, such as ``srp`` or ``decoder``; none: everything learns.
    Raises ValueError for a part that the network does not have.
    """
    names = [name.split(".") for name, _ in model.named_parameters()]
    for part in train_only:
        if not any(part in name for name in names):
            raise ValueError(
                f"train_only: the network has no part {part!r}; it has "
                f"{', '.join(dict.fromkeys(name[0] for name in names))} and what is in them"
            )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not train_only or _is_in(name, train_only))
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _is_in(name: str, parts: Sequence[str]) -> bool:
    return not set(parts).isdisjoint(name.split("."))


def _check_readings(
    model: nn.Module, network: nn.Module, train_only: Sequence[str], reference: str
) -> None:
    """Networks of one shape may read the paper differently; weights would mean something else."""
    if not (isinstance(model, K3DN) and isinstance(network, K3DN)):
        return
    ours, theirs = asdict(model.config), asdict(network.config)
    differing = [
        f"{name}={theirs[name]} (here {ours[name]})"
        for name in ours
        if ours[name] != theirs[name] and name not in train_only
    ]
    if differing:
        raise UserError(
            f"start_from {reference} was trained with {', '.join(differing)}; take the same "
            "options, or name parts that are new, such as srp, in train_only"
        )


def _check_fit(
    model: nn.Module, tensors: Mapping[str, Tensor], train_only: Sequence[str], reference: str
) -> None:
    wanted = model.state_dict()
    for name in tensors:
        if name not in wanted:
            raise UserError(
                f"start_from {reference} has {name!r}, which this network lacks; train a network "
                "of the same options"
            )
    for name, value in wanted.items():
        if name not in tensors and not _is_in(name, train_only):
            raise UserError(
                f"start_from {reference} lacks {name!r} of this network; name the part in "
                "train_only to train it from the start, or take the same options"
            )
        if name in tensors and tensors[name].shape != value.shape:
            raise UserError(
                f"start_from {reference}: {name!r} is {tuple(tensors[name].shape)}, this network's "
                f"is {tuple(value.shape)}; take the same model and options"
            )
