"""Colours of methods, the same ones on the page and in the tracking server."""

from __future__ import annotations

from collections.abc import Sequence

# Distinguishable with every common kind of colour blindness (after Okabe and Ito), and on light and dark ground.
# The first method of the params file gets the grey: by custom it is the baseline.
_COLOURS = ("#7d8590", "#0a84c6", "#e0631b", "#0a9c72", "#c66aa6", "#b8890b", "#5b5bd6", "#c0392b")


def colours(methods: Sequence[str]) -> dict[str, str]:
    """Return method -> colour (``#rrggbb``), by its place in the params file."""
    return {method: _COLOURS[index % len(_COLOURS)] for index, method in enumerate(methods)}
