"""The Compose file: its schema, and what the Kubernetes files hold to as well."""

import re
from typing import Any

import pytest
import yaml

from tests.infra.manifests import INFRA, build, containers, run, tool

COMPOSE = INFRA / "compose" / "compose.yaml"


def _services() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return services


def _schema_says(text: str) -> str:
    """Return what check-jsonschema has against a Compose file; nothing if it passes."""
    schema = ("--builtin-schema", "vendor.compose-spec", "--default-filetype", "yaml")
    check = run(tool("check-jsonschema"), *schema, "-", stdin=text)
    return "" if check.returncode == 0 else check.stdout + check.stderr


def _problems(services: dict[str, dict[str, Any]]) -> list[str]:
    problems = []
    for name, service in services.items():
        bounds = service.get("deploy", {}).get("resources", {}).get("limits", {})
        problems += [f"{name}: no {key} limit" for key in ("cpus", "memory") if key not in bounds]
        if "no-new-privileges:true" not in service.get("security_opt", []):
            problems.append(f"{name}: may gain privileges")
        if service.get("cap_drop") != ["ALL"]:
            problems.append(f"{name}: capabilities are not dropped")
        for port in service.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                problems.append(f"{name}: port {port} is open to other machines")
        for key, value in service.get("environment", {}).items():
            if re.search(r"SECRET|TOKEN|ACCESS_KEY", key) and not str(value).startswith("${"):
                problems.append(f"{name}: the value of {key} is written out")
        for other in service.get("depends_on", {}):
            if "healthcheck" not in services.get(other, {}):
                problems.append(f"{name}: waits for the health of {other}, which has no check")
        if service["image"].startswith("k3dn") and service.get("user") != "1000:1000":
            problems.append(f"{name}: runs as root")
        if not re.search(r":[\w.-]*\d", service["image"]):
            problems.append(f"{name}: image {service['image']} is not pinned")
    return problems


def test_schema() -> None:
    assert _schema_says(COMPOSE.read_text()) == ""


def test_a_misspelt_key_is_refused() -> None:
    assert "portz" in _schema_says(COMPOSE.read_text().replace("    ports:", "    portz:", 1))


def test_services_are_bounded_closed_and_without_secrets() -> None:
    assert _problems(_services()) == []


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("storage", "deploy", {}),
        ("mlflow", "ports", ["5000:5000"]),
        ("mlflow", "user", "0:0"),
        ("mlflow", "image", "k3dn:latest"),
        ("ray-head", "security_opt", []),
        ("ray-head", "cap_drop", []),
        ("ray-head", "healthcheck", None),
        ("ray-worker", "environment", {"RAY_AUTH_TOKEN": "letmein"}),
    ],
)
def test_a_spoilt_service_is_refused(name: str, key: str, value: object) -> None:
    services = _services()
    if value is None:
        del services[name][key]
    else:
        services[name][key] = value
    assert _problems(services) != []


def test_every_secret_is_in_the_example_and_empty_there() -> None:
    lines = (INFRA / "compose" / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(re.findall(r"\$\{(\w+)", COMPOSE.read_text())) == set(example)
    assert set(example.values()) == {""}


def test_the_image_is_the_one_of_the_manifests() -> None:
    ours = {service["image"] for service in _services().values() if "k3dn" in service["image"]}
    assert ours == {image for _, one in containers(build("base")) if (image := one.get("image"))}
