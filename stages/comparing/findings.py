"""Everything that a comparison shows, as plain values: what the page says, and no more than the numbers do.

``points``        one per dataset, method, snapshot, swap and level: means and deviations over seeds, worst gates
``limits``        dataset -> the largest KID that still looks drawn, or null
``floors``        dataset -> the smallest KID worth telling apart: the lower end of logarithmic axes
``differences``   of every method against the baseline, with intervals, corrected p-values and a sentence
``pareto``        dataset -> method -> hypervolume with its interval
``ladders``       how similarity climbs with the swap level, and where its knee is
``claims``        dataset -> method -> the gain over the baseline at comparable KID
``trained_on``    method -> the measures that it optimises, which never rank it
``summary``       dataset -> sentences
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stages.comparing.claim import as_claim, dominated, gains
from stages.comparing.points import Point
from stages.comparing.statistics import differences
from stages.comparing.summary import summary
from stages.comparing.sweeps import ladders, volumes
from stages.comparing.view import View


def findings(
    found: Sequence[View], kinds: Mapping[str, Mapping[str, Any]], optimised: Mapping[str, list[str]]
) -> dict[str, Any]:
    """Return all findings of a comparison.

    Args:
        found: one view per dataset.
        kinds: section ``swap.kinds``.
        optimised: method -> measures that its techniques optimise.
    """
    against = {view.dataset: differences(view) for view in found}
    return {
        "points": [row for view in found for row in _points(view)],
        "limits": {view.dataset: _known(view.scale.limit) for view in found},
        "floors": {view.dataset: view.scale.floor for view in found},
        "differences": [row for rows in against.values() for row in rows],
        "pareto": {view.dataset: volumes(view) for view in found},
        "ladders": [row for view in found for row in ladders(view, kinds)],
        "claims": {view.dataset: _claims(view) for view in found},
        "trained_on": dict(optimised),
        "summary": {view.dataset: summary(view, against[view.dataset]) for view in found},
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _points(view: View) -> list[dict[str, Any]]:
    beaten = dominated(view.points, view.scale.key)
    return [
        _plain(point, index in beaten, view.chosen[point.method] is point) for index, point in enumerate(view.points)
    ]


def _plain(point: Point, is_dominated: bool, is_recommended: bool) -> dict[str, Any]:
    return {
        "dataset": point.dataset, "method": point.method, "snapshot": point.snapshot, "swap": point.swap,
        "level": point.level, "seeds": point.seeds, "kimg": list(point.kimg), "mean": point.mean, "sd": point.sd,
        "dominated": is_dominated, "recommended": is_recommended, "ranked": point.ranked, "gates": point.gates,
    }  # fmt: skip


def _claims(view: View) -> dict[str, Any]:
    baseline = view.rules.baseline
    claims = {
        method: as_claim(gains(view.points, view.cells, (method, baseline), view.scale), view.scale)
        for method in view.rivals
    }
    return {method: claim for method, claim in claims.items() if claim is not None}
