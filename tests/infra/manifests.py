"""Read what infra/ holds, and build the Kustomize folders with the real kubectl."""

import copy
import functools
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
INFRA = REPOSITORY / "infra"
BUILDS = (
    "base",
    "jobs/synth",
    "jobs/train",
    "jobs/tune",
    "overlays/gpu/train",
    "overlays/gpu/tune",
)

Object = dict[str, Any]


class Pod(NamedTuple):
    """A pod template inside some object."""

    where: str
    """Kind/name and the path to it."""
    labels: dict[str, str]
    spec: dict[str, Any]


def tool(name: str) -> str:
    """Return the path of a program that came as a wheel, or is on the PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed: it is in the 'dev' extra")
    return found


def run(*command: str | Path, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a checker and return what it said; the caller looks at its exit code."""
    return subprocess.run(
        [str(part) for part in command], input=stdin, capture_output=True, text=True, check=False
    )


@functools.cache
def _built(folder: Path) -> list[Object]:
    done = run(tool("kubectl"), "kustomize", folder)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def build(name: str) -> list[Object]:
    """Return the objects that ``kubectl apply -k infra/kuberay/<name>`` would apply.

    A copy, which a test may spoil. Raises ValueError with kubectl's words if it does not build.
    """
    return copy.deepcopy(_built(INFRA / "kuberay" / name))


def everything() -> list[Object]:
    """Return the objects of all builds together."""
    return [one for name in BUILDS for one in build(name)]


def title(one: Object) -> str:
    """Return Kind/name of an object."""
    return f"{one['kind']}/{one['metadata']['name']}"


def walk(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every mapping below ``node`` with its dotted path."""
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from walk(value, f"{path}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from walk(value, f"{path}[{index}]")


def pods(objects: Sequence[Object]) -> Iterator[Pod]:
    """Yield the pod templates of all objects, those inside Ray's own kinds included."""
    for one in objects:
        for path, node in walk(one):
            spec = node.get("spec")
            if isinstance(spec, dict) and isinstance(spec.get("containers"), list):
                labels = node.get("metadata", {}).get("labels", {})
                yield Pod(f"{title(one)}{path}", labels, spec)


def containers(objects: Sequence[Object]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every container, and Ray's autoscaler, which KubeRay starts as one, with its place."""
    for pod in pods(objects):
        for container in pod.spec["containers"] + pod.spec.get("initContainers", []):
            yield f"{pod.where} container {container['name']}", container
    for one in objects:
        for path, node in walk(one):
            if isinstance(node.get("autoscalerOptions"), dict):
                yield f"{title(one)}{path} autoscaler", node["autoscalerOptions"]


def clusters(objects: Sequence[Object]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the spec of every Ray cluster: the standing one and those inside RayJobs."""
    for one in objects:
        if one["kind"] == "RayCluster":
            yield title(one), one["spec"]
        elif one["kind"] == "RayJob":
            yield title(one), one["spec"].get("rayClusterSpec", {})
