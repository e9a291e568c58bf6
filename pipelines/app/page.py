"""The page: two places to drop views on, progress, before and after, and a link to save."""

from importlib import resources

from pipelines.app.desk import READ
from pipelines.report.document import Section, asset, document

_DROP = (
    '<label class="drop" data-side="{side}"><input type="file" id="{side}" accept="{accept}">'
    '<strong>{name} view</strong><span class="file">Choose a file, or drop it here</span></label>'
)
_BODY = (
    '<div class="drops">{drops}</div>'
    '<div class="act"><button type="button" id="go" class="main" disabled>Sharpen</button>'
    '<button type="button" id="exchange" aria-pressed="false">Swap views</button>'
    '<progress id="bar" max="1" value="0" aria-label="Sharpening" hidden></progress></div>'
    '<p id="said" role="status"></p><ul id="noticed"></ul>'
    '<div id="result" hidden><p class="act"><a id="save" class="main" download>Save</a>'
    '<span id="described"></span></p><div class="pairs" id="figure"></div></div>'
)


def render(token: str, largest_bytes: int) -> str:
    """Return the page as HTML. It asks nothing but the server that it came from."""
    drops = "".join(
        _DROP.format(side=side, name=side.capitalize(), accept=",".join(READ))
        for side in ("left", "right")
    )
    return document(
        title="Sharpen a dual-pixel pair",
        head='<p class="lead">Drop the two views of one exposure. They stay on this machine, and '
        "the sharp picture keeps what the left view's file says of itself.</p>",
        sections=[Section("views", "Views", _BODY.format(drops=drops))],
        script=asset("page.js") + _own("app.js"),
        style=_own("app.css"),
        data={"token": token, "largest": str(largest_bytes)},
    )


def _own(name: str) -> str:
    return resources.files("pipelines.app").joinpath(name).read_text(encoding="utf-8")
