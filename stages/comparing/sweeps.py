"""What a method offers as a whole: the volume below its Pareto curve, and how likeness climbs its swap ladders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model.metrics.significance import (
    hypervolume,
    hypervolume_interval,
    knee,
    knee_frequency,
    resampled_means,
    spearman,
)
from stages.comparing.likeness import SIMILARITY
from stages.comparing.points import Point, unswapped
from stages.comparing.table import Floats
from stages.comparing.view import View, mean_over_seeds, purpose


def volumes(view: View) -> dict[str, dict[str, float]]:
    """Return method -> hypervolume with its interval; nothing where the source's KID is unknown or no gain on it.

    The volume is the area that the ranked points of a method dominate, between similarity 0 and the KID of the source,
    on a logarithmic axis of KID (natural logarithm, from the dataset's floor). Its interval resamples the faces of
    similarity and the generation blocks of KID.
    """
    if not math.isfinite(view.scale.source) or view.scale.source <= view.scale.floor:
        return {}
    found = {}
    for method in view.methods:
        points = [point for point in view.of(method) if point.ranked]
        if points:
            found[method] = _volume(view, points)
    return found


def _volume(view: View, points: Sequence[Point]) -> dict[str, float]:
    reference = (0.0, view.scale.log(view.scale.source))
    styles, likeness = ([p.mean[name] for p in points] for name in (view.scale.key, SIMILARITY))
    curve = np.column_stack([likeness, [view.scale.log(style) for style in styles]])
    value = {"hypervolume": hypervolume(curve, reference)}
    faces, blocks = _faces(view, points), _blocks(view, points)
    if faces is None or blocks is None:
        return value
    resampled = np.stack([faces, np.log(np.maximum(blocks, view.scale.floor))], axis=2)
    low, high = hypervolume_interval(resampled, reference, view.rules.confidence)
    return value | {"low": low, "high": high}


def _faces(view: View, points: Sequence[Point]) -> Floats | None:
    """Return resampled means of similarity, ``[resamples, points]``, the same faces for all points."""
    table = _table([[c.pairs.get(SIMILARITY) for c in view.seeds(p.method, p.place).values()] for p in points])
    if table is None:
        return None
    whole = table[np.isfinite(table).all(axis=1)]
    return resampled_means(whole, purpose("faces", view.dataset), view.rules.resamples) if len(whole) else None


def _blocks(view: View, points: Sequence[Point]) -> Floats | None:
    """Return resampled KIDs: of all images, moved by how far the mean of resampled blocks is from that of all."""
    key = view.scale.key
    table = _table([[c.blocks.get(key) for c in view.seeds(p.method, p.place).values()] for p in points])
    if table is None:
        return None
    kids = np.array([p.mean[key] for p in points])
    moved = resampled_means(table - table.mean(axis=0), purpose("blocks", view.dataset), view.rules.resamples)
    return np.asarray(kids + moved)


def _table(rows: Sequence[Sequence[Floats | None]]) -> Floats | None:
    """Return means over seeds as columns, ``[n, points]``; None if anything is missing."""
    known = [[one for one in row if one is not None] for row in rows]
    if any(len(some) < len(row) or not row for some, row in zip(known, rows, strict=True)):
        return None
    return np.stack([mean_over_seeds(row) for row in known], axis=1)


def ladders(view: View, kinds: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return every ladder of swap levels: how steadily similarity moves along it, and where its knee is.

    A ladder goes from the tuned generator towards the source: from no swap to the highest level where the source gives
    the coarse blocks, and from the highest level down where it gives the fine ones. The knee is the level furthest
    from the chord of similarity over doublings of the level; its share says in how many resamples of the faces it is
    the knee. They are null on ladders of too few rungs, or where similarity stands still.

    Args:
        view: of the dataset.
        kinds: section ``swap.kinds``.
    """
    found = []
    for method in view.methods:
        points = [point for point in view.of(method) if SIMILARITY in point.mean]
        for snapshot in dict.fromkeys(p.snapshot for p in points):
            for kind in dict.fromkeys(p.swap for p in points if p.swap != "none"):
                rungs = _rungs([p for p in points if p.snapshot == snapshot], kind, kinds.get(kind, {}))
                if not rungs:
                    continue  # a schedule has no levels
                place = {"dataset": view.dataset, "method": method, "snapshot": snapshot, "swap": kind}
                found.append(place | _climb(view, rungs))
    return found


def _rungs(points: Sequence[Point], kind: str, settings: Mapping[str, Any]) -> list[Point]:
    down = settings.get("low", "source") == "target"
    levels = sorted((p for p in points if p.swap == kind and p.level), key=lambda p: p.level, reverse=down)
    start = unswapped(points)
    return levels if start is None or not levels else [start, *levels]


def _climb(view: View, rungs: Sequence[Point]) -> dict[str, Any]:
    levels = [p.level for p in rungs if p.level]
    # Levels double from one to the next, and no swap is one step before the first.
    before = 2 * levels[0] if levels[:1] > levels[1:2] else levels[0] / 2
    steps = [math.log2(p.level or before) for p in rungs]
    likeness = [p.mean[SIMILARITY] for p in rungs]
    at = knee(steps, likeness)
    faces = None if at is None else _faces(view, rungs)
    share = None if faces is None else knee_frequency(steps, likeness, faces)
    steady = spearman(range(len(rungs)), likeness)
    return {"spearman": steady, "knee": None if at is None else rungs[steps.index(at)].level, "knee_share": share}
