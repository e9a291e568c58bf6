"""What must hold for the manifests, each as a function that lists what does not.

A check takes objects and returns sentences; no sentence means that all is well. That form
lets the tests run it on the real files and on spoilt copies of them.
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from jsonschema import Draft7Validator

from tests.infra.manifests import Object, clusters, containers, pods, title, walk

KUBERNETES = "1.37"
_SIZES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def size_bytes(text: str) -> int:
    """Return a Kubernetes quantity of memory in bytes."""
    return int(text[:-2]) * _SIZES[text[-2:]] if text[-2:] in _SIZES else int(text)


def core_schema(objects: Sequence[Object]) -> list[str]:
    """Check Kubernetes' own kinds against the published schemas, unknown keys refused."""
    problems = []
    for one in objects:
        if one["apiVersion"].startswith("ray.io/"):
            continue
        try:
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{title(one)}: {error.message}")
    return problems


def kuberay_schema(objects: Sequence[Object]) -> list[str]:
    """Check KubeRay's kinds against the schemas of its resource definitions."""
    folder = os.environ.get("K3DN_SCHEMAS")
    if not folder:
        pytest.skip("K3DN_SCHEMAS names no folder with KubeRay's JSON schemas")
    problems = []
    for one in objects:
        if not one["apiVersion"].startswith("ray.io/"):
            continue
        name = f"{one['apiVersion'].replace('/', '_')}_{one['kind']}.json"
        validator = Draft7Validator(json.loads((Path(folder) / name).read_text()))
        problems += [
            f"{title(one)} {error.json_path}: {error.message[:200]}"
            for error in validator.iter_errors(one)
        ]
    return problems


def kuberay_rules(objects: Sequence[Object]) -> list[str]:
    """Check what KubeRay 1.7 refuses beyond its schemas (ValidateRayJobSpec)."""
    problems = []
    for one in objects:
        if one["kind"] == "RayJob":
            spec = one["spec"]
            ends = spec.get("shutdownAfterJobFinishes", False)
            if spec.get("clusterSelector") and spec.get("backoffLimit", 0) > 0:
                problems.append(f"{title(one)}: backoffLimit needs a cluster of its own")
            if spec.get("ttlSecondsAfterFinished", 0) > 0 and not ends:
                problems.append(f"{title(one)}: a ttl needs shutdownAfterJobFinishes")
            if spec.get("deletionStrategy", {}).get("deletionRules") and ends:
                problems.append(f"{title(one)}: deletionRules exclude shutdownAfterJobFinishes")
            if not spec.get("clusterSelector") and not spec.get("rayClusterSpec"):
                problems.append(f"{title(one)}: neither a cluster nor a selector")
    for where, spec in clusters(objects):
        groups = [spec["headGroupSpec"], *spec.get("workerGroupSpecs", [])]
        policies = {group["template"]["spec"].get("restartPolicy", "Never") for group in groups}
        if spec.get("autoscalerOptions", {}).get("version") == "v2" and policies != {"Never"}:
            problems.append(f"{where}: autoscaler v2 wants restartPolicy Never")
        if spec.get("authOptions", {}).get("mode") != "token":
            problems.append(f"{where}: requests are answered without a token")
        for group in spec.get("workerGroupSpecs", []):
            if not group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
                problems.append(f"{where} {group['groupName']}: replicas outside their bounds")
    return problems


def limits(objects: Sequence[Object]) -> list[str]:
    """Check that every container has CPU and memory bounds, and memory is what it asked for."""
    problems = []
    for where, container in containers(objects):
        resources = container.get("resources", {})
        asked, bound = resources.get("requests", {}), resources.get("limits", {})
        problems += [f"{where}: no {key} limit" for key in ("cpu", "memory") if key not in bound]
        if asked.get("memory") != bound.get("memory"):
            problems.append(f"{where}: memory request and limit differ")
    return problems


def security(objects: Sequence[Object]) -> list[str]:
    """Check the 'restricted' pod standard, which the namespace enforces."""
    problems = []
    for where, container in containers(objects):
        context = container.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False:
            problems.append(f"{where}: allowPrivilegeEscalation is not false")
        if context.get("capabilities", {}).get("drop") != ["ALL"]:
            problems.append(f"{where}: capabilities are not dropped")
        if context.get("privileged"):
            problems.append(f"{where}: privileged")
    for pod in pods(objects):
        context = pod.spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            problems.append(f"{pod.where}: may run as root")
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            problems.append(f"{pod.where}: no seccomp profile")
        if pod.spec.get("hostNetwork") or pod.spec.get("hostPID"):
            problems.append(f"{pod.where}: shares the host's namespaces")
        if any("hostPath" in volume for volume in pod.spec.get("volumes", [])):
            problems.append(f"{pod.where}: mounts a path of the host")
    return problems


def references(objects: Sequence[Object], secrets: dict[str, set[str]]) -> list[str]:
    """Check that every ConfigMap, Secret, volume and claim that is named exists.

    secrets: name to keys of those that the README has the user create.
    """
    names: dict[str, set[str]] = {"ConfigMap": set(), "PersistentVolumeClaim": set()}
    for one in objects:
        names.setdefault(one["kind"], set()).add(one["metadata"]["name"])
    problems = []

    def known(where: str, kind: str, name: str) -> None:
        there = set(secrets) if kind == "Secret" else names[kind]
        if name not in there:
            problems.append(f"{where}: there is no {kind} {name}")

    for one in objects:
        for path, node in walk(one):
            where = title(one) + path
            for key, kind in (
                ("configMapRef", "ConfigMap"),
                ("configMap", "ConfigMap"),
                ("secretRef", "Secret"),
            ):
                if isinstance(node.get(key), dict):
                    known(where, kind, node[key]["name"])
            if isinstance(node.get("secretKeyRef"), dict):
                known(where, "Secret", node["secretKeyRef"]["name"])
                if node["secretKeyRef"]["key"] not in secrets.get(node["secretKeyRef"]["name"], ()):
                    problems.append(f"{where}: that Secret has no {node['secretKeyRef']['key']}")
            if isinstance(node.get("authOptions"), dict):
                known(where, "Secret", node["authOptions"]["secretName"])
            if isinstance(node.get("persistentVolumeClaim"), dict):
                known(where, "PersistentVolumeClaim", node["persistentVolumeClaim"]["claimName"])
    for pod in pods(objects):
        there = {volume["name"] for volume in pod.spec.get("volumes", [])}
        for container in pod.spec["containers"]:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in there:
                    problems.append(f"{pod.where}: there is no volume {mount['name']}")
    return problems


def no_literal_secret(objects: Sequence[Object]) -> list[str]:
    """Check that no secret's value stands in a file: neither a Secret nor an env value."""
    problems = [f"{title(one)}: a Secret in a file" for one in objects if one["kind"] == "Secret"]
    secret_name = re.compile(r"(SECRET|TOKEN|PASSWORD|ACCESS_KEY)", re.IGNORECASE)
    for one in objects:
        for path, node in walk(one):
            if "value" in node and secret_name.search(str(node.get("name", ""))):
                problems.append(f"{title(one)}{path}: the value of {node['name']} is written out")
            data = node.get("data") if one["kind"] == "ConfigMap" else None
            problems += [
                f"{title(one)}: {key} belongs in a Secret"
                for key in data or ()
                if secret_name.search(key)
            ]
    return problems


def versions(objects: Sequence[Object], ray_version: str, project_version: str) -> list[str]:
    """Check that images, ``rayVersion`` and the pins speak of one Ray and one K3DN."""
    problems = [
        f"{where}: rayVersion {spec.get('rayVersion')} is not the pinned {ray_version}"
        for where, spec in clusters(objects)
        if spec.get("rayVersion") != ray_version
    ]
    wanted = re.compile(
        rf"k3dn:{re.escape(project_version)}-ray{re.escape(ray_version)}-(cpu|cuda)$"
    )
    for where, container in containers(objects):
        image = container.get("image")
        if image is not None and not wanted.search(image):
            problems.append(f"{where}: image {image} does not match {wanted.pattern}")
    for pod in pods(objects):
        on_gpu = any("nvidia.com/gpu" in json.dumps(one) for one in pod.spec["containers"])
        if on_gpu and not all(one["image"].endswith("-cuda") for one in pod.spec["containers"]):
            problems.append(f"{pod.where}: a GPU node without the CUDA image")
    return problems


def memory(objects: Sequence[Object]) -> list[str]:
    """Check object store < its memory volume < the pod's limit, and a sized place to spill to."""
    problems = []
    for where, spec in clusters(objects):
        for group in [spec["headGroupSpec"], *spec.get("workerGroupSpecs", [])]:
            pod: dict[str, Any] = group["template"]["spec"]
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            mounts = {one["mountPath"]: one["name"] for one in pod["containers"][0]["volumeMounts"]}
            name = f"{where} {group.get('groupName', 'head')}"
            for path in ("/dev/shm", "/tmp/ray"):
                if "sizeLimit" not in volumes.get(mounts.get(path, ""), {}).get("emptyDir", {}):
                    problems.append(f"{name}: {path} is not a sized emptyDir")
            if problems:
                continue
            shm = volumes[mounts["/dev/shm"]]["emptyDir"]
            store = int(group["rayStartParams"]["object-store-memory"])
            limit = size_bytes(pod["containers"][0]["resources"]["limits"]["memory"])
            if shm.get("medium") != "Memory":
                problems.append(f"{name}: /dev/shm is not in memory")
            if not store < size_bytes(shm["sizeLimit"]) < limit / 2:
                problems.append(f"{name}: object store < /dev/shm < half the limit does not hold")
    return problems


def network(objects: Sequence[Object]) -> list[str]:
    """Check that incoming traffic is refused by default, and that every selector finds a pod."""
    policies = [one for one in objects if one["kind"] == "NetworkPolicy"]
    closed = [
        one["spec"]
        for one in policies
        if one["spec"]["podSelector"] == {} and "ingress" not in one["spec"]
    ]
    problems = [] if closed else ["no NetworkPolicy refuses what is not allowed"]
    labels = [pod.labels for pod in pods(objects)]

    def finds(selector: dict[str, Any]) -> bool:
        wanted = selector.get("matchLabels", {}).items()
        return any(wanted <= one.items() for one in labels)

    for one in policies:
        for path, node in walk(one["spec"]):
            selector = node.get("podSelector")
            if selector and "namespaceSelector" not in node and not finds(selector):
                problems.append(f"{title(one)}{path}: selects no pod of ours")
    for one in objects:
        if one["kind"] == "Service" and not finds({"matchLabels": one["spec"]["selector"]}):
            problems.append(f"{title(one)}: selects no pod of ours")
        if one["kind"] == "Ingress" or one.get("spec", {}).get("type") in (
            "LoadBalancer",
            "NodePort",
        ):
            problems.append(f"{title(one)}: opens a door to the outside")
    return problems
