"""The Kubernetes files: each holds to every check, and each check refuses a spoilt copy."""

import re
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from tests.infra import checks
from tests.infra.manifests import BUILDS, INFRA, REPOSITORY, Object, build, everything, title


def _ray_version() -> str:
    pins = (REPOSITORY / "constraints.txt").read_text()
    pin = re.search(r"^ray(?:\[[^]]*\])?==(\S+)", pins, re.M)
    assert pin is not None
    return pin.group(1)


def _project_version() -> str:
    version: str = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    return version


def _secrets_of_the_readme() -> dict[str, set[str]]:
    found = {}
    for line in (INFRA / "README.md").read_text().splitlines():
        made = re.search(r"create secret generic (\S+)", line)
        if made:
            found[made.group(1)] = set(re.findall(r"--from-literal=(\w+)=", line))
    return found


CHECKS: dict[str, Callable[[list[Object]], list[str]]] = {
    "core_schema": checks.core_schema,
    "kuberay_schema": checks.kuberay_schema,
    "kuberay_rules": checks.kuberay_rules,
    "limits": checks.limits,
    "security": checks.security,
    "references": lambda objects: checks.references(objects, _secrets_of_the_readme()),
    "no_literal_secret": checks.no_literal_secret,
    "versions": lambda objects: checks.versions(objects, _ray_version(), _project_version()),
    "memory": checks.memory,
    "network": checks.network,
}


@pytest.mark.parametrize("check", CHECKS)
def test_all_manifests_hold(check: str) -> None:
    assert CHECKS[check](everything()) == []


@pytest.mark.parametrize("name", BUILDS)
def test_names_are_unique_and_in_our_namespace(name: str) -> None:
    objects = build(name)
    titles = [title(one) for one in objects]
    assert len(set(titles)) == len(titles)
    for one in objects:
        if one["kind"] != "Namespace":
            assert one["metadata"]["namespace"] == "k3dn", title(one)


@pytest.mark.parametrize("name", [name for name in BUILDS if name != "base"])
def test_a_job_is_one_object_with_the_nodes_of_the_standing_cluster(name: str) -> None:
    (job,) = build(name)
    (cluster,) = (one for one in build("base") if one["kind"] == "RayCluster")
    own = job["spec"]["rayClusterSpec"]
    groups = {group["groupName"] for group in own["workerGroupSpecs"]}
    if name.startswith("overlays/gpu/"):
        assert groups == {"cpu", "gpu"}
        assert "use_gpu=true" in job["spec"]["entrypoint"]
    else:
        assert own == cluster["spec"]


def _at(objects: list[Object], kind: str, path: str) -> tuple[Any, Any]:
    """Return the container and the last key of ``a.b.0.c`` in the first object of that kind."""
    node: Any = next(one for one in objects if one["kind"] == kind)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        node = node[part]
    return node, last


HEAD = "spec.headGroupSpec.template.spec"
JOB_HEAD = f"spec.rayClusterSpec.{HEAD.removeprefix('spec.')}"
WORKER = "spec.workerGroupSpecs.0.template.spec"
MLFLOW = "spec.template.spec"
CRON = "spec.jobTemplate.spec.template.spec"
GONE = object()

SPOILT = [
    ("core_schema", "ConfigMap", "dataa", {"a": "b"}),
    ("core_schema", "NetworkPolicy", "spec.ingres", []),
    ("core_schema", "CronJob", "spec.concurencyPolicy", "Forbid"),
    ("core_schema", "Deployment", f"{MLFLOW}.containers.0.readynessProbe", {}),
    ("kuberay_schema", "RayJob", "spec.shutdownAfterJobFinish", True),
    ("kuberay_schema", "RayJob", f"{JOB_HEAD}.containers.0.imagePullPolice", "Always"),
    ("kuberay_schema", "RayCluster", "spec.authOptions.mode", "tokens"),
    ("kuberay_schema", "RayCluster", "spec.headGroupSpec.rayStartParams.num-cpus", 0),
    ("kuberay_rules", "RayJob", "spec.clusterSelector", {"ray.io/cluster": "k3dn"}),
    ("kuberay_rules", "RayJob", "spec.shutdownAfterJobFinishes", False),
    ("kuberay_rules", "RayJob", "spec.deletionStrategy", {"deletionRules": [{}]}),
    ("kuberay_rules", "RayCluster", f"{WORKER}.restartPolicy", "Always"),
    ("kuberay_rules", "RayCluster", "spec.authOptions", GONE),
    ("kuberay_rules", "RayCluster", "spec.workerGroupSpecs.0.replicas", 9),
    ("limits", "RayCluster", f"{WORKER}.containers.0.resources.limits.memory", GONE),
    ("limits", "RayCluster", "spec.autoscalerOptions.resources", GONE),
    ("limits", "CronJob", f"{CRON}.containers.0.resources.limits.cpu", GONE),
    ("limits", "Deployment", f"{MLFLOW}.containers.0.resources.requests.memory", "1Gi"),
    ("security", "RayCluster", f"{HEAD}.securityContext.runAsNonRoot", False),
    ("security", "RayCluster", "spec.autoscalerOptions.securityContext", GONE),
    ("security", "RayJob", "spec.submitterPodTemplate.spec.securityContext.seccompProfile", GONE),
    ("security", "Deployment", f"{MLFLOW}.containers.0.securityContext.privileged", True),
    ("security", "CronJob", f"{CRON}.hostNetwork", True),
    ("security", "RayCluster", f"{HEAD}.volumes.0", {"name": "x", "hostPath": {"path": "/"}}),
    ("references", "RayCluster", f"{HEAD}.containers.0.envFrom.0.configMapRef.name", "k3dn-env"),
    ("references", "RayCluster", f"{HEAD}.containers.0.envFrom.1.secretRef.name", "storage"),
    ("references", "CronJob", f"{CRON}.containers.0.env.1.valueFrom.secretKeyRef.key", "token"),
    ("references", "RayCluster", "spec.authOptions.secretName", "token"),
    ("references", "RayCluster", f"{HEAD}.containers.0.volumeMounts.0.name", "config"),
    ("references", "Deployment", f"{MLFLOW}.volumes.0.persistentVolumeClaim.claimName", "db"),
    ("no_literal_secret", "CronJob", f"{CRON}.containers.0.env.1", {"name": "TOKEN", "value": "x"}),
    ("no_literal_secret", "ConfigMap", "data.AWS_SECRET_ACCESS_KEY", "x"),
    ("no_literal_secret", "ConfigMap", "kind", "Secret"),
    ("versions", "RayCluster", "spec.rayVersion", "2.59.0"),
    ("versions", "RayJob", "spec.submitterPodTemplate.spec.containers.0.image", "k3dn:latest"),
    ("versions", "CronJob", f"{CRON}.containers.0.image", "k3dn:0.1.0-ray2.59.0-cpu"),
    ("memory", "RayCluster", "spec.headGroupSpec.rayStartParams.object-store-memory", "4000000000"),
    ("memory", "RayCluster", f"{WORKER}.volumes.1.emptyDir.medium", GONE),
    ("memory", "RayCluster", f"{WORKER}.volumes.2.emptyDir", {}),
    ("memory", "RayCluster", f"{WORKER}.containers.0.resources.limits.memory", "6Gi"),
    ("network", "NetworkPolicy", "spec.ingress", [{}]),
    ("network", "Service", "spec.selector", {"app": "mlflow"}),
    ("network", "Service", "spec.type", "LoadBalancer"),
]


@pytest.mark.parametrize(
    ("check", "kind", "path", "value"), SPOILT, ids=[f"{row[0]}-{row[2][-40:]}" for row in SPOILT]
)
def test_a_spoilt_manifest_is_refused(check: str, kind: str, path: str, value: object) -> None:
    objects = everything()
    node, last = _at(objects, kind, path)
    if value is GONE:
        del node[last]
    else:
        node[last] = value
    assert CHECKS[check](objects) != []


def test_a_gpu_node_without_cuda_is_refused() -> None:
    objects = build("overlays/gpu/train")
    group = objects[0]["spec"]["rayClusterSpec"]["workerGroupSpecs"][1]
    container = group["template"]["spec"]["containers"][0]
    container["image"] = container["image"].replace("-cuda", "-cpu")
    assert any("CUDA" in problem for problem in CHECKS["versions"](objects))


def test_a_policy_that_selects_nothing_is_refused() -> None:
    objects = build("base")
    policy = next(one for one in objects if title(one) == "NetworkPolicy/k3dn-ray")
    policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] = "rays"
    assert any("selects no pod" in problem for problem in checks.network(objects))
