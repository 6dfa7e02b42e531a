"""Who is closer to the source at equal style: dominance, recommended swap levels, and the paper's claim in numbers."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from stages.comparing.likeness import SIMILARITY
from stages.comparing.points import Place, Point, Scale, mean_points, unswapped
from stages.comparing.table import Cell

Curve = list[tuple[float, float, Place]]  # KID, similarity, which point


@dataclass(frozen=True)
class Gain:
    """A method's similarity at one swap level against the baseline's at comparable KID."""

    point: Point
    baseline: float  # the baseline's similarity at that KID, of means over seeds
    gain: float  # the method's similarity minus that
    per_seed: dict[str, float]  # seed -> gain, both sides of that seed

    @property
    def seeds_won(self) -> int:
        """In how many seeds the method is closer to the source."""
        return sum(gain > 0 for gain in self.per_seed.values())


def dominated(points: Sequence[Point], key: str) -> set[int]:
    """Return the indices of points that another one beats: no worse in KID and similarity, better in one.

    Points that are not ranked beat nobody and are not judged.
    """
    pairs = {i: (p.mean[key], -p.mean[SIMILARITY]) for i, p in enumerate(points) if p.ranked}
    return {
        i for i, (f, s) in pairs.items()
        if any(g <= f and t <= s and (g, t) != (f, s) for g, t in pairs.values())
    }  # fmt: skip


def recommended(points: Sequence[Point], scale: Scale) -> Point | None:
    """Return the swap level at which a method regains most likeness for the style that it gives up.

    Swapping everything would end at the source: all the likeness that is missing without a swap regained, all the style
    (log KID) lost. A level is worth the share of likeness regained minus the share of style lost, and no swap is worth
    0. It is the knee of the curve: the point furthest below its chord. Levels of all snapshots that were swept compete,
    all measured from the main one without a swap.

    Args:
        points: of one method on one dataset, the main snapshot first.
        scale: of the dataset; points over its limit no longer count as drawn and are not recommended.

    Returns: the level of the highest worth; the one of lowest KID if no worth can be computed; None if a gate fails
        for every one.
    """
    ranked = [point for point in points if point.ranked]
    if not ranked:
        return None
    start = unswapped(points)
    fallback = min(ranked, key=scale.style)
    if start is None or not math.isfinite(scale.source) or SIMILARITY not in start.mean:
        return fallback
    k0, s0 = scale.log(scale.style(start)), start.mean[SIMILARITY]
    whole = scale.log(scale.source) - k0
    if whole <= 0 or s0 >= 1:
        return fallback

    def worth(point: Point) -> float:
        return (point.mean[SIMILARITY] - s0) / (1 - s0) - (scale.log(scale.style(point)) - k0) / whole

    allowed = [point for point in ranked if scale.drawn(point) or point is start]
    return max(allowed, key=worth) if allowed else fallback


def frontiers(points: Sequence[Point], key: str) -> list[Curve]:
    """Return what a method offers: one curve per snapshot and kind of swap, from no swap through its levels.

    A curve keeps the points that no other point of it beats in both; KID and similarity rise along it. What is not
    ranked is not offered.
    """
    ranked = [point for point in points if point.ranked]
    kinds = dict.fromkeys(p.swap for p in ranked if p.swap != "none") or {"none": None}
    curves = []
    for snapshot, kind in product(dict.fromkeys(p.snapshot for p in ranked), kinds):
        along = [p for p in ranked if p.snapshot == snapshot and p.swap in ("none", kind)]
        found = [(p.mean[key], p.mean[SIMILARITY], p.place) for p in along]
        curve: Curve = []
        for entry in sorted(found, key=lambda entry: (entry[0], -entry[1])):
            if not curve or entry[1] > curve[-1][1]:
                curve.append(entry)
        if curve:
            curves.append(curve)
    return curves


def at_comparable_style(curves: Sequence[Curve], value: float, scale: Scale) -> tuple[float, dict[Place, float]]:
    """Return the similarity that a method with these curves offers at a given KID: the best of its curves.

    The rule of "comparable KID": between two neighbouring points of a curve, similarity is interpolated linearly in log
    KID. Below its lowest KID the method has nothing to offer; it is then given its own lowest-KID point, which
    flatters it, since that point has the worse KID. Above its highest KID it keeps its most similar point: allowing a
    worse KID never hurts.

    Args:
        curves: from :func:`frontiers`, not empty.
        value: the KID at which to read them.
        scale: of the dataset.

    Returns: the similarity, and the share of each point in it.
    """
    return max((_along(curve, value, scale) for curve in curves), key=lambda found: found[0])


def _along(curve: Curve, value: float, scale: Scale) -> tuple[float, dict[Place, float]]:
    styles = [style for style, _, _ in curve]
    if value <= styles[0] or value >= styles[-1]:
        _, similarity, where = curve[0 if value <= styles[0] else -1]
        return similarity, {where: 1.0}
    right = bisect_left(styles, value)
    (k0, s0, first), (k1, s1, second) = curve[right - 1], curve[right]
    width = scale.log(k1) - scale.log(k0)
    share = (scale.log(value) - scale.log(k0)) / width if width > 0 else 1.0  # both below the floor: the better one
    return s0 + share * (s1 - s0), {first: 1.0 - share, second: share}


def gains(points: Sequence[Point], cells: Sequence[Cell], names: tuple[str, str], scale: Scale) -> list[Gain]:
    """Compare every swap level of a method with the baseline at comparable KID.

    The baseline offers all its snapshots and swap levels; a level of the method is measured against the baseline's
    curves at the KID of that level (:func:`at_comparable_style`). Means over seeds are compared first; then each seed
    on its own, with the baseline of the same seed, for the spread.

    Args:
        points: of the dataset.
        cells: of the dataset, all seeds.
        names: method, baseline.
        scale: of the dataset.

    Returns: one gain per level that is ranked; empty if the baseline offers nothing.
    """
    method, baseline = names
    curves = frontiers([p for p in points if p.method == baseline], scale.key)
    seeds, found = _by_seed(cells, names, scale), []
    for point in points if curves else []:
        if point.method == method and point.ranked:
            offered, _ = at_comparable_style(curves, scale.style(point), scale)
            gain = point.mean[SIMILARITY] - offered
            found.append(Gain(point, offered, gain, _per_seed(seeds, point.place, scale)))
    return found


def best_gain(found: Sequence[Gain], scale: Scale) -> Gain | None:
    """Return the swap level with the largest gain in similarity among those that still look drawn.

    Chosen on means over seeds, once, so that a seed cannot pick its own best level. If no level looks drawn, all
    compete.
    """
    allowed = [gain for gain in found if scale.drawn(gain.point)] or list(found)
    return max(allowed, key=lambda gain: gain.gain, default=None)


@dataclass(frozen=True)
class _Seed:
    """Both sides of a claim, as trained with one seed."""

    mine: dict[Place, Point]
    curves: list[Curve]  # of the baseline


def _by_seed(cells: Sequence[Cell], names: tuple[str, str], scale: Scale) -> dict[str, _Seed]:
    found = {}
    for seed in dict.fromkeys(cell.seed for cell in cells):
        mine, theirs = (mean_points(c for c in cells if (c.seed, c.method) == (seed, name)) for name in names)
        found[seed] = _Seed({point.place: point for point in mine}, frontiers(theirs, scale.key))
    return found


def _per_seed(seeds: Mapping[str, _Seed], where: Place, scale: Scale) -> dict[str, float]:
    result = {}
    for name, seed in seeds.items():
        own = seed.mine.get(where)
        if own is not None and own.ranked and seed.curves:
            offered, _ = at_comparable_style(seed.curves, scale.style(own), scale)
            result[name] = own.mean[SIMILARITY] - offered
    return result


def as_claim(found: Sequence[Gain], scale: Scale) -> Mapping[str, object] | None:
    """Return the best gain of a method, and all its levels, as plain values; None without a gain."""
    best = best_gain(found, scale)
    return None if best is None else {**_plain(best, scale), "levels": [_plain(gain, scale) for gain in found]}


def _plain(gain: Gain, scale: Scale) -> dict[str, object]:
    point = gain.point
    return {
        "snapshot": point.snapshot, "swap": point.swap, "level": point.level, "kid": scale.style(point),
        "similarity": point.mean[SIMILARITY], "baseline": gain.baseline, "gain": gain.gain, "per_seed": gain.per_seed,
        "seeds_won": gain.seeds_won, "seeds": len(gain.per_seed), "drawn": scale.drawn(point),
    }  # fmt: skip
