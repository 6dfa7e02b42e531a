"""Matplotlib without a window, without the user's own settings, and equal to the byte for equal input."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stages.report.look import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pixels = npt.NDArray[np.uint8]
DPI = 200


def draw(size: tuple[float, float], theme: Theme, paint: Callable[[Figure], None]) -> Pixels:
    """Let ``paint`` draw on an empty figure and return its pixels.

    Args:
        size: width and height in inches, at 200 dpi.
        theme: colours of ground, text and grid.
        paint: adds axes and what is in them.

    Returns: uint8 ``[H, W, 3]``.
    """
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", _settings(theme)]):
        figure = Figure(figsize=size, dpi=DPI)
        canvas = FigureCanvasAgg(figure)
        paint(figure)
        canvas.draw()  # type: ignore[no-untyped-call]
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def _settings(theme: Theme) -> dict[str, object]:
    text = dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor"), theme.ink)
    faint = dict.fromkeys(("xtick.color", "ytick.color"), theme.faint)
    ground = dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), theme.ground)
    return text | faint | ground | {
        "text.parse_math": False,  # a dataset may be called $x$
        "font.family": "DejaVu Sans",
        "font.size": 11.5,
        "axes.titlesize": 13,
        "axes.titleweight": "bold",
        "axes.edgecolor": theme.grid,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "grid.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "ytick.minor.size": 0,
    }  # fmt: skip
