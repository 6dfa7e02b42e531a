"""Every figure of a comparison, drawn once on light and once on dark ground: for the page and for its folder."""

from __future__ import annotations

from stages.report import curves, ladder, pareto
from stages.report.canvas import Pixels
from stages.report.look import DARK, LIGHT
from stages.report.view import View

DRAWN = {"pareto": pareto.figure, "ladder": ladder.figure, "kimg": curves.figure}
Figures = dict[tuple[str, str], list[Pixels]]  # (name, dataset) -> on light ground, on dark ground


def figures(view: View) -> Figures:
    """Draw the figures; where there is nothing to draw there is no entry."""
    found: Figures = {}
    for dataset in view.datasets:
        for name, figure in DRAWN.items():
            drawn = [figure(view, dataset, theme) for theme in (LIGHT, DARK)]
            images = [image for image in drawn if image is not None]
            if images:
                found[name, dataset] = images
    return found
