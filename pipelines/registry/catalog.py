"""``k3dn models``: list the weights in the box and the registered versions, or show one."""

from dataclasses import dataclass

from pipelines.config import without_password
from pipelines.mlflow_store import is_missing, resolve_tracking_uri
from pipelines.next_steps import command
from pipelines.registry.box_list import BoxRow, box_rows, format_box
from pipelines.registry.config import ModelsConfig
from pipelines.registry.registry import ModelVersion, has_models, open_store, resolve, versions


@dataclass(frozen=True, slots=True)
class CatalogResult:
    """Versions of a registered model, and the weights in the box."""

    name: str
    versions: tuple[ModelVersion, ...]
    whole: bool
    """True when one version is shown with all its tags."""
    output: str
    """The MLflow store."""
    box: tuple[BoxRow, ...]
    """Empty where one version is shown."""

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
            lines = ["in the box:", format_box(self.box), "", f"registered as {self.name}:"]
            lines += [_line(version) for version in self.versions] or ["  no versions yet"]
        return "\n".join([*lines, f"store: {self.output}"])

    def next_steps(self) -> list[str]:
        """Return what one may run next."""
        if not self.versions:
            return [command("deblur", "LEFT", "RIGHT"), command("train")]
        return [command("evaluate", model=self.versions[0].uri)]


def run(config: ModelsConfig) -> CatalogResult:
    """List or show; UserError where the version, or a model of another name, is not there.

    Where there is no store, none is made.
    """
    tracking_uri = resolve_tracking_uri(config)
    store = without_password(tracking_uri)
    nobody_asked = config.version is None and config.name == ModelsConfig().name
    if nobody_asked and (is_missing(tracking_uri) or not has_models(open_store(config))):
        return CatalogResult(config.name, (), False, store, box_rows())
    tracking_uri = open_store(config)
    if config.version is None:
        found = tuple(versions(config.name, tracking_uri))
        return CatalogResult(config.name, found, False, store, box_rows())
    separator = "/" if config.version.isdigit() else "@"
    version = resolve(f"models:/{config.name}{separator}{config.version}", tracking_uri)
    return CatalogResult(config.name, (version,), True, store, ())


def _line(version: ModelVersion) -> str:
    network = version.tags.get("k3dn.model", "")
    gate = version.tags.get("k3dn.gate", "")
    marks = f"[{', '.join(version.aliases)}]" if version.aliases else ""
    parts = [f"v{version.version}", version.created, network, marks, gate]
    return "  ".join(part for part in parts if part)
