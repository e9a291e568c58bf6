"""The configuration of training. Imports nothing heavy: help is printed from it."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.config import StepConfig, aside, by_content_of, keys_aside
from pipelines.model_name import check_model_name
from pipelines.training.live.config import LiveConfig

FEATURES_PER_WIDTH = 4
"""N, the number of kernels, is the number of disparity features: 4 x the base width (Eq. 8)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig(StepConfig):
    """Train a network on dataset versions."""

    model: str = "nano"
    """Network: nano, tiny, lightweight, large, or package.module:factory."""
    network: dict[str, Any] = field(default_factory=dict)
    """Options of the network, for example network.width=16."""
    datasets: list[str] = by_content_of(lambda: ["synth"])
    """Datasets as name, name@version or name@version*8 (8 times an epoch); or synth://PACK alone:
    pairs made while training, of a pack of scenes, as live says."""
    name: str | None = aside(None)
    """Name of the run; the same name goes on where it stopped. None: derived from the rest."""
    steps: int = 2000
    """Optimizer steps."""
    seconds: float | None = None
    """Train so long in place of so many steps: the rate falls with the time that went by. A run
    that is stopped and goes on counts all its attempts."""
    batch_size: int = 4
    """Pairs per step, over all workers."""
    patch: int = 128
    """Side of the training patch in pixels."""
    lr: float = 3e-4
    """Highest learning rate (AdamW)."""
    weight_decay: float = 1e-4
    """Weight decay (AdamW)."""
    warmup_steps: int = 50
    """Steps over which the learning rate rises; what follows is the schedule."""
    schedule: Literal["cosine", "constant", "step"] = "cosine"
    """What the rate does then: falls to zero as a cosine, stays, or falls in steps."""
    step_at: list[float] = field(default_factory=lambda: [0.5, 0.75])
    """Of schedule=step: the shares of the run, 0 to 1, after which the rate falls."""
    step_factor: float = 0.1
    """Of schedule=step: what the rate is multiplied by each time."""
    lambda_1: float = 0.1
    """Weight of the reblurring loss (Eq. 18)."""
    deblur_loss: Literal["charbonnier_edge", "charbonnier", "l1", "l2"] = "charbonnier_edge"
    """What compares the restored picture with its target (Eq. 18)."""
    reblur_loss: Literal["charbonnier_edge", "charbonnier", "l1", "l2"] = "charbonnier_edge"
    """What compares the reblurred target with the blurred pair (Eq. 18)."""
    disparity_loss: float = 0.2
    """Weight of the distance of the estimated blur radius from the true one, which synthetic pairs
    have. Not in the paper; 0 leaves it out."""
    exchange_views: float = 0.5
    """Probability that a patch's views change places, which shows near for far; 0.5 balances, and 0
    suits a network that looks to one side (form=paper, two_sided=false)."""
    recolour: float = 0.0
    """Probability that a patch is turned grey or has its channels in another order."""
    same_views: float = 0.0
    """Probability that a patch's views are one picture that is to come back unchanged: its target,
    or its left view, of whose blur no disparity tells."""
    noise: float = 0.0
    """Greatest standard deviation of noise added to the views of half of the patches; white is
    1."""
    start_from: str | None = None
    """Weights to begin with: models:/NAME@ALIAS, models:/NAME/VERSION, box:NAME or a .safetensors
    file."""
    train_only: list[str] = field(default_factory=list)
    """Parts of the network that learn, such as srp; the others stay as start_from has them."""
    reblur_every: int = 1
    """Make the reblurring pass, half of a step's work, only in every Nth step."""
    grad_clip: float = 1.0
    """Largest norm of the gradient; 0: no clipping."""
    ema: float = 0.0
    """Decay of the moving average of the weights, which is then validated and kept; 0: none."""
    seed: int = 0
    """Seed of the initial weights, the order of the samples and the augmentation."""
    live: LiveConfig = field(default_factory=LiveConfig)
    """Of datasets=synth://PACK: which scenes, lenses and sensors."""
    pair_workers: int | None = aside(None)
    """Processes that make such pairs for a worker. None: all processors but one; 0: the worker."""
    pair_device: Literal["auto", "cpu"] = aside("auto")
    """Where lens and sensor of such pairs are computed: auto takes the GPU that trains."""
    num_workers: int | Literal["auto"] = aside("auto")
    """Training processes, which see one sequence of samples, whatever their number. auto: one for
    each GPU of the cluster; two where it has none."""
    min_workers: int | None = aside(None)
    """Train with as many workers as there is room for, from so many to num_workers (auto: of any
    number of GPUs): with fewer when nodes go, and with more again when they come. None: with
    num_workers always."""
    cpus_per_worker: float = aside(0.5)
    """CPUs that Ray reserves for a worker; reading the data needs some as well."""
    readers_per_worker: int = aside(1)
    """Processes that read and cut patches for a worker."""
    cpus_per_reader: float = aside(0.25)
    """CPUs that Ray reserves for a reader."""
    reader_label: str | None = aside(None)
    """KEY=VALUE: run readers on nodes that have this label of Ray's (ray start --labels), and
    workers on the others, so that GPU nodes keep their CPUs. None: anywhere."""
    placement: Literal["pack", "spread"] = aside("pack")
    """How workers are laid out: on as few nodes as hold them, as gradients then travel less, or on
    as many as there are."""
    threads_per_worker: int = aside(1)
    """Threads of torch in a worker."""
    use_gpu: bool | None = aside(None)
    """Whether workers train on GPUs. None: if the cluster has that many."""
    gpus_per_worker: float = aside(1.0)
    """GPUs that Ray reserves for a worker: 1, or a part of one where runs of a single worker share
    it, as the trials of a search do."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the network in training; the weights themselves stay float32."""
    channels_last: bool | None = aside(None)
    """Hold features with their channels together in memory. None: with precision=bf16, and where
    K3DN trains on a CPU without compile."""
    tf32: bool = aside(True)
    """Let a GPU round what it multiplies to 10 bits where precision=fp32."""
    compile: bool = aside(False)
    """Train through torch.compile: the first steps take minutes, the others less; for GPUs. Where
    it cannot compile, the run goes on without."""
    accumulate: int = aside(1)
    """Parts that a worker's share of a step is made in, one after the other, to save memory. The
    gradient is the same but for a network that normalises over the batch (form=paper)."""
    log_every: int = aside(10)
    """Steps between two records of the loss (its mean over them)."""
    checkpoint_every: int = aside(100)
    """Steps between two checkpoints: what a kill can cost at most."""
    keep: int = aside(2)
    """Newest checkpoints that stay in the run's folder; the best weights stay besides. With 1, one
    that is damaged costs the whole run."""
    val_every: int = aside(200)
    """Steps between two validations on whole pictures; there is always one at the end."""
    max_val_pairs: int = aside(8)
    """Pairs of the val splits that a validation takes; 0 has no validation."""
    val_precision: Literal["fp32", "bf16"] = aside("fp32")
    """Arithmetic of validation; bf16 is faster on a GPU, and a little off."""
    on_nan: Literal["stop", "skip"] = aside("stop")
    """What a step whose loss or gradient is not finite does, which changes no weights: end the
    run, or be left out. Its pairs are written to the run's folder, below nan."""
    stop_grace_s: float = aside(50.0)
    """Seconds that a stop (Ctrl-C, SIGTERM, ray job stop) waits for a checkpoint at most."""
    patience_s: float = aside(600.0)
    """Seconds that the storage may be away: until then a checkpoint that cannot be written is a
    warning; then the run ends."""
    max_failures: int = aside(3)
    """How often dead workers are started again without a new checkpoint in between; -1: always."""
    register: str | None = aside("k3dn")
    """Name of the registered model that becomes a new version; None registers nothing."""

    def __post_init__(self) -> None:
        """Check the ranges. Raises ValueError that names the key."""
        at_least = {
            "steps": 1,
            "batch_size": 1,
            "patch": 16,
            "warmup_steps": 0,
            "reblur_every": 1,
            "accumulate": 1,
            "grad_clip": 0,
            "weight_decay": 0,
            "readers_per_worker": 1,
            "threads_per_worker": 1,
            "log_every": 1,
            "checkpoint_every": 1,
            "keep": 1,
            "val_every": 1,
            "max_val_pairs": 0,
        }
        workers = 1 if self.num_workers == "auto" else self.num_workers
        if workers < 1:
            raise ValueError(f"num_workers must be auto or at least 1, got {workers}")
        if self.min_workers is not None:
            most = self.batch_size if self.num_workers == "auto" else workers
            if not 1 <= self.min_workers <= most:
                raise ValueError(
                    f"min_workers must be within 1 and num_workers ({most}), got {self.min_workers}"
                )
        if self.reader_label is not None and not all(self.reader_label.partition("=")):
            raise ValueError(f"reader_label must be KEY=VALUE, got {self.reader_label}")
        if not 0 < self.gpus_per_worker <= 1:
            raise ValueError(
                f"gpus_per_worker must be above 0 and at most 1, got {self.gpus_per_worker}"
            )
        if self.gpus_per_worker < 1 and (workers > 1 or (self.min_workers or 1) > 1):
            raise ValueError(
                f"gpus_per_worker={self.gpus_per_worker:g} is for num_workers=1: workers of one "
                "run cannot share a GPU"
            )
        for key, lowest in at_least.items():
            if not getattr(self, key) >= lowest:  # nor is NaN
                raise ValueError(f"{key} must be at least {lowest}, got {getattr(self, key)}")
        for key in ("lr", "cpus_per_worker", "cpus_per_reader", "stop_grace_s", "patience_s"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key} must be greater than 0, got {getattr(self, key)}")
        for key in ("lambda_1", "disparity_loss"):
            if not 0 <= getattr(self, key) < math.inf:
                raise ValueError(f"{key} must be finite and at least 0, got {getattr(self, key)}")
        for key in ("exchange_views", "recolour", "same_views", "noise"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} must be in [0, 1], got {getattr(self, key)}")
        if not all(0 < share < 1 for share in self.step_at):
            raise ValueError(
                f"step_at must be shares of the run within 0 and 1, got {self.step_at}"
            )
        if not 0 < self.step_factor < 1:
            raise ValueError(f"step_factor must be within 0 and 1, got {self.step_factor}")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise ValueError(f"seconds must be greater than 0, got {self.seconds}")
        if self.pair_workers is not None and self.pair_workers < 0:
            raise ValueError(f"pair_workers must be at least 0, got {self.pair_workers}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be in [0, 1), got {self.ema}")
        if not self.datasets:
            raise ValueError("datasets must name at least one dataset")
        if self.train_only and self.start_from is None:
            raise ValueError("train_only needs start_from: the other parts would stay random")
        if workers > self.batch_size:
            raise ValueError(
                f"num_workers ({workers}) must not exceed batch_size "
                f"({self.batch_size}): a worker takes at least one pair a step"
            )
        if self.register is not None:
            check_model_name("register", self.register)
        if self.max_failures < -1:
            raise ValueError("max_failures must be -1 (no limit), 0 or more")


NOT_IN_DIGEST = keys_aside(TrainConfig)
"""Keys that say where and how to run. A run may go on with other values of these: they change no
more of the result than its rounding, as another kind of processor would."""
