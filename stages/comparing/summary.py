"""The answer in plain sentences: which method keeps the face best, and what it costs in style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from stages.comparing.likeness import SIMILARITY
from stages.comparing.points import Point
from stages.comparing.sentences import count
from stages.comparing.statistics import NO_SWAP, SEEDS, ahead, find
from stages.comparing.view import View
from stages.comparing.words import number, readable, swap_words


def summary(view: View, differences: Sequence[dict[str, Any]]) -> list[str]:
    """Return the sentences of a dataset.

    Args:
        view: of the dataset.
        differences: of all methods against the baseline.
    """
    starts = {method: view.start(method) for method in view.methods}
    able = {m: point for m, point in starts.items() if point is not None and point.ranked and view.scale.drawn(point)}
    out = [method for method in view.methods if method not in able]
    said = []
    if able:
        best = max(able, key=lambda method: able[method].mean[SIMILARITY])
        said = [_best(view, best, able), *_cost(view, best, able, differences), *_swapped(view, best, able[best])]
    if out:
        names = _listed([readable(method) for method in out])
        reasons = "a gate fails, something was not measured, or the pictures do not look drawn"
        said.append(f"Without a swap not ranked, because {reasons}: {names}.")
    return [*said, _trainings(view)]


def _best(view: View, best: str, able: dict[str, Point]) -> str:
    others = [method for method in able if method != best]
    own = number(able[best].mean[SIMILARITY], 2)
    meaning = "1 is the same face, 0 is no closer than another person's"
    if not others:
        return f"Only {readable(best)} could be ranked: similarity {own} without a swap ({meaning})."
    tests = {row["against"]: row for row in ahead(view, best, others)}
    open_ = [method for method in others if method not in tests or not tests[method]["significant"]]
    others.sort(key=lambda method: -able[method].mean[SIMILARITY])
    beaten = [f"{readable(m)} {number(able[m].mean[SIMILARITY], 2)}" for m in others]
    text = (
        f"Without a swap {readable(best)} keeps the face best: similarity {own} ({meaning}), against {_listed(beaten)}."
    )
    if not open_:
        return f"{text} {_all(len(others))} significant."
    names = _listed([readable(method) for method in others if method in open_])
    return f"{text} Its lead over {names} is not significant."


def _all(n: int) -> str:
    return "The difference is" if n == 1 else f"All {count(n)} differences are"


def _cost(view: View, best: str, able: dict[str, Point], differences: Sequence[dict[str, Any]]) -> list[str]:
    """Say what the best method gives up in style, beside the baseline and the untuned source."""
    key, baseline = view.scale.key, view.rules.baseline
    source = view.scale.source
    range_ = f"; 0 is the drawings themselves, {number(source, 1)} the untuned source" if math.isfinite(source) else ""
    own = number(able[best].mean[key], 1)
    if best == baseline or baseline not in able:
        return [f"Its style distance (KID x 10³) is {own}{range_}."]
    theirs = number(able[baseline].mean[key], 1)
    found = find(differences, view.dataset, best, key, NO_SWAP)
    numbers = f"style distance (KID x 10³) {own} against {theirs} of the {readable(baseline)}{range_}"
    if found is None or not found["significant"]:
        return [f"That costs no style that could be told from chance: {numbers}; not significant."]
    if found["difference"] > 0:
        return [f"That costs style: {numbers}; the difference is significant."]
    return [f"That costs no style; its pictures are even closer to the drawings: {numbers}; a significant difference."]


def _swapped(view: View, best: str, start: Point) -> list[str]:
    """Say what swapping layers buys, where some level is recommended, for the method that then keeps the face best."""
    levels = {method: point for method, point in view.chosen.items() if point is not None and point.swap != "none"}
    if not levels:
        return ["No swap level regains more of the face than it gives up in style."]
    key = view.scale.key
    method = max(levels, key=lambda name: levels[name].mean[SIMILARITY])
    point, before = levels[method], view.start(method)
    from_ = f" instead of {number(before.mean[SIMILARITY], 2)}" if before is not None and before.ranked else ""
    cost = f" instead of {number(before.mean[key], 1)}" if before is not None else ""
    words = swap_words(point.swap, point.level)
    where = f", snapshot {readable(point.snapshot)}" if point.snapshot else ""
    return [
        f"Layers of the source swapped in keep more of the face and less of the style: {readable(method)} with {words}"
        f"{where} has similarity {number(point.mean[SIMILARITY], 2)}{from_}, at a KID x 10³ of "
        f"{number(point.mean[key], 1)}{cost}."
    ]


def _trainings(view: View) -> str:
    counts = [point.seeds for point in (view.start(method) for method in view.methods) if point is not None]
    least = min(counts, default=0)
    if least >= SEEDS:
        return f"Every method was trained {count(least)} times, and the luck of training is included."
    who = "Every method was" if max(counts, default=0) == least else "Some methods were"
    times = "once" if least <= 1 else "twice"
    return f"{who} trained only {times}: the luck of training is not included in what is called significant."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
