"""``k3dn summary``: a network's layers, parameters and multiply-adds."""

from dataclasses import dataclass

from pipelines.errors import UserError
from pipelines.next_steps import command
from pipelines.picture_keys import parse_size
from pipelines.registry.config import SummaryConfig


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One module."""

    module: str
    parameters: int
    macs: int


@dataclass(frozen=True, slots=True)
class SummaryResult:
    """What a network costs."""

    model: str
    size: str
    parameters: int
    macs: int
    """Multiply-accumulates for one pair; the paper's "Flops"."""
    rows: tuple[LayerRow, ...]

    def describe(self) -> str:
        """Return the table of modules and the totals."""
        width = max([len(row.module) for row in self.rows] + [len("module")])
        lines = [f"{'module':<{width}}  {'parameters':>12}  {'GMAC':>10}"]
        for row in self.rows:
            name = ("  " * row.module.count(".") + row.module.rpartition(".")[2]).ljust(width)
            lines.append(f"{name}  {row.parameters:>12,}  {row.macs / 1e9:>10.3f}")
        lines.append(f"{'all':<{width}}  {self.parameters:>12,}  {self.macs / 1e9:>10.3f}")
        total = f"{self.parameters / 1e6:.2f} M parameters, {self.macs / 1e9:.1f} GMAC"
        return "\n".join([*lines, "", f"{self.model} at {self.size}: {total}"])

    def next_steps(self) -> list[str]:
        """Return what one may run next."""
        return [command("train", model=self.model)]


def run(config: SummaryConfig) -> SummaryResult:
    """Count; UserError for a model or option that does not exist."""
    import k3dn
    from k3dn.summary import summarize

    height, width = parse_size(config.size)
    try:
        network = k3dn.build_model(config.model, config.network)
    except ValueError as error:
        raise UserError(str(error)) from error
    summary = summarize(network, height, width)
    return SummaryResult(
        model=config.model,
        size=f"{height}x{width}",
        parameters=summary.parameters,
        macs=summary.macs,
        rows=tuple(LayerRow(row.module, row.parameters, row.macs) for row in summary.rows),
    )
