"""The self-contained HTML page that shows what a network did."""

from pipelines.report.page import render_page
from pipelines.report.page_data import (
    BlurRadius,
    Command,
    Comparison,
    Findings,
    PageData,
    Place,
    TrainingCurve,
)

__all__ = [
    "BlurRadius",
    "Command",
    "Comparison",
    "Findings",
    "PageData",
    "Place",
    "TrainingCurve",
    "render_page",
]
