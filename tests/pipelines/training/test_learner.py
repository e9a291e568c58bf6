"""One optimizer step: however its batch is divided, its gradient is that of the whole batch."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipelines.training.batch import Batch
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.learner import LOSSES, Learner, as_values
from pipelines.training.order import rank_slice
from tests.pipelines.training.conftest import NETWORKS

PAIRS = 5
SMALL = TrainConfig(
    network={"width": 4, "disparity_channels": 8, "psf_blocks": 1},
    batch_size=PAIRS,
    num_workers=1,
    warmup_steps=0,
    grad_clip=0,
    disparity_loss=0.3,
)
Step = tuple[dict[str, float], dict[str, Tensor]]


def whole_batch() -> Batch:
    """Pairs whose radius is known everywhere, somewhere and nowhere."""
    torch.manual_seed(3)
    left, right, target = torch.rand(3, PAIRS, 3, 32, 48)
    coc = 16 * torch.rand(PAIRS, 1, 32, 48) - 8
    coc[1], coc[2, :, 16:] = torch.nan, torch.nan
    return Batch(list(range(PAIRS)), [str(i) for i in range(PAIRS)], left, right, target, coc)


def share_of(batch: Batch, rank: int, world_size: int) -> Batch:
    places = rank_slice(PAIRS, rank, world_size)
    part = slice(places.start, places.stop)
    assert batch.coc is not None
    pictures = [x[part] for x in (batch.left, batch.right, batch.target, batch.coc)]
    return Batch(batch.index[part], batch.pair_id[part], *pictures)


def two_steps(config: TrainConfig) -> list[Step]:
    """Losses and gradients of the first two steps, the second of which reblurs if so set."""
    context = ProcessContext()
    learner = Learner(config, context, None)
    batch = share_of(whole_batch(), context.rank, context.world_size)
    steps = []
    for number in range(2):
        losses = as_values(learner.step(number, batch))
        grads = {n: p.grad.clone() for n, p in learner.network.named_parameters()}  # type: ignore[union-attr]
        steps.append((losses, grads))
    return steps


def check_equal(found: list[Step], expected: list[Step]) -> None:
    for (losses, grads), (true_losses, true_grads) in zip(found, expected, strict=True):
        for name in LOSSES:
            assert losses[name] == pytest.approx(true_losses[name], rel=1e-5), name
        for name, grad in true_grads.items():
            torch.testing.assert_close(
                grads[name], grad, rtol=2e-3, atol=2e-5 * float(grad.abs().max()) + 1e-8
            )


@pytest.mark.parametrize("accumulate", [2, 3, 5, 99])
def test_parts_of_any_number_give_the_gradient_of_the_whole(accumulate: int) -> None:
    check_equal(two_steps(replace(SMALL, accumulate=accumulate)), two_steps(SMALL))


def test_layout_and_bfloat16_leave_the_weights_what_they_are() -> None:
    plain = two_steps(replace(SMALL, channels_last=False))
    check_equal(two_steps(replace(SMALL, channels_last=True)), plain)
    learner = Learner(replace(SMALL, precision="bf16"), ProcessContext(), None)
    losses = as_values(learner.step(0, whole_batch()))
    parameters = dict(learner.network.named_parameters())
    assert {p.dtype for p in parameters.values()} == {torch.float32}
    assert parameters["decoder.to_image.weight"].is_contiguous(memory_format=torch.channels_last)
    assert losses["loss"] == pytest.approx(plain[0][0]["loss"], rel=0.02)


@pytest.mark.parametrize(
    ("changes", "last"),
    [
        ({}, True),
        ({"channels_last": False}, False),
        ({"model": "tests.pipelines.training.networks:tiny", "network": {}}, False),
    ],
)
def test_on_a_cpu_k3dn_has_its_channels_together_and_other_networks_as_they_like(
    changes: dict[str, Any], last: bool
) -> None:
    """Where both would do, it costs a fifth less: docs/performance.md."""
    learner = Learner(replace(SMALL, **changes), ProcessContext(), None)
    layers = [m for m in learner.network.modules() if isinstance(m, nn.Conv2d)]
    wide = [m.weight for m in layers if min(m.kernel_size) > 1 and m.in_channels > 1]
    assert wide
    for weight in wide:
        assert weight.is_contiguous(memory_format=torch.channels_last) is last


@pytest.mark.parametrize("layouts", [(False, True), (True, False)])
def test_a_run_goes_on_in_another_layout(layouts: tuple[bool, bool]) -> None:
    """The optimizer's moments, saved in one layout, belong to the same weights in the other."""

    def go_on(before: bool, after: bool) -> dict[str, Tensor]:
        first = Learner(replace(SMALL, channels_last=before), ProcessContext(), None)
        first.step(0, whole_batch())
        then = Learner(replace(SMALL, channels_last=after), ProcessContext(), first.state())
        then.step(1, whole_batch())
        return then.network.state_dict()

    expected = go_on(layouts[0], layouts[0])
    for name, value in go_on(*layouts).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-5)


def test_compiled_steps_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as for a GPU, and run by torch's own operators: no C compiler is needed."""
    torch.compiler.reset()
    traced: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Callable[..., Any]:
        traced.append(graph)
        return graph.forward  # type: ignore[no-any-return]

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    config = replace(SMALL, model=f"{NETWORKS}:tiny", network={}, precision="bf16")
    check_equal(two_steps(replace(config, compile=True)), two_steps(config))
    assert traced


def test_where_nothing_can_be_compiled_it_trains_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(module: torch.nn.Module) -> torch.nn.Module:
        class Broken(torch.nn.Module):
            def forward(self, *inputs: Tensor, **keys: Any) -> Any:
                raise RuntimeError("no compiler\nand a long story")

        return Broken()

    monkeypatch.setattr(torch, "compile", broken)
    config = replace(SMALL, model=f"{NETWORKS}:tiny", network={})
    check_equal(two_steps(replace(config, compile=True, accumulate=2)), two_steps(config))
    assert [r.getMessage() for r in caplog.records] == [
        "compile=true does not work here, training goes on without: no compiler"
    ]
