"""``k3dn doctor``: what this machine, the cluster, the store and the storage have, and lack."""

import os
import platform
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pipelines.config import StepConfig, without_password
from pipelines.errors import UserError

_PACKAGES = ("torch", "ray", "mlflow", "pyarrow", "albumentations")
_REPORT_GIB = 2**30
_LOW_DISK_GIB = 5
_HTTP_TIMEOUT_S = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorConfig(StepConfig):
    """``k3dn doctor``."""

    start_ray: bool = True
    """Start a private Ray cluster for the check where none is named (about 10 s)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    """What was looked at."""
    state: Literal["ok", "missing", "broken"]
    """missing: a step does without it; broken: something must be mended first."""
    found: str
    """What there is."""
    advice: str = ""
    """What to do about it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorReport:
    """All checks, in the order in which they were made."""

    checks: list[Check]
    """The checks."""
    root: str
    """The storage that was looked at."""

    @property
    def exit_code(self) -> int:
        """1 when something must be mended before a step can run."""
        return 1 if any(check.state == "broken" for check in self.checks) else 0

    def describe(self) -> str:
        """Return the checks as text."""
        marks = {"ok": "ok     ", "missing": "missing", "broken": "BROKEN "}
        width = max(len(check.name) for check in self.checks)
        lines = []
        for check in self.checks:
            lines.append(f"{marks[check.state]}  {check.name:<{width}}  {check.found}")
            if check.advice:
                lines.append(f"{'':<{width + 11}}-> {check.advice}")
        verdict = "Something must be mended first" if self.exit_code else "Every step can run here"
        return "\n".join([*lines, f"{verdict}. Data goes to {self.root}"])

    def next_steps(self) -> list[str]:
        """Return what to run next."""
        return [] if self.exit_code else ["k3dn demo"]


def run(config: DoctorConfig) -> DoctorReport:
    """Look at everything that a step may need; change nothing that stays."""
    checks = [_python(), _processors(), _precision(), _disk(config.root), *_gpu()]
    for name, check in (
        ("ray", _ray),
        ("storage", _storage),
        ("mlflow", _mlflow),
    ):
        checks += _guarded(name, check, config)
    checks.append(_samples())
    return DoctorReport(checks=checks, root=config.root)


def _guarded(
    name: str, check: Callable[[DoctorConfig], list[Check]], config: DoctorConfig
) -> list[Check]:
    """Run one check; what it raises is its finding, and the others still run."""
    try:
        return check(config)
    except UserError as error:
        return [Check(name=name, state="broken", found=str(error))]
    except Exception as error:
        found = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        return [Check(name=name, state="broken", found=found)]


def _python() -> Check:
    found, absent = [f"Python {platform.python_version()}"], []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            absent.append(package)
    if absent:
        advice = "pip install 'k3dn[pipelines]'"
        lacks = f"without {', '.join(absent)}"
        return Check(name="packages", state="broken", found=lacks, advice=advice)
    return Check(name="packages", state="ok", found=", ".join(found))


def _processors() -> Check:
    import psutil

    memory_gib = psutil.virtual_memory().available / _REPORT_GIB
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = f"{cores} cores, {memory_gib:.1f} GiB of memory free"
    if memory_gib < 2:
        advice = "the demo wants about 3 GiB; close something or take fewer workers"
        return Check(name="machine", state="missing", found=found, advice=advice)
    return Check(name="machine", state="ok", found=found)


def _precision() -> Check:
    from k3dn.inference import WORTH_BFLOAT16, bfloat16_speedup

    speedup = bfloat16_speedup()
    chosen = "bf16" if speedup >= WORTH_BFLOAT16 else "fp32"
    found = f"convolves {speedup:.1f} times as fast in bfloat16: deblur takes {chosen} on the CPU"
    return Check(name="precision", state="ok", found=found)


def _disk(root: str) -> Check:
    folder = Path.cwd() if "://" in root else _nearest_folder(Path(root))
    free_gib = shutil.disk_usage(folder).free / _REPORT_GIB
    found = f"{free_gib:.1f} GiB free at {folder}"
    if free_gib < _LOW_DISK_GIB:
        advice = "Ray spills to disk and checkpoints need room; free some or give another root"
        return Check(name="disk", state="missing", found=found, advice=advice)
    return Check(name="disk", state="ok", found=found)


def _nearest_folder(path: Path) -> Path:
    return next(folder for folder in [path, *path.parents] if folder.is_dir())


def _gpu() -> list[Check]:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return [Check(name="gpu", state="ok", found=", ".join(names))]
    built = "" if torch.version.cuda else f" (torch {torch.__version__} is a build for the CPU)"
    advice = "training runs on the CPU: good for nano, slow for anything larger"
    return [Check(name="gpu", state="missing", found=f"none{built}", advice=advice)]


def _ray(config: DoctorConfig) -> list[Check]:
    from pipelines.cluster import ray_cluster

    checks = []
    if os.environ.get("RAY_TRAIN_V2_ENABLED", "1") in ("0", "false"):
        advice = "unset RAY_TRAIN_V2_ENABLED: training is written for Train V2"
        found = "RAY_TRAIN_V2_ENABLED=0"
        checks.append(Check(name="ray train", state="broken", found=found, advice=advice))
    address = config.ray_address or os.environ.get("RAY_ADDRESS")
    if address is None and not config.start_ray:
        found = "no cluster named: each step starts its own on this machine"
        return [*checks, Check(name="ray", state="ok", found=found)]
    with ray_cluster(config.ray_address):
        import ray

        total, free = ray.cluster_resources(), ray.available_resources()
        nodes = [node for node in ray.nodes() if node["Alive"]]
    cpus = total.get("CPU", 0)
    found = (
        f"{address or 'private cluster on this machine'}: {len(nodes)} node(s), "
        f"{free.get('CPU', 0):g} of {cpus:g} CPUs free, {total.get('GPU', 0):g} GPUs, "
        f"{total.get('object_store_memory', 0) / _REPORT_GIB:.1f} GiB of object store"
    )
    if cpus < 2:
        advice = "two training workers and their reading want 2 CPUs: num_workers=1"
        return [*checks, Check(name="ray", state="missing", found=found, advice=advice)]
    return [*checks, Check(name="ray", state="ok", found=found)]


def _storage(config: DoctorConfig) -> list[Check]:
    from pipelines.storage import locate

    location = locate(config.root)
    folder = location.local_path()
    if folder is not None and not folder.exists():
        nearest = _nearest_folder(folder)
        if os.access(nearest, os.W_OK):
            found = f"{folder} (the first step that writes will make it)"
            return [Check(name="storage", state="ok", found=found)]
        return [
            Check(
                name="storage",
                state="broken",
                found=f"{folder} cannot be made: {nearest} is not writable",
                advice="give another place: root=...",
            )
        ]
    probe = location.child("_locks", f"doctor-{uuid.uuid4().hex}")
    try:
        first, second = probe.put_if_absent(b"probe"), probe.put_if_absent(b"again")
        read = probe.read_bytes()
    finally:
        probe.delete()
    checks = []
    if (first, second, read) == (True, False, b"probe"):
        found = f"{location.url}: reads, writes, and puts only if absent"
        checks.append(Check(name="storage", state="ok", found=found))
    else:
        found = f"{location.url}: put-if-absent is not honoured"
        advice = "promotion and regeneration need it to exclude each other; take another storage"
        checks.append(Check(name="storage", state="broken", found=found, advice=advice))
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and os.environ.get("MLFLOW_S3_ENDPOINT_URL", endpoint) != endpoint:
        checks.append(
            Check(
                name="s3",
                state="broken",
                found="AWS_ENDPOINT_URL and MLFLOW_S3_ENDPOINT_URL differ",
                advice="give both the same value, or MLflow looks for its files elsewhere",
            )
        )
    return checks


def _mlflow(config: DoctorConfig) -> list[Check]:
    from pipelines.mlflow_store import resolve_tracking_uri

    uri = resolve_tracking_uri(config)
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        return [_mlflow_server(uri)]
    if parts.scheme == "sqlite":
        file = Path(uri.removeprefix("sqlite:///"))
        if file.exists():
            return [Check(name="mlflow", state="ok", found=f"SQLite store {file}")]
        found = f"{file} (the first step that records will make it)"
        return [Check(name="mlflow", state="ok", found=found)]
    from mlflow import MlflowClient

    MlflowClient(uri).search_experiments(max_results=1)
    return [Check(name="mlflow", state="ok", found=without_password(uri))]


def _mlflow_server(uri: str) -> Check:
    import requests

    shown = without_password(uri)
    answer = requests.get(
        f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/get-by-name",
        params={"experiment_name": "Default"},
        timeout=_HTTP_TIMEOUT_S,
    )
    if answer.ok:
        return Check(name="mlflow", state="ok", found=f"server {shown}")
    advice = ""
    if answer.status_code == 403:
        host = urlsplit(uri).netloc.rpartition("@")[2]
        advice = f"start the server with --allowed-hosts {host} (it refuses unknown Host headers)"
    elif answer.status_code == 401:
        advice = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD or a token"
    found = f"server {shown} answers {answer.status_code}"
    return Check(name="mlflow", state="broken", found=found, advice=advice)


def _samples() -> Check:
    folder = os.environ.get("K3DN_SAMPLES")
    if folder and Path(folder).is_dir():
        return Check(name="samples", state="ok", found=f"real pairs in {folder}")
    advice = "the demo runs on synthetic pairs alone; with K3DN_SAMPLES it shows real ones too"
    return Check(name="samples", state="missing", found="no K3DN_SAMPLES", advice=advice)
