"""``k3dn models``: list the registered versions, or show one."""

from dataclasses import dataclass

from pipelines.models.config import ModelsConfig
from pipelines.models.registry import ModelVersion, open_store, resolve, versions


@dataclass(frozen=True, slots=True)
class CatalogResult:
    """Versions of a registered model."""

    name: str
    versions: tuple[ModelVersion, ...]
    whole: bool
    """True when one version is shown with all its tags."""
    output: str
    """The MLflow store."""

    def describe(self) -> str:
        """Return one line a version, or all that is known of one."""
        if self.whole:
            (version,) = self.versions
            lines = [
                version.uri,
                f"  created  {version.created}",
                f"  aliases  {', '.join(version.aliases) or 'none'}",
                f"  run      {version.run_id or 'none'}",
                *(f"  {key}  {value}" for key, value in sorted(version.tags.items())),
            ]
        else:
            lines = [_line(version) for version in self.versions] or ["no versions yet"]
        return "\n".join([*lines, f"store: {self.output}"])

    def next_steps(self) -> list[str]:
        """Return what one may run next."""
        if not self.versions:
            return ["k3dn train"]
        return [f"k3dn evaluate --model {self.versions[0].uri}"]


def run(config: ModelsConfig) -> CatalogResult:
    """List or show; UserError where the model or version is not there."""
    tracking_uri = open_store(config)
    if config.version is None:
        return CatalogResult(
            config.name, tuple(versions(config.name, tracking_uri)), False, tracking_uri
        )
    separator = "/" if config.version.isdigit() else "@"
    version = resolve(f"models:/{config.name}{separator}{config.version}", tracking_uri)
    return CatalogResult(config.name, (version,), True, tracking_uri)


def _line(version: ModelVersion) -> str:
    network = version.tags.get("k3dn.model", "")
    gate = version.tags.get("k3dn.gate", "")
    marks = f"[{', '.join(version.aliases)}]" if version.aliases else ""
    parts = [f"v{version.version}", version.created, network, marks, gate]
    return "  ".join(part for part in parts if part)
