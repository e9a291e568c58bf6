"""What a model found in a picture that is shown: kernels, in-focus map, blur radius (Fig. 4).

Of a K3DN alone, by the code of this process; a network of somebody's own has none of these.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.dataset.version import open_version
from pipelines.errors import UserError
from pipelines.evaluation.config import EvaluateConfig
from pipelines.evaluation.pictures import middle
from pipelines.registry.loading import SettledModel, load_network
from pipelines.report.page_data import Findings
from pipelines.scores import PairScore, mean_view, to_unit
from pipelines.storage import locate

_MOST_PX = 720


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """One model's findings in one picture."""

    method: str
    dataset: str
    pair_id: str
    findings: Findings


def explained(
    config: EvaluateConfig,
    score: PairScore,
    models: Mapping[str, SettledModel],
    tracking_uri: str,
) -> Explained | None:
    """Return what the first of the models that is a K3DN found in a pair, or in the middle of it.

    models: by label. None where there is no such model.
    """
    from k3dn import explain
    from k3dn.network.model import as_k3dn

    for label, model in models.items():
        if model.factory is not None:
            continue
        try:
            network = load_network(model.reference, tracking_uri)
        except UserError:  # its code came with it, and runs in a process of its own
            continue
        if as_k3dn(network) is None:
            continue
        version = open_version(locate(config.root), score.dataset)
        index = version.pair_ids(config.split).index(score.pair_id)
        pair = version.read_pair(config.split, index)
        views = [middle(to_unit(view), _MOST_PX) for view in (pair.left, pair.right)]
        found = explain(network, *views)
        shown = Findings(
            picture=mean_view(views[0], views[1]),
            kernels=found.kernels,
            kernels_deblur=found.kernels_deblur,
            kernel_weights=found.kernel_weights,
            in_focus=found.in_focus,
            coc_px=found.coc_px,
        )
        return Explained(label, score.dataset, score.pair_id, shown)
    return None
