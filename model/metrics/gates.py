"""Verdicts on a generator that no distance to real images gives: does it copy them, does it draw one face only?

The collapse gate is :func:`gate` on ``variety`` (see :meth:`model.metrics.diversity.Diversity.variety`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "alarm", "fail"]
_ORDER: tuple[Verdict, ...] = ("pass", "alarm", "fail")


@dataclass(frozen=True)
class Limits:
    """A value below ``alarm`` is suspect, below ``fail`` convicted."""

    alarm: float
    fail: float

    def __post_init__(self) -> None:
        """Refuse limits that could never alarm."""
        if not 0.0 <= self.fail <= self.alarm:
            raise ValueError(f"limits: fail {self.fail} and alarm {self.alarm}, expected 0 <= fail <= alarm")


def gate(value: float, limits: Limits) -> Verdict:
    """Judge a value that is 1 for an honest generator and 0 for the worst.

    Raises: ValueError for a value that is not a number: what was not measured has no verdict.
    """
    if math.isnan(value):
        raise ValueError("a gate needs a measured value, got NaN")
    return "fail" if value < limits.fail else "alarm" if value < limits.alarm else "pass"


def memorisation(nn_ratio: float, nn_ratio_tenth: float, limits: Limits) -> Verdict:
    """Judge whether training images come back: most of the time, or at least once in ten images.

    Args:
        nn_ratio: see :func:`model.metrics.memorisation.nn_ratio`.
        nn_ratio_tenth: see :func:`model.metrics.memorisation.nn_ratio_tenth`; NaN (not measurable) is left out.
        limits: of both.
    """
    return worst_of(*(gate(value, limits) for value in (nn_ratio, nn_ratio_tenth) if not math.isnan(value)))


def worst_of(*verdicts: Verdict) -> Verdict:
    """Return the gravest of several verdicts; no verdict at all is a pass."""
    return max(verdicts, key=_ORDER.index, default="pass")
