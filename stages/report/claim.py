"""Who is closer to the source at equal style: dominance, recommended swap levels, and the paper's claim in numbers."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from stages.report.cells import LIKENESS, SIMILARITY, Cell, Comparison, Point, Swap, mean_points, unswapped

MEASURES = (SIMILARITY, *LIKENESS)
Curve = list[tuple[float, float]]  # FID, likeness


@dataclass(frozen=True)
class Gain:
    """A method's likeness at one swap level against the baseline's at comparable FID."""

    point: Point
    baseline: dict[str, float]  # measure -> the baseline's likeness at comparable FID, of means over seeds
    gain: dict[str, float]  # measure -> the method's likeness minus that
    per_seed: dict[str, float]  # seed -> gain in `similarity`, both sides of that seed

    @property
    def seeds_won(self) -> int:
        """In how many seeds the method is closer to the source."""
        return sum(gain > 0 for gain in self.per_seed.values())


def dominated(points: Sequence[Point], fid: str) -> set[int]:
    """Return the indices of points that another one beats: no worse in FID and similarity, better in one."""
    pairs = [(p.mean[fid], -p.mean.get(SIMILARITY, -math.inf)) for p in points]
    return {
        i for i, (f, s) in enumerate(pairs) if any(g <= f and t <= s and (g, t) != (f, s) for g, t in pairs)
    }  # fmt: skip


def recommended(points: Sequence[Point], fid: str, source_fid: float, limit: float) -> Point:
    """Return the swap level at which a method regains most likeness for the style that it gives up.

    Swapping everything would end at the source: all the likeness that is missing without a swap regained, all the style
    (log FID) lost. A level is worth the share of likeness regained minus the share of style lost, and no swap is worth
    0. It is the knee of the curve: the point furthest below its chord. Levels of all snapshots that were swept compete,
    all measured from the main one without a swap.

    Args:
        points: of one method on one dataset, the main snapshot first.
        fid: name of the metric.
        source_fid: FID of the untuned source; not finite if unknown.
        limit: levels of a larger FID no longer count as drawn and are not recommended.

    Returns: the level of the highest worth; the one of lowest FID if no worth can be computed.
    """
    start = unswapped(points)
    fallback = min(points, key=lambda p: p.mean[fid])
    if start is None or not math.isfinite(source_fid) or SIMILARITY not in start.mean:
        return fallback
    f0, s0 = start.mean[fid], start.mean[SIMILARITY]
    if not 0 < f0 < source_fid or s0 >= 1:
        return fallback

    def worth(point: Point) -> float:
        lost = math.log(max(point.mean[fid], 1e-12) / f0) / math.log(source_fid / f0)
        return (point.mean[SIMILARITY] - s0) / (1 - s0) - lost

    allowed = [p for p in points if p.mean[fid] <= limit and SIMILARITY in p.mean]
    return max([start, *allowed], key=worth)


def frontiers(points: Sequence[Point], fid: str, measure: str) -> list[Curve]:
    """Return what a method offers: one curve per snapshot and kind of swap, from no swap through its levels.

    A curve keeps the ``(FID, likeness)`` pairs that no other pair of it beats in both; FID and likeness rise along it.
    """
    kinds = dict.fromkeys(p.swap.kind for p in points if p.swap.kind != "none") or {"none": None}
    snapshots = dict.fromkeys(p.swap.snapshot for p in points)
    curves = []
    for snapshot, kind in product(snapshots, kinds):
        along = [p for p in points if p.swap.snapshot == snapshot and p.swap.kind in ("none", kind)]
        pairs = [(p.mean[fid], p.mean[measure]) for p in along if measure in p.mean]
        curve: Curve = []
        for pair in sorted(pairs, key=lambda pair: (pair[0], -pair[1])):
            if not curve or pair[1] > curve[-1][1]:
                curve.append(pair)
        if curve:
            curves.append(curve)
    return curves


def at_comparable_fid(curves: Sequence[Curve], fid: float) -> float:
    """Return the likeness that a method with these curves offers at a given FID: the best of its curves.

    The rule of "comparable FID": between two neighbouring points of a curve, likeness is interpolated linearly in log
    FID. Below its lowest FID the method has nothing to offer; it is then given its own lowest-FID point, which
    flatters it, since that point has the worse FID. Above its highest FID it keeps its most similar point: allowing a
    worse FID never hurts.

    Args:
        curves: from :func:`frontiers`, not empty.
        fid: where to read them.
    """
    return max(_along(curve, fid) for curve in curves)


def _along(curve: Curve, fid: float) -> float:
    fids = [f for f, _ in curve]
    if fid <= fids[0]:
        return curve[0][1]
    if fid >= fids[-1]:
        return curve[-1][1]
    right = bisect_left(fids, fid)
    (f0, s0), (f1, s1) = curve[right - 1], curve[right]
    tiny = 1e-12  # a perfect FID of 0 has no logarithm
    share = (math.log(fid + tiny) - math.log(f0 + tiny)) / (math.log(f1 + tiny) - math.log(f0 + tiny))
    return s0 + share * (s1 - s0)


def gains(comparison: Comparison, dataset: str, method: str, baseline: str) -> list[Gain]:
    """Compare every swap level of ``method`` with ``baseline`` at comparable FID.

    The baseline offers all its snapshots and swap levels; a level of the method is measured against the baseline's
    curves at the FID of that level (:func:`at_comparable_fid`). Means over seeds are compared first; then each seed on
    its own, with the baseline of the same seed, for the spread.

    Returns: one gain per swap level that has a similarity; empty if the baseline has none.
    """
    theirs = comparison.of(dataset, baseline)
    curves = {measure: frontiers(theirs, comparison.fid, measure) for measure in MEASURES}
    if not all(curves.values()):
        return []
    found = []
    for point in comparison.of(dataset, method):
        if not all(measure in point.mean for measure in MEASURES):
            continue
        level = {m: at_comparable_fid(curves[m], point.mean[comparison.fid]) for m in MEASURES}
        gain = {m: point.mean[m] - level[m] for m in MEASURES}
        found.append(Gain(point, level, gain, _per_seed(comparison, dataset, (method, baseline), point.swap)))
    return found


def best_gain(found: Sequence[Gain], fid: str, limit: float) -> Gain | None:
    """Return the swap level with the largest gain in similarity among those that still look drawn (FID <= ``limit``).

    Chosen on means over seeds, once, so that a seed cannot pick its own best level. If no level is within the limit,
    all compete.
    """
    allowed = [gain for gain in found if gain.point.mean[fid] <= limit] or list(found)
    return max(allowed, key=lambda gain: gain.gain[SIMILARITY], default=None)


def _per_seed(comparison: Comparison, dataset: str, methods: tuple[str, str], swap: Swap) -> dict[str, float]:
    cells: dict[tuple[str, str], list[Cell]] = {}
    for evaluation in comparison.evaluations:
        if evaluation.dataset == dataset:
            cells[evaluation.method, evaluation.seed] = list(evaluation.cells)
    method, baseline = methods
    result = {}
    for seed in comparison.grid.seeds:
        mine = [cell for cell in cells.get((method, seed), []) if cell.swap == swap and SIMILARITY in cell.values]
        curves = frontiers(mean_points(cells.get((baseline, seed), [])), comparison.fid, SIMILARITY)
        if mine and curves:
            result[seed] = mine[0].values[SIMILARITY] - at_comparable_fid(curves, mine[0].values[comparison.fid])
    return result


def summary(comparison: Comparison, baseline: str, max_fid_ratio: float) -> dict[str, dict[str, dict[str, object]]]:
    """Return dataset -> method -> the few numbers worth keeping in git.

    Per method: FID without a swap (of the main snapshot) and its ratio to the untuned source's; similarity without a
    swap; the recommended swap level (and snapshot, where several were swept) with its FID and similarity; and
    ``claim``, against the baseline at comparable FID (:func:`gains`).
    """
    result: dict[str, dict[str, dict[str, object]]] = {}
    for dataset in comparison.grid.datasets:
        for method in comparison.methods(dataset):
            result.setdefault(dataset, {})[method] = _method(comparison, (dataset, method), baseline, max_fid_ratio)
    return result


def fid_limit(comparison: Comparison, dataset: str, max_fid_ratio: float) -> float:
    """Return the FID up to which pictures count as drawn: a share of the untuned source's; no limit without it."""
    return max_fid_ratio * comparison.anchor(dataset, "source").get(comparison.fid, math.inf)


def _method(comparison: Comparison, key: tuple[str, str], baseline: str, max_fid_ratio: float) -> dict[str, object]:
    fid, limit = comparison.fid, fid_limit(comparison, key[0], max_fid_ratio)
    source = comparison.anchor(key[0], "source").get(fid, math.inf)
    points = comparison.of(*key)
    entry: dict[str, object] = {}
    start = unswapped(points)
    if start is not None:
        entry["fid_no_swap"] = start.mean[fid]
        if 0 < source < math.inf:
            entry["fid_ratio_to_source"] = start.mean[fid] / source
        if SIMILARITY in start.mean:
            entry["similarity_no_swap"] = start.mean[SIMILARITY]
    entry["recommended"] = _where(recommended(points, fid, source, limit), fid)
    best = None if key[1] == baseline else best_gain(gains(comparison, *key, baseline), fid, limit)
    if best is not None:
        entry["claim"] = {
            **_where(best.point, fid), "baseline_similarity_at_that_fid": best.baseline[SIMILARITY],
            **{f"gain_{measure}": best.gain[measure] for measure in MEASURES},
            "seeds_won": best.seeds_won, "seeds": len(best.per_seed),
        }  # fmt: skip
    return {name: _rounded(value) for name, value in entry.items()}


def _where(point: Point, fid: str) -> dict[str, object]:
    """Return a swap level and what it measures; without a similarity there is none."""
    measured = {name: point.mean[key] for name, key in (("fid", fid), (SIMILARITY, SIMILARITY)) if key in point.mean}
    snapshot = {"snapshot": point.swap.snapshot} if point.swap.snapshot else {}
    return {**snapshot, "swap": point.swap.kind, "level": point.swap.level, **measured}


def _rounded(value: object) -> object:
    """Round to six significant digits: the file lies in git and is read by people."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value
